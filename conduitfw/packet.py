"""Bytes to headers, and headers to bytes: IPv4 and IPv6, TCP and UDP.

`decode` is the first stage of the pipeline and trusts nothing: lengths are checked against the bytes
that are there, checksums are verified (a rewritten packet would repair a wrong one), options that
nobody needs are found, what hides the port is refused. Bytes behind the IP length (Ethernet padding,
PRP trailers) are cut off: they are neither data nor an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from conduitfw.reasons import Malformed, Reason

TCP, UDP = 6, 17
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")

# FIN, SYN, RST and ACK as real stacks combine them (RFC 9293, 3.5 and 3.10); PSH goes with ACK, and
# ECE, CWR (RFC 3168) with anything.
_FLAGS = frozenset((SYN, SYN | ACK, ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN, RST, RST | ACK, RST | ACK | PSH))

_EOL, _NOP, _MSS, _WSCALE, _SACK_OK, _SACK, _TIMESTAMPS, _MD5, _AO = 0, 1, 2, 3, 4, 5, 8, 19, 29
# The length that each option we keep must have (RFC 9293, RFC 7323, RFC 2018); SACK varies.
_OPTION_LENGTH = {_MSS: 4, _WSCALE: 3, _SACK_OK: 2, _TIMESTAMPS: 10}
_KEPT_ON_SYN = frozenset((_MSS, _WSCALE, _SACK_OK, _TIMESTAMPS))
_KEPT_LATER = frozenset((_TIMESTAMPS, _SACK))
_ONLY_TIMESTAMPS = b"\x01\x01\x08\x0a"  # how nearly every segment with timestamps begins its options
_ONE_BLOCK = b"\x01\x01\x05\x0a"  # RFC 2018, 3


class Packet:
    """One decoded packet. `data` ends where the IP header says so."""

    __slots__ = (
        "ack",
        "data",
        "destination_port",
        "flags",
        "key",
        "mss",
        "options",
        "payload_at",
        "sack_ok",
        "segment_at",
        "sequence",
        "source_port",
        "transport",
        "ts_echo",
        "ts_value",
        "version",
        "window",
        "window_scale",
    )

    def __init__(self, data: bytes, version: int, transport: int, segment_at: int) -> None:
        self.data = data
        self.version = version
        self.transport = transport
        self.segment_at = segment_at  # where the TCP or UDP header begins
        self.payload_at = segment_at
        # Source address, destination address, source port, destination port: contiguous in both versions.
        self.key = b""
        self.source_port = self.destination_port = 0
        self.sequence = self.ack = self.flags = self.window = 0
        self.mss = self.window_scale = -1  # on a SYN; -1: not said
        self.sack_ok = False
        self.ts_value = self.ts_echo = -1
        self.options: bytes | None = None  # the options as they have to be cleaned; None: good as they are

    @property
    def payload_length(self) -> int:
        """Bytes of TCP or UDP payload."""
        return len(self.data) - self.payload_at

    @property
    def payload(self) -> bytes:
        """The TCP or UDP payload."""
        return self.data[self.payload_at :]

    @property
    def source(self) -> bytes:
        """The packed source address."""
        return self.data[12:16] if self.version == 4 else self.data[8:24]

    @property
    def destination(self) -> bytes:
        """The packed destination address."""
        return self.data[16:20] if self.version == 4 else self.data[24:40]


def decode(data: bytes, *, verify_checksums: bool = True) -> Packet:
    """Read an IP packet's headers.

    `verify_checksums` is False only for captures, whose sender may have left them to its network card.
    Raises Malformed with the reason for what must not go on.
    """
    length = len(data)
    if length < 20:
        raise Malformed(Reason.TRUNCATED)
    first = data[0]
    if first == 0x45:
        total = (data[2] << 8) | data[3]
        if total > length:
            raise Malformed(Reason.TRUNCATED)
        if total < 20:
            raise Malformed(Reason.BAD_IP_HEADER)
        if ((data[6] & 0x3F) << 8) | data[7]:  # more fragments, or an offset
            raise Malformed(Reason.FRAGMENT)
        if verify_checksums and int.from_bytes(data[:20], "big") % 0xFFFF:
            raise Malformed(Reason.BAD_CHECKSUM)
        transport = data[9]
        segment_at = 20
        addresses = data[12:20]
        version = 4
    elif first >> 4 == 6:
        if length < 40:
            raise Malformed(Reason.TRUNCATED)
        total = 40 + ((data[4] << 8) | data[5])
        if total > length:
            raise Malformed(Reason.TRUNCATED)
        transport = data[6]
        segment_at = 40
        addresses = data[8:40]
        version = 6
    elif first >> 4 == 4:
        raise Malformed(Reason.IP_OPTIONS if first & 0x0F > 5 else Reason.BAD_IP_HEADER)
    else:
        raise Malformed(Reason.BAD_IP_HEADER)
    if total < length:
        data = data[:total]
    if transport == TCP:
        packet = Packet(data, version, TCP, segment_at)
        _decode_tcp(packet)
    elif transport == UDP:
        packet = Packet(data, version, UDP, segment_at)
        _decode_udp(packet)
    else:
        raise Malformed(_why_not_inspected(version, transport))
    if verify_checksums and not _checksum_right(data, segment_at, addresses, transport):
        raise Malformed(Reason.BAD_CHECKSUM)
    packet.key = data[segment_at - len(addresses) : segment_at + 4]
    return packet


def _why_not_inspected(version: int, next_header: int) -> Reason:
    if version == 6 and next_header == 44:
        return Reason.FRAGMENT
    if version == 6 and next_header in (0, 43, 60, 51, 50, 135, 139, 140):
        return Reason.IP_OPTIONS
    return Reason.NOT_INSPECTED


def _checksum_right(data: bytes, segment_at: int, addresses: bytes, transport: int) -> bool:
    """The one's complement sum over pseudo-header and segment (RFC 1071): it is the number modulo 2^16 - 1."""
    length = len(data) - segment_at
    if transport == UDP and data[segment_at + 6 : segment_at + 8] == b"\x00\x00":
        return len(addresses) == 8  # not computed: allowed in IPv4 only (RFC 768, RFC 8200 8.1)
    total = int.from_bytes(data[segment_at:], "big")
    if length & 1:
        total <<= 8
    return (total + int.from_bytes(addresses, "big") + transport + length) % 0xFFFF == 0


def _decode_udp(packet: Packet) -> None:
    data, at = packet.data, packet.segment_at
    if len(data) - at < 8:
        raise Malformed(Reason.TRUNCATED)
    packet.source_port, packet.destination_port, length, _ = _UDP.unpack_from(data, at)
    if length != len(data) - at:
        raise Malformed(Reason.BAD_UDP_HEADER)
    packet.payload_at = at + 8


def _decode_tcp(packet: Packet) -> None:
    data, at = packet.data, packet.segment_at
    size = len(data) - at
    if size < 20:
        raise Malformed(Reason.TRUNCATED)
    (
        packet.source_port,
        packet.destination_port,
        packet.sequence,
        packet.ack,
        offset,
        flags,
        packet.window,
        _,
        _,
    ) = _TCP.unpack_from(data, at)
    header = (offset >> 4) * 4
    if header < 20 or header > size:
        raise Malformed(Reason.BAD_TCP_HEADER)
    flags &= 0x3F
    if flags & URG:
        raise Malformed(Reason.URGENT)
    if flags not in _FLAGS:
        raise Malformed(Reason.BAD_FLAGS)
    packet.flags = flags
    packet.payload_at = at + header
    if header == 32 and data[at + 20 : at + 24] == _ONLY_TIMESTAMPS and not flags & SYN:
        packet.ts_value = _U32.unpack_from(data, at + 24)[0]
        packet.ts_echo = _U32.unpack_from(data, at + 28)[0]
    elif header > 20:
        _read_options(packet, at + 20, at + header)


def _read_options(packet: Packet, at: int, end: int) -> None:
    """Read the options we keep, and note where any other stands (tcp-rules.md, 2)."""
    data = packet.data
    first = at
    kept = _KEPT_ON_SYN if packet.flags & SYN else _KEPT_LATER
    cleaned: bytearray | None = None
    while at < end:
        kind = data[at]
        if kind == _EOL:
            break
        if kind == _NOP:
            at += 1
            continue
        length = data[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end or _OPTION_LENGTH.get(kind, length) != length:
            raise Malformed(Reason.BAD_TCP_HEADER)
        if kind == _SACK and length % 8 != 2:
            raise Malformed(Reason.BAD_TCP_HEADER)
        if kind in (_MD5, _AO):
            raise Malformed(Reason.TCP_AUTH_OPTION)
        if kind not in kept:
            if cleaned is None:
                cleaned = bytearray(data[first:end])
            cleaned[at - first : at - first + length] = b"\x01" * length
        elif kind == _TIMESTAMPS:
            packet.ts_value = _U32.unpack_from(data, at + 2)[0]
            packet.ts_echo = _U32.unpack_from(data, at + 6)[0]
        elif kind == _MSS:
            packet.mss = _U16.unpack_from(data, at + 2)[0]
        elif kind == _WSCALE:
            packet.window_scale = min(data[at + 2], 14)  # RFC 7323, 2.3
        elif kind == _SACK_OK:
            packet.sack_ok = True
        at += length
    if cleaned is not None:
        packet.options = bytes(cleaned)


def without_sack(packet: Packet) -> bytes:
    """The packet's options with every SACK block overwritten by NOP."""
    options = bytearray(
        packet.options if packet.options is not None else packet.data[packet.segment_at + 20 : packet.payload_at]
    )
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == _EOL:
            break
        length = 1 if kind == _NOP else options[at + 1]
        if kind == _SACK:
            options[at : at + length] = b"\x01" * length
        at += length
    return bytes(options)


def with_sack(packet: Packet, moved: Callable[[int], int]) -> bytes:
    """The packet's options with both edges of every SACK block moved; a block that becomes empty wipes them all."""
    options = bytearray(
        packet.options if packet.options is not None else packet.data[packet.segment_at + 20 : packet.payload_at]
    )
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == _EOL:
            break
        length = 1 if kind == _NOP else options[at + 1]
        if kind == _SACK:
            for block in range(at + 2, at + length, 8):
                edges = [moved(_U32.unpack_from(options, block + place)[0]) & 0xFFFFFFFF for place in (0, 4)]
                if edges[0] == edges[1]:
                    options[at : at + length] = b"\x01" * length
                    break
                struct.pack_into("!II", options, block, *edges)
        at += length
    return bytes(options)


def rebuild(
    packet: Packet,
    *,
    sequence: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes | None,
    payload: bytes,
) -> bytes:
    """The TCP packet with these fields instead, lengths and checksums right.

    `flags` are the low six; ECE, CWR and the IP header (TTL, DSCP, flow label) stay as they were.
    `options` None: as they were.
    """
    data, at = packet.data, packet.segment_at
    header = bytearray(data[at : packet.payload_at])
    if options is not None:
        header[20:] = options
    _U32.pack_into(header, 4, sequence & 0xFFFFFFFF)
    _U32.pack_into(header, 8, ack & 0xFFFFFFFF)
    header[13] = (header[13] & 0xC0) | flags
    _U16.pack_into(header, 14, window)
    return _finish(bytearray(data[:at]), header, payload)


def _finish(ip: bytearray, header: bytearray, payload: bytes) -> bytes:
    """Put IP header, TCP header and payload together; lengths and checksums are set here."""
    length = len(header) + len(payload)
    if len(ip) == 20:
        _U16.pack_into(ip, 2, 20 + length)
        ip[10:12] = b"\x00\x00"
        _U16.pack_into(ip, 10, 0xFFFF - int.from_bytes(ip, "big") % 0xFFFF)
        addresses = bytes(ip[12:20])
    else:
        _U16.pack_into(ip, 4, length)
        addresses = bytes(ip[8:40])
    header[16:18] = b"\x00\x00"
    segment = bytes(header) + payload
    total = int.from_bytes(segment, "big")
    if length & 1:
        total <<= 8
    remainder = (total + int.from_bytes(addresses, "big") + TCP + length) % 0xFFFF
    _U16.pack_into(header, 16, 0xFFFF - remainder)
    return bytes(ip) + bytes(header) + payload


def build(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    *,
    sequence: int,
    ack: int,
    flags: int,
    window: int,
    timestamps: tuple[int, int] | None,
    sack: tuple[int, int] | None = None,
    payload: bytes = b"",
) -> bytes:
    """A TCP packet of our own. Addresses are packed.

    `timestamps` is (value, echo) where the session has them, `sack` a block of a selective acknowledgement.
    """
    options = b"" if timestamps is None else _ONLY_TIMESTAMPS + struct.pack("!II", *timestamps)
    if sack is not None:
        options += _ONE_BLOCK + struct.pack("!II", *sack)
    header = bytearray(
        _TCP.pack(
            source_port,
            destination_port,
            sequence & 0xFFFFFFFF,
            ack & 0xFFFFFFFF,
            (5 + len(options) // 4) << 4,
            flags,
            window,
            0,
            0,
        )
    )
    header += options
    if len(source) == 4:
        ip = bytearray(_IPV4.pack(0x45, 0, 0, 0, 0x4000, 64, TCP, 0, source, destination))
    else:
        ip = bytearray(struct.pack("!IHBB", 6 << 28, 0, TCP, 64) + source + destination)
    return _finish(ip, header, payload)


def build_udp(source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """A UDP packet of our own. Addresses are packed."""
    length = 8 + len(payload)
    header = bytearray(_UDP.pack(source_port, destination_port, length, 0))
    if len(source) == 4:
        ip = bytearray(_IPV4.pack(0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0, source, destination))
        _U16.pack_into(ip, 10, 0xFFFF - int.from_bytes(ip, "big") % 0xFFFF)
    else:
        ip = bytearray(struct.pack("!IHBB", 6 << 28, length, UDP, 64) + source + destination)
    segment = bytes(header) + payload
    total = int.from_bytes(segment + b"\x00" * (length % 2), "big")
    remainder = (total + int.from_bytes(source + destination, "big") + UDP + length) % 0xFFFF
    _U16.pack_into(header, 6, (0xFFFF - remainder) or 0xFFFF)
    return bytes(ip) + bytes(header) + payload
