"""Ordinary packets are decided at once (ordinary.py): the rules of tcp-rules.md hold on that way, too.

Each session here has had a poll, so that the next one would go the short way. Wire compares both ways besides.
"""

from __future__ import annotations

from conduitfw.flow import State
from conduitfw.packet import ACK, FIN
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import exception, forbidden, read, read_answer, write
from tests.pipeline.test_ordinary import at_once, flow_of, warm
from tests.pipeline.wire import Wire, tables


def warm_up(wire: Wire) -> Wire:
    wire.open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client()
    at_once(wire)
    return wire


def test_it_is_the_short_way() -> None:
    wire = warm()
    wire.client(read(2))
    wire.server(read_answer(2))
    assert at_once(wire) == 2


def test_a_wrong_checksum_changes_nothing() -> None:
    wire = warm()
    good = wire.packet(True, wire.client_next, wire.server_next, 0x18, read(2))
    before = bytes(wire.memory)
    assert wire.send(good[:-1] + bytes((good[-1] ^ 0x55,)), True).reason is Reason.BAD_CHECKSUM
    assert bytes(wire.memory) == before and wire.reads == [read(1)]


def test_a_gap_is_not_sent_on() -> None:
    wire = warm()
    wire.client(read(3), at=12)
    assert wire.at_server[-1].payload == b""


def test_nothing_is_sent_beyond_the_servers_window() -> None:
    wire = warm()
    wire.server(window=len(read(2)) - 1)
    wire.client(read(2))
    assert wire.reads == [read(1)]


def test_an_acknowledgement_of_bytes_that_nobody_inspected_ends_the_flow() -> None:
    wire = warm()
    assert wire.server(ack=wire.received + 12).reason is Reason.UNINSPECTED_BYTES
    assert flow_of(wire).state == State.TOMBSTONE


def test_a_client_that_acknowledges_what_never_passed_is_not_believed() -> None:
    wire = warm()
    for payload in (read(2), b""):
        wire.client(payload, ack=wire.server_next + 1000, advance=False)
        assert (wire.at_server[-1].payload, wire.at_server[-1].ack) == (b"", wire.server_next)


def test_an_answer_to_nothing_ends_the_flow() -> None:
    wire = warm()
    wire.client(read(2))
    assert wire.server(read_answer(3)).reason is Reason.UNMATCHED_RESPONSE
    assert not any(each.payload == read_answer(3) for each in wire.at_client)


def test_an_answer_within_another_ends_the_flow() -> None:
    wire = warm()
    wire.client(read(2))
    wire.server(read_answer(2)[:6])
    assert wire.server(read_answer(2)).reason is not None


def test_a_head_behind_a_poll_is_kept_and_acknowledged() -> None:
    wire = warm()
    wire.client(read(2) + read(3)[:5])
    wire.server()
    assert wire.at_client[-1].ack == wire.client_next
    wire.client(read(3)[5:])
    assert wire.reads == [read(1), read(2), read(3)]


def test_a_head_that_was_acknowledged_stays_acknowledged() -> None:
    wire = warm()
    wire.client(read(2)[:5])
    acknowledged = wire.client_next
    wire.losing = True
    wire.client(read(2)[5:])
    wire.losing = False
    wire.server()
    assert wire.at_client[-1].ack == acknowledged


def test_a_request_that_waits_is_released_by_the_answer() -> None:
    wire = warm()
    wire.client(read(2))
    wire.client(write(3))
    assert wire.reads == [read(1), read(2)]
    wire.server(read_answer(2))
    assert wire.reads == [read(1), read(2), write(3)]


def test_numbers_are_translated_for_ever() -> None:
    wire = warm_up(Wire(tables(on_deny="reject")))
    wire.client(forbidden(2))
    beyond = len(exception(2, 6, 1))
    wire.client_acknowledges(beyond)
    for number in (3, 4):
        begin = wire.server_next
        wire.client(read(number), ack=begin + beyond)
        assert wire.reads[-1] == read(number) and wire.at_server[-1].ack == begin
        wire.server(read_answer(number))
        assert (wire.at_client[-1].sequence, wire.at_client[-1].ack) == (begin + beyond, wire.client_next)
        wire.client(ack=wire.server_next + beyond)
        assert wire.at_server[-1].ack == wire.server_next


def test_nothing_goes_on_behind_a_fin() -> None:
    wire = warm()
    wire.client(flags=ACK | FIN)
    wire.client(read(2), advance=False)  # in the FIN's own place
    assert wire.reads == [read(1)]
    assert wire.denials == [] or wire.denials == ["after-end"]
