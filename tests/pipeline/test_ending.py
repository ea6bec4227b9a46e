"""Denied, and ended (tcp-rules.md, 8): both ends hear of it, also where a RST is lost and its receiver stays silent."""

from __future__ import annotations

from conduitfw.denial import RESETS_AGAIN
from conduitfw.packet import RST, SYN
from conduitfw.reasons import Reason
from conduitfw.verdict import TOMBSTONE_SECONDS
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


def test_it_comes_again_as_late_however_often_time_is_looked_at() -> None:
    """Two at once would be lost together. Few sessions are no reason to be quicker."""
    wire = ended()
    came = []
    for step in range(1, 41):
        wire.at_client.clear()
        wire.now += 0.0125
        wire.emit(wire.pipeline.tick(wire.now, 0.0125))
        came += [step] * wire.reset_to_client
    assert came == [8, 16]


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


def test_the_server_is_told_with_what_it_acknowledged() -> None:
    """It is what it expects next, where what was sent on since then is lost."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.losing = True
    wire.client(read(2))
    wire.losing = False
    wire.client(forbidden(3))
    assert wire.reads == [read(1)]
    assert wire.reset_to_server


def test_the_server_is_told_with_what_is_under_way() -> None:
    """It is what it expects next, where that arrives before the RST."""
    wire = Wire().open()
    wire.client(read(1) + forbidden(2))
    assert wire.reads == [read(1)]
    assert wire.reset_to_server


def test_the_client_is_told_with_what_it_acknowledged() -> None:
    wire = Wire().open()
    wire.client(read(1))
    acknowledged = wire.server_next
    wire.server(read_answer(1))  # lost
    wire.client(forbidden(2), ack=acknowledged)
    assert any(each.flags & RST and each.sequence == acknowledged for each in wire.at_client)


def test_the_client_is_told_with_what_is_under_way() -> None:
    wire = Wire().open()
    wire.client(read(1))
    acknowledged = wire.server_next
    wire.server(read_answer(1))  # arrives, and the client has not said so yet
    wire.client(forbidden(2), ack=acknowledged)
    assert wire.reset_to_client


def test_a_reset_is_not_answered_by_another() -> None:
    wire = ended()
    wire.client(flags=RST | 0x10)
    wire.server(flags=RST)
    assert wire.at_client + wire.at_server == []


def test_a_tombstone_stays_for_a_while_and_no_longer() -> None:
    wire = ended()
    for _ in range(5):
        wire.tick(TOMBSTONE_SECONDS / 6)
    assert wire.client(read(3)).reason is Reason.ENDED
    wire.tick(TOMBSTONE_SECONDS + 1)
    assert list(wire.flows) == []
