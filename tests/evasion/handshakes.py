"""How sessions begin and end, and what stands around the segment: SYN, FIN, RST, four-tuples, IP, Ethernet."""

from __future__ import annotations

import struct

from tests.evasion.cutting import A, F, R, pair, pieces
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
from tests.evasion.streams import only

T = 7
START = Send(flags=SYN, at=-1, options=SYN_OPTIONS)
DONE = Send(flags=ACK, at=0)
MAYBE = Await(required=False)

BEGIN = [
    only("on the SYN, and no more", "handshake", [Send(F, flags=SYN, at=-1), MAYBE, DONE], "data on a SYN is denied",
         opens=False),
    only("on the SYN, and again behind it", "handshake",
         [Send(F, flags=SYN, at=-1), MAYBE, DONE, Send(F, at=0)], "data on a SYN is denied", opens=False),
    only("an allowed one on the SYN, it behind", "handshake",
         [Send(R, flags=SYN, at=-1), MAYBE, DONE, Send(F, at=0)], "data on a SYN is denied", opens=False),
    only("on the SYN, then an ordinary SYN and its tail", "handshake",
         [Send(F[:T], flags=SYN, at=-1), START, MAYBE, DONE, Send(F, at=0)], "data on a SYN is denied", opens=False),
    only("before the SYN-ACK", "handshake", [Send(F, at=0), START, Send(F, at=0), MAYBE], "no stack takes it",
         opens=False),
    pair("an allowed one before the SYN, it behind the handshake", "handshake",
         lambda unit: [Send(A, at=0), START, Await(), DONE, Send(unit, at=0)], opens=False),
    pair("on the third packet", "handshake", lambda unit: [START, Await(), Send(unit, at=0)], opens=False),
    pair("cut, its head on the third packet", "handshake",
         lambda unit: [START, Await(), Send(unit[:T], at=0), Send(unit[T:], at=T)], opens=False),
    only("with a wrong acknowledgement instead of the third packet", "handshake",
         [START, Await(), Send(F, at=0, ack=77)], "no stack takes it", opens=False),
    pair("SYN twice", "handshake", lambda unit: [START, START, Await(), DONE, Send(unit)], opens=False),
    only("no handshake at all", "handshake", [Send(F, at=0)], "no stack takes it", opens=False),
    only("split: the client says SYN-ACK to a SYN-ACK", "handshake",
         [START, Await(), Send(flags=SYN | ACK, at=-1), Send(F, at=0)], "no client does it", opens=False),
    only("simultaneous: a SYN from both sides", "handshake",
         [START, Send(flags=SYN, by_server=True), Send(flags=SYN | ACK, at=-1), DONE, Send(F, at=0)],
         "no server does it", opens=False, levels=("pipeline",)),
    only("opened by the server's side", "handshake",
         [Send(flags=SYN, by_server=True), Send(flags=SYN | ACK, at=-1), Send(flags=ACK, by_server=True, at=1),
          Send(F, at=0)], "servers open nothing", opens=False, levels=("pipeline",)),
    only("data on the SYN-ACK", "handshake",
         [START, Send(R, flags=SYN | ACK, by_server=True), DONE, Send(F, at=0)], "no server does it", opens=False,
         levels=("pipeline",)),
    pair("a SYN in mid-session, unanswered, then it", "four-tuple",
         lambda unit: [Send(A), Pause(0.05), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(unit)],
         expects=(3, 3)),
    pair("a SYN between head and tail", "four-tuple",
         lambda unit: [Send(unit[:T]), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(unit[T:])]),
    only("a SYN in mid-session, then it where that would begin", "four-tuple",
         [Send(A), Send(flags=SYN, at=900_000, options=SYN_OPTIONS), Send(F, at=900_001)], "no stack takes it"),
    only("a SYN in mid-session with the next number", "four-tuple",
         [Send(A), Send(flags=SYN, at=12), Send(F, at=13), Send(F, at=12)], "denied data are a row of their own"),
    pair("the four-tuple again after RST", "four-tuple",
         lambda unit: [Send(A), Pause(0.05), Send(flags=RST | ACK, at=12), Fresh(), START, Await(), DONE, Send(unit)],
         expects=(3, 3)),
    pair("the four-tuple again after RST, with near numbers", "four-tuple",
         lambda unit: [Send(A), Pause(0.05), Send(flags=RST | ACK, at=12), Fresh(5), START, Await(), DONE,
                       *pieces(unit, T)], expects=(3, 3)),
    pair("the four-tuple again after a head and RST", "four-tuple",
         lambda unit: [Send(unit[:T]), Pause(0.05), Send(flags=RST | ACK, at=T), Send(flags=RST | ACK, at=0), Fresh(),
                       START, Await(), DONE, Send(unit)]),
    only("a head, RST, the tail in a new session of the same four-tuple", "four-tuple",
         [Send(F[:T]), Send(flags=RST | ACK, at=T), Fresh(), START, MAYBE, DONE, Send(F[T:]), Send(F, at=0)],
         "the row above"),
]  # fmt: skip

END = [
    pair("with the FIN", "end", lambda unit: [Send(unit, flags=DATA | FIN)]),
    pair("its tail with the FIN", "end", lambda unit: [Send(unit[:T]), Send(unit[T:], flags=DATA | FIN)]),
    only("after the FIN", "end", [Send(flags=ACK | FIN, at=0), Send(F, at=0), Send(F, at=1)], "no stack takes it"),
    only("after the FIN of an allowed one", "end",
         [Send(A, flags=DATA | FIN), Send(F, at=12), Send(F, at=13)], "no stack takes it"),
    pair("after a FIN beyond the next number", "end",
         lambda unit: [Send(flags=ACK | FIN, at=500), Send(unit)] if unit is F else [Send(unit)],
         note="the control is without that FIN: a FIN behind a gap is kept by a stack"),
    pair("after a FIN with an old number", "end",
         lambda unit: [Send(A), Pause(0.05), Send(flags=ACK | FIN, at=3), Send(unit)], expects=(3, 3)),
    only("a head, a FIN in the middle of it, the tail", "end",
         [Send(F[:T]), Send(flags=ACK | FIN, at=T), Send(F[T:], at=T)], "a client that says FIN in a unit is ended"),
    only("after a right RST", "end", [Send(flags=RST | ACK, at=0), Send(F)], "no stack takes it"),
    pair("after a RST out of the window", "end", lambda unit: [Send(flags=RST, at=0x2000_0000), Send(unit)]),
    pair("after a RST with an old number", "end",
         lambda unit: [Send(A), Pause(0.05), Send(flags=RST, at=3), Send(unit)], expects=(3, 3)),
    only("after a RST in the window, not next", "end", [Send(flags=RST, at=20), Send(F)],
         "a stack asks its peer; the flow may end"),
    only("on a RST", "end", [Send(F, flags=RST | ACK)], "no stack takes it"),
    only("a RST between head and tail, one octet off", "end",
         [Send(F[:T]), Send(flags=RST, at=T + 1), Send(F[T:])], "a client that resets in a unit is ended"),
    pair("after a RST with a wrong checksum", "end",
         lambda unit: [Send(flags=RST | ACK, at=0, checksum=3), Send(unit)]),
    pair("after a FIN with a wrong checksum", "end",
         lambda unit: [Send(flags=FIN | ACK, at=0, checksum=3), Send(unit)]),
    pair("after a denied one on another connection", "end",
         lambda unit: [Send(F), Pause(0.1), Send(flags=RST, at=12), Use(1), *opened(), Send(unit)] if unit is R else [Send(F), Send(F, at=12), Send(F, at=0)]),
]  # fmt: skip


def small(unit: bytes, size: int, **more: bool) -> Send:
    return Send(unit, fragment=size, **more)


NOP, ROUTE = b"\x01\x01\x01\x01", b"\x83\x07\x04" + bytes((10, 20, 0, 5))
BRIDGE = ("bridge",)
FRAGMENTS = "fragments are dropped: this is what is documented"


def snap(packet_type: int = 0x0800) -> bytes:
    return b"\xaa\xaa\x03\x00\x00\x00" + struct.pack("!H", packet_type)


BELOW = [
    only("in fragments of 8 octets", "IP", [small(F, 8)], FRAGMENTS, levels=BRIDGE),
    only("in fragments of 24 octets", "IP", [small(F, 24)], FRAGMENTS, levels=BRIDGE),
    only("in fragments, the last first", "IP", [small(F, 24, reverse=True)], FRAGMENTS, levels=BRIDGE),
    only("a head, its tail in fragments", "IP", [Send(F[:T]), small(F[T:], 16)], FRAGMENTS, levels=BRIDGE),
    only("with IP options: no operation", "IP", [Send(F, ip_options=NOP)], "packets with options are dropped"),
    only("with IP options: a source route", "IP", [Send(F, ip_options=ROUTE)], "packets with options are dropped"),
    only("an IP length that is too short", "IP", [Send(F, longer=-4)], "malformed"),
    only("an IP length that is too long", "IP", [Send(F, longer=4)], "malformed"),
    pair("octets behind the IP length", "IP", lambda unit: [Send(unit, behind=b"\0" * 6)]),
    only("hidden behind the IP length of an allowed one", "IP", [Send(A, behind=F), Send(behind=F, flags=ACK)],
         "octets behind the IP length are a row of their own"),
    only("a head, its tail behind the IP length", "IP", [Send(F[:T]), Send(F[T : T + 1], behind=F[T + 1 :])],
         "octets behind the IP length are a row of their own"),
    pair("with a TTL of 1", "IP", lambda unit: [Send(unit, ttl=1)]),
    only("in VLAN 0", "Ethernet", [Send(F, tags=b"\x81\0\0\0")], "tagged frames are dropped", levels=BRIDGE),
    only("in VLAN 0, twice", "Ethernet", [Send(F, tags=b"\x81\0\0\0" * 2)], "tagged frames are dropped", levels=BRIDGE),
    only("in 802.1ad VLAN 0", "Ethernet", [Send(F, tags=b"\x88\xa8\0\0")], "tagged frames are dropped", levels=BRIDGE),
    only("a head, its tail in VLAN 0", "Ethernet", [Send(F[:T]), Send(F[T:], tags=b"\x81\0\0\0")],
         "tagged frames are dropped", levels=BRIDGE),
    only("in 802.3 with LLC and SNAP", "Ethernet", [Send(F, tags=b"SNAP")], "other EtherTypes are dropped",
         levels=BRIDGE),
    pair("over IPv6", "IPv6", lambda unit: [Send(unit)], version=6),
    pair("over IPv6, cut at 7", "IPv6", lambda unit: pieces(unit, 7), version=6),
    only("behind a hop-by-hop header", "IPv6", [Send(F, extension=b"\0\x06\0\x01\x04\0\0\0\0")],
         "extension headers are dropped", version=6),
    only("behind a destination header", "IPv6", [Send(F, extension=b"\x3c\x06\0\x01\x04\0\0\0\0")],
         "extension headers are dropped", version=6),
    only("behind a fragment header, whole", "IPv6", [Send(F, extension=b"\x2c\x06\0\0\0\0\0\0\x07")],
         "extension headers are dropped", version=6),
    only("behind a routing header", "IPv6", [Send(F, extension=b"\x2b\x06\0\0\0\0\0\0\0")],
         "extension headers are dropped", version=6),
]  # fmt: skip
CASES: list[Case] = [*BEGIN, *END, *BELOW]
