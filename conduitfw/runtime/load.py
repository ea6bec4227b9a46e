"""Whether a queue is too long: more comes than is decided.

Read from the kernel's own figures, since a full socket is told to nobody. Too long is half of what a queue holds, or
anything that found no room. While it lasts, each source is limited, so that one cannot fill the queue alone, and each
flow to a part of that (kernel/ruleset.py), so that one session cannot take all that its source may send; at other
times nobody is. It is over when a queue has been short for a while: where the flood goes on, the limit that keeps the
queue short is taken away with it, and set again at once, so each time it is kept longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conduitfw.kernel.netlink_queue import LENGTH
from conduitfw.kernel.ruleset import per_flow
from conduitfw.runtime.messages import EngineKind

LOOK = 0.1  # seconds
SHORT_FOR = 5.0  # seconds until it is over, at first
LONGEST = 300.0
QUIET = 600.0  # seconds after which an earlier overload is forgotten


@dataclass
class _Queue:
    dropped: int = -1  # as last seen
    since: float | None = None  # when it got too long
    dropped_before: int = 0
    longest: int = 0
    times: int = 0


class Load:
    """Of all queues."""

    def __init__(self, numbers: Sequence[int], limit: int) -> None:
        """`limit`: packets per second of one source while a queue is too long; 0: none."""
        self._queues = {number: _Queue() for number in numbers}
        self._limit = limit
        self.per_source = 0  # the limit that should be in force
        self.next_look = 0.0
        self._short_since = 0.0
        self._patience = SHORT_FOR
        self._ended = 0.0

    def look(self, figures: Sequence[Mapping[str, int]], now: float) -> Iterator[tuple[EngineKind, dict[str, Any]]]:
        """Take in the kernel's figures (control.queue_figures); gives what is to be told."""
        self.next_look = now + LOOK
        for each in figures:
            queue = self._queues.get(each["queue"])
            if queue is None:
                continue
            waiting, dropped = each["waiting"], each["dropped_queue_full"] + each["dropped_socket_full"]
            grew = 0 <= queue.dropped < dropped
            queue.dropped = dropped
            queue.longest = max(queue.longest, waiting)
            if waiting >= LENGTH // 2 or grew:
                self._short_since = now
                if queue.since is None:
                    queue.since, queue.dropped_before, queue.longest = now, dropped - grew, waiting
                    queue.times += 1
                    limits = {"per_source": self._limit, "per_flow": per_flow(self._limit)}
                    yield EngineKind.OVERLOAD, {"queue": each["queue"], "waiting": waiting, **limits}
            elif waiting >= LENGTH // 4:
                self._short_since = now
        if any(queue.since is not None for queue in self._queues.values()):
            if not self.per_source and now - self._ended > QUIET:
                self._patience = SHORT_FOR
            self.per_source = self._limit
            if now - self._short_since >= self._patience:
                yield from self._end(now)

    def _end(self, now: float) -> Iterator[tuple[EngineKind, dict[str, Any]]]:
        for number, queue in self._queues.items():
            if queue.since is not None:
                seconds, dropped = now - queue.since, queue.dropped - queue.dropped_before
                queue.since = None
                yield (
                    EngineKind.OVERLOAD_OVER,
                    {"queue": number, "seconds": round(seconds, 1), "dropped": dropped, "longest": queue.longest},
                )
        self.per_source, self._ended = 0, now
        self._patience = min(LONGEST, 2 * self._patience)

    def describe(self) -> list[dict[str, Any]]:
        """For `status`."""
        return [
            {"queue": number, "now": queue.since is not None, "times": queue.times, "longest": queue.longest}
            for number, queue in self._queues.items()
        ]
