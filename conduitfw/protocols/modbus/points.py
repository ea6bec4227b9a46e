"""What an ADU reads and writes: tables, addresses, values; and how registers make numbers.

The answers of reads are read together with the request that they answer. Positions are of the PDU's function
code in `data`, as in adu.py; the PDU is known to be well formed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from conduitfw.protocols import Encoding, Item
from conduitfw.protocols.modbus.catalogue import (
    COILS,
    DIAGNOSTICS,
    DISCRETE_INPUTS,
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
_BITS = frozenset((COILS, DISCRETE_INPUTS))
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
    return _bits(data, at, count) if table in _BITS else _registers(data, at, count)


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
        found.append(Item(FILE_RECORDS, record, last, variation=file, writes=writes))
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


# --- numbers in registers -----------------------------------------------------------------------------------


def _encoding(name: str, code: str) -> Encoding:
    """Registers hold the octets of a word most significant first (4.2); which word is first, devices differ."""
    packed = struct.Struct("!" + code)
    width = packed.size // 2
    words = struct.Struct(f"!{width}H")

    def decode(raw: Sequence[float], big: bool) -> float:
        ordered = raw if big else tuple(reversed(raw))
        return float(packed.unpack(words.pack(*(int(word) for word in ordered)))[0]) if code in "fd" else int(
            packed.unpack(words.pack(*(int(word) for word in ordered)))[0]
        )

    def encode(number: float, big: bool) -> tuple[float, ...]:
        if code not in "fd" and number != int(number):
            raise ValueError(f"{number} is no whole number")
        try:
            raw = words.unpack(packed.pack(number if code in "fd" else int(number)))
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{number} does not fit {name}") from error
        return raw if big else tuple(reversed(raw))

    bits = 16 * width
    if code in "fd":
        lowest, highest = (-3.4028234663852886e38, 3.4028234663852886e38) if code == "f" else (-1.8e308, 1.8e308)
    elif code.isupper():
        lowest, highest = 0, 2**bits - 1
    else:
        lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return Encoding(name, width, lowest, highest, decode, encode)


def _bit(number: float, big: bool) -> tuple[float, ...]:
    if number not in (0, 1):
        raise ValueError(f"{number} is neither 0 nor 1")
    return (int(number),)


_REGISTER_TYPES = ("uint16", "int16", "uint32", "int32", "float32", "uint64", "int64", "float64")
ENCODINGS = {
    name: _encoding(name, code) for name, code in zip(_REGISTER_TYPES, ("H", "h", "I", "i", "f", "Q", "q", "d"), strict=True)
}
ENCODINGS["bit"] = Encoding("bit", 1, 0, 1, lambda raw, big: raw[0], _bit)


def encodings_of(table: int) -> tuple[str, ...]:
    """The types that a point of this table may have, its default first."""
    if table in _BITS:
        return ("bit",)
    return _REGISTER_TYPES if table != FILE_RECORDS else ()


def tag_functions(table: int, width: int, writes: bool) -> frozenset[int]:
    """The functions that read or write one point of `width` registers (or a bit) and nothing that it is not."""
    if not writes:
        return frozenset(function for function, (of, _) in READS.items() if of == table)
    several = frozenset(function for function, (of, _) in WRITES.items() if of == table)
    one = frozenset(function for function, of in WRITES_ONE.items() if of == table)
    return several | one if width == 1 else several
