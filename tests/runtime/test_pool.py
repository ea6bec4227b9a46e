"""Members are real processes here; what they serve is a counter of shared memory instead of a queue."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conduitfw.policy.compile import Tables
from conduitfw.runtime import child
from conduitfw.runtime.messages import (
    EngineKind,
    EngineNotice,
    Notifier,
    Order,
    Report,
    decode,
    pair,
    receive,
    send,
    wide_pair,
)
from conduitfw.runtime.pool import HOPELESS, STARVED, MemberState, Place, Pool
from conduitfw.runtime.shared import Counter, Shared, Slot


class Policy(Tables):
    """Tables by a number, so that a test sees whose they are."""

    def __init__(self, number: int) -> None:
        self.number = number


class Bench:
    """A pool, its supervisor's loop, and what it told."""

    def __init__(self, serve: Callable[[Slot, Tables, socket.socket], None], silence: float = 0.3) -> None:
        self.shared = Shared(workers=1)
        self.slot = self.shared.workers[0]
        near, self._far = wide_pair()

        def run(tables: Tables, orders: socket.socket) -> None:
            orders.setblocking(True)
            send(orders, Report.READY)
            order = orders.recv(16)
            if order[:1] == Order.LEAVE:
                return
            self.slot.counters[Counter.UNDECIDED] += order[:1] == Order.TAKE_OVER
            self.slot.served_since = time.monotonic()
            if serve is not mute:
                send(orders, Report.SERVING)
            serve(self.slot, tables, orders)

        places = [Place(0, self.slot)]
        self.pool = Pool(places, Policy(1), run, Notifier(near, self.shared.supervisor), silence)
        self.on_time_since = time.monotonic()

    def until(self, done: Callable[[], Any], within: float = 5.0) -> float:
        """Run the loop until `done`; gives the seconds that it took."""
        began = time.monotonic()
        while not done():
            now = time.monotonic()
            assert now - began < within, "it did not happen in time"
            self.pool.step(now, self.on_time_since)
            poll = select.poll()
            for descriptor in self.pool.descriptors():
                poll.register(descriptor, select.POLLIN)
            poll.poll(5)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        member = self.pool.places[0].member
        return member.pid if member is not None else 0

    def told(self) -> list[EngineKind]:
        found = []
        while data := receive(self._far):
            message = decode(data)
            assert isinstance(message, EngineNotice)
            found.append(message.kind)
        return found


def honest(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """Beat, note whose tables are in use, leave when told."""
    orders.setblocking(False)
    assert isinstance(tables, Policy)
    while receive(orders) is None:
        slot.beat(time.monotonic())
        slot.counters[Counter.PACKETS] += 1
        slot.counters[Counter.CHANGED] = tables.number
        time.sleep(0.005)
    send(orders, Report.LEFT)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(honest)
    bench.until(lambda: bench.pool.serving and bench.pool.spare)
    yield bench
    bench.pool.stop(1.0)


def test_a_dead_member_is_replaced_by_the_spare_which_takes_over(bench: Bench) -> None:
    spare = bench.pool.spare
    assert spare is not None
    bench.until(lambda: spare.state is MemberState.READY)
    old = bench.pid
    os.kill(old, signal.SIGKILL)
    bench.until(lambda: bench.pid not in (0, old) and bench.pool.serving)
    assert bench.pid == spare.pid
    assert bench.slot.counters[Counter.UNDECIDED] == 1  # it dropped what the dead one had in hand
    assert bench.told() == [EngineKind.WORKER_DEATH]
    bench.until(lambda: bench.pool.spare is not None)  # and there is a next spare


def large(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """As an honest one whose end takes the kernel a while."""
    slot.lifeline.hold()
    memory = mmap.mmap(-1, 200 << 20)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
    slot.counters[Counter.CHANGED] += 1
    while receive(orders) is None:
        slot.beat(time.monotonic())
        time.sleep(0.001)


def hurry(pid: int) -> None:
    """Who is in nobody's way is not buried while other tests have the processors: give it its turn, as root."""
    with contextlib.suppress(OSError):  # it is gone, or we are nobody
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def test_a_dead_member_is_replaced_before_the_kernel_has_taken_it_apart_and_told_once() -> None:
    bench = Bench(large, silence=30.0)
    seen = 0

    def ready() -> bool:
        spare, touched = bench.pool.spare, bench.slot.counters[Counter.CHANGED]
        return bench.pool.serving and touched > seen and spare is not None and spare.state is MemberState.READY

    try:
        for number in (1, 2, 3):
            bench.until(ready, 30.0)
            seen = bench.slot.counters[Counter.CHANGED]
            assert seen == number
            old, spare = bench.pid, bench.pool.spare
            assert spare is not None
            os.kill(old, signal.SIGKILL)
            bench.until(lambda: bench.pid != old)  # noqa: B023
            assert bench.pid == spare.pid
            assert child.is_alive(old)  # its parent cannot be told yet, ...
            assert bench.told() == []
            assert os.sched_getscheduler(old) == os.SCHED_IDLE  # ... and it is in nobody's way
            found: list[EngineKind] = []
            hurry(old)
            bench.until(lambda: found.extend(bench.told()) or (found and not child.is_alive(old)))  # noqa: B023
            assert found == [EngineKind.WORKER_DEATH]
            assert bench.pid == spare.pid and bench.slot.counters[Counter.UNDECIDED] == number
            assert os.sched_getscheduler(bench.pid) == os.SCHED_OTHER
        assert {os.sched_getscheduler(int(each)) for each in os.listdir("/proc/self/task")} == {os.SCHED_OTHER}
    finally:
        bench.pool.stop(5.0)


def holding(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """As an honest one whose death is seen at once."""
    slot.lifeline.hold()
    honest(slot, tables, orders)


@pytest.fixture
def watched() -> Iterator[Bench]:
    bench = Bench(holding, silence=30.0)

    def ready() -> bool:
        spare = bench.pool.spare
        served = bench.pool.serving and bench.slot.counters[Counter.PACKETS] > 0
        return served and spare is not None and spare.state is MemberState.READY

    bench.until(ready)
    yield bench
    bench.pool.stop(1.0)


def test_the_spare_follows_while_the_supervisor_is_asleep(watched: Bench) -> None:
    """A thread sees the death and gives the order; no step of the pool is needed before the place is served again."""
    pool, slot, old = watched.pool, watched.slot, watched.pid
    place, spare = pool.places[0], pool.spare
    assert spare is not None
    followed: list[bool] = []
    slot.lifeline.watch(lambda: bool(followed.append(pool.follow(place, time.monotonic()))))
    os.kill(old, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while not (slot.counters[Counter.UNDECIDED] and followed):  # the spare took over, and serves
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert followed == [True] and place.member is spare and place.restarts == 1
    assert pool.spare is None and watched.told() == []
    hurry(old)
    watched.until(lambda: pool.settled and not child.is_alive(old))
    assert watched.pid == spare.pid and slot.counters[Counter.UNDECIDED] == 1  # nobody was sent a second time
    assert watched.told() == [EngineKind.WORKER_DEATH]


def test_nobody_follows_who_lives_or_where_the_supervisor_has_to_choose(watched: Bench) -> None:
    pool = watched.pool
    place, member, spare = pool.places[0], pool.places[0].member, pool.spare
    assert member is not None and spare is not None
    assert not pool.follow(place, time.monotonic())  # it lives

    pool.spare = None
    os.kill(member.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while not place.slot.lifeline.broken:
        assert time.monotonic() < deadline
    assert not pool.follow(place, time.monotonic())  # nobody waits: one has to be forked
    assert place.member is member and place.restarts == 0

    pool.spare = spare
    pool.prepare(Policy(2), time.monotonic())
    pool._exchanging = True
    assert not pool.follow(place, time.monotonic())  # an heir is next, not the spare
    assert place.member is member and place.restarts == 0
    watched.until(lambda: watched.pid not in (0, member.pid) and pool.serving)
    assert watched.pid != spare.pid and place.restarts == 1


def test_the_pool_says_when_somebody_will_have_been_silent_for_too_long(bench: Bench) -> None:
    """The supervisor sleeps no longer than that."""
    os.kill(bench.pid, signal.SIGSTOP)
    time.sleep(0.02)
    beat = bench.slot.heartbeat
    assert bench.pool.until_silent(beat + 0.1) == pytest.approx(bench.pool.silence - 0.1)
    assert bench.pool.until_silent(beat + 2 * bench.pool.silence) == math.inf  # each step looks at him now


def test_a_stopped_member_is_killed_and_replaced(bench: Bench) -> None:
    old = bench.pid
    os.kill(old, signal.SIGSTOP)
    took = bench.until(lambda: bench.pid not in (0, old) and bench.pool.serving)
    assert 0.25 < took < 2.0
    assert bench.told() == [EngineKind.WORKER_SILENT, EngineKind.WORKER_DEATH]
    with pytest.raises(ProcessLookupError):
        os.kill(old, 0)


def starved(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """Beat, and use all the processor time that there is."""
    orders.setblocking(False)
    while receive(orders) is None:
        slot.beat(time.monotonic())
    send(orders, Report.LEFT)


def mute(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """Hang on the first packet, before a report could be sent."""
    signal.pause()


def test_one_that_hangs_on_its_first_packet_has_been_silent_for_as_long_as_others_may() -> None:
    """Not for the time that is allowed for beginning."""
    bench = Bench(mute)
    try:
        bench.until(lambda: bench.pid)
        old = bench.pid
        took = bench.until(lambda: bench.pid not in (0, old))
        assert 0.25 < took < 2.0
        assert EngineKind.WORKER_SILENT in bench.told()
    finally:
        bench.pool.stop(1.0)


def test_who_waits_for_a_processor_is_not_hung() -> None:
    """One processor, and many who want it: a member's turns are further apart than the silence that is allowed."""
    processors = os.sched_getaffinity(0)
    bench = Bench(starved, silence=0.04)
    greedy = []
    try:
        bench.until(lambda: bench.pool.serving)
        old = bench.pid
        os.sched_setaffinity(old, {min(processors)})
        longest, end, more = 0.0, time.monotonic() + 6.0, 0.0

        def over() -> bool:
            """Ever more want it, until the member's turns are far enough apart; then it has to live on for a while."""
            nonlocal longest, end, more
            now = time.monotonic()
            longest = max(longest, now - bench.slot.heartbeat)
            if longest <= 1.25 * bench.pool.silence and now > more and len(greedy) < 60:
                more = now + 0.1
                if (pid := os.fork()) == 0:
                    os.sched_setaffinity(0, {min(processors)})
                    while True:
                        pass
                greedy.append(pid)
                end = now + 2.0
            return now > end

        bench.until(over, within=20.0)
        if longest <= bench.pool.silence or longest > STARVED * bench.pool.silence:
            pytest.skip(f"it was not starved as this needs it: {longest * 1000:.0f} ms")
        assert bench.pid == old and bench.told() == []
    finally:
        for pid in greedy:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        bench.pool.stop(1.0)


def test_silence_does_not_count_while_the_supervisor_itself_was_held_up(bench: Bench) -> None:
    old = bench.pid
    os.kill(old, signal.SIGSTOP)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        now = time.monotonic()
        bench.pool.step(now, now)  # never on time
        time.sleep(0.01)
    bench.on_time_since = time.monotonic()
    os.kill(old, signal.SIGCONT)
    bench.until(lambda: time.monotonic() - bench.slot.heartbeat < 0.1)
    assert bench.pid == old and bench.told() == []


def test_an_exchange_ends_with_the_new_tables_and_tells_no_death(bench: Bench) -> None:
    old = bench.pid
    now = time.monotonic()
    bench.pool.prepare(Policy(2), now)
    bench.until(bench.pool.prepared)
    assert bench.pid == old and bench.slot.counters[Counter.CHANGED] == 1  # it still serves
    began = time.monotonic()
    bench.pool.exchange(Policy(2), began)
    bench.until(bench.pool.exchanged)
    bench.until(lambda: bench.slot.counters[Counter.CHANGED] == 2)
    assert bench.pid != old
    assert bench.slot.counters[Counter.UNDECIDED] == 0
    bench.until(lambda: bench.pool.spare is not None)
    os.kill(bench.pid, signal.SIGKILL)  # later ones have the new tables too
    bench.slot.counters[Counter.CHANGED] = 0
    bench.until(lambda: bench.slot.counters[Counter.CHANGED])
    assert bench.slot.counters[Counter.CHANGED] == 2
    assert bench.told() == [EngineKind.WORKER_DEATH]


def test_a_member_that_dies_in_the_midst_of_an_exchange_gives_its_place_to_the_heir(bench: Bench) -> None:
    bench.pool.prepare(Policy(2), time.monotonic())
    bench.until(bench.pool.prepared)
    os.kill(bench.pid, signal.SIGSTOP)
    bench.pool.exchange(Policy(2), time.monotonic())
    bench.until(bench.pool.exchanged)
    assert bench.slot.counters[Counter.UNDECIDED] == 1
    bench.until(lambda: bench.slot.counters[Counter.CHANGED] == 2)


def test_a_member_that_dies_while_heirs_prepare_is_replaced_under_the_old_policy(bench: Bench) -> None:
    old = bench.pid
    bench.pool.prepare(Policy(2), time.monotonic())
    bench.until(bench.pool.prepared)
    os.kill(old, signal.SIGKILL)
    bench.slot.counters[Counter.CHANGED] = 0
    bench.until(lambda: bench.pid not in (0, old) and bench.slot.counters[Counter.CHANGED])
    assert bench.slot.counters[Counter.CHANGED] == 1
    bench.pool.cancel()


def crash(slot: Slot, tables: Tables, orders: socket.socket) -> None:
    """As a worker that meets a packet which kills it."""
    slot.counters[Counter.PACKETS] += 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_loop_waits_longer_and_longer_and_at_most_a_second() -> None:
    bench = Bench(crash)
    bench.until(lambda: bench.pool.hopeless(time.monotonic()), within=15.0)
    now = time.monotonic()
    assert 0.3 < bench.pool.next_start - now <= 1.0
    starts = bench.slot.counters[Counter.PACKETS]
    assert starts >= HOPELESS
    bench.until(lambda: bench.slot.counters[Counter.PACKETS] > starts, within=2.0)  # it is tried again
    bench.pool.stop(1.0)


def test_a_pool_that_served_long_enough_is_proven(bench: Bench) -> None:
    assert not bench.pool.proven(time.monotonic())
    assert bench.pool.proven(time.monotonic() + 1.5)


def test_processes_of_the_pool_end_with_it(bench: Bench) -> None:
    pids = [bench.pid, bench.pool.spare.pid if bench.pool.spare else 0]
    bench.pool.stop(1.0)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_members_die_with_their_parent() -> None:
    near, far = pair()
    parent = os.fork()
    if parent == 0:
        own = Bench(honest)
        own.until(lambda: own.pool.serving)
        send(near, str(own.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    far.setblocking(True)
    member = int(far.recv(100))
    os.waitpid(parent, 0)
    began = time.monotonic()
    while time.monotonic() - began < 2:
        try:
            state = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # an orphan whose new parent has not looked yet
            return
        time.sleep(0.01)
    raise AssertionError("it lives on")
