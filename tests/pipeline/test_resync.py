"""Without state, `resync` (tcp-rules.md, 9): from where the server is, whole, allowed units only."""

from __future__ import annotations

from pathlib import Path

from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.test_limits import HEAD, RTU, compiled, crobs, frame, message
from tests.pipeline.wire import Wire, tables

STATIC = HEAD.replace("    rules:\n", "    fail: static\n    rules:\n")


def midstream(rules: object = None, **more: object) -> Wire:
    wire = Wire(rules or tables(fail="static"), **more)  # type: ignore[arg-type]
    wire.client_next = wire.received
    return wire


def found(wire: Wire) -> Wire:
    """The server has said where it is."""
    wire.client()
    wire.server()
    return wire


def rtu(tmp_path: Path) -> Wire:
    rule = "allow: dnp3, clients: hmi, servers: rtu, functions: [read, direct_operate]"
    return found(midstream(compiled(tmp_path, rule, head=STATIC), ends=RTU, ports=(40000, 20000)))


def response(sequence: int) -> bytes:
    return frame(bytes((0xC0, 0xC0 | sequence, 0x81, 0, 0)), master=10, outstation=1, control=0x44)


def test_a_segment_that_starts_elsewhere_does_not_go_on() -> None:
    wire = found(midstream())
    assert wire.client(read(2), at=12).reason is None
    assert all(not each.payload for each in wire.at_server)
    wire.client(read(1))
    assert wire.reads == [read(1) + read(2)], "it waited for what stands in front of it"


def test_the_servers_number_counts_and_not_the_clients() -> None:
    wire = midstream()
    wire.client_next = wire.received - 4 & 0xFFFFFFFF
    wire.client(forbidden(1)[:4] + read(1), advance=False)  # four bytes of it are taken
    wire.server()
    wire.client(forbidden(1)[:4] + read(1))
    assert wire.reads == [read(1)]


def test_a_forbidden_unit_does_not_go_on() -> None:
    wire = found(midstream())
    assert wire.client(forbidden(1)).reason is Reason.NO_RULE
    assert wire.reads == [] and wire.reset_to_server and wire.reset_to_client


def test_a_later_frame_of_a_message_does_not_go_on(tmp_path: Path) -> None:
    wire = rtu(tmp_path)
    last = message(5, crobs(1, 2), 5 + 13)[1]
    assert wire.client(last).reason is Reason.DNP3_NO_FIRST_SEGMENT
    assert wire.reads == []
    wire = rtu(tmp_path)
    whole = message(5, crobs(1, 2), 5 + 13)
    for each in whole:
        wire.client(each)
        wire.server()
    assert wire.reads == whole


def test_unmatched_answers_pass_until_one_is_matched() -> None:
    wire = found(midstream())
    for number in (71, 72):
        assert wire.server(read_answer(number)).reason is None
    wire.client(read(1))
    assert wire.server(read_answer(73)).reason is None
    assert wire.server(read_answer(1)).reason is None
    assert wire.server(read_answer(74)).reason is Reason.UNMATCHED_RESPONSE


def test_unmatched_responses_pass_until_one_is_matched(tmp_path: Path) -> None:
    wire = rtu(tmp_path)
    for number in (7, 8):
        assert wire.server(response(number)).reason is None
    wire.client(frame(b"\xc0\xc1\x01\x3c\x02\x06"))
    assert wire.server(response(9)).reason is None
    assert wire.server(response(1)).reason is None
    assert wire.server(response(10)).reason is Reason.UNMATCHED_RESPONSE


def test_unmatched_answers_are_counted() -> None:
    wire = found(midstream())
    wire.server(read_answer(71))
    assert wire.pipeline.counters["answers_unmatched"] == 1
