"""How sessions begin and end, and what stands around the segment: SYN, FIN, RST, four-tuples, IP, Ethernet."""

from __future__ import annotations

import struct

from tests.evasion.family import DNP3, MODBUS, Family, pieces
from tests.evasion.steps import (
    ACK,
    DATA,
    FIN,
    RST,
    SYN,
    SYN_OPTIONS,
    Await,
    Case,
    Fresh,
    Pause,
    Send,
    Use,
    opened,
)  # fmt: skip

START = Send(flags=SYN, at=-1, options=SYN_OPTIONS)
DONE = Send(flags=ACK, at=0)
MAYBE = Await(required=False)


def beginnings(f: Family) -> list[Case]:
    """SYN, SYN-ACK, and the same ports again."""
    bad, twin, first, t, n = f.forbidden, f.allowed, f.first, f.function_at, f.length
    return [
        f.only("on the SYN, and no more", "handshake", [Send(bad, flags=SYN, at=-1), MAYBE, DONE], "data on a SYN is denied",
             opens=False),
        f.only("on the SYN, and again behind it", "handshake",
             [Send(bad, flags=SYN, at=-1), MAYBE, DONE, Send(bad, at=0)], "data on a SYN is denied", opens=False),
        f.only("an allowed one on the SYN, it behind", "handshake",
             [Send(twin, flags=SYN, at=-1), MAYBE, DONE, Send(bad, at=0)], "data on a SYN is denied", opens=False),
        f.only("on the SYN, then an ordinary SYN and its tail", "handshake",
             [Send(bad[:t], flags=SYN, at=-1), START, MAYBE, DONE, Send(bad, at=0)], "data on a SYN is denied", opens=False),
        f.only("before the SYN-ACK", "handshake", [Send(bad, at=0), START, Send(bad, at=0), MAYBE], "no stack takes it",
             opens=False),
        f.pair("an allowed one before the SYN, it behind the handshake", "handshake",
             lambda unit: [Send(first, at=0), START, Await(), DONE, Send(unit, at=0)], opens=False),
        f.pair("on the third packet", "handshake", lambda unit: [START, Await(), Send(unit, at=0)], opens=False),
        f.pair("cut, its head on the third packet", "handshake",
             lambda unit: [START, Await(), Send(unit[:t], at=0), Send(unit[t:], at=t)], opens=False),
        f.only("with a wrong acknowledgement instead of the third packet", "handshake",
             [START, Await(), Send(bad, at=0, ack=77)], "no stack takes it", opens=False),
        f.pair("SYN twice", "handshake", lambda unit: [START, START, Await(), DONE, Send(unit)], opens=False),
        f.only("no handshake at all", "handshake", [Send(bad, at=0)], "no stack takes it", opens=False),
        f.only("split: the client says SYN-ACK to a SYN-ACK", "handshake",
             [START, Await(), Send(flags=SYN | ACK, at=-1), Send(bad, at=0)], "no client does it", opens=False),
        f.only("simultaneous: a SYN from both sides", "handshake",
             [START, Send(flags=SYN, by_server=True), Send(flags=SYN | ACK, at=-1), DONE, Send(bad, at=0)],
             "no server does it", opens=False, levels=("pipeline",)),
        f.only("opened by the server's side", "handshake",
             [Send(flags=SYN, by_server=True), Send(flags=SYN | ACK, at=-1), Send(flags=ACK, by_server=True, at=1),
              Send(bad, at=0)], "servers open nothing", opens=False, levels=("pipeline",)),
        f.only("data on the SYN-ACK", "handshake",
             [START, Send(twin, flags=SYN | ACK, by_server=True), DONE, Send(bad, at=0)], "no server does it", opens=False,
             levels=("pipeline",)),
        f.pair("a SYN in mid-session, unanswered, then it", "four-tuple",
             lambda unit: [Send(first), Pause(0.05), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(unit)],
             expects=f.times(2)),
        f.pair("a SYN between head and tail", "four-tuple",
             lambda unit: [Send(unit[:t]), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(unit[t:])]),
        f.only("a SYN in mid-session, then it where that would begin", "four-tuple",
             [Send(first), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(bad, at=900_001)], "no stack takes it"),
        f.only("a SYN in mid-session with the next number", "four-tuple",
             [Send(first), Send(flags=SYN, at=n), Send(bad, at=n + 1), Send(bad, at=n)], "denied data are a row of their own"),
        f.pair("the four-tuple again after RST", "four-tuple",
             lambda unit: [Send(first), Pause(0.05), Send(flags=RST | ACK, at=n), Fresh(), START, Await(), DONE, Send(unit)],
             expects=f.times(2)),
        f.pair("the four-tuple again after RST, with near numbers", "four-tuple",
             lambda unit: [Send(first), Pause(0.05), Send(flags=RST | ACK, at=n), Fresh(5), START, Await(), DONE,
                           *pieces(unit, t)], expects=f.times(2)),
        f.pair("the four-tuple again after a head and RST", "four-tuple",
             lambda unit: [Send(unit[:t]), Pause(0.05), Send(flags=RST | ACK, at=t), Send(flags=RST | ACK, at=0), Fresh(),
                           START, Await(), DONE, Send(unit)]),
        f.only("a head, RST, the tail in a new session of the same four-tuple", "four-tuple",
             [Send(bad[:t]), Send(flags=RST | ACK, at=t), Fresh(), START, MAYBE, DONE, Send(bad[t:]), Send(bad, at=0)],
             "the row above"),
    ]  # fmt: skip


def endings(f: Family) -> list[Case]:
    """FIN and RST."""
    bad, twin, first, t, n = f.forbidden, f.allowed, f.first, f.function_at, f.length
    return [
        f.pair("with the FIN", "end", lambda unit: [Send(unit, flags=DATA | FIN)]),
        f.pair("its tail with the FIN", "end", lambda unit: [Send(unit[:t]), Send(unit[t:], flags=DATA | FIN)]),
        f.only("after the FIN", "end", [Send(flags=ACK | FIN, at=0), Send(bad, at=0), Send(bad, at=1)], "no stack takes it"),
        f.only("after the FIN of an allowed one", "end",
             [Send(first, flags=DATA | FIN), Send(bad, at=n), Send(bad, at=n + 1)], "no stack takes it"),
        f.pair("after a FIN beyond the next number", "end",
             lambda unit: [Send(flags=ACK | FIN, at=500), Send(unit)] if unit is bad else [Send(unit)],
             note="the control is without that FIN: a FIN behind a gap is kept by a stack"),
        f.pair("after a FIN with an old number", "end",
             lambda unit: [Send(first), Pause(0.05), Send(flags=ACK | FIN, at=3), Send(unit)], expects=f.times(2)),
        f.only("a head, a FIN in the middle of it, the tail", "end",
             [Send(bad[:t]), Send(flags=ACK | FIN, at=t), Send(bad[t:], at=t)], "a client that says FIN in a unit is ended"),
        f.only("after a right RST", "end", [Send(flags=RST | ACK, at=0), Send(bad)], "no stack takes it"),
        f.pair("after a RST out of the window", "end", lambda unit: [Send(flags=RST, at=0x2000_0000), Send(unit)]),
        f.pair("after a RST with an old number", "end",
             lambda unit: [Send(first), Pause(0.05), Send(flags=RST, at=3), Send(unit)], expects=f.times(2)),
        f.only("after a RST in the window, not next", "end", [Send(flags=RST, at=20), Send(bad)],
             "a stack asks its peer; the flow may end"),
        f.only("on a RST", "end", [Send(bad, flags=RST | ACK)], "no stack takes it"),
        f.only("a RST between head and tail, one octet off", "end",
             [Send(bad[:t]), Send(flags=RST, at=t + 1), Send(bad[t:])], "a client that resets in a unit is ended"),
        f.pair("after a RST with a wrong checksum", "end",
             lambda unit: [Send(flags=RST | ACK, at=0, checksum=3), Send(unit)]),
        f.pair("after a FIN with a wrong checksum", "end",
             lambda unit: [Send(flags=FIN | ACK, at=0, checksum=3), Send(unit)]),
        f.pair("after a denied one on another connection", "end",
             lambda unit: [Send(bad), Pause(0.1), Send(flags=RST, at=n), Use(1), *opened(), Send(unit)] if unit is twin else [Send(bad), Send(bad, at=n), Send(bad, at=0)]),
    ]  # fmt: skip


def small(unit: bytes, size: int, **more: bool) -> Send:
    return Send(unit, fragment=size, **more)


NOP, ROUTE = b"\x01\x01\x01\x01", b"\x83\x07\x04" + bytes((10, 20, 0, 5))
BRIDGE = ("bridge",)
FRAGMENTS = "fragments are dropped: this is what is documented"


def snap(packet_type: int = 0x0800) -> bytes:
    return b"\xaa\xaa\x03\x00\x00\x00" + struct.pack("!H", packet_type)


def below(f: Family) -> list[Case]:
    """What stands around the segment: IP, Ethernet."""
    bad, first, t = f.forbidden, f.first, f.function_at
    return [
        f.only("in fragments of 8 octets", "IP", [small(bad, 8)], FRAGMENTS, levels=BRIDGE),
        f.only("in fragments of 24 octets", "IP", [small(bad, 24)], FRAGMENTS, levels=BRIDGE),
        f.only("in fragments, the last first", "IP", [small(bad, 24, reverse=True)], FRAGMENTS, levels=BRIDGE),
        f.only("a head, its tail in fragments", "IP", [Send(bad[:t]), small(bad[t:], 16)], FRAGMENTS, levels=BRIDGE),
        f.only("with IP options: no operation", "IP", [Send(bad, ip_options=NOP)], "packets with options are dropped"),
        f.only("with IP options: a source route", "IP", [Send(bad, ip_options=ROUTE)], "packets with options are dropped"),
        f.only("an IP length that is too short", "IP", [Send(bad, longer=-4)], "malformed"),
        f.only("an IP length that is too long", "IP", [Send(bad, longer=4)], "malformed"),
        f.pair("octets behind the IP length", "IP", lambda unit: [Send(unit, behind=b"\0" * 6)]),
        f.only("hidden behind the IP length of an allowed one", "IP", [Send(first, behind=bad), Send(behind=bad, flags=ACK)],
             "octets behind the IP length are a row of their own"),
        f.only("a head, its tail behind the IP length", "IP", [Send(bad[:t]), Send(bad[t : t + 1], behind=bad[t + 1 :])],
             "octets behind the IP length are a row of their own"),
        f.pair("with a TTL of 1", "IP", lambda unit: [Send(unit, ttl=1)]),
        f.only("in VLAN 0", "Ethernet", [Send(bad, tags=b"\x81\0\0\0")], "tagged frames are dropped", levels=BRIDGE),
        f.only("in VLAN 0, twice", "Ethernet", [Send(bad, tags=b"\x81\0\0\0" * 2)], "tagged frames are dropped", levels=BRIDGE),
        f.only("in 802.1ad VLAN 0", "Ethernet", [Send(bad, tags=b"\x88\xa8\0\0")], "tagged frames are dropped", levels=BRIDGE),
        f.only("a head, its tail in VLAN 0", "Ethernet", [Send(bad[:t]), Send(bad[t:], tags=b"\x81\0\0\0")],
             "tagged frames are dropped", levels=BRIDGE),
        f.only("in 802.3 with LLC and SNAP", "Ethernet", [Send(bad, tags=b"SNAP")], "other EtherTypes are dropped",
             levels=BRIDGE),
        f.pair("over IPv6", "IPv6", lambda unit: [Send(unit)], version=6),
        f.pair("over IPv6, cut at 7", "IPv6", lambda unit: pieces(unit, t), version=6),
        f.only("behind a hop-by-hop header", "IPv6", [Send(bad, extension=b"\0\x06\0\x01\x04\0\0\0\0")],
             "extension headers are dropped", version=6),
        f.only("behind a destination header", "IPv6", [Send(bad, extension=b"\x3c\x06\0\x01\x04\0\0\0\0")],
             "extension headers are dropped", version=6),
        f.only("behind a fragment header, whole", "IPv6", [Send(bad, extension=b"\x2c\x06\0\0\0\0\0\0\x07")],
             "extension headers are dropped", version=6),
        f.only("behind a routing header", "IPv6", [Send(bad, extension=b"\x2b\x06\0\0\0\0\0\0\0")],
             "extension headers are dropped", version=6),
    ]  # fmt: skip


CASES: list[Case] = [
    *(case for family in (MODBUS, DNP3) for rows in (beginnings, endings) for case in rows(family)),
    *below(MODBUS),
    *(case for case in below(DNP3) if case.version == 4),
]
