"""For tests: a worker that kills itself at a point of the pipeline. Nothing of this is loaded otherwise.

CONDUITFW_KILL_POINTS names a folder. A file POINT in it, which holds some bytes, kills the worker when a packet with
these bytes comes to that point, once: the file is taken away first. `always-POINT` kills every time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from conduitfw import flow, record
from conduitfw.denial import Emission
from conduitfw.flow import Flow
from conduitfw.kernel.netlink_queue import Packet
from conduitfw.record import Records
from conduitfw.runtime import worker
from conduitfw.runtime.hand import Hand

# In the order in which a packet meets them. `torn`: what seldom changes is half written, the record marked so; what was
# there before is what was promised. `unsent`: the verdict is found and waits to be sent with others; `verdict`: the
# kernel has it.
POINTS = (
    "received", "decoded", "marked", "inspected", "writing", "torn", "written", "unsent", "verdict", "emitted", "done",
)  # fmt: skip


def place(folder: str) -> None:
    """Put the points around the stages of every worker of this process: compiled or not, they are subclasses."""
    at = _Points(Path(folder))

    class PointedPacket(Packet):
        """A packet whose verdict is a point."""

        def __init__(self, packet: Packet) -> None:
            super().__init__(packet._queue)
            self.number, self.mark, self.ifindex = packet.number, packet.mark, packet.ifindex
            self.mac, self.payload = packet.mac, packet.payload

        def accept(self, mark: int, payload: bytes | None = None) -> None:
            super().accept(mark, payload)
            self._given()

        def drop(self) -> None:
            super().drop()
            self._given()

        def _given(self) -> None:
            at.reach("unsent")
            self.flush()
            at.reach("verdict")

    class PointedHand(Hand):
        """What a worker does with a packet."""

        def take(self, packet: Packet) -> None:
            at.payload = packet.payload
            super().take(PointedPacket(packet))
            at.reach("done")

        def _judge(self, packet: Packet, payload: bytes, now: float) -> None:
            at.reach("received")
            super()._judge(packet, payload, now)

        def send(self, emissions: Sequence[Emission]) -> None:
            super().send(emissions)
            if emissions:
                at.reach("emitted")

    class PointedRecords(Records):
        """What is written of a flow."""

        def mark(self, flow: Flow) -> None:
            at.reach("decoded")
            super().mark(flow)
            at.reach("marked")

        def write(self, flow: Flow) -> None:
            at.reach("inspected")
            self._tear(flow)
            super().write(flow)
            at.reach("written")

        def write_ordinary(self, flow: Flow, packed: bytes) -> bool:
            at.reach("inspected")
            self._tear(flow)
            before = bytes(self.memory[flow.at : flow.at + 2])
            done = super().write_ordinary(flow, packed)
            if done:
                if at.armed("writing"):  # all but the two octets that make it count
                    self.memory[flow.at : flow.at + 2] = before
                    at.reach("writing")
                at.reach("written")
            return done

        def _write_seldom(self, flow: Flow, half: int) -> None:
            at.reach("writing")  # the half that nobody reads yet is there
            super()._write_seldom(flow, half)

        def _tear(self, flow: Flow) -> None:
            if at.armed("torn"):
                place, size = flow.at + record._SELDOM_AT, record._SELDOM_STRUCT.size
                self._promise(flow, flow.half, bytes(self.memory[place : place + size]))
                self.memory[place : place + size // 2] = bytes(size // 2)
                at.reach("torn")

    # The names that their makers look up: a module of either build has them in its dictionary.
    vars(worker)["Hand"], vars(flow)["Records"] = PointedHand, PointedRecords


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
