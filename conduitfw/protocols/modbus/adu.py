"""Is this ADU one that a conforming peer sends? Lengths, counts and limits of every public function.

The MBAP length must be exactly what the function's PDU needs: some servers execute what stands behind a
request whose length was inflated, others lose step where it is too short. Section numbers are those of
the MODBUS Application Protocol Specification V1.1b3; "MBAP" is the MODBUS Messaging on TCP/IP
Implementation Guide V1.0b, 3.1.3.

Positions are of the PDU's function code in `data`; `end` is behind the PDU's last byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import blake2b

from conduitfw.protocols.modbus.catalogue import (
    BIT_TABLES,
    DIAGNOSTICS,
    EXCEPTIONS,
    FIFO,
    FIFO_MOST,
    INTERFACE,
    MASK_WRITE,
    READ_DEVICE_IDENTIFICATION,
    READ_FILE,
    READ_WRITE,
    READ_WRITE_MOST,
    READS,
    UMAS,
    WRITE_FILE,
    WRITES,
)
from conduitfw.reasons import Malformed, Reason

HEADER = 7  # transaction id, protocol id, length, unit id
SHORTEST, LONGEST = 2, 254  # what the length field may say: unit id and PDU (4.1: a PDU has at most 253 bytes)
_TWO = struct.Struct("!HH")
_U16 = struct.Struct("!H")

Check = Callable[[bytes, int, int], Reason | None]


def frame(data: bytes, start: int, end: int) -> int:
    """The length of the ADU that begins at `start`; 0 where more bytes are needed to tell (MBAP).

    Raises Malformed as soon as the bytes present cannot begin an ADU.
    """
    present = end - start
    if (present > 2 and data[start + 2]) or (present > 3 and data[start + 3]):
        raise Malformed(Reason.MODBUS_PROTOCOL_ID)
    if present > 4 and data[start + 4]:
        raise Malformed(Reason.MODBUS_LENGTH)
    if present < 6:
        return 0
    length = data[start + 5]
    if length < SHORTEST or length > LONGEST:
        raise Malformed(Reason.MODBUS_LENGTH)
    return 6 + length


def _length(expected: int) -> Check:
    def check(data: bytes, at: int, end: int) -> Reason | None:
        return None if end - at == expected else Reason.MODBUS_LENGTH

    return check


def _read(most: int) -> Check:
    """6.1 to 6.4: address and quantity."""

    def check(data: bytes, at: int, end: int) -> Reason | None:
        if end - at != 5:
            return Reason.MODBUS_LENGTH
        address, quantity = _TWO.unpack_from(data, at + 1)
        if not 1 <= quantity <= most:
            return Reason.MODBUS_QUANTITY
        return Reason.MODBUS_ADDRESS if address + quantity > 0x10000 else None

    return check


def _write_single_coil(data: bytes, at: int, end: int) -> Reason | None:
    """6.5: on is 0xFF00, off is 0x0000."""
    if end - at != 5:
        return Reason.MODBUS_LENGTH
    return None if data[at + 3] in (0, 0xFF) and data[at + 4] == 0 else Reason.MODBUS_VALUE


def _write_multiple(most: int, bits: int) -> Check:
    """6.11 and 6.12: address, quantity, byte count, values of `bits` bits each."""

    def check(data: bytes, at: int, end: int) -> Reason | None:
        if end - at < 6:
            return Reason.MODBUS_LENGTH
        address, quantity = _TWO.unpack_from(data, at + 1)
        if not 1 <= quantity <= most:
            return Reason.MODBUS_QUANTITY
        if data[at + 5] != (quantity * bits + 7) // 8:
            return Reason.MODBUS_BYTE_COUNT
        if end - at != 6 + data[at + 5]:
            return Reason.MODBUS_LENGTH
        return Reason.MODBUS_ADDRESS if address + quantity > 0x10000 else None

    return check


def _diagnostics(data: bytes, at: int, end: int) -> Reason | None:
    """6.8: sub-function and data of two bytes; sub-function 0 returns any data."""
    size = end - at
    if size < 3 or (size != 5 and (data[at + 1] or data[at + 2])):
        return Reason.MODBUS_LENGTH
    return None


def _read_files(data: bytes, at: int, end: int) -> Reason | None:
    """6.14: groups of reference type 6, file, record, length."""
    size = end - at
    if size < 2 or data[at + 1] != size - 2:
        return Reason.MODBUS_BYTE_COUNT
    if not 7 <= data[at + 1] <= 0xF5 or data[at + 1] % 7:
        return Reason.MODBUS_BYTE_COUNT
    for group in range(at + 2, end, 7):
        reason = _file_reference(data, group)
        if reason is not None:
            return reason
    return None


def _file_reference(data: bytes, at: int) -> Reason | None:
    if data[at] != 6:
        return Reason.MODBUS_FILE_REFERENCE
    file_number, record = _TWO.unpack_from(data, at + 1)
    length = _U16.unpack_from(data, at + 5)[0]
    return Reason.MODBUS_FILE_REFERENCE if file_number == 0 or record + max(length, 1) > 10_000 else None


def _write_files(data: bytes, at: int, end: int) -> Reason | None:
    """6.15: groups of reference type 6, file, record, length, and that many registers."""
    size = end - at
    if size < 2 or data[at + 1] != size - 2 or not 9 <= data[at + 1] <= 0xFB:
        return Reason.MODBUS_BYTE_COUNT
    group = at + 2
    while group < end:
        if end - group < 9:
            return Reason.MODBUS_BYTE_COUNT
        reason = _file_reference(data, group)
        if reason is not None:
            return reason
        registers = _U16.unpack_from(data, group + 5)[0]
        if registers == 0:
            return Reason.MODBUS_QUANTITY
        group += 7 + 2 * registers
    return None if group == end else Reason.MODBUS_BYTE_COUNT


def _read_write(data: bytes, at: int, end: int) -> Reason | None:
    """6.17: what is read (at most 125) and what is written (at most 121)."""
    if end - at < 10:
        return Reason.MODBUS_LENGTH
    read_address, read_quantity = _TWO.unpack_from(data, at + 1)
    address, quantity = _TWO.unpack_from(data, at + 5)
    if not 1 <= read_quantity <= READ_WRITE_MOST[0] or not 1 <= quantity <= READ_WRITE_MOST[1]:
        return Reason.MODBUS_QUANTITY
    if data[at + 9] != 2 * quantity:
        return Reason.MODBUS_BYTE_COUNT
    if end - at != 10 + data[at + 9]:
        return Reason.MODBUS_LENGTH
    if read_address + read_quantity > 0x10000 or address + quantity > 0x10000:
        return Reason.MODBUS_ADDRESS
    return None


def _interface_transport(data: bytes, at: int, end: int) -> Reason | None:
    """6.19 to 6.21: MEI type 14 has a code of 1 to 4 and an object id; others are the interface's own."""
    size = end - at
    if size < 2:
        return Reason.MODBUS_LENGTH
    if data[at + 1] != READ_DEVICE_IDENTIFICATION:
        return None
    if size != 4:
        return Reason.MODBUS_LENGTH
    return None if 1 <= data[at + 2] <= 4 else Reason.MODBUS_VALUE


def _umas(data: bytes, at: int, end: int) -> Reason | None:
    """Schneider's function 90: an octet for the session, then a function of its own, or how it went."""
    return None if end - at >= 3 else Reason.MODBUS_LENGTH


REQUESTS: dict[int, Check] = {
    **{function: _read(most) for function, (_, most) in READS.items()},
    **{function: _write_multiple(most, 1 if table in BIT_TABLES else 16) for function, (table, most) in WRITES.items()},
    5: _write_single_coil,
    6: _length(5),
    7: _length(1),
    DIAGNOSTICS: _diagnostics,
    11: _length(1),
    12: _length(1),
    17: _length(1),
    READ_FILE: _read_files,
    WRITE_FILE: _write_files,
    MASK_WRITE: _length(7),
    READ_WRITE: _read_write,
    FIFO: _length(3),
    INTERFACE: _interface_transport,
    UMAS: _umas,
}


def _counted(data: bytes, at: int, end: int) -> Reason | None:
    """A byte count, and that many bytes."""
    size = end - at
    return None if size >= 2 and data[at + 1] == size - 2 else Reason.MODBUS_BYTE_COUNT


def _file_groups(data: bytes, at: int, end: int) -> Reason | None:
    """6.14: groups of a length, reference type 6, and registers."""
    if _counted(data, at, end) is not None:
        return Reason.MODBUS_BYTE_COUNT
    group = at + 2
    while group < end:
        length = data[group]
        if length % 2 == 0 or end - group < 2:
            return Reason.MODBUS_BYTE_COUNT
        if data[group + 1] != 6:
            return Reason.MODBUS_FILE_REFERENCE
        group += 1 + length
    return None if group == end else Reason.MODBUS_BYTE_COUNT


def _fifo(data: bytes, at: int, end: int) -> Reason | None:
    """6.18: byte count of two bytes, count of at most 31 registers."""
    if end - at < 5:
        return Reason.MODBUS_LENGTH
    count_bytes, registers = _TWO.unpack_from(data, at + 1)
    if registers > FIFO_MOST:
        return Reason.MODBUS_QUANTITY
    return None if count_bytes == 2 + 2 * registers == end - at - 3 else Reason.MODBUS_BYTE_COUNT


def _identification(data: bytes, at: int, end: int) -> Reason | None:
    """6.21: code, conformity, more follows, next object, and as many objects of an id, a length and octets."""
    size = end - at
    if size < 2:
        return Reason.MODBUS_LENGTH
    if data[at + 1] != READ_DEVICE_IDENTIFICATION:
        return None
    if size < 7:
        return Reason.MODBUS_LENGTH
    if not 1 <= data[at + 2] <= 4 or data[at + 4] not in (0, 0xFF):
        return Reason.MODBUS_VALUE
    place = at + 7
    for _ in range(data[at + 6]):
        if end - place < 2:
            return Reason.MODBUS_LENGTH
        place += 2 + data[place + 1]
    return None if place == end else Reason.MODBUS_LENGTH


RESPONSES: dict[int, Check] = {
    **dict.fromkeys(READS, _counted),
    **dict.fromkeys(WRITES, _length(5)),
    5: _write_single_coil,
    6: _length(5),
    7: _length(2),
    DIAGNOSTICS: _diagnostics,
    11: _length(5),
    12: _counted,
    17: _counted,
    READ_FILE: _file_groups,
    WRITE_FILE: _write_files,
    MASK_WRITE: _length(7),
    READ_WRITE: _counted,
    FIFO: _fifo,
    INTERFACE: _identification,
    UMAS: _umas,
}


def exception(data: bytes, at: int, end: int) -> Reason | None:
    """7: a response with the highest bit of its function set has one byte, a known code."""
    if end - at != 2:
        return Reason.MODBUS_LENGTH
    return None if data[at + 1] in EXCEPTIONS.by_number else Reason.MODBUS_EXCEPTION_CODE


def expected_answer(data: bytes, at: int, end: int) -> bytes:
    """What of a (well-formed) request its answer has to agree with or is read by; compared by `agrees`."""
    function = data[at]
    if function == READ_WRITE:
        return data[at + 1 : at + 9]
    if function in (*READS, *WRITES, 5, 6):
        return data[at + 1 : at + 5]
    if function == MASK_WRITE:
        return data[at + 1 : at + 7]
    if function == DIAGNOSTICS:
        return data[at + 1 : at + 3]
    if function == INTERFACE:  # the code of a device identification is repeated
        return data[at + 1 : at + (3 if data[at + 1] == READ_DEVICE_IDENTIFICATION else 2)]
    return _echo(data, at, end) if function == WRITE_FILE else b""


def _echo(data: bytes, at: int, end: int) -> bytes:
    """What stands for a request that its answer repeats whole."""
    return blake2b(data[at:end], digest_size=8).digest()


def agrees(expected: bytes, data: bytes, at: int, end: int) -> bool:
    """Whether a (well-formed) response fits the request that it answers."""
    function = data[at]
    if function == WRITE_FILE:
        return _echo(data, at, end) == expected
    if function in READS or function == READ_WRITE:
        quantity = _U16.unpack_from(expected, 2)[0]
        bits = 1 if READS.get(function, (-1, 0))[0] in BIT_TABLES else 16
        return bool(data[at + 1] == (quantity * bits + 7) // 8)
    return data.startswith(expected, at + 1)
