"""One request that carries data at a time (tcp-rules.md, 6): what waits, for what, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymodbus.pdu.bit_message import WriteMultipleCoilsRequest
from pymodbus.pdu.file_message import (
    FileRecord,
    ReadFifoQueueRequest,
    ReadFileRecordRequest,
    WriteFileRecordRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
)

from conduitfw.flow import HELD_ROOM, State
from conduitfw.outcome import Verdict
from conduitfw.policy.compile import Tables
from tests.pipeline.modbus_units import adu, read, read_answer, write, write_answer
from tests.pipeline.test_limits import HEAD, RTU, compiled, crobs, frame
from tests.pipeline.wire import Wire, tables

ALL = "allow: modbus, clients: hmi, servers: plc, functions: all"
WITH_DATA = {
    "15": adu(WriteMultipleCoilsRequest(address=0, bits=[True] * 16), 2),
    "16": adu(WriteMultipleRegistersRequest(address=0, registers=[1, 2]), 2),
    "20": adu(ReadFileRecordRequest(records=[FileRecord(file_number=4, record_number=1, record_length=2)]), 2),
    "21": adu(WriteFileRecordRequest(records=[FileRecord(file_number=4, record_number=1, record_data=b"abcd")]), 2),
    "22": adu(MaskWriteRegisterRequest(address=0, and_mask=1, or_mask=2), 2),
    "23": adu(
        ReadWriteMultipleRegistersRequest(read_address=0, read_count=1, write_address=0, write_registers=[1, 2]), 2
    ),
    "24": adu(ReadFifoQueueRequest(address=0), 2),
    "90 of vendors": b"\x00\x02\x00\x00\x00\x05\x01\x5a\x00\x02\x00",
}
EVERY = pytest.mark.parametrize("unit", WITH_DATA.values(), ids=WITH_DATA)


@EVERY
def test_a_modbus_request_with_data_waits(tmp_path: Path, unit: bytes) -> None:
    wire = Wire(compiled(tmp_path, ALL)).open()
    wire.client(read(1))
    assert wire.client(unit).verdict is Verdict.HOLD
    wire.server()
    assert wire.reads == [read(1)], "it is taken, and not answered yet"
    wire.server(read_answer(1))
    assert wire.reads == [read(1), unit]


@EVERY
def test_nothing_goes_behind_a_modbus_request_with_data(tmp_path: Path, unit: bytes) -> None:
    wire = Wire(compiled(tmp_path, ALL)).open()
    wire.client(unit)
    assert wire.client(read(1)).verdict is Verdict.HOLD
    wire.server()
    assert wire.reads == [unit]


@pytest.mark.parametrize(("said", "count"), [("", 16), (", outstanding: 3", 3), (", outstanding: 1", 1)])
def test_a_rule_says_how_many(tmp_path: Path, said: str, count: int) -> None:
    rule = f"allow: modbus, clients: hmi, servers: plc, functions: read{said}"
    wire = Wire(compiled(tmp_path, rule)).open()
    stream = b"".join(read(number) for number in range(18))
    wire.client(stream)
    assert b"".join(wire.reads) == stream[: 12 * count]
    wire.server(read_answer(0))
    assert b"".join(wire.reads) == stream[: 12 * (count + 1)]


def test_what_finds_no_room_is_sent_again() -> None:
    """It is not acknowledged: the client has to keep it."""
    wire = Wire().open()
    wire.client(write(1))
    wire.server()
    units = [write(number, tuple(range(100))) for number in range(2, 18)]
    stream = b"".join(units)
    assert len(stream) > HELD_ROOM
    for at in range(0, len(stream), 1000):
        wire.client(stream[at : at + 1000])
        assert wire.client_acknowledged == wire.received
    flow = next(iter(wire.flows))
    assert len(flow.held) <= HELD_ROOM
    start = wire.client_next - len(stream)
    wire.server(write_answer(1))
    for number, unit in enumerate(units, 2):
        first = wire.received - start & 0xFFFFFFFF
        wire.client(stream[first:], at=first - len(stream))  # from what is acknowledged on
        assert wire.reads[-1] == unit
        wire.server(write_answer(number, 100))
    assert wire.reads == [write(1), *units] and wire.denials == []


# --- DNP3 --------------------------------------------------------------------------------------------

POLL = frame(b"\xc0\xc0\x01\x3c\x02\x06")
ANSWER = frame(b"\xc0\xc0\x81\x00\x00", master=10, outstation=1, control=0x44)
CONFIRM = frame(b"\xc0\xc0\x00")
LINK_STATUS, LINK_ANSWER = frame(b"", control=0xC9), frame(b"", control=0x8B)
DNP3_WITH_DATA = {
    "select": frame(b"\xc0\xc1\x03" + crobs(1)),
    "direct operate": frame(b"\xc0\xc1\x05" + crobs(1)),
    "write": frame(b"\xc0\xc1\x02\x50\x01\x00\x07\x07\x00"),
    "read of indexes": frame(b"\xc0\xc1\x01\x01\x00\x17\x02\x01\x02"),
}
WITHOUT_OCTETS = {
    "cold restart": frame(b"\xc0\xc1\x0d"),
    "freeze": frame(b"\xc0\xc1\x07\x14\x00\x06"),
    "disable unsolicited": frame(b"\xc0\xc1\x15\x3c\x02\x06"),
}


def any_dnp3(tmp_path: Path, more: str = "") -> Tables:
    return compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: all" + more)


def station(rules: Tables) -> Wire:
    return Wire(rules, ends=RTU, ports=(40000, 20000)).open()


@pytest.mark.parametrize(
    "unit",
    [
        *(pytest.param(unit, id=name) for name, unit in DNP3_WITH_DATA.items()),
        *(pytest.param(unit, id=name) for name, unit in WITHOUT_OCTETS.items()),
    ],
)
def test_a_dnp3_request_with_data_waits(tmp_path: Path, unit: bytes) -> None:
    wire = station(any_dnp3(tmp_path))
    wire.client(POLL)
    assert wire.client(unit).verdict is Verdict.HOLD
    wire.server()
    assert wire.reads == [POLL]
    wire.server(ANSWER)
    assert wire.reads == [POLL, unit]
    wire.client(POLL)
    wire.server()
    assert wire.reads == [POLL, unit], "nothing goes behind it"


def test_a_dnp3_read_of_several_frames_goes_alone(tmp_path: Path) -> None:
    wire = station(any_dnp3(tmp_path))
    first, last = frame(b"\x40\xc1\x01\x3c\x02\x06"), frame(b"\x81\x3c\x03\x06")
    wire.client(POLL)
    wire.client(first + last)
    wire.server()
    assert wire.reads == [POLL]
    wire.server(ANSWER)
    wire.server()
    assert b"".join(wire.reads) == POLL + first + last


def test_a_dnp3_request_with_data_has_to_be_answered(tmp_path: Path) -> None:
    wire = station(any_dnp3(tmp_path))
    wire.client(DNP3_WITH_DATA["direct operate"])
    wire.server()
    wire.tick(14.5)
    assert wire.denials == []
    wire.tick(1)
    assert wire.denials == ["no-answer"] and wire.reset_to_server


@pytest.mark.parametrize("function", [6, 8, 10])
def test_a_dnp3_request_without_an_answer_counts_when_taken(tmp_path: Path, function: int) -> None:
    wire = station(any_dnp3(tmp_path))
    body = crobs(1) if function == 6 else b"\x14\x00\x06"
    unit = frame(bytes((0xC0, 0xC1, function)) + body)
    wire.client(unit)
    wire.client(POLL)
    if function == 6:
        assert wire.reads == [unit]
    wire.server()
    assert wire.reads == [unit, POLL]
    wire.server(ANSWER)
    wire.tick(60)
    assert wire.denials == []


@pytest.mark.parametrize("function", ["direct operate", "write"])
def test_a_dnp3_broadcast_counts_when_taken(tmp_path: Path, function: str) -> None:
    wire = station(any_dnp3(tmp_path, ", outstation: [10, 65535]"))
    body = crobs(1) if function == "direct operate" else b"\x50\x01\x00\x07\x07\x00"
    unit = frame(bytes((0xC0, 0xC1, 5 if function == "direct operate" else 2)) + body, outstation=0xFFFF)
    wire.client(unit)
    wire.client(POLL)
    assert wire.reads == [unit]
    wire.server()
    assert wire.reads == [unit, POLL]
    wire.tick(60)
    assert wire.denials == []


def test_what_has_no_answer_passes_only_where_a_rule_names_it(tmp_path: Path) -> None:
    """Function 6 is not 5; and who names no outstation names every one, but no broadcast."""
    head = HEAD.replace("rtu: {address: 10.20.0.9, link_address: 10}", "rtu: 10.20.0.9")
    rule = "allow: dnp3, clients: hmi, servers: rtu, functions: [read, direct_operate]"
    for unit in (
        frame(b"\xc0\xc1\x06" + crobs(1)),
        frame(b"\xc0\xc1\x05" + crobs(1), outstation=0xFFFF),
        frame(b"\xc0\xc1\x05" + crobs(1), outstation=0xFFFD),
    ):
        wire = station(compiled(tmp_path, rule, head=head))
        assert wire.client(unit).verdict is Verdict.DENY
        assert wire.reads == []
    wire = station(compiled(tmp_path, rule, head=head))
    assert wire.client(frame(b"\xc0\xc1\x05" + crobs(1), outstation=77)).verdict is Verdict.ACCEPT


def test_a_confirm_never_waits(tmp_path: Path) -> None:
    """An outstation may hold its answer for one."""
    wire = station(any_dnp3(tmp_path))
    wire.client(DNP3_WITH_DATA["direct operate"])
    wire.client(CONFIRM)
    assert wire.reads == [DNP3_WITH_DATA["direct operate"], CONFIRM]


def test_link_answers_never_wait(tmp_path: Path) -> None:
    wire = station(any_dnp3(tmp_path))
    wire.client(DNP3_WITH_DATA["direct operate"])
    assert wire.server(frame(b"", master=10, outstation=1, control=0x49)).reason is None
    wire.client(LINK_ANSWER)
    wire.client(LINK_STATUS)
    assert wire.reads == [DNP3_WITH_DATA["direct operate"], LINK_ANSWER, LINK_STATUS]


def test_nothing_waits_for_a_confirm(tmp_path: Path) -> None:
    wire = station(any_dnp3(tmp_path))
    wire.client(CONFIRM)
    wire.client(LINK_STATUS)
    wire.client(DNP3_WITH_DATA["direct operate"])
    assert wire.reads == [CONFIRM, LINK_STATUS, DNP3_WITH_DATA["direct operate"]]


# --- of the asset -----------------------------------------------------------------------------


def test_answer_within_belongs_to_the_asset(tmp_path: Path) -> None:
    head = HEAD.replace("units: 1}", "units: 1, answer_within: 2 s}")
    wire = Wire(compiled(tmp_path, ALL, head=head)).open()
    wire.client(write(1))
    wire.tick(2.5)
    assert wire.denials == ["no-answer"]


def test_a_write_without_an_answer_where_the_asset_says_go_on(tmp_path: Path) -> None:
    head = HEAD.replace("units: 1}", "units: 1, on_no_answer: go_on}")
    wire = Wire(compiled(tmp_path, ALL, head=head)).open()
    wire.client(write(1))
    wire.server()
    wire.tick(6)
    assert next(iter(wire.flows)).state == State.OPEN


def test_unit_0_of_a_gateway_is_a_broadcast(tmp_path: Path) -> None:
    rule = "allow: modbus, clients: hmi, servers: plc, functions: all, units: [0, 1]"
    wire = Wire(compiled(tmp_path, rule)).open()
    unit = adu(WriteMultipleRegistersRequest(address=0, registers=[1]), 1, unit=0)
    wire.client(unit)
    wire.client(read(2))
    assert wire.reads == [unit]
    wire.server()
    assert wire.reads == [unit, read(2)]
    wire.server(read_answer(2))
    wire.tick(6)
    assert wire.denials == []


def test_unit_0_of_a_device_itself_is_answered() -> None:
    wire = Wire(tables()).open()
    unit = adu(WriteMultipleRegistersRequest(address=0, registers=[1, 2, 3]), 1, unit=0)
    wire.client(unit)
    wire.server()
    wire.client(read(2))
    assert wire.reads == [unit]
