"""`conduitfw reload`, `confirm`, `rollback` and `history`: one policy after another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from conduitfw.cli.output import AS_JSON, print_json
from conduitfw.cli.running import SOCKET, ask, problem_line, refuse
from conduitfw.cli.state import STATE
from conduitfw.runtime.store import DEFAULT_STATE, Store


@click.command()
@click.argument("policy", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--confirm", "confirm_within", metavar="SECONDS", type=click.FloatRange(1, 86400),
              help="Go back by itself unless `conduitfw confirm` comes within so many seconds.")  # fmt: skip
@SOCKET
@AS_JSON
def reload(policy: tuple[Path, ...], confirm_within: float | None, socket_path: str, as_json: bool) -> None:
    """Take the running policy's files anew, or POLICY instead of them, and say what that changes.

    When it returns with 0, the new policy is in force in the kernel and in the engine. A bad policy
    changes nothing. Exit status: 0 in force, 1 refused.
    """
    request: dict[str, Any] = {"command": "reload"}
    if policy:
        request["policy"] = [str(path.resolve()) for path in policy]
    if confirm_within is not None:
        request["confirm"] = confirm_within
    _print(ask(socket_path, request), as_json)


@click.command()
@SOCKET
@AS_JSON
def confirm(socket_path: str, as_json: bool) -> None:
    """Keep the policy that `reload --confirm` brought.

    Exit status: 0 kept, 1 nothing waits to be confirmed (it may be too late).
    """
    answer = ask(socket_path, {"command": "confirm"})
    if not answer["ok"]:
        refuse(answer, as_json)
    click.echo(json.dumps(answer) if as_json else f"confirmed: {answer['digest'][:12]}")


@click.command()
@click.argument("number", type=click.IntRange(1, 1000), default=1)
@SOCKET
@AS_JSON
def rollback(number: int, socket_path: str, as_json: bool) -> None:
    """Go back to the policy before this one, or NUMBER policies back (as `history` counts them).

    The policy's own files are left as they are; the next `reload` takes them. Exit status: 0 in force, 1 refused.
    """
    _print(ask(socket_path, {"command": "rollback", "number": number}), as_json)


@click.command()
@STATE
@AS_JSON
def history(state: str | None, as_json: bool) -> None:
    """List the policies that were in force, the newest first; their files are kept as they were.

    Exit status: 0 listed, 1 none is kept.
    """
    store = Store(state or DEFAULT_STATE)
    entries = store.entries()
    withheld = store.withheld()
    if as_json:
        print_json({"policies": [entry.plain() for entry in entries], "withheld": dict(withheld)})
    else:
        for number, entry in enumerate(entries):
            click.echo(
                f"{number:>3}  {entry.since}  {entry.digest[:12]}  {entry.site} {entry.revision}  by {entry.by}  "
                f"{entry.sources}"
            )
        if withheld:
            click.echo(f"not started with: {withheld['digest'][:12]}, {withheld['why']} ({withheld['since']})")
    if not entries:
        raise SystemExit(1)


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if not answer["ok"]:
        refuse(answer, as_json)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for problem in answer["problems"]:
        click.echo(problem_line(problem), err=True)
    for change in answer["changes"]:
        click.echo(change["line"])
    if not answer["changes"]:
        click.echo("nothing that was denied is allowed, and nothing that was allowed is denied")
    new = answer["policy"]
    click.echo(
        f"in force: {new['site']} {new['revision']}, {new['conduits']} conduits, {new['rules']} rules, "
        f"{new['digest'][:12]}"
    )
    if answer["confirm_within"]:
        click.echo(f"goes back by itself in {answer['confirm_within']:g} s unless `conduitfw confirm` comes")
