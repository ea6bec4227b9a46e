"""Counters and heartbeats: one writer, readers in other processes."""

from __future__ import annotations

import os

from conduitfw.runtime.shared import Counter, Shared


def test_slots_are_apart() -> None:
    shared = Shared(workers=2)
    for number, slot in enumerate((shared.supervisor, shared.control, *shared.workers)):
        slot.counters[Counter.PACKETS] = number + 10
        slot.beat(float(number))
        assert slot.publish({"x": number})
    for number, slot in enumerate((shared.supervisor, shared.control, *shared.workers)):
        assert slot.totals()["packets"] == number + 10
        assert slot.heartbeat == float(number)
        assert slot.published() == {"x": number}


def test_a_child_writes_and_the_parent_reads() -> None:
    shared = Shared(workers=1)
    pid = os.fork()
    if pid == 0:
        shared.workers[0].counters[Counter.DROPPED] += 7
        shared.workers[0].beat(12.5)
        shared.workers[0].publish({"denied": 3})
        os._exit(0)
    os.waitpid(pid, 0)
    assert shared.workers[0].totals()["dropped"] == 7
    assert shared.workers[0].heartbeat == 12.5
    assert shared.workers[0].published() == {"denied": 3}


def test_nothing_published_yet() -> None:
    assert Shared(workers=1).workers[0].published() == {}


def test_a_writer_that_died_in_the_midst_hides_its_block_until_the_next_one_writes() -> None:
    shared = Shared(workers=1)
    slot = shared.workers[0]
    slot.publish({"a": 1})
    sequence = slot._block.cast("Q")
    sequence[0] |= 1
    assert slot.published() == {}
    slot.publish({"a": 2})
    assert slot.published() == {"a": 2}


def test_too_much_to_publish_changes_nothing() -> None:
    slot = Shared(workers=1).workers[0]
    slot.publish({"a": 1})
    assert not slot.publish({f"name-{number}": number for number in range(5000)})
    assert slot.published() == {"a": 1}


def test_notices_lost_counts_every_process() -> None:
    shared = Shared(workers=2)
    shared.supervisor.counters[Counter.NOTICES_LOST] = 1
    shared.workers[1].counters[Counter.NOTICES_LOST] = 4
    assert shared.notices_lost == 5
