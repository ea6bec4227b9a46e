"""A worker: receives packets, has them decided, carries the verdict out. Nothing else.

It opens no file, takes no lock, asks no name server and waits for nobody: what people should know
goes to the control process over a socket that never blocks, or is counted as lost.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from conduitfw.denial import Emission
from conduitfw.flow import Flow, FlowTable, Memory
from conduitfw.kernel.marks import VERDICT
from conduitfw.policy.compile import Tables
from conduitfw.policy.ledger import Ledger
from conduitfw.runtime.figures import Figures
from conduitfw.runtime.messages import EngineKind, Notifier, Order, Report, receive, send, serving
from conduitfw.runtime.quarantine import PATIENCE, QUARANTINE_SECONDS, Place, Quarantine, place_of
from conduitfw.runtime.shared import HAND_ROOM, Counter, Slot
from conduitfw.verdict import Pipeline

TICK = 0.1  # seconds: the step of its time-outs
BEAT = 0.05  # seconds: the longest that a worker waits for a packet, and so between two signs of life
_ERROR_NOTICE_EVERY = 1.0  # seconds: a packet that makes the engine fail may come a thousand times

# Read and written once a packet: plain numbers are looked up faster than members of an enum.
_PACKETS, _FORWARDED, _CHANGED = int(Counter.PACKETS), int(Counter.FORWARDED), int(Counter.CHANGED)
_DROPPED, _ERRORS = int(Counter.DROPPED), int(Counter.ENGINE_ERRORS)
_QUARANTINED = int(Counter.QUARANTINED)
_SENT, _UNSENT = int(Counter.EMISSIONS), int(Counter.EMISSIONS_FAILED)


class QueuedPacket(Protocol):
    """One packet that the kernel waits for a verdict on (kernel/nfqueue.py)."""

    @property
    def payload(self) -> bytes: ...
    @property
    def mark(self) -> int: ...
    @property
    def ifindex(self) -> int: ...
    @property
    def mac(self) -> bytes: ...
    def accept(self, payload: bytes | None = None, mark: int | None = None) -> None: ...
    def drop(self) -> None: ...


class BoundQueue(Protocol):
    """A queue that the supervisor has bound (kernel/nfqueue.py)."""

    def fileno(self) -> int: ...
    def service(self) -> object: ...
    def drop_undecided(self) -> object: ...
    def let_go(self) -> object: ...
    def hand_over(self) -> int: ...


class Transmitter(Protocol):
    """Sends packets of our own (kernel/emit.py). False where it could not."""

    def send(self, emission: Emission) -> bool: ...


class Inlet:
    """The callback that the supervisor binds its queues with: whoever serves them sets `take`."""

    def __init__(self) -> None:
        self.take: Callable[[QueuedPacket], None] = self._nobody

    def __call__(self, packet: QueuedPacket) -> None:
        self.take(packet)

    @staticmethod
    def _nobody(packet: QueuedPacket) -> None:
        """The supervisor reads no packets; if it did, none of them was decided."""
        packet.drop()


class Worker:
    """One process's engine over the queues that it serves."""

    def __init__(
        self,
        queues: Sequence[BoundQueue],
        inlet: Inlet,
        tables: Tables,
        flow_memory: Memory,
        ledger_memory: Memory,
        slots: Sequence[Slot],
        notices: socket.socket,
        transmitter: Transmitter,
    ) -> None:
        """`slots`: of all workers' places; the order to serve says which is ours."""
        self._queues = queues
        self._inlet = inlet
        self._tables = tables
        self._flow_memory = flow_memory
        self._ledger_memory = ledger_memory
        self._slots = slots
        self._notices = notices
        self._transmitter = transmitter
        self._arm: Callable[[Worker, Pipeline], None] | None = None
        if folder := os.environ.get("CONDUITFW_KILL_POINTS"):  # tests: this process kills itself where they say
            from conduitfw.runtime import kill_points

            self._arm = partial(kill_points.arm, folder)

    def run(self, orders: socket.socket) -> None:
        """Wait for the order to serve, and serve until the order to leave. Runs in the forked process."""
        self._warm_up()
        gc.collect()
        gc.freeze()
        gc.disable()  # the packet path makes no cycles, and a collection would be a pause
        orders.setblocking(True)
        send(orders, Report.READY)
        order = orders.recv(16)
        orders.setblocking(False)
        if order[:1] in (Order.SERVE, Order.TAKE_OVER):
            self._begin(self._slots[order[1]], after_death=order[:1] == Order.TAKE_OVER)
            send(orders, serving(time.monotonic()))
            self._serve(orders)
        send(orders, Report.LEFT)

    def _warm_up(self) -> None:
        """Touch what is needed at the order to serve: a page costs as much as a packet for the first time."""
        for memory in (self._flow_memory, self._ledger_memory):
            bytes(memory[:: mmap.PAGESIZE])
        scratch = FlowTable(bytearray(FlowTable.memory_size(16)))
        Pipeline(self._tables, scratch, lambda notice: None, Ledger()).tick(0.0)

    def _begin(self, slot: Slot, *, after_death: bool) -> None:
        self._slot = slot
        self._counters = slot.counters
        self._notifier = Notifier(self._notices, slot, self._tables.policy)
        self._error_told = 0.0
        now = time.monotonic()
        slot.beat(now)
        slot.counters[Counter.STARTS] += 1
        self._quarantine = Quarantine(slot.quarantine, now)
        self._base = slot.published()
        if after_death:
            for queue in self._queues:
                queue.drop_undecided()
            slot.counters[Counter.UNDECIDED] += 1
        # Only now: as long as the predecessor served, it changed the records.
        ledger = Ledger(self._ledger_memory)
        self._pipeline = Pipeline(self._tables, FlowTable(self._flow_memory), self._notifier.flow, ledger)
        if after_death:
            self._look_at_what_killed(now)
        self._figures = Figures(self._pipeline.flows)
        # A policy may have come with us: sessions that it does not allow end here, between two packets.
        # A failure in here opens nothing: flows that it did not reach are looked up anew by their next packet.
        self._timed(partial(self._pipeline.swap, self._tables, now), now)
        self._timed(partial(self._pipeline.end_suspects, now), now)  # what a predecessor's last packet belonged to
        self._inlet.take = self._decide
        if self._arm is not None:
            self._arm(self, self._pipeline)

    def _look_at_what_killed(self, now: float) -> None:
        """What a predecessor had in hand when it died: again and again is no accident."""
        head = self._slot.left_in_hand()
        self._slot.hand[0] = 0
        place = place_of(head)
        if place is None:
            return
        flow = self._flow_of(place)
        if flow is not None and flow.deaths:
            return  # its record was marked, and has counted
        deaths = self._quarantine.blame(place.name if flow is None else place.key + place.sequence, now)
        if deaths < PATIENCE:
            return
        if flow is not None:
            self._quarantine.shut_out(place.key, now)
            self._pipeline.flows.suspects.append(flow)
        detail = {"source": place.source, "destination": place.destination, "port": place.destination_port}
        self._notifier.engine(
            EngineKind.QUARANTINE, **detail, deaths=deaths, seconds=QUARANTINE_SECONDS, packet=head.hex()
        )

    def _flow_of(self, place: Place) -> Flow | None:
        return self._pipeline.flows.find(place.transport, place.key)

    def _quarantined(self, payload: bytes, now: float) -> Place | None:
        """Where this packet goes, if it is shut out."""
        place = place_of(payload)
        if place is None:
            return None
        if self._quarantine.holds(place.key, now):
            return place
        return place if self._quarantine.holds(place.name, now) and self._flow_of(place) is None else None

    def _is_watched(self, place: Place) -> bool:
        """Whether the conduit of the two ends is only monitored, whichever of them sent this."""
        half = (len(place.key) - 4) // 2
        source, destination = place.key[:half], place.key[half:-4]
        ports = int.from_bytes(place.key[-4:-2], "big"), int.from_bytes(place.key[-2:], "big")
        tables = self._pipeline.tables
        channel = tables.channel(place.transport, source, destination, ports[1]) or tables.channel(
            place.transport, destination, source, ports[0]
        )
        return channel is not None and channel.monitor

    def _serve(self, orders: socket.socket) -> None:
        poll = select.poll()
        for queue in self._queues:
            poll.register(queue.fileno(), select.POLLIN)
        poll.register(orders.fileno(), select.POLLIN)
        by_descriptor = {queue.fileno(): queue for queue in self._queues}
        slot, wait = self._slot, int(BEAT * 1000)
        next_tick = 0.0
        while True:
            ready = poll.poll(0 if self._pipeline.flows.unread else wait)
            for descriptor, _ in ready:
                if descriptor in by_descriptor:
                    by_descriptor[descriptor].service()
                elif receive(orders) is not None:  # the order to leave, or nobody there to give one
                    self._publish()
                    return
            now = time.monotonic()
            slot.beat(now)
            if self._pipeline.flows.unread:
                self._timed(partial(self._pipeline.take_up, now), now)
            if now >= next_tick:
                next_tick = now + TICK
                self._timed(partial(self._pipeline.tick, now), now)
                if self._quarantine.active:
                    self._quarantine.expire(now)
                self._publish()

    def _decide(self, packet: QueuedPacket) -> None:
        """One packet. Raises nothing: what cannot be decided is dropped, and told."""
        now = time.monotonic()
        counters = self._counters
        hand, payload = self._slot.hand, packet.payload
        head = payload[:HAND_ROOM]
        # If this process dies in here, its successor knows of what.
        hand[2 : 2 + len(head)] = head
        hand[1] = len(head)
        hand[0] = 1
        self._slot.beat(now)
        counters[_PACKETS] += 1
        if self._quarantine.active and (place := self._quarantined(payload, now)) is not None:
            counters[_QUARANTINED] += 1
            if self._is_watched(place):  # who only watches stops nothing, and need not look
                counters[_FORWARDED] += 1
                packet.accept(mark=packet.mark | VERDICT)
            else:
                counters[_DROPPED] += 1
                packet.drop()
        else:
            self._judge(packet, payload, now)
        hand[0] = 0

    def _judge(self, packet: QueuedPacket, payload: bytes, now: float) -> None:
        counters = self._counters
        mark = packet.mark
        try:
            outcome = self._pipeline.decide(payload, now, packet.ifindex, packet.mac, mark)
        except Exception as error:  # noqa: BLE001
            packet.drop()
            counters[_ERRORS] += 1
            self._tell_error(error, now)
            return
        if outcome.forward:
            counters[_FORWARDED] += 1
            if outcome.payload is None:
                packet.accept(mark=mark | VERDICT)
            else:
                counters[_CHANGED] += 1
                packet.accept(outcome.payload, mark | VERDICT)
        else:
            counters[_DROPPED] += 1
            packet.drop()
        if outcome.emissions:
            self._send(outcome.emissions)

    def _send(self, emissions: Sequence[Emission]) -> None:
        for emission in emissions:
            if self._transmitter.send(emission):
                self._counters[_SENT] += 1
            else:
                self._counters[_UNSENT] += 1

    def _timed(self, step: Callable[[], Sequence[Emission]], now: float) -> None:
        """A step that is no packet's: its failure is counted and told, and ends nobody."""
        try:
            self._send(step())
        except Exception as error:  # noqa: BLE001
            self._counters[_ERRORS] += 1
            self._tell_error(error, now)

    def _publish(self) -> None:
        """The pipeline's counters, added to what predecessors in this place had counted."""
        totals = dict(self._base)
        for name, value in self._pipeline.counters.items():
            totals[name] = totals.get(name, 0) + value
        flows = self._pipeline.flows
        totals["flows_refused_table_full"] = self._base.get("flows_refused_table_full", 0) + flows.table_full
        totals["flows_refused_source_full"] = self._base.get("flows_refused_source_full", 0) + flows.source_full
        totals["flow_blocks_refused"] = self._base.get("flow_blocks_refused", 0) + flows.pool_full
        ledger = self._pipeline.ledger
        for name, count in (("values", ledger.values_forgotten), ("uses", ledger.uses_forgotten)):
            totals[f"{name}_forgotten"] = self._base.get(f"{name}_forgotten", 0) + count
        totals["flows"] = len(flows)
        totals["flow_capacity"] = flows.capacity
        totals["flows_of_one_source"] = flows.most_of_a_source
        totals["flows_of_one_source_at_most"] = flows.max_per_source
        self._figures.step()
        totals |= self._figures.last
        self._slot.publish(totals)

    def _tell_error(self, error: Exception, now: float) -> None:
        if now - self._error_told < _ERROR_NOTICE_EVERY:
            return  # it is counted
        self._error_told = now
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
        self._notifier.engine(EngineKind.ENGINE_ERROR, error=f"{type(error).__name__}: {error}"[:500], place=place)
