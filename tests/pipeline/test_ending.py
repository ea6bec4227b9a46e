"""Denied, and ended (tcp-rules.md, 8): both ends hear of it, also where a RST is lost and its receiver stays silent."""

from __future__ import annotations

from conduitfw.denial import RESETS_AGAIN
from conduitfw.packet import RST, SYN
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.wire import Wire


def ended() -> Wire:
    """A session that was ended by a forbidden request; nobody got a RST yet."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client(forbidden(2))
    assert wire.reset_to_client and wire.reset_to_server
    wire.at_client.clear()
    wire.at_server.clear()
    return wire


def test_a_lost_reset_comes_again_and_then_no_more() -> None:
    wire = ended()
    for _ in range(RESETS_AGAIN):
        wire.at_client.clear()
        wire.at_server.clear()
        wire.tick(0.1)
        assert wire.reset_to_client and wire.reset_to_server
    before = len(wire.at_client), len(wire.at_server)
    for _ in range(5):
        wire.tick(0.1)
    assert (len(wire.at_client), len(wire.at_server)) == before


def test_a_new_session_of_the_same_ports_is_left_alone() -> None:
    wire = ended()
    wire.send(wire.packet(True, 77_000_000, 0, SYN), True)
    wire.tick(0.1)
    assert not any(each.flags & RST for each in wire.at_client + wire.at_server)


def test_whoever_still_speaks_is_told() -> None:
    wire = ended()
    wire.client(read(3))
    assert wire.reset_to_client and not wire.reset_to_server
    wire.server(read_answer(3))
    assert wire.reset_to_server
    assert [each.payload for each in wire.at_client + wire.at_server] == [b""] * 2
