"""Bounds (tcp-rules.md, 12): each is met, counted, and takes nothing from anybody else."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from conduitfw.denial import Emission
from conduitfw.flow import HELD_ROOM, FlowTable, State
from conduitfw.inspection import BOUNDS
from conduitfw.observe.metrics import prometheus
from conduitfw.packet import SYN
from conduitfw.policy import ledger
from conduitfw.policy.compile import Tables
from conduitfw.reasons import Reason
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker
from conduitfw.stream import EARLY_KEPT
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import forbidden, read, read_answer, write, write_answer
from tests.pipeline.test_limits import HEAD, compiled
from tests.pipeline.test_options import OTHERS, segment
from tests.pipeline.wire import CLIENT, SERVER, Wire, tables

OTHER_CLIENT = ip_address("10.10.0.12").packed


@pytest.fixture
def rules(tmp_path: Path) -> Tables:
    """Two clients may read from the PLC."""
    head = HEAD.replace("assets: {hmi: 10.10.0.11}", "assets: {hmi: 10.10.0.11, other: 10.10.0.12}")
    return compiled(tmp_path, "allow: modbus, clients: [hmi, other], servers: plc, functions: read", head=head)


class Line:
    """Sessions of several clients over one pipeline with a small table."""

    def __init__(self, rules: Tables, capacity: int, share: int | None = None) -> None:
        self.flows = FlowTable(bytearray(FlowTable.memory_size(capacity)), share)
        self.pipeline = Pipeline(rules, self.flows, lambda _: None)

    def wire(self, port: int, client: bytes = CLIENT) -> Wire:
        wire = Wire(self.pipeline.tables, flows=self.flows, ends=(client, SERVER), ports=(port, 502))
        wire.pipeline = self.pipeline
        return wire

    def syn(self, port: int, client: bytes = CLIENT) -> Reason | None:
        wire = self.wire(port, client)
        return wire.send(wire.packet(True, wire.client_next, 0, SYN), True).reason


def test_flows_are_bounded_and_counted(rules: Tables) -> None:
    line = Line(rules, 4, share=100)
    wire = line.wire(40000).open()
    assert [line.syn(port) for port in (40001, 40002, 40003)] == [None] * 3
    assert line.flows.table_full == 0
    assert line.syn(40004) is Reason.TOO_MANY_FLOWS
    assert (len(line.flows), line.flows.table_full) == (4, 1)
    wire.client(read(1))  # who is in stays in
    assert wire.reads == [read(1)]


def test_one_source_cannot_push_out_another(rules: Tables) -> None:
    line = Line(rules, 8)
    wire = line.wire(50000, OTHER_CLIENT).open()
    refused = [line.syn(port) for port in range(40000, 40020)]
    assert refused == [None] * 2 + [Reason.TOO_MANY_FLOWS] * 18  # a quarter of the table
    assert (line.flows.source_full, line.flows.table_full) == (18, 0)
    assert line.syn(50001, OTHER_CLIENT) is None
    wire.client(read(1))
    assert wire.reads == [read(1)]


def test_tombstones_count_against_their_own_source(rules: Tables) -> None:
    line = Line(rules, 8)
    for port in (40000, 40001):
        line.wire(port).open().client(forbidden())
    assert [flow.state for flow in line.flows] == [State.TOMBSTONE] * 2
    assert line.syn(40002) is Reason.TOO_MANY_FLOWS
    assert line.flows.source_full == 1
    assert line.syn(40001) is None, "the same ports may begin anew"
    wire = line.wire(50000, OTHER_CLIENT).open()
    wire.client(read(1))
    assert wire.reads == [read(1)]


def test_bytes_not_taken_and_kept_are_bounded_and_counted() -> None:
    wire = Wire().open()
    wire.client(write(1))
    counters = wire.pipeline.counters
    stream = b"".join(write(number, tuple(range(100))) for number in range(2, 20))
    for at in range(0, len(stream), 500):
        wire.client(stream[at : at + 500])
        full = at + 500 + len(write(1)) > HELD_ROOM
        assert bool(counters["held_full"]) is full
        assert len(next(iter(wire.flows)).held) <= HELD_ROOM
    again = HELD_ROOM - len(write(1)) - 10
    wire.client(stream[again : again + 500], at=again - len(stream))
    assert counters["held_full"] == 2
    assert counters["engine_errors"] == 0 and wire.denials == []


@pytest.mark.parametrize("side", ["client", "server"])
def test_segments_behind_a_gap_are_counted(side: str) -> None:
    wire = Wire(sack=True).open()
    wire.client(b"".join(read(number) for number in range(16)))
    unit = read if side == "client" else read_answer
    size = len(unit(1))
    way = wire.client if side == "client" else wire.server
    for number in range(1, EARLY_KEPT + 1):
        way(unit(number), at=number * size)
    assert wire.pipeline.counters["early_refused"] == 0
    before = len(wire.at_client)
    outcome = way(unit(0), at=(EARLY_KEPT + 1) * size)
    assert wire.pipeline.counters["early_refused"] == 1
    if side == "server":
        assert (outcome.forward, len(wire.at_client)) == (False, before)
    way(unit(1), at=size)  # remembered already
    assert wire.pipeline.counters["early_refused"] == 1


def test_requests_that_wait_are_counted() -> None:
    wire = Wire().open()
    counters = wire.pipeline.counters
    wire.client(read(1))
    assert counters["outstanding_reached"] == 0
    wire.client(write(2))
    assert counters["outstanding_reached"] == 1
    wire.server(read_answer(1))
    wire.server(write_answer(2))
    wire.client(read(3))
    assert counters["outstanding_reached"] == 1


class Wires:
    """Takes packets of our own, as kernel/emit.py does."""

    def send(self, emission: Emission) -> bool:
        return bool(emission.packet)


def test_every_bound_shows_in_metrics(rules: Tables) -> None:
    """What a worker publishes is what `status` and the metrics tell (tests/runtime/test_control.py)."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    slot = Shared(workers=1).workers[0]
    flows = bytearray(FlowTable.memory_size(4))
    post = Post(slot, [], flows, bytearray(ledger.SIZE))
    worker = Worker([post], rules, near, Wires())
    worker._begin(post, after_death=False)
    for name in BOUNDS:
        worker._pipeline.counters[name] += 7
    worker._pipeline.flows.table_full += 8
    worker._pipeline.flows.source_full += 9
    worker._publish()
    published = slot.published()
    status = {"version": "1", "enforcing": True, "conduits": [], "workers": [], "engine_counters": published}
    lines = prometheus(status).splitlines()
    assert {f"conduitfw_engine_{name}_total 7" for name in BOUNDS} <= set(lines)
    assert "conduitfw_engine_flows_refused_table_full_total 8" in lines
    assert "conduitfw_engine_flows_refused_source_full_total 9" in lines
    near.close()
    far.close()


def test_monitor_rewrites_no_options() -> None:
    wire = Wire(tables(mode="monitor"))
    outcome = wire.send(segment(wire, True, "S", [("MSS", 1400), OTHERS[0]]), True)
    assert outcome.forward and outcome.payload is None
    wire.send(wire.packet(False, wire.server_next, wire.client_next + 1, SYN | 16), False)
    wire.client_next, wire.server_next = wire.client_next + 1, wire.server_next + 1
    outcome = wire.send(segment(wire, True, "PA", [OTHERS[2]], read(1)), True)
    assert outcome.forward and outcome.payload is None


def test_what_a_successor_has_not_read_counts(rules: Tables) -> None:
    """Bounds hold before the records are read: of all flows, and of a source's."""
    line = Line(rules, 8)
    for port in (40000, 40001):
        line.wire(port).open()
    line.flows = FlowTable(line.flows._memory)
    line.pipeline = Pipeline(rules, line.flows, lambda _: None)
    assert line.syn(40002) is Reason.TOO_MANY_FLOWS
    assert (line.flows.source_full, len(line.flows), line.flows.unread) == (1, 2, 2)
