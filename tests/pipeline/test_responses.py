"""Responses (tcp-rules.md, 10): passed as they come, or the end of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduitfw.flow import FlowTable
from conduitfw.protocols.modbus.session import REMEMBERED
from conduitfw.reasons import Reason
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import read, read_answer
from tests.pipeline.test_limits import RTU, compiled, frame
from tests.pipeline.wire import Wire

POLL = frame(b"\xc0\xc1\x01\x3c\x02\x06")


def response(sequence: int) -> bytes:
    return frame(bytes((0xC0, 0xC0 | sequence, 0x81, 0, 0)), master=10, outstation=1, control=0x44)


def session(tmp_path: Path, protocol: str) -> Wire:
    rule = {
        "Modbus": "allow: modbus, clients: hmi, servers: plc, functions: [read, 16]",
        "DNP3": "allow: dnp3, clients: hmi, servers: rtu, functions: [read, direct_operate]",
    }[protocol]
    more = {"ends": RTU, "ports": (40000, 20000)} if protocol == "DNP3" else {}
    return Wire(compiled(tmp_path, rule), **more).open()  # type: ignore[arg-type]


UNITS = {"Modbus": (read(1), read_answer(1)), "DNP3": (POLL, response(1))}
BOTH = pytest.mark.parametrize("protocol", ["Modbus", "DNP3"])


@BOTH
def test_an_answer_goes_on_as_it_comes(tmp_path: Path, protocol: str) -> None:
    request, answer = UNITS[protocol]
    for at in range(1, len(answer)):
        wire = session(tmp_path, protocol)
        wire.client(request)
        for piece in (answer[:at], answer[at:]):
            outcome = wire.server(piece)
            assert outcome.forward and outcome.payload is None and outcome.reason is None
            assert wire.at_client[-1].payload == piece


@BOTH
def test_an_answer_to_nothing_ends_the_flow(tmp_path: Path, protocol: str) -> None:
    wire = session(tmp_path, protocol)
    _, answer = UNITS[protocol]
    begin = wire.server_next
    assert wire.server(answer).reason is Reason.UNMATCHED_RESPONSE
    assert not any(each.payload for each in wire.at_client)
    wire.server_next = begin
    assert wire.reset_to_client and wire.reset_to_server


def test_an_answer_that_does_not_fit_ends_the_flow() -> None:
    wire = Wire().open()
    wire.client(read(1, 2))
    assert wire.server(read_answer(1, 3)).reason is Reason.MODBUS_ANSWER_DIFFERS
    assert not any(each.payload for each in wire.at_client)


def test_what_is_no_unit_ends_the_flow() -> None:
    wire = Wire().open()
    wire.client(read(1))
    begin = wire.server_next
    assert wire.server(b"\x00\x01\x00\x07" + bytes(8)).reason is Reason.MODBUS_PROTOCOL_ID
    assert not any(each.payload for each in wire.at_client)
    wire.server_next = begin
    assert wire.reset_to_client


def test_an_answer_is_repeated_as_the_server_likes() -> None:
    wire = Wire().open()
    wire.client(read(1))
    answer = read_answer(1)
    wire.server(answer)
    for first, last in ((0, len(answer)), (3, 7)):
        outcome = wire.server(answer[first:last], at=first - len(answer))
        assert (outcome.forward, outcome.reason, outcome.units) == (True, None, [])
    wire.client(read(2))
    outcome = wire.server(answer + read_answer(2), at=-len(answer))
    assert (outcome.forward, outcome.reason, len(outcome.units)) == (True, None, 1)


@BOTH
def test_a_late_answer_passes(tmp_path: Path, protocol: str) -> None:
    request, answer = UNITS[protocol]
    wire = session(tmp_path, protocol)
    wire.client(request)
    wire.server()
    wire.tick(60)
    assert wire.server(answer).reason is None
    assert wire.at_client[-1].payload == answer
    assert wire.denials == []


def test_what_is_remembered_is_bounded() -> None:
    """Unanswered for ever: the oldest are forgotten, and an answer to one of them ends the session."""
    wire = Wire().open()
    for number in range(3 * REMEMBERED):
        wire.client(read(number))
        wire.server()
        wire.tick(6)
    assert len(wire.reads) == 3 * REMEMBERED
    assert wire.pipeline.counters["engine_errors"] == 0
    assert wire.server(read_answer(3 * REMEMBERED - 1)).reason is None
    assert wire.server(read_answer(2 * REMEMBERED + 1)).reason is None
    assert wire.server(read_answer(REMEMBERED)).reason is Reason.UNMATCHED_RESPONSE


def test_one_transaction_id_for_everything() -> None:
    """Answers are those to the oldest request that each fits."""
    wire = Wire().open()
    wire.client(read(7, 2) + read(7, 3))
    assert wire.server(read_answer(7, 2)).reason is None
    assert wire.server(read_answer(7, 3)).reason is None
    wire.client(read(7, 4))
    assert wire.server(read_answer(7, 4)).reason is None


@pytest.mark.parametrize(
    ("responses", "reason"), [("lenient", None), ("strict", Reason.UNMATCHED_RESPONSE)], ids=["lenient", "strict"]
)
def test_another_unit_id(tmp_path: Path, responses: str, reason: Reason | None) -> None:
    said = ", responses: lenient" if responses == "lenient" else ""
    wire = Wire(compiled(tmp_path, f"allow: modbus, clients: hmi, servers: plc, functions: read{said}")).open()
    wire.client(read(1))
    answer = bytearray(read_answer(1))
    answer[6] = 0xFF
    assert wire.server(bytes(answer)).reason is reason


def test_a_late_answer_is_told() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.server()
    wire.tick(60)
    before = len(wire.notices)
    wire.server(read_answer(1))
    assert len(wire.notices) > before


def test_another_unit_id_is_told(tmp_path: Path) -> None:
    rule = "allow: modbus, clients: hmi, servers: plc, functions: read, responses: lenient"
    wire = Wire(compiled(tmp_path, rule)).open()
    wire.client(read(1))
    answer = bytearray(read_answer(1))
    answer[6] = 0xFF
    before = len(wire.notices)
    assert wire.server(bytes(answer)).reason is None
    assert len(wire.notices) > before


def test_a_request_asked_twice_may_be_answered_twice(tmp_path: Path) -> None:
    """One sequence number, two requests under way: both answers pass, in whatever is asked between them."""
    wire = Wire(
        compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: read"), ends=RTU, ports=(40000, 20000)
    )
    wire.open()
    wire.client(POLL)
    wire.client(POLL)
    assert wire.server(response(1)).reason is None
    wire.client(frame(b"\xc0\xc2\x01\x3c\x02\x06"))
    assert wire.server(response(1)).reason is None
    assert wire.server(response(2)).reason is None
    assert wire.server(response(7)).reason is Reason.UNMATCHED_RESPONSE


def test_each_request_of_a_sequence_number_may_be_answered_and_no_more(tmp_path: Path) -> None:
    """Asked again while the answer to the second is under way: three answers, also where another worker goes on."""
    rules = compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: read")
    wire = Wire(rules, ends=RTU, ports=(40000, 20000)).open()
    wire.client(POLL)
    wire.client(POLL)
    assert wire.server(response(1)).reason is None
    wire.client(POLL)
    wire.pipeline = Pipeline(rules, FlowTable(wire.memory), wire.notices.append)
    assert wire.server(response(1)).reason is None
    wire.client(frame(b"\xc0\xc2\x01\x3c\x02\x06"))
    assert wire.server(response(1)).reason is None
    assert wire.server(response(2)).reason is None
    wire.client(frame(b"\xc0\xc3\x01\x3c\x02\x06"))
    assert wire.server(response(1)).reason is Reason.UNMATCHED_RESPONSE
