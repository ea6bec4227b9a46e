"""A worker: receives packets, has them decided, carries the verdict out. Nothing else.

It opens no file, takes no lock, asks no name server and waits for nobody: what people should know
goes to the control process over a socket that never blocks, or is counted as lost.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import mmap
import os
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from conduitfw.denial import Emission
from conduitfw.flow import FlowTable, Memory
from conduitfw.kernel import marks
from conduitfw.kernel.netlink_queue import NetlinkQueue, Waiter
from conduitfw.policy.compile import Tables
from conduitfw.policy.ledger import SIZE as LEDGER_SIZE
from conduitfw.policy.ledger import Ledger
from conduitfw.policy.model import Policy
from conduitfw.record import Records
from conduitfw.runtime.figures import Figures
from conduitfw.runtime.hand import Hand, Transmitter
from conduitfw.runtime.messages import EngineKind, Notifier, Order, Report, receive, send, wide_pair
from conduitfw.runtime.quarantine import PATIENCE, PATIENCE_WITH_ENDS, QUARANTINE_SECONDS, Quarantine, place_of
from conduitfw.runtime.rehearsal import Nobody, Stage, sessions
from conduitfw.runtime.shared import SLOT_SIZE, Counter, Slot
from conduitfw.verdict import Pipeline

TICK = 0.0125  # seconds: the step of its time-outs; a few flows each, since packets wait meanwhile
PUBLISH = 0.1  # seconds: the step of its figures
BEAT = 0.05  # seconds: the longest between two signs of life
_ERROR_NOTICE_EVERY = 1.0  # seconds: a packet that makes the engine fail may come a thousand times


@dataclass(frozen=True)
class Post:
    """What is served at one place: queues that no other place has, and what outlives whoever serves them."""

    slot: Slot
    queues: Sequence[NetlinkQueue]
    flows: Memory
    ledger: Memory


def only_queue(policy: Policy) -> int | None:
    """Which of a worker's queues all of a policy's packets come by; None where its conduits do not all fail alike."""
    inspected = {rule.conduit for rule in policy.rules if rule.inspection is not None}
    used = {marks.queue_of(conduit.mode, conduit.fail) for conduit in policy.conduits if conduit.name in inspected}
    return used.pop() if len(used) == 1 else None


class Worker:
    """One process's engine over the queues that it serves."""

    def __init__(
        self,
        posts: Sequence[Post],
        tables: Tables,
        notices: socket.socket,
        transmitter: Transmitter,
        busy_poll: float = 0.0,
    ) -> None:
        """`posts`: of all places; the order to serve says which is ours.

        `busy_poll`: seconds of asking again before it sleeps; 0: none (kernel/netlink_queue.py).
        """
        self._posts = posts
        self._tables = tables
        self._notices = notices
        self._transmitter = transmitter
        self._busy_poll = busy_poll
        if folder := os.environ.get("CONDUITFW_KILL_POINTS"):  # tests: this process kills itself where they say
            from conduitfw.runtime import kill_points

            kill_points.place(folder)

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
            self._begin(self._posts[order[1]], after_death=order[:1] == Order.TAKE_OVER)
            self._serve(orders)
            self._slot.lifeline.release()
        send(orders, Report.LEFT)
        # An end takes the kernel a core for milliseconds, which an heir needs now: the supervisor says when.
        orders.setblocking(True)
        receive(orders)

    def _warm_up(self) -> None:
        """Tread the way of `_begin`, changing nothing: a page costs as much as a packet for the first time.

        Whoever serves may write meanwhile, so what is read here means nothing.
        """
        for post in self._posts:
            bytes(post.flows[: Records(post.flows).used : mmap.PAGESIZE])
            bytes(post.ledger[:: mmap.PAGESIZE])
            Records(post.flows).glance()
            Quarantine(post.slot.quarantine, 0.0)
            post.slot.published()
            for queue in post.queues:
                queue.last_number()
        with contextlib.suppress(OSError):  # as where nothing waits in a queue
            self._notices.recv(512, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        # And all of it in a place that is nobody's.
        try:
            copy.copy(self)._rehearse()
        except Exception:  # noqa: BLE001  (whatever it is, whoever is needed serves without it)
            traceback.print_exc()

    def _rehearse(self) -> None:
        """`_begin` after deaths in the midst of a packet, and what follows. This worker is thrown away afterwards."""
        self._notices, unread = wide_pair()
        self._transmitter = Nobody()
        stage = Stage()
        slot = Slot(memoryview(bytearray(SLOT_SIZE)))
        for before, after in [*sessions(self._tables.policy)] or [((), ())]:
            post = Post(slot, (stage.queue,), bytearray(FlowTable.memory_size(16)), bytearray(LEDGER_SIZE))
            self._begin(post, after_death=False)
            stage.perform(before)
            slot.hand[0] = 1  # and a packet is in hand still: the last
            for flow in self._pipeline.flows:
                self._pipeline.flows.mark(flow)
            self._begin(post, after_death=True)
            self._pipeline.tick(time.monotonic())
            stage.perform(after)
            self._publish()
        slot.lifeline.release()
        stage.close()
        self._notices.close()
        unread.close()

    def _begin(self, post: Post, *, after_death: bool) -> None:
        slot = self._slot = post.slot
        slot.lifeline.hold()
        self._queues = post.queues
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
        ledger = Ledger(post.ledger)
        self._pipeline = Pipeline(self._tables, FlowTable(post.flows), self._notifier.flow, ledger)
        if after_death:
            self._look_at_what_killed(now)
        self._figures = Figures(self._pipeline.flows)
        self._hand = Hand(slot, self._pipeline, self._quarantine, self._transmitter, self._fail)
        # A policy may have come with us: sessions that it does not allow end here, between two packets.
        # A failure in here opens nothing: flows that it did not reach are looked up anew by their next packet.
        self._timed(partial(self._pipeline.swap, self._tables, now), now)
        self._timed(partial(self._pipeline.end_suspects, now), now)  # what a predecessor's last packet belonged to
        for queue in self._queues:
            queue.take = self._hand.take

    def _look_at_what_killed(self, now: float) -> None:
        """What a predecessor had in hand when it died: again and again is no accident."""
        head = self._slot.left_in_hand()
        self._slot.hand[0] = 0
        place = place_of(head)
        if place is None:
            return
        flow = self._pipeline.flows.find(place.transport, place.key)
        if self._quarantine.blame_ends(place, now):
            deaths = PATIENCE_WITH_ENDS
            self._quarantine.shut_out(place.name, now)
        elif flow is not None and flow.deaths:
            return  # its record was marked, and has counted
        else:
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

    def _serve(self, orders: socket.socket) -> None:
        only = only_queue(self._tables.policy)
        alone = None if only is None else self._queues[only]
        waiter = Waiter(self._queues, orders.fileno(), self._busy_poll, alone)
        slot = self._slot
        # Before the first packet: from here on a silence has to be short (pool.py), and a packet may hang us. To begin
        # may have taken longer than that.
        now = time.monotonic()
        slot.beat(now)
        slot.served_since = now
        waiter.serve(0)
        send(orders, Report.SERVING)  # it wakes the supervisor: behind what waited
        ticked = next_tick = next_figures = 0.0
        while True:
            wait = 0 if self._pipeline.flows.unread else BEAT
            if waiter.serve(wait) and receive(orders) is not None:  # the order to leave, or nobody there to give one
                self._publish()
                return
            now = time.monotonic()
            slot.beat(now)
            if self._pipeline.flows.unread:
                self._timed(partial(self._pipeline.take_up, now), now)
            if now >= next_tick:
                self._timed(partial(self._pipeline.tick, now, now - ticked), now)
                ticked, next_tick = now, now + TICK
            if now >= next_figures:
                next_figures = now + PUBLISH
                if self._quarantine.active:
                    self._quarantine.expire(now)
                self._publish()

    def _timed(self, step: Callable[[], Sequence[Emission]], now: float) -> None:
        """A step that is no packet's: its failure is counted and told, and ends nobody."""
        try:
            self._hand.send(step())
        except Exception as error:  # noqa: BLE001
            self._fail(error, now)

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

    def _fail(self, error: Exception, now: float) -> None:
        """Count a defect of ours, and tell it."""
        self._slot.counters[Counter.ENGINE_ERRORS] += 1
        if now - self._error_told < _ERROR_NOTICE_EVERY:
            return  # it is counted
        self._error_told = now
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
        self._notifier.engine(EngineKind.ENGINE_ERROR, error=f"{type(error).__name__}: {error}"[:500], place=place)
