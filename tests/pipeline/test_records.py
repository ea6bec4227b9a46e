"""Flow records: what a worker leaves behind, whenever it is killed (tcp-rules.md, 1 and 12)."""

from __future__ import annotations

import mmap
import os
import random
from collections import Counter

import pytest

from conduitfw import record
from conduitfw.flow import RECORD_SIZE, Flow, FlowTable
from conduitfw.record import BLOCK_SIZE, INLINE, Records
from tests.pipeline.modbus_units import read, write, write_answer
from tests.pipeline.wire import Wire

LONG = write(1, tuple(range(100)))


def remembered(wire: Wire) -> dict[str, object]:
    """What a successor finds of the only flow."""
    (flow,) = FlowTable(bytearray(wire.memory))
    return {name: getattr(flow, name) for name in (*record._NAMES, "held", "partial", "session_bytes")}


def handle(wire: Wire) -> Flow:
    (flow,) = wire.flows
    return flow


def test_an_ordinary_poll_needs_no_block_and_a_long_write_one() -> None:
    wire = Wire().open()
    free = len(wire.flows.records._free_blocks)
    wire.client(read(1))
    assert handle(wire).block == 0 and remembered(wire)["held"] == read(1)
    wire.server()
    wire = Wire().open()
    wire.client(LONG)
    assert len(LONG) > INLINE and handle(wire).block > 0
    assert remembered(wire)["held"] == LONG
    wire.server()  # taken: nothing of it has to be remembered
    assert handle(wire).block == 0 and len(wire.flows.records._free_blocks) == free
    assert wire.flows.records._blocks_by_source == {}


def test_a_successor_takes_no_block_that_is_in_use() -> None:
    wire = Wire().open()
    wire.client(LONG)
    again = FlowTable(bytearray(wire.memory))
    (flow,) = again
    assert flow.block == handle(wire).block and flow.block not in again.records._free_blocks
    again.remove(flow)
    assert flow.block in again.records._free_blocks


def test_a_worker_killed_while_it_writes_leaves_the_record_as_it_was() -> None:
    """Octet by octet: the half that does not count, and a block of the pool, may hold anything."""
    wire = Wire().open()
    wire.client(LONG)
    wire.server(write_answer(1, 100))
    before, memory = remembered(wire), bytearray(wire.memory)
    wire.client(LONG)
    after = remembered(wire)
    assert after != before
    written = [at for at in range(len(memory)) if memory[at] != wire.memory[at]]
    counts = handle(wire).at + 1
    assert counts in written
    for at in written:
        if at in (counts, counts - 1):
            continue
        memory[at] = wire.memory[at]
        (flow,) = FlowTable(bytearray(memory))
        found = {name: getattr(flow, name) for name in before}
        assert found == before, f"octet {at} of a half-written record"
    memory[counts] = wire.memory[counts]
    (flow,) = FlowTable(bytearray(memory))
    assert {name: getattr(flow, name) for name in before} == after


def test_bytes_that_find_no_block_are_said_to_be_missing() -> None:
    """The worker goes on; a successor ends the flow, since it cannot know what is missing."""
    wire = Wire().open()
    wire.flows.records._free_blocks.clear()
    wire.twin = None
    wire.client(LONG)
    assert wire.reads == [LONG] and wire.flows.pool_full == 1
    again = Wire(flows=FlowTable(wire.memory))
    for name in ("client_next", "server_next", "received", "now"):
        setattr(again, name, getattr(wire, name))
    again.tick(0.1)
    assert again.denials == ["quarantined"] and again.reset_to_server
    wire.server()  # where nothing has to be remembered any more, the record is whole again
    assert FlowTable(bytearray(wire.memory)).suspects == []


def test_one_source_cannot_take_all_blocks() -> None:
    wire = Wire()
    table = wire.flows
    blocks = len(table.records._free_blocks)
    for number in range(blocks):
        other = Wire(wire.pipeline.tables, ports=(41000 + number, 502))
        other.flows, other.pipeline = table, wire.pipeline
        other.open()
        other.client(LONG)
    assert table.pool_full and len(table.records._free_blocks) == blocks - blocks // 4


def test_a_worker_killed_while_it_writes_what_seldom_changes_leaves_a_promise_that_is_kept() -> None:
    """Octet by octet, with either half: the successor has the record behind the packet, as in hand, and no other."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server()
    before = bytearray(wire.memory)
    wire.client(read(2)[:5])  # the head of a request is kept: that changes what seldom changes
    flow, after = handle(wire), remembered(wire)
    at, place, size = flow.at, flow.at + record._SELDOM_AT, record._SELDOM_STRUCT.size
    assert before[place : place + size] != wire.memory[place : place + size]
    promise = bytes(wire.memory[record._PROMISE_AT : record._PROMISE_AT + size])
    assert promise == wire.memory[place : place + size]  # it was made ...
    words = memoryview(wire.memory)[:16].cast("I")
    assert words[record._PROMISED_AT] == 0  # ... and is over
    for done in range(size + 2):
        torn = bytearray(wire.memory)
        memoryview(torn)[:16].cast("I")[record._PROMISED_AT] = flow.slot + 1
        memoryview(torn)[:16].cast("I")[record._PROMISED_HALF_AT] = flow.half
        torn[at] = record.WRITING
        torn[place : place + size] = promise[:done] + bytes(before[place + done : place + size])
        if done <= size:  # the half counts last
            torn[at + 1] ^= 1
        table = FlowTable(torn)
        (found,) = table
        now = {name: getattr(found, name) for name in after}
        assert now == {**after, "deaths": 1}, done
        assert table.suspects == [] and memoryview(torn)[:16].cast("I")[record._PROMISED_AT] == 0
    torn[at] = record.WRITING  # and nothing is promised
    assert len(FlowTable(torn).suspects) == 1


def test_a_promise_is_only_kept_where_its_record_is_being_written() -> None:
    wire = Wire().open()
    wire.client(read(1))
    before = remembered(wire)
    for promised in (handle(wire).slot + 1, 5000):
        memoryview(wire.memory)[:16].cast("I")[record._PROMISED_AT] = promised
        assert remembered(wire) == before
        assert FlowTable(bytearray(wire.memory)).suspects == []


def test_a_successor_looks_at_no_record_that_was_never_used() -> None:
    memory = bytearray(FlowTable.memory_size(64))
    table = FlowTable(memory)
    keys = [bytes((10, 0, 0, number, 10, 0, 1, 1, 0x9C, 0x40, 1, 0xF6)) for number in range(200)]
    for each in keys[:3]:
        flow = table.create(each, 6, 0.0)
        assert flow is not None
        table.save(flow)
    for each in keys[3:]:  # one after the other: they have the fourth record
        flow = table.create(each, 6, 0.0)
        assert flow is not None and flow.slot == 3
        table.save(flow)
        table.remove(flow)
    again = FlowTable(memory)
    left = again.records.glance()
    assert len(left.free) + len(left.flows[6]) == 4
    assert {flow.key for flow in again} == set(keys[:3])
    taken = [again.create(each, 6, 0.0) for each in keys[3:]]  # all others are free
    slots = [flow.slot for flow in taken if flow is not None]
    assert sorted(slots) == list(range(3, 64)) and again.table_full == len(keys) - 64
    for flow in taken:
        if flow is not None:
            again.save(flow)
    assert len(FlowTable(memory)) == 64


def test_that_a_record_is_used_is_written_before_anything_of_it() -> None:
    memory = bytearray(FlowTable.memory_size(4))
    table = FlowTable(memory)
    flow = table.create(bytes((10, 0, 0, 1, 10, 0, 1, 1, 0x9C, 0x40, 1, 0xF6)), 6, 0.0)
    assert flow is not None and memory[flow.at] == record.FREE
    assert len(FlowTable(bytearray(memory)).records.glance().free) == 1


@pytest.mark.parametrize("unusual", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("flows", [5, 32, 64, 300])
def test_what_is_glanced_at_is_what_each_record_says(flows: int, unusual: float) -> None:
    """Many at once, or each by itself."""
    dice = random.Random(flows)
    memory = bytearray(FlowTable.memory_size(flows))
    table = FlowTable(memory, max_per_source=flows)
    expected: dict[int, dict[bytes, int]] = {6: {}, 17: {}}
    free, urgent = [], set()
    for number in range(flows):
        odd = dice.random() < unusual
        size = 32 if odd and dice.random() < 0.3 else 8
        transport = 17 if odd and dice.random() < 0.3 else 6
        flow = table.create(number.to_bytes(size, "big") + bytes((0x9C, 0x40, 1, 0xF6)), transport, 0.0)
        assert flow is not None
        if odd:
            flow.deaths = dice.choice((0, 0, 1))
            flow.held = bytes(dice.choice((0, 500)))
        table.records.write(flow)
        if odd and dice.random() < 0.3:
            table.mark(flow)
        if flow.deaths or memory[flow.at] == record.IN_HAND or flow.block < 0:  # for the last there was no room
            urgent.add((transport, flow.key))
        if dice.random() < 0.2:
            free.append(flow.slot)
            memory[flow.at] = record.FREE
            urgent.discard((transport, flow.key))
        else:
            expected[transport][flow.key] = flow.slot
    left = Records(memory).glance()
    assert left.flows == expected and left.free == free and set(left.urgent) == urgent
    blocks = {(flow.block, flow.key) for flow in table if flow.block > 0 and flow.slot not in free}
    assert set(left.blocks) == blocks
    again = FlowTable(memory, max_per_source=flows)
    assert again.most_of_a_source == max((1, *_by_source(expected).values()))
    assert len(again) == sum(map(len, expected.values())) == len(list(again))


def _by_source(flows: dict[int, dict[bytes, int]]) -> Counter[bytes]:
    return Counter(key[: (len(key) - 4) // 2] for keys in flows.values() for key in keys)


def test_memory_that_nobody_used_is_not_touched() -> None:
    """What is touched once has to be there for ever, in every process."""
    descriptor = os.memfd_create("flows")
    size = FlowTable.memory_size(4096)
    os.truncate(descriptor, size)
    with mmap.mmap(descriptor, size) as memory:
        table = FlowTable(memory)
        for number in range(20):
            flow = table.create(bytes((10, 0, 0, number, 10, 0, 1, 1, 0x9C, 0x40, 1, 0xF6)), 6, 0.0)
            assert flow is not None
            table.save(flow)
        bytes(memory[: Records(memory).used : mmap.PAGESIZE])
        assert len(Records(memory).glance().flows[6]) == 20
        assert os.fstat(descriptor).st_blocks * 512 <= 21 * RECORD_SIZE + mmap.PAGESIZE
        del table
    os.close(descriptor)


def test_sizes() -> None:
    for flows in (1, 2, 15, 16, 17, 1000, 65_536, 100_000):
        size = FlowTable.memory_size(flows)
        assert record.capacity_of(size) == flows
        assert record.capacity_of(size - 1) == flows - 1
    assert FlowTable.memory_size(100_000) / 100_000 <= 1024
    assert (FlowTable.memory_size(64) - 65 * RECORD_SIZE) % BLOCK_SIZE == 0
