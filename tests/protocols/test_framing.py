"""How long a unit is, told from its first bytes; and what cannot begin one."""

from __future__ import annotations

import pytest
from dnp3.datalink.builder import build_unconfirmed_user_data

from conduitfw.protocols import Definition, Unit
from conduitfw.protocols.dnp3 import DNP3, link
from conduitfw.protocols.modbus import MODBUS
from conduitfw.reasons import Malformed, Reason
from tests.pipeline.modbus_units import read, write


def dnp3_frame(user_data: bytes) -> bytes:
    return build_unconfirmed_user_data(destination=10, source=1, dir_from_master=True, user_data=user_data).to_bytes()


FRAME = dnp3_frame(b"\xc0\xc0\x01")


@pytest.mark.parametrize(("protocol", "unit"), [(MODBUS, read()), (MODBUS, write()), (DNP3, FRAME)])
def test_every_cut(protocol: Definition, unit: bytes) -> None:
    sizes = [protocol.frame(unit, 0, end) for end in range(len(unit) + 1)]
    told = next(index for index, size in enumerate(sizes) if size)
    assert told == (6 if protocol is MODBUS else 10)
    assert set(sizes[told:]) == {len(unit)}
    assert protocol.frame(b"xx" + unit + b"yy", 2, 4 + len(unit)) == len(unit)


@pytest.mark.parametrize("octets", range(1, 250))
def test_every_size_of_user_data(octets: int) -> None:
    frame = dnp3_frame(bytes(range(octets)))
    assert link.frame(frame, 0, len(frame)) == len(frame) <= link.MAX_FRAME
    assert link.user_data(frame, 0, octets) == bytes(range(octets))
    assert link.blocks_are_right(frame, link.HEADER_SIZE, octets)
    for at in range(link.HEADER_SIZE, len(frame)):
        wrong = bytearray(frame)
        wrong[at] ^= 0x10
        assert not link.blocks_are_right(bytes(wrong), link.HEADER_SIZE, octets)


def header(start: bytes = b"\x05\x64", length: int = 5) -> bytes:
    first = start + bytes((length, 0xC9, 10, 0, 1, 0))
    return first + link.crc(first).to_bytes(2, "little")


BEGINNINGS = [
    (MODBUS, b"\x00\x01\x01", Reason.MODBUS_PROTOCOL_ID),
    (MODBUS, b"\x00\x01\x00\x01", Reason.MODBUS_PROTOCOL_ID),
    (MODBUS, b"\x00\x01\x00\x00\x01", Reason.MODBUS_LENGTH),
    (MODBUS, b"\x00\x01\x00\x00\x00\xff", Reason.MODBUS_LENGTH),
    (MODBUS, b"\x00\x01\x00\x00\x00\x01", Reason.MODBUS_LENGTH),
    (DNP3, b"\x06", Reason.DNP3_START),
    (DNP3, b"\x05\x65", Reason.DNP3_START),
    (DNP3, b"\x05\x64\x04", Reason.DNP3_LENGTH),
    (DNP3, header(length=4), Reason.DNP3_LENGTH),
    (DNP3, header(b"\x05\x63"), Reason.DNP3_START),
    (DNP3, header()[:-1] + b"\x00", Reason.DNP3_HEADER_CRC),
]


@pytest.mark.parametrize(("protocol", "data", "reason"), BEGINNINGS)
def test_what_cannot_begin_a_unit(protocol: Definition, data: bytes, reason: Reason) -> None:
    with pytest.raises(Malformed) as raised:
        protocol.frame(data, 0, len(data))
    assert raised.value.reason is reason


def test_a_request_of_more_than_a_fragment() -> None:
    session = DNP3.session(False)
    reasons = []
    for number in range(9):
        first = 0x40 if number == 0 else 0
        body = (b"\xc0\x02" if number == 0 else b"") + bytes(249 - 2 * (number == 0))
        frame = dnp3_frame(bytes((first | number,)) + body)
        unit = session.inspect(frame, 0, len(frame), True)
        reasons.append(unit.reason)
        session.commit(unit, 1.0)
    assert reasons == [None] * 8 + [Reason.DNP3_FRAGMENT_TOO_LONG]


def test_requests_with_data_wait_and_reads_do_not() -> None:
    session = DNP3.session(False)

    def unit(fragment: bytes) -> Unit:
        frame = dnp3_frame(b"\xc0" + fragment)
        return session.inspect(frame, 0, len(frame), True)

    poll, write_time, confirm = b"\xc0\x01\x3c\x01\x06", b"\xc1\x02\x32\x01\x07\x01" + bytes(6), b"\xc0\x00"
    first = unit(poll)
    assert session.may_go(first, 16)
    session.commit(first, 0.0)
    assert session.may_go(unit(poll), 16)
    assert not session.may_go(unit(poll), 1)
    assert not session.may_go(unit(write_time), 16)
    assert session.may_go(unit(confirm), 16)
    assert not session.overdue(20.0, 15.0)  # a read holds nobody up
    late = unit(write_time)
    assert session.may_go(late, 16)
    session.commit(late, 20.0)
    assert not session.may_go(unit(poll), 16)
    assert session.overdue(36.0, 15.0)
