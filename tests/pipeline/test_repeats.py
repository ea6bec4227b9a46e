"""In order, once (tcp-rules.md, 3): what is repeated, and what ends or replaces a session."""

from __future__ import annotations

import pytest

from conduitfw.flow import State
from conduitfw.outcome import Verdict
from conduitfw.packet import ACK, FIN, RST, SYN
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import forbidden, read, read_answer, write, write_answer
from tests.pipeline.wire import Wire, tables


def test_a_repeat_of_a_units_beginning_goes_on_whole() -> None:
    wire = Wire().open()
    stream = read(1) + read(2)
    wire.losing = True
    wire.client(stream)
    wire.losing = False
    wire.client(stream[:5], at=-len(stream))
    assert wire.reads == [read(1)]
    wire.client(stream[5:14], at=5 - len(stream))
    assert wire.at_server[-1].payload == stream, "both units that it touches"


def test_a_unit_that_is_taken_in_part_is_repeated_from_there() -> None:
    """A server takes what its window has room for. The rest begins where it stopped, not at the unit's start."""
    wire = Wire().open()
    unit = write()
    wire.losing = True
    wire.client(unit)
    wire.losing = False
    begin = wire.received
    wire.received += 6
    wire.server()
    wire.client(unit[6:9], at=6 - len(unit))
    assert (wire.at_server[-1].sequence, wire.at_server[-1].payload) == (begin + 6 & 0xFFFFFFFF, unit[6:])


def test_bytes_that_nobody_inspected_begin_rule_9() -> None:
    wire = Wire(tables(fail="static")).open()
    assert wire.server(ack=wire.received + 12).reason is Reason.UNINSPECTED_BYTES
    flow = next(iter(wire.flows))
    assert flow.state == State.ASKING
    assert not wire.reset_to_client and not wire.reset_to_server
    wire.received += 12
    wire.client_next += 12
    wire.client(forbidden(2), advance=False)
    assert (wire.at_server[-1].payload, wire.at_server[-1].sequence) == (b"", wire.received - 1)
    wire.server()
    wire.client(read(2))
    assert wire.reads == [read(2)]


def test_a_reset_that_the_server_does_not_believe_ends_nothing() -> None:
    """It believes its exact next number only (RFC 5961, 3.2)."""
    wire = Wire().open()
    wire.client(read(1))
    wire.client(flags=RST, at=-len(read(1)))
    assert wire.at_server[-1].flags & RST
    wire.server(read_answer(1))
    assert wire.at_client[-1].payload == read_answer(1)
    wire.client(read(2))
    assert wire.reads == [read(1), read(2)]
    assert wire.client(forbidden(3)).verdict is Verdict.DENY


def test_a_reset_that_the_client_does_not_believe_ends_nothing() -> None:
    wire = Wire().open()
    wire.server(flags=RST, at=500)
    wire.client(read(1))
    wire.server(read_answer(1))
    assert (wire.reads, wire.at_client[-1].payload) == ([read(1)], read_answer(1))
    assert wire.client(forbidden(3)).verdict is Verdict.DENY


def test_half_closed_is_not_closed() -> None:
    wire = Wire().open()
    wire.client(write(1), flags=ACK | FIN)
    wire.client_next += 1
    flow = next(iter(wire.flows))
    assert flow.client_ended and not flow.server_ended
    wire.server(write_answer(1))
    wire.tick(40)
    assert list(wire.flows) == [flow]
    wire.server(flags=FIN)
    wire.tick(40)
    assert (list(wire.flows), wire.denials) == ([], [])


def test_a_syn_ack_for_another_syn_replaces_nothing() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.send(wire.packet(True, 77, 0, SYN), True)
    assert wire.send(wire.packet(False, 4242, 99, SYN | ACK), False).reason is Reason.NO_SESSION
    wire.server(read_answer(1))
    wire.client(read(2))
    assert wire.reads == [read(1), read(2)]


def test_a_keep_alives_garbage_is_not_compared_with_a_kept_head() -> None:
    """The client believes that the server has the head, and asks whether it lives (RFC 9293, 3.8.4)."""
    wire = Wire().open()
    wire.client(read(1)[:8])
    for garbage in (b"\x00", b"\x55"):
        outcome = wire.client(garbage, at=-1)
        assert outcome.reason is None
        assert (wire.at_server[-1].payload, wire.at_server[-1].sequence) == (b"", wire.received - 1 & 0xFFFFFFFF)
        wire.server()
        assert wire.at_client[-1].ack == wire.client_next
    wire.client(read(1)[8:])
    assert wire.reads == [read(1)]


def test_more_than_a_byte_is_compared() -> None:
    wire = Wire().open()
    wire.client(read(1)[:8])
    assert wire.client(b"\x00\x55", at=-2).reason is Reason.CHANGED_REPEAT


@pytest.mark.parametrize("from_client", [True, False], ids=["client", "server"])
def test_a_reset_that_nobody_believes_shortens_no_session(from_client: bool) -> None:
    """Its receiver challenges it, the session goes on, and its next poll comes after half a minute."""
    wire = Wire().open()
    if from_client:
        wire.client(read(1))
        wire.client(flags=RST, at=-len(read(1)))
    else:
        wire.server(flags=RST, at=500)
        wire.client(read(1))
    wire.server(read_answer(1))
    wire.client()
    wire.tick(40)
    wire.client(read(2))
    assert wire.reads == [read(1), read(2)]


def test_a_session_that_was_reset_is_forgotten_soon() -> None:
    wire = Wire().open()
    wire.client(flags=RST)
    wire.tick(40)
    assert list(wire.flows) == []
