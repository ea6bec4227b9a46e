"""Captures: libpcap and pcapng files to frames, and frames to the IP packets in them.

The formats are draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; link types are those of
tcpdump.org/linktypes. Why a reader of our own: docs/decisions/0003-capture-reader.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MAX_FRAME = 256 * 1024  # bytes: the largest that tcpdump writes
_MAX_BLOCK = 16 * 1024 * 1024

# Magic number -> byte order, fractions of a second in the time stamp.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_OPTION_END, _OPTION_TSRESOL, _OPTION_TSOFFSET = 0, 9, 14

_NULL, _ETHERNET, _RAW, _COOKED, _LOOP, _COOKED2 = 0, 1, 101, 113, 108, 276
_RAW_TYPES = frozenset((12, 14, _RAW, 228, 229))
SUPPORTED = {
    _NULL: "BSD loopback", _ETHERNET: "Ethernet", _LOOP: "OpenBSD loopback", _COOKED: "Linux cooked",
    _COOKED2: "Linux cooked v2", **dict.fromkeys(sorted(_RAW_TYPES), "raw IP"),
}  # fmt: skip

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
# Address families of IPv4 and IPv6 on the systems that write loopback captures.
_FAMILIES = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}


class CaptureError(Exception):
    """The file is no capture that can be read, from `offset` (bytes) on."""

    def __init__(self, path: Path, offset: int, message: str) -> None:
        super().__init__(f"{path}: at byte {offset}: {message}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame. `number` counts from 1, `time` in seconds since 1970; `data` may be cut short."""

    number: int
    time: float
    link_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Datagram:
    """What a frame carries: a packet of the network layer, and the VLAN ids of the tags before it."""

    ethertype: int
    data: bytes
    vlans: tuple[int, ...] = ()


def read_capture(path: Path) -> Iterator[Frame]:
    """The frames of a capture, in the file's order.

    Raises CaptureError where the file is damaged, behind the frames before the damage, and OSError.
    """
    with path.open("rb") as file:
        reader = _Reader(path, file)
        magic = reader.take(4, "the magic number")
        if magic in _PCAP:
            yield from _pcap(reader, *_PCAP[magic])
        elif magic == b"\x0a\x0d\x0d\x0a":
            yield from _pcapng(reader)
        else:
            hint = "it is gzip: unpack it first" if magic[:2] == b"\x1f\x8b" else "expected libpcap or pcapng"
            raise CaptureError(path, 0, f"the magic number {magic.hex()} is of no capture; {hint}")


class _Reader:
    """The file, and where we are in it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.offset = 0
        self._file = file

    def take(self, size: int, what: str) -> bytes:
        """Exactly `size` bytes."""
        data = self._file.read(size)
        if len(data) != size:
            raise self.error(f"the file ends within {what}: {size} bytes expected, {len(data)} there")
        self.offset += size
        return data

    def try_take(self, size: int, what: str) -> bytes | None:
        """The same, or None at the end of the file."""
        first = self._file.read(1)
        if not first:
            return None
        self.offset += 1
        return first + self.take(size - 1, what)

    def error(self, message: str) -> CaptureError:
        return CaptureError(self.path, self.offset, message)

    def check_link_type(self, link_type: int) -> None:
        if link_type not in SUPPORTED:
            known = ", ".join(f"{name} ({number})" for number, name in SUPPORTED.items())
            raise self.error(f"link type {link_type} is not known here; known are {known}")


# --- libpcap ----------------------------------------------------------------------------------------


def _pcap(reader: _Reader, order: str, fractions: int) -> Iterator[Frame]:
    _, _, _, _, _, link = struct.unpack(order + "HHiIII", reader.take(20, "the file header"))
    link_type = link & 0xFFFF  # above stands the length of a frame check sequence
    reader.check_link_type(link_type)
    record = struct.Struct(order + "IIII")
    number = 0
    while (header := reader.try_take(record.size, "a record header")) is not None:
        seconds, fraction, captured, _ = record.unpack(header)
        if captured > MAX_FRAME:
            raise reader.error(f"a frame of {captured} bytes; at most {MAX_FRAME} are expected")
        number += 1
        yield Frame(number, seconds + fraction / fractions, link_type, reader.take(captured, "a frame"))


# --- pcapng -----------------------------------------------------------------------------------------


@dataclass
class _Interface:
    link_type: int
    snap_length: int
    resolution: float = 1e-6  # seconds
    offset: int = 0  # seconds


@dataclass
class _Section:
    order: str
    interfaces: list[_Interface] = field(default_factory=list)


def _pcapng(reader: _Reader) -> Iterator[Frame]:
    section = _section(reader)
    number = 0
    while (head := reader.try_take(4, "a block's type")) is not None:
        if head == b"\x0a\x0d\x0d\x0a":
            section = _section(reader)
            continue
        kind = struct.unpack(section.order + "I", head)[0]
        body = _body(reader, section.order, 0)
        if kind == _INTERFACE:
            section.interfaces.append(_interface(reader, section.order, body))
        elif kind in (_ENHANCED, _SIMPLE, _OLD_PACKET):
            number += 1
            yield _packet(reader, section, kind, body, number)


def _section(reader: _Reader) -> _Section:
    """A section header block: behind its length stands what byte order all of the section has."""
    start = reader.take(8, "a section header")
    order = _BYTE_ORDERS.get(start[4:])
    if order is None:
        raise reader.error(f"the byte-order magic {start[4:].hex()} is neither 1a2b3c4d nor 4d3c2b1a")
    total = struct.unpack(order + "I", start[:4])[0]
    _rest(reader, order, total, already=12)
    return _Section(order)


def _body(reader: _Reader, order: str, already: int) -> bytes:
    total = struct.unpack(order + "I", reader.take(4, "a block's length"))[0]
    return _rest(reader, order, total, already=8 + already)


def _rest(reader: _Reader, order: str, total: int, already: int) -> bytes:
    """The rest of a block, without its second length."""
    if total % 4 or not already + 4 <= total <= _MAX_BLOCK:
        raise reader.error(f"a block of {total} bytes; a multiple of 4 up to {_MAX_BLOCK} is expected")
    body = reader.take(total - already - 4, "a block")
    again = struct.unpack(order + "I", reader.take(4, "a block's second length"))[0]
    if again != total:
        raise reader.error(f"the block's lengths differ: {total} in front and {again} behind")
    return body


def _interface(reader: _Reader, order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise reader.error("an interface description of less than 8 bytes")
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    reader.check_link_type(link_type)
    interface = _Interface(link_type, snap_length)
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == _OPTION_END or len(value) != size:
            break
        if code == _OPTION_TSRESOL and size == 1:
            interface.resolution = 2.0 ** -(value[0] & 0x7F) if value[0] & 0x80 else 10.0 ** -value[0]
        elif code == _OPTION_TSOFFSET and size == 8:
            interface.offset = struct.unpack(order + "q", value)[0]
        at += 4 + size + -size % 4
    return interface


def _packet(reader: _Reader, section: _Section, kind: int, body: bytes, number: int) -> Frame:
    if kind == _SIMPLE:
        layout, index, stamp = "I", 0, 0
        if len(body) < 4:
            raise reader.error("a simple packet block of less than 4 bytes")
        length = struct.unpack_from(section.order + layout, body)[0]
        head = 4
    else:
        layout = "IIIII" if kind == _ENHANCED else "HHIIII"
        head = 20
        if len(body) < head:
            raise reader.error("a packet block of less than 20 bytes")
        figures = struct.unpack_from(section.order + layout, body)
        index = figures[0]
        high, low, length = figures[-4], figures[-3], figures[-2]
        stamp = high << 32 | low
    if index >= len(section.interfaces):
        raise reader.error(f"a packet of interface {index}, of which {len(section.interfaces)} are described")
    interface = section.interfaces[index]
    if kind == _SIMPLE and interface.snap_length:
        length = min(length, interface.snap_length)
    if length > len(body) - head:
        raise reader.error(f"a packet of {length} bytes in a block that has room for {len(body) - head}")
    time = stamp * interface.resolution + interface.offset
    return Frame(number, time, interface.link_type, body[head : head + length])


# --- frames -----------------------------------------------------------------------------------------


def datagrams(frame: Frame) -> Datagram | None:
    """The network layer's packet in a frame; None where there is none, or too little of it."""
    data, kind = frame.data, frame.link_type
    if kind == _ETHERNET:
        return _ethernet(data, 12)
    if kind in _RAW_TYPES:
        version = data[0] >> 4 if data else 0
        ethertype = {4: _IPV4, 6: _IPV6}.get(version)
        return Datagram(ethertype, data) if ethertype is not None else None
    if kind in (_NULL, _LOOP):
        if len(data) < 4:
            return None
        family = min(int.from_bytes(data[:4], "big"), int.from_bytes(data[:4], "little"))
        return Datagram(_FAMILIES[family], data[4:]) if family in _FAMILIES else None
    if kind == _COOKED:
        return _ethernet(data, 14)
    if len(data) < 20:
        return None
    return _tagged(int.from_bytes(data[:2], "big"), data, 20)


def _ethernet(data: bytes, at: int) -> Datagram | None:
    """From a type or length field on; in a cooked frame it stands behind 14 bytes of another header."""
    if len(data) < at + 2:
        return None
    return _tagged(int.from_bytes(data[at : at + 2], "big"), data, at + 2)


def _tagged(ethertype: int, data: bytes, at: int) -> Datagram | None:
    vlans: list[int] = []
    while ethertype in _TAGS:
        if len(data) < at + 4:
            return None
        vlans.append(int.from_bytes(data[at : at + 2], "big") & 0x0FFF)
        ethertype = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
    if ethertype < 0x0600:  # a length: 802.3, where LLC and SNAP may carry an EtherType
        if data[at : at + 6] != b"\xaa\xaa\x03\x00\x00\x00" or len(data) < at + 8:
            return None
        data = data[: at + ethertype]
        ethertype = int.from_bytes(data[at + 6 : at + 8], "big")
        at += 8
    return Datagram(ethertype, data[at:], tuple(vlans))
