"""What a target reads its input with, and units made of it whose lengths and check sums are right."""

from __future__ import annotations

import struct

from conduitfw.protocols.dnp3 import link
from fuzz.policies import MASTER, OUTSTATION


class Violation(AssertionError):  # noqa: N818
    """What must never be, and was."""


def must(holds: bool, what: str, *about: object) -> None:
    """Something that holds always."""
    if not holds:
        raise Violation(" ".join((what, *(each.hex() if isinstance(each, bytes) else repr(each) for each in about))))


class Input:
    """The octets of an input, one after the other; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.data)

    def octet(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def word(self) -> int:
        return self.octet() << 8 | self.octet()

    def signed(self) -> int:
        return self.octet() - 128

    def octets(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        self.at += count
        return found

    def piece(self) -> bytes:
        """A length (one octet, or three where the first is 255) and so many octets."""
        size = self.octet()
        return self.octets(self.word() % 1461 if size == 255 else size)


def piece(octets: bytes) -> bytes:
    """What `Input.piece` reads."""
    size = bytes((len(octets),)) if len(octets) < 255 else b"\xff" + struct.pack("!H", len(octets))
    return size + octets


# --- Modbus --------------------------------------------------------------------------------------


def adu(transaction: int, unit_id: int, pdu: bytes) -> bytes:
    return struct.pack("!HHHB", transaction, 0, len(pdu) + 1, unit_id) + pdu[:253]


def modbus_request(source: Input) -> bytes:
    """A request with the right lengths."""
    kind, transaction, place, count = source.octet(), source.octet(), source.octet(), source.octet()
    form, unit_id = kind & 7, 1 + (kind >> 6)
    if form == 0:
        pdu = struct.pack("!BHH", 3, place, count % 126)
    elif form == 1:
        quantity = count % 124
        data = source.octets(2 * quantity).ljust(2 * quantity, b"\0")
        pdu = struct.pack("!BHHB", 16, place, quantity, 2 * quantity) + data
    elif form == 2:
        pdu = struct.pack("!BHH", 6, place, count * 8)
    elif form == 3:
        quantity = count % 8
        data = source.octets(2 * quantity).ljust(2 * quantity, b"\0")
        pdu = struct.pack("!BHHHHB", 23, place, count % 126, source.octet(), quantity, 2 * quantity) + data
    elif form == 4:
        pdu = bytes((place,)) + source.octets(count % 253)
    elif form == 5:
        data = source.octets((count + 7) // 8).ljust((count + 7) // 8, b"\0")
        pdu = struct.pack("!BHHB", 15, place, count, len(data)) + data
    elif form == 6:
        pdu = struct.pack("!BHH", 1, place, count)
    else:
        pdu = struct.pack("!BH", 8, place) + source.octets(count % 8)
    return adu(transaction, unit_id, pdu)


def modbus_answer(request: bytes, how: int) -> bytes:
    """What a server says to a request (`how`: 1 refuses it)."""
    transaction, unit_id, function = struct.unpack_from("!HxxxxBB", request)
    body = request[8:]
    if how == 1:
        pdu = bytes((function | 0x80, 2))
    elif function in (1, 2, 3, 4, 23) and len(body) >= 4:
        quantity = int.from_bytes(body[2:4], "big")
        size = (quantity + 7) // 8 if function in (1, 2) else 2 * quantity
        pdu = bytes((function, size & 0xFF)) + bytes(size & 0xFF)
    elif function in (15, 16):
        pdu = request[7:12]
    else:
        pdu = request[7:]
    return adu(transaction, unit_id, pdu)


# --- DNP3 ----------------------------------------------------------------------------------------


def dnp3_frame(control: int, destination: int, source: int, user: bytes = b"") -> bytes:
    """A link frame, every CRC right."""
    header = struct.pack("<BBBBHH", 0x05, 0x64, 5 + len(user), control, destination, source)
    blocks = [header, *(user[at : at + 16] for at in range(0, len(user), 16))]
    return b"".join(block + struct.pack("<H", link.crc(block)) for block in blocks)


def dnp3_request(source: Input) -> bytes:
    """A frame of the master."""
    kind, sequence = source.octet(), source.octet() & 0x0F
    form = kind & 7
    control, user = 0xC4, b""
    if form == 0:  # class poll
        user = bytes((0xC0, 0xC0 | sequence, 1)) + b"\x3c\x02\x06"
    elif form <= 2:  # a relay
        index, code = source.octet(), source.octet()
        crob = bytes((code, 1)) + bytes(9)
        user = bytes((0xC0, 0xC0 | sequence, (3, 4, 5, 6)[kind >> 6]))
        user += bytes((12, 1, 0x17, 1, index)) + crob
    elif form == 3:
        user = bytes((0xC0, 0xC0 | sequence, source.octet())) + source.piece()[:200]
    elif form == 4:  # one segment of several
        user = (bytes((source.octet(),)) + source.piece())[:250]
    elif form == 5:
        control = source.octet()
    elif form == 6:
        user = bytes((0xC0, 0xC0 | sequence, 0))  # confirm
    else:
        control, user = source.octet(), source.piece()[:250]
    return dnp3_frame(control, OUTSTATION, MASTER, user)


def dnp3_answer(request: bytes, how: int) -> bytes:
    """What an outstation says to a frame."""
    control = request[3]
    if control & 0x0F == 9:
        return dnp3_frame(0x0B, MASTER, OUTSTATION)
    if control & 0x0F == 0 or len(request) < 15:
        return dnp3_frame(0x00, MASTER, OUTSTATION)
    sequence = request[11] & 0x0F
    objects = b""
    if len(request) > 14 and request[12] in (3, 4, 5):
        objects = (request[13:26] + request[28:])[:-2][:220]
    user = bytes((0xC0, (0xE0 if how == 1 else 0xC0) | sequence, 129, 0, 0)) + objects
    return dnp3_frame(0x44, MASTER, OUTSTATION, user)


def dnp3_report(source: Input) -> bytes:
    """A frame of the outstation, of whatever kind."""
    control = (0x44, 0x00, 0x0B, 0x43, 0x49, 0x40)[source.octet() % 6]
    user = source.piece()[:250] if control & 0x0F in (3, 4) and control & 0x40 else b""
    return dnp3_frame(control, MASTER, OUTSTATION, user)
