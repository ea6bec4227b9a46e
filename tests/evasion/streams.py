"""What a TCP stream allows: overlaps, repeats with other content, bad checksums, windows, urgent data, options."""

from __future__ import annotations

import struct

from tests.evasion.family import DNP3, MODBUS, Family, Shape, pieces
from tests.evasion.steps import ACK, DATA, SYN, SYN_OPTIONS, URG, Await, Case, Lose, Pause, Send, Step, opened

CHANGED = "no honest client repeats a byte with another value"


def overlaps(f: Family) -> list[Case]:
    """Octets twice, with the same or another value."""
    bad, twin, first, t, n = f.forbidden, f.allowed, f.first, f.function_at, f.length
    return [
        f.only("new wins: allowed lost, then it in its place", "overlap",
             [Lose(True), Send(twin), Lose(False), Send(bad, at=0)], CHANGED),
        f.only("head of the allowed one, then it whole", "overlap", [Send(twin[: t + 1]), Send(bad, at=0)], CHANGED),
        f.only("head, then a tail that begins in front of the function", "overlap",
             [Send(twin[: t + 1]), Send(bad[t:], at=t)], CHANGED),
        f.only("old wins: its tail out of order, then the allowed one whole", "overlap",
             [Send(bad[t:], at=t), Send(twin[:t], at=0), Send(twin, at=0)], CHANGED),
        f.only("allowed tail out of order, its head, its tail again", "overlap",
             [Send(twin[t:], at=t), Send(bad[:t], at=0), Send(bad[t:], at=t)], CHANGED),
        f.only("subset: one octet, the function, put in its place", "overlap",
             [Send(twin[:t]), Send(bad[t : t + 1], at=t), Send(twin[t:], at=t), Send(bad[t:], at=t)], CHANGED),
        f.only("its function out of order, then the allowed one around it", "overlap",
             [Send(bad[t:], at=t), Send(twin[: t + 2], at=0), Send(bad[t + 2 :], at=t + 2)], CHANGED),
        f.only("superset: allowed lost, then it and more", "overlap",
             [Lose(True), Send(twin), Lose(False), Send(bad + first, at=0)], CHANGED),
        f.only("across units: the end of one, and it", "overlap",
             [Lose(True), Send(first + twin), Lose(False), Send(first[6:] + bad, at=6)], CHANGED),
        f.only("across units: behind what was taken", "overlap", [Send(first), Send(first[6:] + bad, at=6)],
             "the control is the next row but one"),
        f.pair("a repeat that runs into it", "overlap", lambda unit: [Send(first), Send(first + unit, at=0)], expects=f.times(2)),
        f.pair("a repeat with garbage that runs into it", "overlap",
             lambda unit: [Send(first), Pause(0.05), Send(bytes(n) + unit, at=0)], expects=f.times(2),
             note="what was taken counts no more"),
        f.pair("its overlapping halves", "overlap", lambda unit: [Send(unit[:9], at=0), Send(unit[4:], at=4)]),
        f.pair("halves that overlap, the second first", "overlap",
             lambda unit: [Send(unit[4:], at=4), Send(unit[:9], at=0), Send(unit[4:], at=4)]),
        f.pair("growing from the front", "overlap", lambda unit: [Send(unit[:size], at=0) for size in range(1, n + 1)]),
        f.pair("growing from the back", "overlap",
             lambda unit: [*(Send(unit[at:], at=at) for at in range(n - 1, -1, -1)), Send(unit, at=0)]),
    ]  # fmt: skip


def repeats(f: Family) -> list[Case]:
    """What is sent again; checksums, windows, and numbers that wrap."""
    bad, twin, first, t, n = f.forbidden, f.allowed, f.first, f.function_at, f.length
    return [
        f.only("other content before the acknowledgement", "repeat",
             [Lose(True), Send(twin), Send(twin, at=0), Lose(False), Send(bad, at=0)], CHANGED),
        f.only("other content after the acknowledgement", "repeat", [Send(twin), Pause(0.05), Send(bad, at=0)],
             "a server does not read it again", ),
        f.pair("other content after a bad checksum", "repeat", lambda unit: [Send(bytes(n), at=0, checksum=1), Send(unit)]),
        f.pair("other content after one with a short TTL", "repeat",
             lambda unit: [Lose(True), Send(first, ttl=1, at=0), Lose(False), Send(unit)] if unit is bad
             else [Send(unit, ttl=1)], note="the control is an allowed request with a TTL of 1 on the bridge"),
        f.pair("an allowed twin out of the window in front", "repeat",
             lambda unit: [Send(first, at=0x1000_0000), Send(unit)], ),
        f.pair("a bad checksum on it, then right", "repeat", lambda unit: [Send(unit, at=0, checksum=0x5555), Send(unit)]),
        f.only("a bad checksum on it", "checksum", [Send(bad, checksum=1)], "a segment that no stack takes"),
        f.only("bad checksums on a head and on its tail", "checksum",
             [Send(bad[:t], checksum=1), Send(bad[t:], checksum=1)], "a segment that no stack takes"),
        f.only("a bad checksum on the tail", "checksum", [Send(bad[:t]), Send(bad[t:], checksum=1)], "no stack takes the tail"),
        f.only("a bad checksum on the allowed tail, then its own", "checksum",
             [Send(bad[:t]), Send(twin[t:], at=t, checksum=1), Send(bad[t:])], "the control is another row"),
        f.pair("a bad checksum on the tail, then right", "checksum",
             lambda unit: [Send(unit[:t]), Send(unit[t:], at=t, checksum=7), Send(unit[t:])]),
        f.only("out of the window", "window", [Send(bad, at=0x1000_0000)], "no stack takes it"),
        f.only("half a number space away", "window", [Send(bad, at=0x8000_0000), Send(bad, at=0x7FFF_FFFF)], "no stack takes it"),
        f.only("in front of the first byte", "window", [Send(bad, at=-n)], "no stack takes it"),
        f.pair("one octet of it in front of the window", "window", lambda unit: [Send(b"\0" + unit, at=-1)],
             note="a keep-alive's octet of garbage, and data behind it"),
        f.pair("behind a gap that is filled", "order",
             lambda unit: [Send(unit, at=n), Send(first, at=0), Send(unit, at=n)], expects=f.times(2), fewer=f.fewer),
        f.pair("twice, in one go", "order", lambda unit: [Send(unit, at=0, quiet=True), Send(unit, at=0)]),
        f.pair("halves, each twice", "order",
             lambda unit: [Send(unit[:t], at=0), Send(unit[:t], at=0), Send(unit[t:], at=t), Send(unit[t:], at=t)]),
        f.pair("a third, the last, the second, from the back", "order",
             lambda unit: [Send(unit[8:], at=8), Send(unit[4:8], at=4), Send(unit[:4], at=0), Send(unit[4:8], at=4),
                           Send(unit[8:], at=8)]),
        *(f.pair(f"numbers wrap {at} octets into it", "wrap", shape, isn=(0xFFFF_FFFF - at) & 0xFFFF_FFFF)
          for at in (0, 1, 7, 11) for shape in (lambda unit: pieces(unit, 7),)),
        *(f.pair(f"numbers wrap at {at}, out of order", "wrap",
               lambda unit: [Send(unit[7:], at=7), Send(unit[:7], at=0), Send(unit[7:], at=7)],
               isn=(0xFFFF_FFFF - at) & 0xFFFF_FFFF) for at in (7, 9)),
        f.pair("sign of the numbers changes in it", "wrap", lambda unit: pieces(unit, 7), isn=0x7FFF_FFF8),
    ]  # fmt: skip


def urgent(data: bytes, pointer: int, **more: int) -> Send:
    return Send(data, flags=DATA | URG, urgent=pointer, **more)


def probes(f: Family) -> list[Case]:
    """Keep-alives, flags, urgent data."""
    bad, first, t, n = f.forbidden, f.first, f.function_at, f.length
    return [
        f.pair("a keep-alive of garbage after the handshake", "probe",
             lambda unit: [Send(b"\xff", at=-1, flags=ACK), Send(unit)]),
        f.pair("a keep-alive of garbage after a head", "probe", lambda unit: [Send(unit[:t]), Send(b"\xff", at=t - 1, flags=ACK), Send(unit[t:])]),
        f.pair("a keep-alive of garbage after a request", "probe",
             lambda unit: [Send(first), Pause(0.05), Send(b"\xff", at=n - 1, flags=ACK), Send(unit)], expects=f.times(2)),
        f.pair("a keep-alive without an octet", "probe", lambda unit: [Send(at=-1, flags=ACK), Send(unit)]),
        f.pair("a probe with its first octet", "probe", lambda unit: [Send(unit[:1], at=0, flags=ACK), Send(unit, at=0)]),
        f.pair("without PSH", "flags", lambda unit: [Send(unit, flags=ACK)]),
        f.pair("ECE and CWR", "flags", lambda unit: [Send(unit, flags=DATA | 0xC0)]),
        f.only("no flags at all", "flags", [Send(bad, flags=0)], "no stack takes it"),
        f.only("without ACK", "flags", [Send(bad, flags=8)], "no stack takes it"),
        f.only("SYN and FIN", "flags", [Send(bad, flags=SYN | 1 | ACK)], "no stack takes it"),
        f.only("all flags", "flags", [Send(bad, flags=0xFF)], "no stack takes it"),
        f.only("an acknowledgement of what was not sent", "flags", [Send(bad, ack=100_000)], "no stack takes it"),
        f.pair("a stray acknowledgement of what was not sent, in front", "flags",
             lambda unit: [Send(flags=ACK, at=0, ack=100_000), Send(unit)]),
        f.only("an old acknowledgement", "flags", [Send(bad, ack=-0x4000_0000)], "no stack takes it"),
        f.only("urgent: an octet more in front of the function", "urgent",
             [urgent(bad[:t] + b"\x03" + bad[t:], t + 1)], "urgent data is denied"),
        f.only("urgent: the whole of it", "urgent", [urgent(bad, n)], "urgent data is denied"),
        f.only("urgent: an allowed request but for one octet", "urgent",
             [urgent(bad[:t], 0), urgent(b"\x03" + bad[t:], 1)], "urgent data is denied"),
        f.only("urgent pointer without URG", "urgent", [Send(bad, urgent=5)], "the next row"),
        f.pair("urgent pointer without URG, cut", "urgent",
             lambda unit: [Send(unit[:t], urgent=3), Send(unit[t:], urgent=1)]),
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


def options(f: Family) -> list[Case]:
    """TCP options: unknown, Multipath TCP, Fast Open, time stamps."""
    bad, twin, t, n = f.forbidden, f.allowed, f.function_at, f.length
    return [
        *(f.pair(f"an unknown option, {kind}", "options", with_options(bytes((kind, 4, 0, 0)))) for kind in (14, 29 + 224, 76)),
        f.pair("a Multipath TCP option on the SYN", "options",
             lambda unit: [*opened(SYN_OPTIONS + MP_CAPABLE), *pieces(unit, t)], opens=False),
        f.pair("a Multipath TCP mapping on data", "options", with_options(dss(1, 1, n))),
        f.pair("Multipath TCP, mapped the other way round", "options",
             lambda unit: [*opened(SYN_OPTIONS + MP_CAPABLE), Send(unit[:t], options=dss(6, 1, 7)),
                           Send(unit[t:], options=dss(1, 8, 5))], opens=False),
        f.pair("Fast Open cookie on the SYN, no data", "options",
             lambda unit: [*opened(SYN_OPTIONS + FAST_OPEN), Send(unit)], opens=False),
        f.only("Fast Open cookie and it on the SYN", "options",
             [Send(bad, flags=SYN, at=-1, options=SYN_OPTIONS + FAST_OPEN), Await(required=False), Send(flags=ACK, at=0)],
             "Fast Open is denied", opens=False),
        f.only("MD5 signature", "options", [Send(bad, options=b"\x13\x12" + bytes(16))], "denied: nobody could rewrite it"),
        f.only("an option that is longer than the header", "options", [Send(bad, options=b"\x0e\x28\0\0")], "malformed"),
        f.only("an option of length 0", "options", [Send(bad, options=b"\x0e\0\0\0")], "malformed"),
        f.only("a header length beyond the segment", "options", [Send(bad, offset=8)], "malformed"),
        f.only("a header length of four words", "options", [Send(bad, offset=-1)], "malformed"),
        f.pair("timestamps agreed, none on the data", "timestamps",
             lambda unit: stamped(Send(unit[:t]), Send(unit[t:])), opens=False),
        f.pair("an old timestamp on an allowed twin, then it", "timestamps",
             lambda unit: stamped(Send(unit, at=0, options=stamp(5_000_002))) if unit is twin
             else stamped(Send(twin, at=0, options=stamp(1)), Send(bad, at=0, options=stamp(5_000_002))), opens=False),
        f.only("an old timestamp on a head, then another head and tail", "timestamps",
             stamped(Send(twin[: t + 2], at=0, options=stamp(1)), Send(bad, at=0, options=stamp(5_000_003))), CHANGED,
             opens=False),
        f.only("an old timestamp on the allowed tail", "timestamps",
             stamped(Send(bad[:t], at=0, options=stamp(5_000_002)), Send(twin[t:], at=t, options=stamp(1)),
                     Send(bad[t:], at=t, options=stamp(5_000_003))), CHANGED, opens=False),
        f.pair("timestamps that go on", "timestamps",
             lambda unit: stamped(Send(unit[:t], options=stamp(5_000_002)), Send(unit[t:], options=stamp(5_000_003))),
             opens=False),
        f.pair("a SACK block that lies", "options",
             with_options(b"\x01\x01\x05\x0a" + struct.pack("!II", 0x1000, 0x2000))),
    ]  # fmt: skip


CASES = [case for family in (MODBUS, DNP3) for rows in (overlaps, repeats, probes, options) for case in rows(family)]
