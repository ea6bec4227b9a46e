"""From `monitor` to `enforce` and back in the midst of a session: none is ended by it."""

from __future__ import annotations

from conduitfw.flow import PATIENCE, FlowTable
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.wire import Wire, tables


def turn(wire: Wire, mode: str, on_deny: str = "reject") -> None:
    wire.swap(tables(mode=mode, on_deny=on_deny))


def test_enforcing_begins_where_nothing_is_under_way() -> None:
    wire = Wire(tables(mode="monitor")).open()
    wire.client(read(1)[:5])
    turn(wire, "enforce", "reset")
    wire.client(read(1)[5:])  # its head has gone on: whatever this is, the server has to have it
    assert wire.reads == [read(1)[:5], read(1)[5:]]
    wire.server(read_answer(1))
    wire.client(forbidden(2))
    assert wire.reads == [read(1)[:5], read(1)[5:]]
    assert wire.denials == ["no-rule"]


def test_watching_begins_when_nothing_is_kept() -> None:
    wire = Wire(tables()).open()
    wire.client(read(1)[:5])
    turn(wire, "monitor", "reset")
    wire.client(read(1)[5:])
    assert wire.reads == [read(1)]
    wire.server(read_answer(1))
    wire.client(forbidden(2))
    assert wire.reads == [read(1), forbidden(2)]
    assert not any(each.flags & 4 for each in wire.at_server)


def test_a_session_in_which_we_answered_keeps_its_numbers() -> None:
    wire = Wire(tables(on_deny="reject")).open()
    wire.client(forbidden(1))
    turn(wire, "monitor")
    beyond = wire.server_next + 9  # our answer, in the client's numbers
    wire.client(ack=beyond)
    wire.client(forbidden(2), ack=beyond)
    assert wire.reads == [forbidden(2)]
    wire.server(read_answer(3))
    assert wire.at_client[-1].sequence == beyond
    turn(wire, "enforce")
    wire.client(read(4), ack=beyond + len(read_answer(3)))
    wire.client(forbidden(5), ack=beyond + len(read_answer(3)))
    assert wire.reads == [forbidden(2), read(4)]


def test_a_session_that_begins_unseen_goes_on_when_it_is_only_watched() -> None:
    wire = Wire(tables(fail="static"))
    wire.client(read(1), advance=False)  # no handshake: the server is asked
    turn(wire, "monitor", "reset")
    wire.client(read(1))
    assert wire.at_server[-1].payload == read(1)


def test_a_watched_session_is_not_quarantined() -> None:
    wire = Wire(tables(mode="monitor")).open()
    for _ in range(PATIENCE):
        wire.pipeline.flows.mark(next(iter(wire.flows)))
        wire.flows = FlowTable(wire.memory)
        wire.pipeline = Pipeline(wire.pipeline.tables, wire.flows, wire.notices.append)
    assert len(wire.flows.suspects) == 1
    wire.tick(0.1)
    outcome = wire.client(read(1))
    assert outcome.forward and outcome.payload is None
    assert not any(each.flags & 4 for each in wire.at_server + wire.at_client)


def test_turning_waits_for_a_gap_in_what_the_server_says() -> None:
    """Else what is behind it would have passed unseen, and the client could acknowledge nothing any more."""
    wire = Wire(tables(mode="monitor")).open()
    wire.client(read(1) + read(2))
    wire.server()
    size = len(read_answer(1))
    wire.server(read_answer(2), at=size)
    turn(wire, "enforce", "reset")
    wire.server(read_answer(1))
    wire.server_next += size
    wire.client(read(3))
    assert wire.reads[-1] == read(3)
    wire.server(read_answer(3))
    wire.client(forbidden(4))
    assert wire.denials == ["no-rule"] and wire.reads[-1] == read(3)
