"""`conduitfw check`, `explain` and `schema`: what a policy says."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from conduitfw.cli.output import AS_JSON, POLICY, print_json, print_problems, problem_json, read_policy
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.explain import KERNEL_KINDS, Answer, Question
from conduitfw.policy.explain import explain as ask
from conduitfw.policy.functions import function_of
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Address, Asset, Place, Policy
from conduitfw.policy.schema import json_schema
from conduitfw.policy.source import Report, Text, nearest
from conduitfw.protocols import Definition
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
@click.option("--tcp", type=click.IntRange(1, 65535), metavar="PORT", help="A TCP connection to this port.")
@click.option("--udp", type=click.IntRange(1, 65535), metavar="PORT", help="UDP to this port.")
@click.option("--icmp", is_flag=True, help="A ping.")
@click.option("--port", type=click.IntRange(1, 65535), help="The server's port, where it is not the protocol's own.")
@click.option("--transport", type=click.Choice(("tcp", "udp")), help="Where it is not the protocol's usual one.")
@click.option("--unit", type=click.IntRange(0, 255), help="Modbus unit id (any, where not given).")
@click.option("--master", type=click.IntRange(0, 65535), help="Link address of the DNP3 master (any, where not given).")
@click.option("--outstation", type=click.IntRange(0, 65535), help="Link address of the DNP3 outstation (any).")
@AS_JSON
def explain(policy: tuple[Path, ...], client: str, server: str, as_json: bool, **asked: Any) -> None:
    """Ask what POLICY says of one request: the rule that allows it, or why none does.

    Exit status: 0 allowed, 1 denied or the policy is bad, 2 wrong usage.
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
    kinds = [kind for kind in (*PROTOCOLS, *KERNEL_KINDS) if asked[kind]]
    if len(kinds) != 1:
        raise click.UsageError("ask one thing: " + ", ".join(f"--{kind}" for kind in (*PROTOCOLS, *KERNEL_KINDS)))
    kind = kinds[0]
    protocol = PROTOCOLS.get(kind)
    names = {each.name for each in protocol.address_fields} if protocol is not None else set()
    for option in ("unit", "master", "outstation"):
        if asked[option] is not None and option not in names:
            raise click.UsageError(f"--{option} means nothing with --{kind}")
    if protocol is None and (asked["port"] or asked["transport"]):
        raise click.UsageError(f"--port and --transport go with {' and '.join(f'--{name}' for name in PROTOCOLS)}")
    addresses = {name: asked[name] for name in names if asked[name] is not None}
    port = asked[kind] if kind in ("tcp", "udp") else asked["port"] or 0
    function = _function(asked[kind], protocol) if protocol is not None else -1
    return Question(
        _address(policy, "--from", client),
        _address(policy, "--to", server),
        kind,
        function,
        asked["transport"] or "",
        port,
        addresses,
    )


def _function(word: str, protocol: Definition) -> int:
    report = Report()
    number = function_of(Text(word, Place("", 0, 0), False), protocol, report)
    if number is None:
        problem = report.problems[0]
        raise click.UsageError(f"{problem.message}; {problem.hint}")
    return number


def _address(policy: Policy, option: str, word: str) -> Address:
    assets: dict[str, Asset] = {asset.name: asset for asset in policy.assets}
    if word in assets:
        return assets[word].address
    try:
        return ip_address(word)
    except ValueError:
        hint = nearest(word, assets) or "give an asset's name or an IP address"
        raise click.UsageError(f"{option}: unknown asset {word!r}; {hint}") from None


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
        "sentence": answer.reason.sentence if answer.reason is not None else None,
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
        click.echo(f"deny   {asked}\n       {answer.reason.sentence}{watched}" + (f"\n{place}" if place else ""))


@click.command()
def schema() -> None:
    """Print the JSON Schema of policy files: editors complete and check with it."""
    print_json(json_schema())
