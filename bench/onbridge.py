"""Round trips over the bridge: every way between the zones stands at once, and is measured in turn, round by round."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.policies import policy
from bench.reload import reload
from bench.variants import Way, Ways
from conduitfw.demo.show import Firewall

RULES, SESSIONS, CONNECTIONS = 1000, 100, 32
POLLS, MILLIS = 10_000, 1500
BUSY_POLL = 50  # us
FLOOR, BEHIND = "C accept-all", "C accept-all behind our ruleset"
Progress = Callable[[str], None]


def measure(trees: dict[str, Path], rounds: int, progress: Progress) -> dict[str, Any]:
    """Latency and throughput of every way, paired with the floor in every round; memory; a reload under load.

    `trees`: by name, the folders that hold the package conduitfw in the builds to be measured; the last one with busy
    polling, too.
    """
    with tempfile.TemporaryDirectory() as folder, Ways(Path(folder)) as ways:
        progress("setting up the zones")
        all_ways = [
            ways.nothing(SESSIONS),
            ways.c_accepts_all(SESSIONS),
            ways.c_accepts_all_behind(policy(RULES), SESSIONS),
            ways.python_accepts_all(SESSIONS),
            *(ways.conduitfw(name, policy(RULES), SESSIONS, tree=tree) for name, tree in trees.items()),
        ]
        name, tree = list(trees.items())[-1]
        busy = f"{name}, --busy-poll {BUSY_POLL}"
        all_ways.append(ways.conduitfw(busy, policy(RULES), SESSIONS, "--busy-poll", str(BUSY_POLL), tree=tree))
        memory = {way.name: _memory(way.firewall) for way in all_ways if way.firewall is not None}
        runs: dict[str, list[dict[str, Any]]] = {way.name: [] for way in all_ways}
        for number in range(rounds):
            # Each round begins with another one, so that nobody always comes behind the same neighbour.
            for way in all_ways[number % len(all_ways) :] + all_ways[: number % len(all_ways)]:
                progress(f"round {number + 1} of {rounds}: {way.name}")
                before = _counted(way)
                clocks = [way.ran()]
                latency = way.measure(f"latency {POLLS}")
                clocks.append(way.ran())
                load = way.measure(f"throughput {MILLIS} {CONNECTIONS}")
                clocks.append(way.ran())
                for found, spent in ((latency, clocks[1] - clocks[0]), (load, clocks[2] - clocks[1])):
                    found["processor"] = spent * 1e6 / found["count"]
                _check(way, before, latency["count"] + load["count"])
                runs[way.name].append({"latency": latency, "throughput": load})
        progress("a reload of 10,000 rules under polls")
        reloads = {way.name: reload(way, 10_000) for way in all_ways if way.firewall is not None}
    return {"ways": {name: _digest(name, runs) for name in runs}, "memory": memory, "reload": reloads}


def _digest(name: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the rounds, and the medians of the ratios to the floors in the same round."""
    found: dict[str, Any] = {"ratios": {}, "behind": {}}
    for kind, keys in (
        ("latency", ("p50", "p99", "p99.9", "max", "processor")),
        ("throughput", ("per_second", "p50", "p99", "processor")),
    ):
        for key in keys:
            own = [run[kind][key] for run in runs[name]]
            found[f"{kind} {key}"] = statistics.median(own)
            for ratios, other in (("ratios", FLOOR), ("behind", BEHIND)):
                floor = [run[kind][key] for run in runs[other]]
                found[ratios][f"{kind} {key}"] = statistics.median(
                    a / b if b else 0.0 for a, b in zip(own, floor, strict=True)
                )
    buckets: dict[float, int] = {}
    for run in runs[name]:
        for edge, count in run["latency"]["histogram"]:
            buckets[edge] = buckets.get(edge, 0) + count
    found["histogram"] = sorted(buckets.items())
    found["rounds"] = [
        {"p50": run["latency"]["p50"], "p99": run["latency"]["p99"], "per_second": run["throughput"]["per_second"]}
        for run in runs[name]
    ]
    return found


def _counted(way: Way) -> int:
    return 0 if way.firewall is None else int(way.firewall.status()["engine_counters"].get("accepted", 0))


def _check(way: Way, before: int, polls: int) -> None:
    """What was measured was decided: a request and an answer for every poll at the least. Raises OSError."""
    if way.firewall is None:
        return
    time.sleep(0.3)  # workers publish their figures at every tick
    decided = _counted(way) - before
    if decided < 2 * polls:
        raise OSError(f"{way.name}: {polls} polls, but only {decided} packets were accepted by the engine")


def processes(firewall: Firewall) -> Iterator[int]:
    """The firewall's processes."""
    waiting = [firewall.process.pid]
    while waiting:
        pid = waiting.pop()
        yield pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                waiting += [int(word) for word in (task / "children").read_text().split()]


def _memory(firewall: Firewall) -> dict[str, float]:
    """Megabytes of all processes together: each page once (proportional share), and what is theirs alone."""
    total = {"Pss": 0.0, "Private_Dirty": 0.0}
    count = 0
    for pid in processes(firewall):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in total:
                    total[name] += int(rest.split()[0]) / 1024
            count += 1
    return {"processes": count, "pss_mb": total["Pss"], "private_dirty_mb": total["Private_Dirty"]}
