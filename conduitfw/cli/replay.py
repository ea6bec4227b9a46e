"""`conduitfw replay`: a capture through the pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import click

from conduitfw.observe.capture import CaptureError
from conduitfw.observe.replay import Line, Summary, replay
from conduitfw.outcome import Verdict
from conduitfw.policy.compile import Tables, allow_everything, compile_policy
from conduitfw.policy.load import load_policy
from conduitfw.protocols.registry import PROTOCOLS


@click.command(name="replay")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="[POLICY...] PCAP"
)
@click.option(
    "--any", "any_protocol", is_flag=True, help="Without a policy: list every unit, deny only what is malformed."
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="PROTOCOL=PORT",
    help="With --any: a further port of a protocol, for instance dnp3=20001.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each packet, then the summary.")
def replay_command(files: tuple[Path, ...], any_protocol: bool, ports: tuple[str, ...], as_json: bool) -> None:
    """Run the capture PCAP (libpcap or pcapng) through the policy: a verdict for every packet, and why.

    Exit status: 0 nothing denied, 1 something denied or the policy or capture is bad, 2 wrong usage.
    """
    *policies, capture = files
    if any_protocol == bool(policies):
        raise click.UsageError("give either a policy and a capture, or --any and a capture")
    if ports and not any_protocol:
        raise click.UsageError("--port goes with --any: a policy names its ports itself")
    tables = allow_everything(_ports(ports)) if any_protocol else _tables(policies)
    summary = Summary()
    failure: CaptureError | None = None
    try:
        for line in replay(capture, tables, any_protocol=any_protocol):
            summary.add(line)
            if as_json:
                click.echo(json.dumps(line.as_json()))
            else:
                _print(line)
    except CaptureError as error:
        failure = error
    if as_json:
        click.echo(json.dumps({"summary": summary.as_json()}))
    else:
        _print_summary(summary)
    if failure is not None:
        raise click.ClickException(str(failure))
    if summary.verdicts[Verdict.DENY.value]:
        raise SystemExit(1)


def _ports(options: tuple[str, ...]) -> dict[str, set[int]]:
    ports = {name: {protocol.port} for name, protocol in PROTOCOLS.items()}
    for option in options:
        name, _, number = option.partition("=")
        if name not in ports or not number.isdigit() or not 0 < int(number) < 65536:
            raise click.UsageError(f"--port {option}: expected {' or '.join(ports)}, =, and a port from 1 to 65535")
        ports[name].add(int(number))
    return ports


def _tables(policies: list[Path]) -> Tables:
    loaded = load_policy(policies)
    for problem in loaded.problems:
        if loaded.policy is None or problem.severity == "error":
            click.echo(str(problem), err=True)
    if loaded.policy is None:
        raise SystemExit(1)
    return compile_policy(loaded.policy)


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address or "-"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _print(line: Line) -> None:
    ends = f"{_end(line.source, line.source_port)} > {_end(line.destination, line.destination_port)}"
    why = line.reason.told(line.detail) if line.reason is not None else line.rule or ""
    units = "; ".join(_describe(unit) for unit in line.units)
    click.echo(f"{line.packet:>6} {line.verdict.value:<6} {ends}  {units}{'  ' if units and why else ''}{why}".rstrip())


def _describe(unit: dict[str, object]) -> str:
    rest = {key: value for key, value in unit.items() if key not in ("protocol", "kind", "function", "name", "reason")}
    words = [str(unit["protocol"]), str(unit["kind"]), str(unit.get("name") or unit.get("function") or "")]
    words += [f"{key} {_plain(rest.get(f'{key}_name', value))}" for key, value in rest.items() if key[-5:] != "_name"]
    return " ".join(word for word in words if word)


def _plain(value: object) -> str:
    """A value of a description on one line: mappings as key=value, lists joined."""
    if isinstance(value, dict):
        named = ((key, value.get(f"{key}_name", each)) for key, each in value.items() if key[-5:] != "_name")
        return " ".join(f"{key}={_plain(each)}" for key, each in named)
    if isinstance(value, list):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    return str(value)


def _print_summary(summary: Summary) -> None:
    click.echo(f"{summary.packets} packets: " + _counts(summary.verdicts))
    for title, counts in (("denied", summary.reasons), ("allowed by rule", summary.rules)):
        if counts:
            click.echo(f"{title}: {_counts(counts)}")
    for protocol, functions in sorted(summary.functions.items()):
        names = PROTOCOLS[protocol].functions
        listed = ", ".join(f"{names.name(number)} ({number}): {count}" for number, count in sorted(functions.items()))
        click.echo(f"{PROTOCOLS[protocol].title}: {listed}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
