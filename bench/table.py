"""One run's figures as a table, beside what was aimed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.decision import CALM, YARDSTICK

TARGETS = {
    "latency p50": 1.10,
    "latency p99": 1.10,
    "latency p99.9": 1.50,
    "throughput per_second": 0.95,
}
DECISION_TARGETS = {
    ("modbus request", "compiled"): 0.5,
    ("dnp3 request", "compiled"): 1.0,
    ("modbus request", "plain Python"): 5.0,
    ("dnp3 request", "plain Python"): 10.0,
}


def markdown(found: dict[str, Any]) -> str:
    """All that was measured."""
    machine = found["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"load at the start {machine['load']:.1f}; {found['rounds']} rounds, medians.",
        "",
    ]
    if "bridge" in found:
        lines += [*_bridge(found["bridge"]), ""]
    if "decision" in found:
        lines += [*_decision(found["decision"]), ""]
    if "scaling" in found:
        lines += [*_scaling(found["scaling"]), ""]
    if "engine" in found:
        lines += [*_engine(found["engine"]), ""]
    if "bridge" in found:
        lines += [*_start_and_reload(found["bridge"]), ""]
    if "workers" in found:
        lines += [*_workers(found["workers"], machine["cores"]), ""]
    return "\n".join(lines)


def _bridge(bridge: dict[str, Any]) -> Iterator[str]:
    for ratios, other in (("ratios", "the C accept-all"), ("behind", "the C accept-all behind our ruleset")):
        yield f"Round trips of a poll, us, and the ratio to {other} in the same round:"
        yield ""
        yield "| | p50 | p99 | p99.9 | longest | polls a second, 32 connections | processor us a poll | under load |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        for name, way in bridge["ways"].items():
            cells = []
            for key in ("latency p50", "latency p99", "latency p99.9", "latency max", "throughput per_second"):
                cells.append(f"{way[key]:,.0f} ({way[ratios][key]:.2f} x)")
            for key in ("latency processor", "throughput processor"):
                cells.append(f"{way[key]:.1f} ({way[ratios][key]:.2f} x)")
            yield f"| {name} | " + " | ".join(cells) + " |"
        if ratios == "ratios":
            yield "| aimed at | 1.10 x | 1.10 x | 1.50 x | | 0.95 x | | |"
        yield ""


def _decision(decision: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "A decision alone, us (1,000 rules, 10 conduits, 100 flows), and while the machine was calm:"
    yield ""
    builds = list(decision)
    yield "| | " + " | ".join(f"{build} | aimed at" for build in builds) + " |"
    yield "| --- |" + " --- | --- |" * len(builds)
    for kind in decision[builds[0]]:
        if kind == "record" or kind.endswith((YARDSTICK, CALM)):
            continue
        cells = []
        for build in builds:
            found, target = decision[build], DECISION_TARGETS.get((kind, build))
            cells.append(f"{found[kind] / 1000:.2f} ({found[kind + CALM] / 1000:.2f})")
            cells.append("" if target is None else f"{target}")
        yield f"| {kind} | " + " | ".join(cells) + " |"


def _scaling(scaling: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    yield "The same, compiled, by size, while it was calm (aimed at: within 10 %):"
    yield ""
    yield "| | Modbus poll, us | its answer | DNP3 read | its answer | poll against the first |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for what, steps in scaling.items():
        first = next(iter(steps.values()))
        for step, found in steps.items():
            kinds = ("modbus request", "modbus answer", "dnp3 request", "dnp3 answer")
            cells = [f"{found[kind + CALM] / 1000:.2f}" for kind in kinds]
            ratio = found["modbus request" + CALM] / first["modbus request" + CALM]
            yield f"| {int(step):,} {what} | " + " | ".join(cells) + f" | {ratio:.2f} x |"


def _engine(engine: dict[str, Any]) -> Iterator[str]:
    yield "| | aimed at | " + " | ".join(engine) + " |"
    yield "| --- | --- |" + " --- |" * len(engine)
    rows: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("check 10,000 rules, s", "under 1 with the next", lambda e: f"{e['loading']['check']:.2f}"),
        ("compile them, s", "", lambda e: f"{e['loading']['compile']:.2f}"),
        ("record of a flow, bytes", "1,024", lambda e: f"{e['memory']['record']:,.0f}"),
        ("what its worker has beside it, bytes", "", lambda e: f"{e['memory']['resident']:,.0f}"),
        ("a million decisions: p99.99, us", "100", lambda e: f"{e['pauses']['p99.99']:.0f}"),
        ("the longest, us", "", lambda e: f"{e['pauses']['max']:,.0f}"),
    )
    for name, target, cell in rows:
        yield f"| {name} | {target} | " + " | ".join(cell(each) for each in engine.values()) + " |"


def _workers(workers: dict[str, Any], cores: int) -> Iterator[str]:
    yield f"Eight servers polled at once, compiled; {cores} processors for pollers, servers and workers together:"
    yield ""
    yield "| workers | polls a second | against one | packets that each decided |"
    yield "| --- | --- | --- | --- |"
    for count, each in workers.items():
        packets = ", ".join(f"{number:,}" for number in each["packets"])
        yield f"| {count} | {each['per_second']:,.0f} | {each['ratio']:.2f} x | {packets} |"


def _start_and_reload(bridge: dict[str, Any]) -> Iterator[str]:
    yield "| | aimed at | " + " | ".join(bridge["memory"]) + " |"
    yield "| --- | --- |" + " --- |" * len(bridge["memory"])
    memory = [f"{each['pss_mb']:.0f} ({each['processes']:.0f} processes)" for each in bridge["memory"].values()]
    yield "| memory at the start, 1,000 rules, MB | 60 | " + " | ".join(memory) + " |"
    reloads = list(bridge["reload"].values())
    yield "| reload of 10,000 rules, s | | " + " | ".join(f"{each['seconds']:.1f}" for each in reloads) + " |"
    longest = [f"{each['longest_us']:,.0f} ({each['longest_without_us']:,.0f})" for each in reloads]
    yield "| longest round trip meanwhile, us (for as long without a reload) | | " + " | ".join(longest) + " |"
    longest = [f"{each['end_us']:,.0f} ({each['end_without_us']:,.0f})" for each in reloads]
    yield "| at its end, with the swap (for as long without) | 1,000 more | " + " | ".join(longest) + " |"
