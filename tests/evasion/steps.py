"""What a case is made of: steps that an attacker takes, and the packets that they become.

A case is data. `steps` carries a forbidden request in an evasive shape; `control` carries an allowed one in the same
shape, where there is one that a firewall may be asked to let through.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from conduitfw.packet import ACK, FIN, PSH, RST, SYN, URG

DATA = ACK | PSH
SYN_OPTIONS = b"\x02\x04\x05\xb4\x03\x03\x07\x04\x02\x01"  # MSS 1460, scale 7, SACK permitted
__all__ = ["ACK", "DATA", "FIN", "PSH", "RST", "SYN", "URG"]


@dataclass(frozen=True)
class Send:
    """A packet of the attacker's. Numbers are offsets, so that a case reads like a drawing of the stream."""

    payload: bytes = b""
    at: int | None = None  # from the first byte of the client's stream; None: where it goes on (and moves that on)
    flags: int = DATA
    ack: int = 0  # added to the right acknowledgement
    window: int = 500
    options: bytes = b""  # of TCP
    urgent: int = 0
    checksum: int = 0  # what the right TCP checksum is spoilt with
    ttl: int = 64
    ip_options: bytes = b""
    fragment: int = 0  # octets of IP payload in each fragment; 0: none
    reverse: bool = False  # the last fragment first
    longer: int = 0  # added to the IP header's length
    behind: bytes = b""  # octets behind the IP length
    offset: int = 0  # added to the TCP header's length, in words
    extension: bytes = b""  # IPv6 extension headers, the first one's type in front
    tags: bytes = b""  # between the MAC addresses and the EtherType
    quiet: bool = False  # the next packet follows at once
    by_server: bool = False  # it comes from the server's side, with the server's numbers


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Lose:
    """What goes to the server is lost behind the firewall from here on, or no longer."""

    on: bool


@dataclass(frozen=True)
class Freeze:
    """The server reads nothing from here on (SIGSTOP), or again."""

    on: bool


@dataclass(frozen=True)
class Window:
    """The server tells this window (through the pipeline only)."""

    size: int


@dataclass(frozen=True)
class Await:
    """Wait until the server has answered with these flags; its number is known from then on."""

    flags: int = SYN | ACK
    required: bool = True


@dataclass(frozen=True)
class Fresh:
    """New numbers on the same four-tuple: the next SYN begins there. `number` is added to the last ones, or None."""

    number: int | None = None


@dataclass(frozen=True)
class Use:
    """From here on, another connection (each has a port of its own)."""

    connection: int


Step = Send | Pause | Lose | Freeze | Window | Await | Fresh | Use


def opened(options: bytes = SYN_OPTIONS) -> list[Step]:
    """An ordinary handshake."""
    return [Send(flags=SYN, at=-1, options=options), Await(), Send(flags=ACK, at=0)]


@dataclass(frozen=True)
class Case:
    """One row. `expects`: function codes that the control's server has to execute, at least."""

    name: str
    group: str
    steps: list[Step]
    control: list[Step] | None
    protocol: str = "modbus"
    forbidden: frozenset[int] = frozenset((6,))
    expects: tuple[int, ...] = (3,)
    levels: tuple[str, ...] = ("pipeline", "bridge")
    version: int = 4
    client: str = "hmi"
    isn: int | None = None
    opens: bool = True  # an ordinary handshake comes first
    fewer: dict[str, str] = field(default_factory=dict)  # servers that execute less of the control, and why
    often: bool = True  # whether it runs on the bridge in every test run; the table's run takes all
    note: str = ""  # why there is no control, or what else a reader asks

    def all_steps(self, *, control: bool = False) -> list[Step]:
        """The steps with the handshake in front."""
        steps = self.control if control else self.steps
        assert steps is not None
        return [*opened(), *steps] if self.opens else list(steps)


# --- packets --------------------------------------------------------------------------------------


def total(data: bytes) -> int:
    """The Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value > 0xFFFF:
        value = (value & 0xFFFF) + (value >> 16)
    return 0xFFFF - value


def packets(
    send: Send, source: bytes, destination: bytes, ports: tuple[int, int], sequence: int, ack: int
) -> list[bytes]:
    """The IP packets that a step becomes."""
    options = send.options + b"\x01" * (-len(send.options) % 4)
    words = 5 + len(options) // 4 + send.offset
    header = struct.pack(
        "!HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, ack & 0xFFFFFFFF, (words & 15) << 4, send.flags, send.window, 0,
        send.urgent,
    )  # fmt: skip
    segment = bytearray(header + options + send.payload)
    pseudo = source + destination + (
        struct.pack("!HH", 6, len(segment)) if len(source) == 4 else struct.pack("!II", len(segment), 6)
    )  # fmt: skip
    segment[16:18] = struct.pack("!H", total(pseudo + bytes(segment)) ^ send.checksum)
    if len(source) == 16:
        return [_ipv6(send, source, destination, bytes(segment))]
    return _ipv4(send, source, destination, bytes(segment))


def _ipv6(send: Send, source: bytes, destination: bytes, segment: bytes) -> bytes:
    kind, extension = (send.extension[0], send.extension[1:]) if send.extension else (6, b"")
    length = len(extension) + len(segment) + send.longer
    header = struct.pack("!IHBB", 0x60000000, length, kind, send.ttl) + source + destination
    return header + extension + segment + send.behind


def _ipv4(send: Send, source: bytes, destination: bytes, segment: bytes) -> list[bytes]:
    options = send.ip_options + b"\0" * (-len(send.ip_options) % 4)
    size = send.fragment or len(segment)
    result = []
    for at in range(0, len(segment), size):
        piece = segment[at : at + size]
        more = 0x2000 if at + size < len(segment) else 0
        whole = 20 + len(options) + len(piece) + send.longer
        flags = more | at // 8 if send.fragment else 0x4000
        words = 5 + len(options) // 4
        header = bytearray(struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, whole, 7777, flags, send.ttl, 6, 0, source,
                                       destination) + options)  # fmt: skip
        header[10:12] = struct.pack("!H", total(bytes(header)))
        result.append(bytes(header) + piece + send.behind)
    return result[::-1] if send.reverse else result
