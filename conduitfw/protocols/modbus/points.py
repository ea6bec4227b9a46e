"""What an ADU reads and writes: tables, addresses, values; and how registers make numbers.

The answers of reads are read together with the request that they answer. Positions are of the PDU's function
code in `data`, as in adu.py; the PDU is known to be well formed.
"""

from __future__ import annotations

import struct

from conduitfw.protocols import UNSAID, Asked, Item
from conduitfw.protocols.modbus.catalogue import (
    BIT_TABLES,
    COILS,
    DIAGNOSTICS,
    FIFO,
    FIFO_MOST,
    FILE_RECORDS,
    HOLDING_REGISTERS,
    INTERFACE,
    MASK_WRITE,
    READ_FILE,
    READ_WRITE,
    READS,
    UMAS,
    WRITE_FILE,
    WRITES,
    WRITES_ONE,
)

LAST_ADDRESS = 0xFFFF
_TWO = struct.Struct("!HH")
_FOUR = struct.Struct("!HHHH")
_U16 = struct.Struct("!H")

WITH_DETAIL = frozenset((DIAGNOSTICS, INTERFACE, UMAS))


def detail_of(data: bytes, at: int, end: int) -> int:
    """The sub-function, as the catalogue numbers it; -1 where the function has none, or it is cut."""
    function = data[at]
    if function == DIAGNOSTICS and end - at >= 3:
        return int(_U16.unpack_from(data, at + 1)[0])
    if function == INTERFACE and end - at >= 2:
        return data[at + 1] << 8 | (data[at + 2] if data[at + 1] == 14 and end - at >= 3 else 0)
    if function == UMAS and end - at >= 3:  # behind the octet that names the session
        return data[at + 2]
    return -1


def _registers(data: bytes, at: int, count: int) -> tuple[float, ...]:
    return struct.unpack_from(f"!{count}H", data, at)


def _bits(data: bytes, at: int, count: int) -> tuple[float, ...]:
    """The lowest bit of the first octet is the first item (6.1)."""
    return tuple(data[at + index // 8] >> index % 8 & 1 for index in range(count))


def values_at(table: int, data: bytes, at: int, count: int) -> tuple[float, ...]:
    """`count` values of a table as they stand in a PDU from `at` on."""
    return _bits(data, at, count) if table in BIT_TABLES else _registers(data, at, count)


def requested(data: bytes, at: int, end: int) -> list[Item]:
    """What a request touches, in the order of its fields."""
    function = data[at]
    if function in READS:
        address, quantity = _TWO.unpack_from(data, at + 1)
        return [Item(READS[function][0], address, address + quantity - 1)]
    if function in WRITES_ONE:
        return [written_one(data, at)]
    if function in WRITES:
        address, quantity = _TWO.unpack_from(data, at + 1)
        table = WRITES[function][0]
        values = values_at(table, data, at + 6, quantity)
        return [Item(table, address, address + quantity - 1, writes=True, values=values)]
    if function == MASK_WRITE:
        return [masked(data, at)]
    if function == READ_WRITE:
        read, most, address, quantity = _FOUR.unpack_from(data, at + 1)
        return [
            Item(HOLDING_REGISTERS, read, read + most - 1),
            Item(
                HOLDING_REGISTERS, address, address + quantity - 1,
                writes=True, values=_registers(data, at + 10, quantity),
            ),
        ]  # fmt: skip
    if function == FIFO:
        # The count, and behind it as many registers as it says, which only the device knows.
        pointer = _U16.unpack_from(data, at + 1)[0]
        return [Item(HOLDING_REGISTERS, pointer, min(pointer + FIFO_MOST, LAST_ADDRESS))]
    if function in (READ_FILE, WRITE_FILE):
        return _files(data, at, end, function == WRITE_FILE)
    return []


def written_one(data: bytes, at: int) -> Item:
    """Functions 5 and 6, whose answer repeats the request."""
    address, value = _TWO.unpack_from(data, at + 1)
    table = WRITES_ONE[data[at]]
    return Item(table, address, address, writes=True, values=(int(value != 0) if table == COILS else value,))


def masked(data: bytes, at: int) -> Item:
    """Function 22: what is written depends on the register, unless the AND mask clears all of it (6.16)."""
    address, and_mask, or_mask = struct.unpack_from("!HHH", data, at + 1)
    values = (or_mask,) if and_mask == 0 else None
    return Item(HOLDING_REGISTERS, address, address, writes=True, values=values)


def _files(data: bytes, at: int, end: int, writes: bool) -> list[Item]:
    """6.14 and 6.15: groups of reference type, file, record, length, and for a write that many registers."""
    found = []
    group = at + 2
    while group < end:
        file, record, length = struct.unpack_from("!HHH", data, group + 1)
        last = record + max(length, 1) - 1
        values = _registers(data, group + 7, length) if writes else ()
        found.append(Item(FILE_RECORDS, record, last, variation=file, writes=writes, values=values))
        group += 7 + (2 * length if writes else 0)
    return found


def answered(data: bytes, at: int, end: int, expected: bytes) -> list[Item]:
    """What an answer tells of points. `expected`: of the request it answers (adu.expected_answer), or b""."""
    function = data[at]
    if function in WRITES_ONE:
        return [written_one(data, at)]
    if function in WRITES:
        address, quantity = _TWO.unpack_from(data, at + 1)
        return [Item(WRITES[function][0], address, address + quantity - 1, writes=True)]
    if function == MASK_WRITE:
        return [masked(data, at)]
    if function == WRITE_FILE:
        return _files(data, at, end, True)
    table = HOLDING_REGISTERS if function == READ_WRITE else READS.get(function, (-1, 0))[0]
    if table < 0 or len(expected) < 4:
        return []
    address, quantity = _TWO.unpack_from(expected, 0)
    return [Item(table, address, address + quantity - 1, values=values_at(table, data, at + 2, quantity))]


def outcome(function: int, data: bytes, at: int, expected: bytes, *, taken: bool) -> list[tuple[Item, bool]]:
    """What a write's answer says of it. `expected`: of the request (adu.expected_answer); an exception says no more."""
    values: tuple[float, ...] = ()
    if function == MASK_WRITE:
        if taken:
            return [(masked(data, at), True)]
        table, first, quantity = HOLDING_REGISTERS, _U16.unpack_from(expected)[0], 1
    elif function in WRITES_ONE:
        if taken:
            return [(written_one(data, at), True)]
        table, (first, value), quantity = WRITES_ONE[function], _TWO.unpack_from(expected), 1
        values = (int(value != 0) if table == COILS else value,)
    elif function in WRITES:
        table, (first, quantity) = WRITES[function][0], _TWO.unpack_from(expected)
    elif function == READ_WRITE:
        table, (first, quantity) = HOLDING_REGISTERS, _TWO.unpack_from(expected, 4)
    else:
        return []
    return [(Item(table, first, first + quantity - 1, writes=True, values=values), taken)]


def asked(function: int, question: Asked) -> list[Item]:
    """The items of a request as a question of `explain` puts it. Of 23, the part that writes is asked for."""
    first, last = question.point, question.point + question.quantity - 1
    if function in WRITES_ONE or function == MASK_WRITE:
        last = first if first != UNSAID else last
    if function in READS or function == FIFO:
        table = READS[function][0] if function in READS else HOLDING_REGISTERS
        if function == FIFO:
            last = min(first + FIFO_MOST, LAST_ADDRESS) if first != UNSAID else last
        return [Item(table, first, last)]
    if function in (READ_FILE, WRITE_FILE):
        return [
            Item(
                FILE_RECORDS, first, last, variation=question.variation,
                writes=function == WRITE_FILE, values=question.values,
            )
        ]  # fmt: skip
    table = WRITES[function][0] if function in WRITES else WRITES_ONE.get(function, HOLDING_REGISTERS)
    if function not in (*WRITES, *WRITES_ONE, MASK_WRITE, READ_WRITE):
        return []
    written = Item(table, first, last, writes=True, values=question.values)
    return [Item(table, UNSAID, UNSAID - 1), written] if function == READ_WRITE else [written]


# And 7, 8, 11, 12, 17, which touch no table.
ADDRESSED = frozenset(
    (7, DIAGNOSTICS, 11, 12, 17, *READS, *WRITES, *WRITES_ONE, MASK_WRITE, READ_WRITE, FIFO, READ_FILE, WRITE_FILE)
)


def tag_functions(table: int, width: int, writes: bool) -> frozenset[int]:
    """The functions that read or write one point of `width` registers (or a bit) and nothing that it is not."""
    if not writes:
        return frozenset(function for function, (of, _) in READS.items() if of == table)
    several = frozenset(function for function, (of, _) in WRITES.items() if of == table)
    one = frozenset(function for function, of in WRITES_ONE.items() if of == table)
    return several | one if width == 1 else several
