"""DNP3 link frames, transport segments and requests, built octet by octet, right or wrong."""

from __future__ import annotations

import struct

from dnp3.core.crc import compute_crc


def block(octets: bytes, wrong: int = 0) -> bytes:
    return octets + struct.pack("<H", compute_crc(octets) ^ wrong)


def frame(
    user: bytes, *, to: int = 10, master: int = 1, control: int = 0xC4, header_wrong: int = 0, wrong: int = 0,
    length: int | None = None,
) -> bytes:  # fmt: skip
    """A link frame of a master's; `wrong`: what the last block's CRC is spoilt with."""
    header = struct.pack("<BBBBHH", 5, 0x64, 5 + len(user) if length is None else length, control, to, master)
    cut = [user[at : at + 16] for at in range(0, len(user), 16)]
    blocks = [block(each, wrong if number == len(cut) - 1 else 0) for number, each in enumerate(cut)]
    return block(header, header_wrong) + b"".join(blocks)


def request(function: int, objects: bytes = b"", sequence: int = 0, flags: int = 0xC0) -> bytes:
    return bytes((flags | sequence, function)) + objects


def segments(fragment: bytes, size: int, *, first: int = 0) -> list[bytes]:
    """Transport segments."""
    parts = [fragment[at : at + size] for at in range(0, len(fragment), size)]
    result = []
    for number, part in enumerate(parts):
        flags = (0x40 if number == 0 else 0) | (0x80 if number == len(parts) - 1 else 0)
        result.append(bytes((flags | (first + number) & 63,)) + part)
    return result


def whole(fragment: bytes, **more: int) -> bytes:
    return frame(b"\xc0" + fragment, **more)
