"""`conduitfw check`, `explain` and `schema`: what a policy says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conduitfw.cli.output import AS_JSON, POLICY, print_json, print_problems, problem_json, read_policy
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.endpoints import Endpoints
from conduitfw.policy.explain import Answer
from conduitfw.policy.explain import explain as ask
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Policy
from conduitfw.policy.questions import Question, read_question
from conduitfw.policy.schema import QUESTION, json_schema
from conduitfw.policy.source import Report, Section
from conduitfw.protocols.registry import PROTOCOLS


@click.command()
@POLICY
@AS_JSON
def check(policy: tuple[Path, ...], as_json: bool) -> None:
    """Check POLICY, one file or folder or several: all errors and warnings at once.

    Exit status: 0 it can be used (there may be warnings), 1 it cannot, 2 wrong usage.
    """
    loaded = load_policy(policy)
    found = loaded.policy
    errors = sum(each.severity == "error" for each in loaded.problems)
    warnings = len(loaded.problems) - errors
    if as_json:
        summary: dict[str, Any] = {"ok": found is not None, "errors": errors, "warnings": warnings}
        if found is not None:
            summary["policy"] = {
                "site": found.site,
                "revision": found.revision,
                "digest": found.digest,
                "zones": len(found.zones),
                "conduits": len(found.conduits),
                "rules": len(found.rules),
            }
        print_json({**summary, "problems": [problem_json(each) for each in loaded.problems]})
    else:
        print_problems(loaded, as_json=False)
        counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
        if found is None:
            click.echo(f"refused: {counts}")
        else:
            parts = (
                _count(len(found.zones), "zone"),
                _count(len(found.conduits), "conduit"),
                _count(len(found.rules), "rule"),
            )
            click.echo(f"good: {', '.join(parts)}; {counts}")
    if found is None:
        raise SystemExit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@click.command()
@POLICY
@click.option("--from", "client", required=True, metavar="ASSET|IP", help="Who asks: an asset's name or an address.")
@click.option("--to", "server", required=True, metavar="ASSET|IP", help="Who is asked.")
@click.option("--modbus", metavar="FUNCTION", help="A Modbus function, by number or name.")
@click.option("--dnp3", metavar="FUNCTION", help="A DNP3 function, by number or name.")
@click.option("--tcp", metavar="PORT", help="A TCP connection to this port.")
@click.option("--udp", metavar="PORT", help="UDP to this port.")
@click.option("--icmp", is_flag=True, help="A ping.")
@click.option("--port", metavar="PORT", help="The server's port, where it is not the protocol's own.")
@click.option("--transport", metavar="tcp|udp", help="Where it is not the protocol's usual one.")
@click.option("--unit", metavar="ID", help="Modbus unit id.")
@click.option("--sub-function", metavar="NAME|NUMBER", help="Of functions 8, 43 and 90.")
@click.option("--register", metavar="ADDRESS", help="Modbus address, from 0; the function says in which table.")
@click.option("--quantity", metavar="N", help="How many registers, coils, records or points.")
@click.option("--file", metavar="N", help="Modbus file number, with --record.")
@click.option("--record", metavar="N", help="Record within the file.")
@click.option("--master", metavar="ADDRESS", help="Link address of the DNP3 master.")
@click.option("--outstation", metavar="ADDRESS", help="Link address of the DNP3 outstation.")
@click.option("--object", metavar="gNvM", help="DNP3 object: g12v1, or g12 for any variation.")
@click.option("--point", metavar="INDEX", help="DNP3 index, with --object.")
@click.option("--control", metavar="NAME|NUMBER", help="Control code of a CROB: close, trip, latch_on.")
@click.option("--selected", metavar="yes|no", help="Whether what is operated was selected just before.")
@click.option("--tag", metavar="NAME", help="A tag, in place of an address; --value is then in its engineering unit.")
@click.option("--value", metavar="NUMBER", multiple=True, help="What is written; several for several registers.")
@click.option("--type", metavar="TYPE", help="How --value stands in registers: uint16 (the default), int16, float32.")
@click.option("--word-order", metavar="big|little", help="Which word of it comes first.")
@AS_JSON
def explain(policy: tuple[Path, ...], client: str, server: str, as_json: bool, **asked: Any) -> None:
    """Ask what POLICY says of one request: the rule that allows it, or why none does.

    What is left out may be anything: one way that is allowed is enough. Exit status: 0 allowed, 1 denied or the
    policy is bad, 2 wrong usage.
    """
    found = read_policy(policy, as_json)
    question = _question(found, client, server, asked)
    answer = ask(compile_policy(found), question)
    if as_json:
        print_json(_answer_json(answer, question))
    else:
        _print(answer, question, client, server)
    if not answer.allowed:
        raise SystemExit(1)


def _question(policy: Policy, client: str, server: str, asked: dict[str, Any]) -> Question:
    words: dict[str, str | list[str]] = {"from": client, "to": server}
    for option, value in asked.items():
        if isinstance(value, tuple):
            if value:
                words[option] = list(value)
        elif value:
            words[option] = "yes" if value is True else value
    report = Report()
    section = Section.of(words, "the question", QUESTION, report)
    tags = {tag.name: tag for tag in policy.tags}
    question = read_question(section, Endpoints(policy.zones, {}, report), tags, report)
    if report.failed or question is None:
        said = (f"{each.message}; {each.hint}" if each.hint else each.message for each in report.problems)
        raise click.UsageError("\n".join(said))
    return question


def _answer_json(answer: Answer, question: Question) -> dict[str, Any]:
    rule, conduit = answer.rule, answer.conduit
    return {
        "verdict": "allow" if answer.allowed else "deny",
        "client": str(question.client),
        "server": str(question.server),
        "allow": question.allow,
        "function": question.function if question.function >= 0 else None,
        "addresses": dict(answer.addresses),
        "rule": rule.name if rule is not None else None,
        "place": str(rule.place) if rule is not None else None,
        "conduit": conduit.name if conduit is not None else None,
        "mode": conduit.mode if conduit is not None else None,
        "reason": answer.reason.code if answer.reason is not None else None,
        "detail": answer.detail or None,
        "sentence": answer.sentence or None,
    }


def _print(answer: Answer, question: Question, client: str, server: str) -> None:
    protocol = PROTOCOLS.get(question.allow)
    what = question.allow
    if protocol is not None:
        what = f"{protocol.title} {protocol.functions.name(question.function)} ({question.function})"
    elif question.port:
        what = f"{question.allow} port {question.port}"
    where = ", ".join(f"{name} {value}" for name, value in answer.addresses.items())
    asked = f"{client} -> {server}: {what}{', ' + where if where else ''}"
    conduit = answer.conduit
    watched = (
        " (the conduit is only monitored: it would pass)" if conduit is not None and conduit.mode == "monitor" else ""
    )
    if answer.rule is not None and conduit is not None:
        click.echo(f"allow  {asked}\n       by {answer.rule.name!r} of {conduit.name}, {answer.rule.place}")
    elif answer.reason is not None:
        place = f"       in {conduit.name}, {conduit.place}" if conduit is not None else ""
        click.echo(f"deny   {asked}\n       {answer.sentence}{watched}" + (f"\n{place}" if place else ""))


@click.command()
def schema() -> None:
    """Print the JSON Schema of policy files: editors complete and check with it."""
    print_json(json_schema())
