"""Numbers in coils and registers: which types there are, and how several registers make one.

Registers hold the octets of a word most significant first (MODBUS Application Protocol V1.1b3, 4.2); which word of a
larger number comes first, the standard leaves to the devices.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from conduitfw.protocols import Encoding
from conduitfw.protocols.modbus.catalogue import BIT_TABLES, FILE_RECORDS
from conduitfw.protocols.numbers import shortest

# By name, the code of the struct module.
_REGISTER_TYPES = {
    "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "float32": "f",
    "uint64": "Q", "int64": "q", "float64": "d",
}  # fmt: skip
_MOST = dict(zip("fd", struct.unpack("!fd", bytes.fromhex("7f7fffff7fefffffffffffff")), strict=True))


def _range(code: str, width: int) -> tuple[float, float]:
    if code in _MOST:
        most = shortest(_MOST[code]) if code == "f" else _MOST[code]
        return -most, most
    bits = 16 * width
    return (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _encoding(name: str, code: str) -> Encoding:
    packed = struct.Struct("!" + code)
    width = packed.size // 2
    words = struct.Struct(f"!{width}H")
    whole = code not in _MOST

    def decode(raw: Sequence[float], big: bool) -> float:
        ordered = raw if big else reversed(raw)
        number: float = packed.unpack(words.pack(*(int(word) for word in ordered)))[0]
        return shortest(number) if code == "f" else number

    def encode(number: float, big: bool) -> tuple[float, ...]:
        if whole and number != int(number):
            raise ValueError(f"{number} is no whole number")
        try:
            raw = words.unpack(packed.pack(int(number) if whole else number))
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{number} does not fit {name}") from error
        return raw if big else tuple(reversed(raw))

    return Encoding(name, width, *_range(code, width), decode, encode)


def _bit(number: float, big: bool) -> tuple[float, ...]:
    if number not in (0, 1):
        raise ValueError(f"{number} is neither 0 nor 1")
    return (int(number),)


ENCODINGS = {name: _encoding(name, code) for name, code in _REGISTER_TYPES.items()}
ENCODINGS["bit"] = Encoding("bit", 1, 0, 1, lambda raw, big: raw[0], _bit)


def encodings_of(table: int) -> tuple[str, ...]:
    """The types that a point of this table may have, its default first."""
    if table in BIT_TABLES:
        return ("bit",)
    return tuple(_REGISTER_TYPES) if table != FILE_RECORDS else ()
