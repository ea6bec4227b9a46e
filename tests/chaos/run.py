"""One kind of fault, as often as it is asked for, and what came of it."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from conduitfw.observe.events import WINDOW
from tests.chaos.bench import Bench, Figures
from tests.chaos.events import Tally
from tests.chaos.faults import Fault


@dataclass
class Result:
    """What is kept of a run. Times in seconds, memory in KB."""

    fault: str
    count: int = 0
    seconds: float = 0.0
    answers: int = 0
    tried: int = 0  # forbidden requests
    executed_closed: int = 0  # by the server, of a conduit that fails closed
    executed_static: int = 0
    lost: dict[str, int] = field(default_factory=dict)  # sessions reset or stuck, by name
    stuck: int = 0  # of these: without an answer for too long, not reset
    ended: dict[str, int] = field(default_factory=dict)  # by the firewall, as the event log says: by reason
    broken: int = 0  # of these: where the design says none
    sent_again: int = 0  # times that TCP waited for an acknowledgement in vain
    gaps: dict[str, float] = field(default_factory=dict)  # by session
    recovery: list[float] = field(default_factory=list)
    denials: int = 0  # answered by the firewall, as the clients saw them
    told: int = 0  # and in the event log
    lost_counted: int = 0
    lost_uncounted: int = 0
    silent: int = 0  # workers that the supervisor killed for their silence
    memory: dict[str, list[int]] = field(default_factory=dict)  # by process: before, after

    def plain(self) -> dict[str, Any]:
        """For JSON: recoveries as median, 99th percentile and longest."""
        found = asdict(self)
        times = sorted(self.recovery)
        found["recovery"] = (
            {"median": statistics.median(times), "p99": times[int(len(times) * 0.99)], "longest": times[-1]}
            if times
            else None
        )
        return found


class Runner:
    """Makes faults on one bench, and takes the figures."""

    def __init__(self, bench: Bench, seed: int = 1) -> None:
        self._bench = bench
        self._dice = random.Random(seed)
        self._tally = Tally(bench.events)
        self._denials = 0  # that clients met, since the load began

    def counted(self, fault: Fault, count: int) -> Result:
        """`run`, and what the event log tells of it."""
        self._bench.settle()
        self.quiet()
        told, lost, silent = self._tally.denials, self._tally.lost, self._tally.actions["worker-silent"]
        ended = self._tally.ended.copy()
        result = self.run(fault, count)
        self.quiet()
        result.ended = dict(self._tally.ended - ended)
        result.silent = self._tally.actions["worker-silent"] - silent
        result.told, result.lost_counted = self._tally.denials - told, self._tally.lost - lost
        result.lost_uncounted = max(0, result.denials - result.told - result.lost_counted)
        return result

    def run(self, fault: Fault, count: int) -> Result:
        """Raises AssertionError or TimeoutError where something does not come back."""
        bench, result = self._bench, Result(fault.name)
        bench.settle()
        bench.forbidden()
        memory, again = bench.firewall.resident(), bench.sent_again()
        self._ask()
        self._ask("loud")
        began = time.monotonic()
        for seconds in fault.make(bench, count, self._dice):
            result.count += 1
            if seconds is not None:
                result.recovery.append(seconds)
            self._take(fault, result)
        time.sleep(1.0)
        self._take(fault, result)
        result.seconds = time.monotonic() - began
        result.sent_again = bench.sent_again() - again
        self._take(fault, result, "quiet")
        bench.settle()
        self._take(fault, result)
        after = bench.firewall.resident()
        result.memory = {name: [memory[name], after.get(name, 0)] for name in sorted(memory)}
        if fault.name == "mixed":
            result.count = count
        return result

    def _take(self, fault: Fault, result: Result, order: str = "") -> None:
        self._tally.read()
        for name, each in self._ask(order).items():
            result.answers += each["answers"]
            result.tried += each["tried"]
            result.denials += each["refused"]
            gone = each["resets"] + each["stuck"]
            result.stuck += each["stuck"]
            if gone:
                result.lost[name] = result.lost.get(name, 0) + gone
                result.broken += gone if name in fault.keeps else 0
            result.gaps[name] = max(result.gaps.get(name, 0.0), each["gap"])
        executed = self._bench.forbidden()
        result.executed_closed += executed["plc"]
        result.executed_static += executed["rtu"]

    @property
    def unaccounted(self) -> int:
        """Of all denials, those that the log neither tells nor counts as lost."""
        return max(0, self._denials - self._tally.denials - self._tally.lost)

    def _ask(self, order: str = "") -> Figures:
        found = self._bench.take(order)
        self._denials += sum(each["refused"] for each in found.values())
        return found

    def quiet(self) -> None:
        """No forbidden requests until all windows of folded events have ended and are told."""
        self._ask("quiet")
        time.sleep(WINDOW + 1.5)
        self._tally.read()
