"""What a TCP stream allows: overlaps, repeats with other content, bad checksums, windows, urgent data, options."""

from __future__ import annotations

import struct

from tests.evasion.cutting import FIRST_ONLY, A, F, R, Shape, pair, pieces
from tests.evasion.steps import ACK, DATA, SYN, SYN_OPTIONS, URG, Await, Case, Lose, Pause, Send, Step, opened
from tests.pipeline.modbus_units import read

JUNK = bytes(12)
T = 7  # where the function code stands


def only(name: str, group: str, steps: list[Step], note: str, **more: object) -> Case:
    """No honest client does this: there is no control."""
    return Case(name, group, steps, None, note=note, **more)  # type: ignore[arg-type]


CHANGED = "no honest client repeats a byte with another value"
SAME_A = read(9)  # the allowed twin of F: same length, transaction and unit

OVERLAPS = [
    only("new wins: allowed lost, then it in its place", "overlap",
         [Lose(True), Send(SAME_A), Lose(False), Send(F, at=0)], CHANGED),
    only("head of the allowed one, then it whole", "overlap", [Send(SAME_A[:8]), Send(F, at=0)], CHANGED),
    only("head, then a tail that begins in front of the function", "overlap",
         [Send(SAME_A[:8]), Send(F[T:], at=T)], CHANGED),
    only("old wins: its tail out of order, then the allowed one whole", "overlap",
         [Send(F[T:], at=T), Send(SAME_A[:T], at=0), Send(SAME_A, at=0)], CHANGED),
    only("allowed tail out of order, its head, its tail again", "overlap",
         [Send(SAME_A[T:], at=T), Send(F[:T], at=0), Send(F[T:], at=T)], CHANGED),
    only("subset: one octet, the function, put in its place", "overlap",
         [Send(SAME_A[:T]), Send(F[T : T + 1], at=T), Send(SAME_A[T:], at=T), Send(F[T:], at=T)], CHANGED),
    only("its function out of order, then the allowed one around it", "overlap",
         [Send(F[T:], at=T), Send(SAME_A[:9], at=0), Send(F[9:], at=9)], CHANGED),
    only("superset: allowed lost, then it and more", "overlap",
         [Lose(True), Send(SAME_A), Lose(False), Send(F + A, at=0)], CHANGED),
    only("across units: the end of one, and it", "overlap",
         [Lose(True), Send(A + SAME_A), Lose(False), Send(A[6:] + F, at=6)], CHANGED),
    only("across units: behind what was taken", "overlap", [Send(A), Send(A[6:] + F, at=6)],
         "the control is the next row but one"),
    pair("a repeat that runs into it", "overlap", lambda unit: [Send(A), Send(A + unit, at=0)], expects=(3, 3)),
    pair("a repeat with garbage that runs into it", "overlap",
         lambda unit: [Send(A), Pause(0.05), Send(JUNK + unit, at=0)], expects=(3, 3),
         note="what was taken counts no more"),
    pair("its overlapping halves", "overlap", lambda unit: [Send(unit[:9], at=0), Send(unit[4:], at=4)]),
    pair("halves that overlap, the second first", "overlap",
         lambda unit: [Send(unit[4:], at=4), Send(unit[:9], at=0), Send(unit[4:], at=4)]),
    pair("growing from the front", "overlap", lambda unit: [Send(unit[:size], at=0) for size in range(1, 13)]),
    pair("growing from the back", "overlap",
         lambda unit: [*(Send(unit[at:], at=at) for at in range(11, -1, -1)), Send(unit, at=0)]),
]  # fmt: skip

REPEATS = [
    only("other content before the acknowledgement", "repeat",
         [Lose(True), Send(SAME_A), Send(SAME_A, at=0), Lose(False), Send(F, at=0)], CHANGED),
    only("other content after the acknowledgement", "repeat", [Send(SAME_A), Pause(0.05), Send(F, at=0)],
         "a server does not read it again", ),
    pair("other content after a bad checksum", "repeat", lambda unit: [Send(JUNK, at=0, checksum=1), Send(unit)]),
    pair("other content after one with a short TTL", "repeat",
         lambda unit: [Lose(True), Send(A, ttl=1, at=0), Lose(False), Send(unit)] if unit is F
         else [Send(unit, ttl=1)], note="the control is an allowed request with a TTL of 1 on the bridge"),
    pair("an allowed twin out of the window in front", "repeat",
         lambda unit: [Send(A, at=0x1000_0000), Send(unit)], ),
    pair("a bad checksum on it, then right", "repeat", lambda unit: [Send(unit, at=0, checksum=0x5555), Send(unit)]),
    only("a bad checksum on it", "checksum", [Send(F, checksum=1)], "a segment that no stack takes"),
    only("bad checksums on a head and on its tail", "checksum",
         [Send(F[:T], checksum=1), Send(F[T:], checksum=1)], "a segment that no stack takes"),
    only("a bad checksum on the tail", "checksum", [Send(F[:T]), Send(F[T:], checksum=1)], "no stack takes the tail"),
    only("a bad checksum on the allowed tail, then its own", "checksum",
         [Send(F[:T]), Send(SAME_A[T:], at=T, checksum=1), Send(F[T:])], "the control is another row"),
    pair("a bad checksum on the tail, then right", "checksum",
         lambda unit: [Send(unit[:T]), Send(unit[T:], at=T, checksum=7), Send(unit[T:])]),
    only("out of the window", "window", [Send(F, at=0x1000_0000)], "no stack takes it"),
    only("half a number space away", "window", [Send(F, at=0x8000_0000), Send(F, at=0x7FFF_FFFF)], "no stack takes it"),
    only("in front of the first byte", "window", [Send(F, at=-12)], "no stack takes it"),
    pair("one octet of it in front of the window", "window", lambda unit: [Send(b"\0" + unit, at=-1)],
         note="a keep-alive's octet of garbage, and data behind it"),
    pair("behind a gap that is filled", "order",
         lambda unit: [Send(unit, at=12), Send(A, at=0), Send(unit, at=12)], expects=(3, 3), fewer=FIRST_ONLY),
    pair("twice, in one go", "order", lambda unit: [Send(unit, at=0, quiet=True), Send(unit, at=0)]),
    pair("halves, each twice", "order",
         lambda unit: [Send(unit[:T], at=0), Send(unit[:T], at=0), Send(unit[T:], at=T), Send(unit[T:], at=T)]),
    pair("a third, the last, the second, from the back", "order",
         lambda unit: [Send(unit[8:], at=8), Send(unit[4:8], at=4), Send(unit[:4], at=0), Send(unit[4:8], at=4),
                       Send(unit[8:], at=8)]),
    *(pair(f"numbers wrap {at} octets into it", "wrap", shape, isn=(0xFFFF_FFFF - at) & 0xFFFF_FFFF)
      for at in (0, 1, 7, 11) for shape in (lambda unit: pieces(unit, 7),)),
    *(pair(f"numbers wrap at {at}, out of order", "wrap",
           lambda unit: [Send(unit[7:], at=7), Send(unit[:7], at=0), Send(unit[7:], at=7)],
           isn=(0xFFFF_FFFF - at) & 0xFFFF_FFFF) for at in (7, 9)),
    pair("sign of the numbers changes in it", "wrap", lambda unit: pieces(unit, 7), isn=0x7FFF_FFF8),
]  # fmt: skip


def keep_alives(unit: bytes) -> list[Step]:
    """Between head and tail, an octet of garbage before the next one."""
    return [Send(unit[:T]), Send(b"\xff", at=T - 1, flags=ACK), Send(unit[T:])]


def urgent(data: bytes, pointer: int, **more: int) -> Send:
    return Send(data, flags=DATA | URG, urgent=pointer, **more)


PROBES = [
    pair("a keep-alive of garbage after the handshake", "probe",
         lambda unit: [Send(b"\xff", at=-1, flags=ACK), Send(unit)]),
    pair("a keep-alive of garbage after a head", "probe", keep_alives),
    pair("a keep-alive of garbage after a request", "probe",
         lambda unit: [Send(A), Pause(0.05), Send(b"\xff", at=11, flags=ACK), Send(unit)], expects=(3, 3)),
    pair("a keep-alive without an octet", "probe", lambda unit: [Send(at=-1, flags=ACK), Send(unit)]),
    pair("a probe with its first octet", "probe", lambda unit: [Send(unit[:1], at=0, flags=ACK), Send(unit, at=0)]),
    pair("without PSH", "flags", lambda unit: [Send(unit, flags=ACK)]),
    pair("ECE and CWR", "flags", lambda unit: [Send(unit, flags=DATA | 0xC0)]),
    only("no flags at all", "flags", [Send(F, flags=0)], "no stack takes it"),
    only("without ACK", "flags", [Send(F, flags=8)], "no stack takes it"),
    only("SYN and FIN", "flags", [Send(F, flags=SYN | 1 | ACK)], "no stack takes it"),
    only("all flags", "flags", [Send(F, flags=0xFF)], "no stack takes it"),
    only("an acknowledgement of what was not sent", "flags", [Send(F, ack=100_000)], "no stack takes it"),
    pair("a stray acknowledgement of what was not sent, in front", "flags",
         lambda unit: [Send(flags=ACK, at=0, ack=100_000), Send(unit)]),
    only("an old acknowledgement", "flags", [Send(F, ack=-0x4000_0000)], "no stack takes it"),
    only("urgent: an octet more in front of the function", "urgent",
         [urgent(F[:T] + b"\x03" + F[T:], T + 1)], "urgent data is denied"),
    only("urgent: the whole of it", "urgent", [urgent(F, 12)], "urgent data is denied"),
    only("urgent: an allowed request but for one octet", "urgent",
         [urgent(F[:T], 0), urgent(b"\x03" + F[T:], 1)], "urgent data is denied"),
    only("urgent pointer without URG", "urgent", [Send(F, urgent=5)], "the next row"),
    pair("urgent pointer without URG, cut", "urgent",
         lambda unit: [Send(unit[:T], urgent=3), Send(unit[T:], urgent=1)]),
]  # fmt: skip

MP_CAPABLE = b"\x1e\x04\x01\x00" + b""  # version 1, a SYN's
FAST_OPEN = b"\x22\x0a" + b"cookie!!"


def with_options(options: bytes) -> Shape:
    return lambda unit: [Send(unit, options=options)]


def dss(number: int, subflow: int, length: int) -> bytes:
    """A Data Sequence Signal with a 4-octet data sequence number, no checksum."""
    return b"\x1e\x10\x20\x04" + struct.pack("!IIHH", number, subflow, length, 0)[:12]


STAMPED = SYN_OPTIONS[:7] + b"\x04\x02\x08\x0a" + struct.pack("!II", 5_000_000, 0)


def stamp(value: int) -> bytes:
    return b"\x01\x01\x08\x0a" + struct.pack("!II", value, 0)


def stamped(*steps: Step) -> list[Step]:
    return [Send(flags=SYN, at=-1, options=STAMPED), Await(), Send(flags=ACK, at=0, options=stamp(5_000_001)), *steps]


OPTIONS = [
    *(pair(f"an unknown option, {kind}", "options", with_options(bytes((kind, 4, 0, 0)))) for kind in (14, 29 + 224, 76)),
    pair("a Multipath TCP option on the SYN", "options",
         lambda unit: [*opened(SYN_OPTIONS + MP_CAPABLE), *pieces(unit, T)], opens=False),
    pair("a Multipath TCP mapping on data", "options", with_options(dss(1, 1, 12))),
    pair("Multipath TCP, mapped the other way round", "options",
         lambda unit: [*opened(SYN_OPTIONS + MP_CAPABLE), Send(unit[:T], options=dss(6, 1, 7)),
                       Send(unit[T:], options=dss(1, 8, 5))], opens=False),
    pair("Fast Open cookie on the SYN, no data", "options",
         lambda unit: [*opened(SYN_OPTIONS + FAST_OPEN), Send(unit)], opens=False),
    only("Fast Open cookie and it on the SYN", "options",
         [Send(F, flags=SYN, at=-1, options=SYN_OPTIONS + FAST_OPEN), Await(required=False), Send(flags=ACK, at=0)],
         "Fast Open is denied", opens=False),
    only("MD5 signature", "options", [Send(F, options=b"\x13\x12" + bytes(16))], "denied: nobody could rewrite it"),
    only("an option that is longer than the header", "options", [Send(F, options=b"\x0e\x28\0\0")], "malformed"),
    only("an option of length 0", "options", [Send(F, options=b"\x0e\0\0\0")], "malformed"),
    only("a header length beyond the segment", "options", [Send(F, offset=8)], "malformed"),
    only("a header length of four words", "options", [Send(F, offset=-1)], "malformed"),
    pair("timestamps agreed, none on the data", "timestamps",
         lambda unit: stamped(Send(unit[:T]), Send(unit[T:])), opens=False),
    pair("an old timestamp on an allowed twin, then it", "timestamps",
         lambda unit: stamped(Send(unit, at=0, options=stamp(5_000_002))) if unit is R
         else stamped(Send(SAME_A, at=0, options=stamp(1)), Send(F, at=0, options=stamp(5_000_002))), opens=False),
    only("an old timestamp on a head, then another head and tail", "timestamps",
         stamped(Send(SAME_A[:9], at=0, options=stamp(1)), Send(F, at=0, options=stamp(5_000_003))), CHANGED,
         opens=False),
    only("an old timestamp on the allowed tail", "timestamps",
         stamped(Send(F[:T], at=0, options=stamp(5_000_002)), Send(SAME_A[T:], at=T, options=stamp(1)),
                 Send(F[T:], at=T, options=stamp(5_000_003))), CHANGED, opens=False),
    pair("timestamps that go on", "timestamps",
         lambda unit: stamped(Send(unit[:T], options=stamp(5_000_002)), Send(unit[T:], options=stamp(5_000_003))),
         opens=False),
    pair("a SACK block that lies", "options",
         with_options(b"\x01\x01\x05\x0a" + struct.pack("!II", 0x1000, 0x2000))),
]  # fmt: skip
CASES = [*OVERLAPS, *REPEATS, *PROBES, *OPTIONS]
