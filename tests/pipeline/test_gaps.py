"""Lost and overtaken segments: what is remembered behind a gap, what each end is told, and what is never sent on."""

from __future__ import annotations

import struct

import pytest

from conduitfw.flow import HELD_ROOM, FlowTable, State
from conduitfw.outcome import Verdict
from conduitfw.packet import Packet
from conduitfw.reasons import Reason
from conduitfw.stream import EARLY_KEPT
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import forbidden, read, read_answer, write, write_answer
from tests.pipeline.wire import Wire, tables


def options_of(packet: Packet) -> bytes:
    return packet.data[packet.segment_at + 20 : packet.payload_at]


def block_of(packet: Packet) -> tuple[int, int] | None:
    """The one block of a selective acknowledgement."""
    options = options_of(packet)
    at = options.find(b"\x05\x0a")
    return None if at < 0 else struct.unpack_from("!II", options, at + 2)


def test_what_came_behind_a_gap_goes_on_when_it_is_filled() -> None:
    wire = Wire(sack=True).open()
    start = wire.client_next
    outcome = wire.client(read(2), at=12)
    assert (outcome.verdict, wire.reads) == (Verdict.HOLD, [])
    told = wire.at_client[-1]
    assert (told.ack, block_of(told)) == (start, (start + 12, start + 24))
    wire.client(read(1))
    assert wire.reads == [read(1) + read(2)]


def test_one_block_holds_all_that_is_remembered_without_a_gap() -> None:
    wire = Wire(sack=True, stamps=True).open()
    start = wire.client_next
    wire.client(read(3), at=24)
    assert block_of(wire.at_client[-1]) == (start + 24, start + 36)
    wire.client(read(2), at=12)
    assert block_of(wire.at_client[-1]) == (start + 12, start + 36)
    wire.client(read(1))
    assert wire.reads == [read(1) + read(2) + read(3)]


def test_without_sack_the_client_is_told_by_the_number_alone() -> None:
    wire = Wire().open()
    start = wire.client_next
    wire.client(read(2), at=12)
    assert (wire.at_client[-1].ack, options_of(wire.at_client[-1])) == (start, b"")


def test_the_gap_may_be_in_the_midst_of_a_unit() -> None:
    wire = Wire(sack=True).open()
    start = wire.client_next
    wire.client(read(1)[:5])
    wire.client(read(1)[9:], at=4)
    told = wire.at_client[-1]
    assert (told.ack, block_of(told)) == (start + 5, (start + 9, start + 12))
    wire.client(read(1)[5:9])
    assert wire.reads == [read(1)]


def test_a_forbidden_request_behind_a_gap_is_denied_when_it_is_filled() -> None:
    wire = Wire(sack=True).open()
    wire.client(forbidden(2), at=12)
    assert wire.denials == []
    wire.client(read(1))
    assert (wire.reads, wire.denials) == ([read(1)], ["no-rule"])
    assert wire.reset_to_server and wire.reset_to_client


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    wire = Wire(sack=True).open()
    for number in range(EARLY_KEPT + 3):
        wire.client(read(number), at=12 * (number + 1))
    assert len(next(iter(wire.flows)).early[0]) == EARLY_KEPT  # type: ignore[index]
    assert block_of(wire.at_client[-1]) is None
    wire.client(read(100), at=100_000)  # far beyond the server's window
    assert len(next(iter(wire.flows)).early[0]) == EARLY_KEPT  # type: ignore[index]


def test_segments_that_overlap_share_that_room() -> None:
    wire = Wire(sack=True).open()
    for number in range(EARLY_KEPT):
        wire.client(bytes(1400), at=12 + number)
    kept = next(iter(wire.flows)).early[0]  # type: ignore[index]
    assert 0 < sum(len(each) for each in kept.values()) <= HELD_ROOM


def test_a_successor_waits_for_all_of_it_again() -> None:
    wire = Wire(sack=True).open()
    wire.client(read(2), at=12)
    wire.flows = FlowTable(wire.memory)
    wire.pipeline = Pipeline(wire.pipeline.tables, wire.flows, wire.notices.append)
    wire.client(read(1))
    wire.client(read(2))
    assert wire.reads == [read(1), read(2)]


def test_behind_an_answer_of_ours_blocks_are_in_the_clients_numbers() -> None:
    wire = Wire(tables(on_deny="reject"), sack=True).open()
    wire.client(forbidden(1))
    wire.client(ack=wire.server_next + 9)  # our exception response
    start = wire.client_next
    wire.client(read(3), at=12, ack=wire.server_next + 9)
    told = wire.at_client[-1]
    assert (told.ack, block_of(told)) == (start, (start + 12, start + 24))
    wire.client(read(2), ack=wire.server_next + 9)
    assert wire.at_server[-1].payload == read(2) + read(3)


def test_a_denied_request_behind_a_gap_is_answered_in_its_turn() -> None:
    wire = Wire(tables(on_deny="reject"), sack=True).open()
    wire.client(forbidden(2) + read(3), at=12)
    wire.client(read(1))
    wire.client_next += 24
    wire.server(read_answer(1))
    assert wire.at_client[-1].payload.endswith(b"\x86\x01")
    wire.client(ack=wire.server_next + 9)
    assert wire.reads == [read(1), read(3)]


# --- the server's direction ------------------------------------------------------------------------


def answers_behind_a_gap() -> tuple[Wire, int]:
    """Two reads, and the answer to the second has overtaken that to the first."""
    wire = Wire(sack=True).open()
    wire.client(read(1) + read(2))
    size = len(read_answer(1))
    outcome = wire.server(read_answer(2), at=size)
    assert (outcome.verdict, outcome.forward) == (Verdict.HOLD, True)
    return wire, size


def test_an_answer_behind_a_gap_passes_and_is_inspected_when_it_is_filled() -> None:
    wire, _ = answers_behind_a_gap()
    outcome = wire.server(read_answer(1))
    assert [unit.reason for unit in outcome.units] == [None, None]
    assert not next(iter(wire.flows)).ahead


def test_what_fills_the_gap_does_not_pass_where_what_is_behind_must_not() -> None:
    wire = Wire().open()
    wire.client(read(1) + read(2))
    size = len(read_answer(1))
    wire.server(read_answer(9), at=size)  # nobody has asked for it
    before = len(wire.at_client)
    assert wire.server(read_answer(1)).reason is not None
    assert not any(each.payload for each in wire.at_client[before:])


def test_another_repeat_of_what_passed_behind_a_gap_is_denied() -> None:
    wire, size = answers_behind_a_gap()
    changed = read_answer(2)[:-1] + b"\x77"
    assert wire.server(changed, at=size).reason is Reason.CHANGED_REPEAT


def test_what_fills_the_gap_must_agree_with_what_is_behind() -> None:
    wire, _ = answers_behind_a_gap()
    assert wire.server(read_answer(1) + b"\x77").reason is Reason.CHANGED_REPEAT


def test_a_fin_behind_a_gap_has_to_come_again() -> None:
    wire = Wire().open()
    wire.client(read(1))
    assert not wire.server(read_answer(1)[4:], at=4, flags=1).forward
    assert wire.server(read_answer(1), flags=1).forward
    assert next(iter(wire.flows)).server_ended


def test_a_successor_believes_the_client_that_it_has_what_passed_behind_a_gap() -> None:
    wire, size = answers_behind_a_gap()
    wire.flows = FlowTable(wire.memory)
    wire.pipeline = Pipeline(wire.pipeline.tables, wire.flows, wire.notices.append)
    wire.server(read_answer(1))
    wire.server_next += size
    assert wire.client(read(3)).reason is None
    assert wire.reads[-1] == read(3)
    assert wire.server(read_answer(3)).reason is None
    wire.client(write(4))
    assert wire.reads[-1] == read(3)  # as long as the lost answer may still come
    wire.tick(6)
    assert wire.reads[-1] == write(4)


def test_no_answer_of_ours_between_bytes_behind_a_gap() -> None:
    wire = Wire(tables(on_deny="reject")).open()
    wire.client(read(1))
    wire.server(read_answer(1)[4:], at=4)
    wire.client(forbidden(2))
    assert not any(each.payload.endswith(b"\x86\x01") for each in wire.at_client)
    wire.server(read_answer(1))
    assert wire.at_client[-1].payload.endswith(b"\x86\x01")


# --- a client that acknowledges what nobody saw -----------------------------------------------------


@pytest.mark.parametrize("fail", ["closed", "static"])
def test_the_server_is_asked_and_a_lie_changes_nothing(fail: str) -> None:
    wire = Wire(tables(fail=fail)).open()
    wire.client(write(1))
    wire.client(write(2), ack=wire.server_next + 1000, advance=False)
    probe = wire.at_server[-1]
    assert (probe.payload, probe.ack) == (b"", wire.server_next)
    wire.server()
    flow = next(iter(wire.flows))
    assert (flow.state, flow.claiming) == (State.OPEN, False)
    wire.client(write(2))
    assert wire.reads == [write(1)]  # the first is still unanswered
    wire.server(write_answer(1))
    assert wire.reads == [write(1), write(2)]


def test_where_bytes_cannot_pass_beside_us_the_session_is_ended() -> None:
    """It would stall for ever, since the client's acknowledgements could not go on."""
    wire = Wire(tables(fail="closed")).open()
    wire.client(read(1))
    wire.server_next += len(read_answer(1))
    wire.client(read(2), advance=False)
    assert not wire.reset_to_client
    assert wire.server().reason is Reason.UNINSPECTED_BYTES
    assert wire.reset_to_server and next(iter(wire.flows)).state == State.TOMBSTONE


def test_the_servers_own_number_shows_that_bytes_passed_beside_us() -> None:
    wire = Wire(tables(fail="static")).open()
    wire.client(read(1))
    wire.server_next += len(read_answer(1))  # the kernel passed it by itself
    wire.client(read(2), advance=False)
    assert wire.server().reason is Reason.UNINSPECTED_BYTES
    assert next(iter(wire.flows)).state == State.ASKING
    wire.client(read(2), advance=False)
    wire.server()
    wire.client(read(2))
    assert wire.reads == [read(1), read(2)]


# --- time stamps ------------------------------------------------------------------------------------


def test_the_first_acknowledgement_of_a_head_has_the_stamps_of_the_handshake() -> None:
    """A time stamp older than the last one received is not believed (RFC 7323, 5)."""
    wire = Wire(stamps=True).open()
    wire.client(read(1)[:5])
    value, echo = struct.unpack_from("!II", options_of(wire.at_client[-1]), 4)
    assert (value, echo) == (1900, 1000)
