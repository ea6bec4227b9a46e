"""For tests: a worker that kills itself at a point of the pipeline. Nothing of this is loaded otherwise.

CONDUITFW_KILL_POINTS names a folder. A file POINT in it, which holds some bytes, kills the worker when a packet with
these bytes comes to that point, once: the file is taken away first. `always-POINT` kills every time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conduitfw import verdict

# In the order in which a packet meets them.
POINTS = ("received", "decoded", "marked", "inspected", "writing", "written", "verdict", "emitted", "done")


def arm(folder: str, worker: Any, pipeline: Any) -> None:
    """Put the points around the stages of a worker that is about to serve."""
    at = _Points(Path(folder))
    decide, judge, send = worker._decide, worker._judge, worker._send
    mark, write, save = pipeline.flows.mark, pipeline.flows._write, pipeline.flows.save

    def receive(packet: Any) -> None:
        at.payload = packet.payload
        decide(packet)
        at.reach("done")

    def judged(packet: Any, payload: bytes, now: float) -> None:
        at.reach("received")
        judge(_Packet(packet, at), payload, now)

    def emit(emissions: Any) -> None:
        send(emissions)
        if emissions:
            at.reach("emitted")

    def half_write(flow: Any) -> None:
        if at.armed("writing"):  # the mark of a record that is being written, and half of it
            start = pipeline.flows._at(flow.slot)
            before = bytes(pipeline.flows._memory[start : start + 4096])
            write(flow)
            pipeline.flows._memory[start + 200 : start + 4096] = before[200:]
            pipeline.flows._memory[start] = 3
            at.reach("writing")
        write(flow)

    def saved(flow: Any) -> None:
        at.reach("inspected")
        save(flow)
        at.reach("written")

    worker._judge, worker._send = judged, emit
    worker._inlet.take = receive
    pipeline.flows.mark = _then(mark, lambda: at.reach("marked"))
    pipeline.flows._write, pipeline.flows.save = half_write, saved
    names = vars(verdict)
    names["decode"] = _then(names["decode"], lambda: at.reach("decoded"))


def _then(first: Callable[..., Any], afterwards: Callable[[], None]) -> Callable[..., Any]:
    def both(*words: Any, **named: Any) -> Any:
        result = first(*words, **named)
        afterwards()
        return result

    return both


class _Packet:
    """A packet whose verdict is a point."""

    def __init__(self, packet: Any, at: _Points) -> None:
        self._packet, self._at = packet, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def accept(self, *words: Any, **named: Any) -> None:
        self._packet.accept(*words, **named)
        self._at.reach("verdict")

    def drop(self) -> None:
        self._packet.drop()
        self._at.reach("verdict")


class _Points:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.payload = b""

    def armed(self, point: str) -> Path | None:
        for name in (point, f"always-{point}"):
            path = self._folder / name
            if path.exists() and path.read_bytes() in self.payload:
                return path
        return None

    def reach(self, point: str) -> None:
        path = self.armed(point)
        if path is None:
            return
        if not path.name.startswith("always-"):
            path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
