"""What commands share: reading a policy, printing problems, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from conduitfw.policy.load import Loaded, load_policy
from conduitfw.policy.model import Policy
from conduitfw.policy.source import Problem

POLICY = click.argument("policy", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="POLICY...")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """One JSON document on a line."""
    click.echo(json.dumps(value))


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    place = problem.place
    return {
        "severity": problem.severity,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "message": problem.message,
        "hint": problem.hint,
    }


def read_policy(paths: Sequence[Path], as_json: bool) -> Policy:
    """The policy; where it has errors they are printed, and the command ends with 1."""
    loaded = load_policy(paths)
    if loaded.policy is None:
        print_problems(loaded, as_json, only_errors=True)
        raise SystemExit(1)
    return loaded.policy


def print_problems(loaded: Loaded, as_json: bool, *, only_errors: bool = False) -> None:
    """Errors and warnings: for people on standard error, as JSON on standard output."""
    problems = [each for each in loaded.problems if not only_errors or each.severity == "error"]
    if as_json:
        print_json({"ok": loaded.policy is not None, "problems": [problem_json(each) for each in problems]})
        return
    for problem in problems:
        click.echo(str(problem), err=True)
