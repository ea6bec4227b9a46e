"""Where the slowest round trips spend their time: who had the processors meanwhile, beside those in the middle.

`python -m bench.tail [--tree PATH] [--polls N] [--rounds N]`: polls one at a time, through a C program that accepts
everything and through the firewall, while `perf sched` records who runs (same clock). For each round trip of the
slowest hundredth, and for those around the median: the time of each kind of process within it, on all processors
together, and how long whoever gives verdicts was awake and waited for a processor. Needs root, a C compiler and perf.
"""

from __future__ import annotations

import argparse
import bisect
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.onbridge import processes
from bench.policies import policy
from bench.variants import Way, Ways

VERDICTS, OURS, ENDS, KERNEL, OTHERS, IDLE = (
    "gives verdicts", "firewall's other processes", "poller and PLC", "kernel's threads", "others", "idle",
)  # fmt: skip
WAITING = "verdicts wait for a processor"
KINDS = (VERDICTS, OURS, ENDS, KERNEL, OTHERS, IDLE, WAITING)
# perf sched timehist: when it was switched out (s), processor, who, waited, was awake and waited, ran (ms)
_LINE = re.compile(r"\s*([\d.]+) \[\d+\]\s+(.+?)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s*$")
_THREAD = re.compile(r"\[(\d+)(?:/(\d+))?\]$")
_KERNELS = re.compile(r"(ksoftirqd|rcu_|kworker|migration|kdamond|kcompactd|cpuhp|idle_inject)")


@dataclass(frozen=True)
class Run:
    """A process on a processor, seconds of CLOCK_MONOTONIC."""

    began: float
    ended: float
    kind: str


def runs(text: str, kind_of: dict[int, str]) -> Iterator[Run]:
    """Of what `perf sched timehist` prints. `kind_of`: by process id."""
    for line in text.splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        ended, who, _, delay, ran = found.groups()
        at, ran_for, delayed = float(ended), float(ran) / 1e3, float(delay) / 1e3
        thread = _THREAD.search(who)
        pid = int(thread[2] or thread[1]) if thread else 0
        kind = IDLE if who == "<idle>" else kind_of.get(pid, KERNEL if _KERNELS.match(who) else OTHERS)
        yield Run(at - ran_for, at, kind)
        if kind == VERDICTS and delayed:
            yield Run(at - ran_for - delayed, at - ran_for, WAITING)


def shares(polls: Sequence[tuple[float, float]], timeline: Sequence[Run]) -> dict[str, float]:
    """Microseconds a poll of each kind, on average. `polls`: when they began, and how long they took (us)."""
    total: dict[str, float] = defaultdict(float)
    ordered = sorted(timeline, key=lambda run: run.ended)
    ends = [run.ended for run in ordered]
    longest = max((run.ended - run.began for run in ordered), default=0.0)
    for began, took in polls:
        first, last = began / 1e6, (began + took) / 1e6
        for run in ordered[bisect.bisect_left(ends, first) :]:
            if run.ended > last + longest:
                break
            total[run.kind] += max(0.0, min(last, run.ended) - max(first, run.began)) * 1e6
    return {kind: total[kind] / len(polls) for kind in KINDS}


def traced(way: Way, polls: int, folder: Path) -> tuple[list[tuple[float, float]], list[Run]]:
    """Polls through one way, and who ran meanwhile."""
    data = folder / "perf.data"
    perf = subprocess.Popen(
        ["perf", "sched", "record", "-k", "CLOCK_MONOTONIC", "-o", str(data)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1.5)
        found = way.trace(polls)
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait()
    way.ran()
    kind_of = dict.fromkeys((way.poller.pid, way.answering), ENDS)
    if way.firewall is not None:
        kind_of |= dict.fromkeys(processes(way.firewall), OURS)
    kind_of[way.queueing] = VERDICTS
    listed = subprocess.run(
        ["perf", "sched", "timehist", "-i", str(data)], capture_output=True, text=True, check=True
    ).stdout
    return found, list(runs(listed, kind_of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, default=Path.cwd())
    parser.add_argument("--polls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}; us a round trip, on all processors together")
    for number in range(given.rounds):
        for name in ("C accept-all", "conduitfw"):  # one stands at a time: the other's processes would be in the way
            with tempfile.TemporaryDirectory() as folder, Ways(Path(folder)) as ways:
                standing = {
                    "C accept-all": lambda: ways.c_accepts_all(100),
                    "conduitfw": lambda: ways.conduitfw("conduitfw", policy(1000), 100, tree=given.tree),
                }
                way = standing[name]()
                time.sleep(2.0)
                polls, timeline = traced(way, given.polls, Path(folder))
            by_time = sorted(polls, key=lambda poll: poll[1])
            count = len(by_time)
            parts = {"around the median": by_time[count * 49 // 100 : count * 51 // 100],
                     "the slowest hundredth": by_time[count * 99 // 100 :]}  # fmt: skip
            for part, chosen in parts.items():
                took = sum(poll[1] for poll in chosen) / len(chosen)
                each = ", ".join(f"{kind} {us:.0f}" for kind, us in shares(chosen, timeline).items())
                print(
                    f"{number + 1} {name}, {part} ({took:.0f} us; p99 {by_time[count * 99 // 100][1]:.0f}): {each}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
