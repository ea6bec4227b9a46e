"""For tests: a worker that kills itself at a point of the pipeline. Nothing of this is loaded otherwise.

CONDUITFW_KILL_POINTS names a folder. A file POINT in it, which holds some bytes, kills the worker when a packet with
these bytes comes to that point, once: the file is taken away first. `always-POINT` kills every time.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from conduitfw import record

# In the order in which a packet meets them. `torn`: what seldom changes is half written, and the record marked so.
# `unsent`: the verdict is found and waits to be sent with others; `verdict`: the kernel has it.
POINTS = (
    "received", "decoded", "marked", "inspected", "writing", "torn", "written", "unsent", "verdict", "emitted", "done",
)  # fmt: skip


def arm(folder: str, worker: Any, pipeline: Any) -> None:
    """Put the points around the stages of a worker that is about to serve."""
    at = _Points(Path(folder))
    records = pipeline.flows.records
    hand = worker._hand
    take, judge, send = hand.take, hand._judge, hand.send
    mark, write, write_ordinary, write_seldom = (
        records.mark,
        records.write,
        records.write_ordinary,
        records._write_seldom,
    )

    def receive(packet: Any) -> None:
        at.payload = packet.payload
        take(packet)
        at.reach("done")

    def judged(packet: Any, payload: bytes, now: float) -> None:
        at.reach("received")
        judge(_Packet(packet, at), payload, now)

    def emit(emissions: Any) -> None:
        send(emissions)
        if emissions:
            at.reach("emitted")

    def marked(flow: Any) -> None:
        at.reach("decoded")
        mark(flow)
        at.reach("marked")

    def tear(flow: Any) -> None:
        if at.armed("torn"):
            records._octets[flow.at] = record.WRITING
            at.reach("torn")

    def half_written(flow: Any) -> None:
        at.reach("writing")  # the half that nobody reads yet is there
        write_seldom(flow)

    def written(flow: Any) -> None:
        at.reach("inspected")
        tear(flow)
        write(flow)
        at.reach("written")

    def written_at_once(flow: Any, packed: bytes) -> bool:
        at.reach("inspected")
        tear(flow)
        before = bytes(records._octets[flow.at : flow.at + 2])
        done = write_ordinary(flow, packed)
        if done:
            if at.armed("writing"):  # all but the two octets that make it count
                records._octets[flow.at : flow.at + 2] = before
                at.reach("writing")
            at.reach("written")
        return bool(done)

    hand._judge, hand.send = judged, emit
    for queue in worker._queues:
        queue.take = receive
    records.mark, records._write_seldom = marked, half_written
    records.write, records.write_ordinary = written, written_at_once


class _Packet:
    """A packet whose verdict is a point."""

    def __init__(self, packet: Any, at: _Points) -> None:
        self._packet, self._at = packet, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def accept(self, *words: Any, **named: Any) -> None:
        self._packet.accept(*words, **named)
        self._given()

    def drop(self) -> None:
        self._packet.drop()
        self._given()

    def _given(self) -> None:
        self._at.reach("unsent")
        self._packet.flush()
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
