"""DNP3 over TCP: the policy allows the HMI to read; it lets the engineering workstation operate what was selected."""

from __future__ import annotations

import struct

from dnp3.core.crc import compute_crc

from tests.evasion.family import pieces
from tests.evasion.link import block, frame, request, segments, whole
from tests.evasion.steps import ACK, FIN, RST, Case, Lose, Pause, Send, Step, Use, opened

CROB = b"\x0c\x01\x28\x01\x00\x00\x00" + struct.pack("<BBIIB", 3, 1, 0, 0, 0)
CLASSES = b"\x3c\x02\x06\x3c\x03\x06\x3c\x04\x06\x3c\x01\x06"


READ, OPERATE = request(1, CLASSES), request(5, CROB)
RESTART = request(13)


F, R, A = whole(OPERATE), whole(READ), whole(READ)
BOTH = frozenset((5, 13))


def row(name: str, steps: list[Step], control: list[Step] | None, note: str = "", **more: object) -> Case:
    values = {"protocol": "dnp3", "forbidden": BOTH, "expects": (1,), "note": note, **more}
    return Case(name, "DNP3", steps, control, **values)  # type: ignore[arg-type]


def never(name: str, steps: list[Step], note: str = "a conforming outstation takes none of it", **more: object) -> Case:
    values = {"protocol": "dnp3", "forbidden": BOTH, "note": note, **more}
    return Case(name, "DNP3", steps, None, **values)  # type: ignore[arg-type]


def both(name: str, shape, **more: object) -> Case:  # type: ignore[no-untyped-def]
    return row(name, shape(OPERATE), shape(READ), **more)


def sent(*parts: bytes) -> list[Step]:
    return [Send(part) for part in parts]


def in_one(*parts: bytes) -> list[Step]:
    return [Send(b"".join(parts))]


# Eight octets that bring the CRC register to 0 come first: then the CRCs of the inner frame and of the outer frame's
# blocks coincide (dnp3-facts.md). The outer one is a read of 28 points by their indexes.
INNER = whole(RESTART)
ZERO = next(
    candidate for number in range(0x10000) if compute_crc(candidate := bytes(6) + struct.pack("<H", number)) == 0xFFFF
)
BY_INDEX = b"\xc0\xc0\x01\x1e\x01\x17\x1c" + bytes(9)
HIDING = frame(BY_INDEX + ZERO + INNER[:8] + INNER[10:-2])
INSIDE = HIDING.index(INNER)
REPEATED = [Send(HIDING[INSIDE:], at=INSIDE), Send(HIDING[:INSIDE], at=0), Send(HIDING[INSIDE:], at=INSIDE)]
TWENTY = READ + b"\x1e\x01\x06" * 20
CUTS = sorted({1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 20, 26, 28, len(F) - 1})

LINK = [
    both("as it is", lambda pdu: sent(whole(pdu))),
    row("cold restart", sent(whole(RESTART)), sent(R)),
    *(both(f"cut at {at}", lambda pdu, at=at: pieces(whole(pdu), at), often=at in (9, 12)) for at in CUTS
      if at < min(len(F), len(R))),
    both("one byte a segment", lambda pdu: sent(*(whole(pdu)[at : at + 1] for at in range(len(whole(pdu)))))),
    both("a read in front, in one segment", lambda pdu: in_one(A, whole(pdu)),),
    both("a read behind, in one segment", lambda pdu: in_one(whole(pdu), A)),
    *(both(f"a read in front, cut at {at}", lambda pdu, at=at: pieces(A + whole(pdu), at), often=at == len(A) + 12)
      for at in (5, len(A) - 1, len(A), len(A) + 1, len(A) + 10, len(A) + 12)),
    both("several frames in a segment", lambda pdu: in_one(A, A, A, whole(pdu), A)),
    both("lost, then repeated cut", lambda pdu: [Lose(True), Send(whole(pdu)), Lose(False), Send(whole(pdu)[:12], at=0),
                                                 Send(whole(pdu)[12:], at=12)]),
    both("the tail first", lambda pdu: [Send(whole(pdu)[12:], at=12), Send(whole(pdu)[:12], at=0),
                                        Send(whole(pdu)[12:], at=12)]),
    both("with the FIN", lambda pdu: [Send(whole(pdu), flags=ACK | FIN | 8)]),
    never("a bad header CRC", sent(whole(OPERATE, header_wrong=1))),
    never("a bad header CRC, then whole again", in_one(whole(READ, header_wrong=1), F), "refused input ends the flow"),
    never("a bad block CRC", sent(frame(b"\xc0" + OPERATE, wrong=1))),
    never("a bad block CRC, then whole again", in_one(frame(b"\xc0" + READ, wrong=1), F), "refused input ends the flow"),
    never("junk in front", in_one(b"\x00\x01\x05\x05\x64", F), "refused input ends the flow"),
    never("start octets, then it", in_one(b"\x05\x64", F), "refused input ends the flow"),
    never("a header only, its user data missing", in_one(frame(b"", control=0xC4), F), "refused input ends the flow"),
    never("length 255, it as its data", in_one(block(struct.pack("<BBBBHH", 5, 0x64, 255, 0xC4, 10, 1)), F * 10),
          "refused input ends the flow"),
    never("length under five, it behind", in_one(frame(b"", length=4), F), "refused input ends the flow"),
    never("an unknown link function, it as its data", in_one(frame(b"\xc0" + F[:200], control=0xC7)),
          "refused input ends the flow"),
    never("a secondary frame with it as its data", in_one(frame(F, control=0x80)), "refused input ends the flow"),
    never("it as data of a frame with a bad last CRC", in_one(frame(INNER, wrong=1)), "refused input ends the flow"),
    row("it in the data of a read, whole", in_one(HIDING), in_one(HIDING)),
    row("it in the data of a read, cut in front of it", pieces(HIDING, INSIDE), pieces(HIDING, INSIDE)),
    row("it in the data of a read, lost, repeated cut in front of it",
        [Lose(True), Send(HIDING), Lose(False), *REPEATED], [Lose(True), Send(HIDING), Lose(False), *REPEATED]),
    never("it in the data of a read, without that one's header", sent(HIDING[10:]), "refused input ends the flow"),
    never("it in the data of a read whose header CRC is wrong", in_one(HIDING[:8] + b"\0\0" + HIDING[10:]),
          "refused input ends the flow"),
    never("it in the data of a read whose first block is wrong",
          in_one(HIDING[:12] + b"\xff" + HIDING[13:]), "refused input ends the flow"),
    never("to another outstation, it in the data", in_one(frame(BY_INDEX + ZERO + INNER[:8] + INNER[10:-2], to=99)),
          "addresses are the policy's"),
    never("in the direction of a master", sent(whole(OPERATE, control=0x44)), "DIR is 0"),
    never("from another master", sent(whole(OPERATE, master=2)), "addresses are the policy's"),
    never("broadcast", sent(*(whole(RESTART, to=address) for address in (0xFFFD, 0xFFFE, 0xFFFF))),
          "addresses are the policy's"),
    never("to the self address", sent(whole(OPERATE, to=0xFFFC)), "addresses are the policy's"),
    row("link status in front", in_one(frame(b"", control=0xC9), F), in_one(frame(b"", control=0xC9), R)),
    row("link reset and confirmed user data", sent(frame(b"", control=0xC0), whole(OPERATE, control=0xF3)), None,
        "confirmed data depend on timing nobody in the middle can know"),
    row("confirmed user data without reset", sent(whole(OPERATE, control=0xF3)), None, "as above"),
]  # fmt: skip


def cut_in(fragment: bytes, size: int) -> list[bytes]:
    return [frame(each) for each in segments(fragment, size)]


def oversize() -> list[Step]:
    """A fragment of more than 2,048 octets, in segments that a line takes, and it behind."""
    said = b"".join(cut_in(TWENTY * 40, 249)) + F
    return pieces(said, *range(1400, len(said), 1400))


TRANSPORT = [
    row("1 octet of the fragment a frame", sent(*cut_in(OPERATE, 1)), None,
        "denied: the function has to stand in the first frame (reason dnp3-header-cut)"),
    *(both(f"{size} octets of the fragment a frame", lambda pdu, size=size: sent(*cut_in(pdu, size)), often=size == 2)
      for size in (2, 3, 7)),
    both("frames of a fragment in one segment", lambda pdu: in_one(*cut_in(pdu, 2))),
    row("function in the first frame, objects in the fifth", sent(*cut_in(OPERATE, 4)), sent(*cut_in(READ, 3))),
    row("a read's first frame, then the operate's", sent(frame(b"\x40" + READ[:2]), frame(b"\xc0" + OPERATE)), None,
        "a second FIR starts anew"),
    row("double FIR, the operate in the second", in_one(frame(b"\x40" + READ), frame(b"\x41" + OPERATE[:2]),
        frame(b"\x82" + OPERATE[2:])), None, "a second FIR starts anew"),
    never("missing FIR", sent(frame(b"\x80" + OPERATE)), "ignored by an outstation"),
    never("missing FIR, behind a whole read", sent(R, frame(b"\x81" + OPERATE)), "ignored by an outstation"),
    row("a read's first frame, the operate behind a sequence gap",
        sent(frame(b"\x40" + READ[:2]), frame(b"\x85" + OPERATE), frame(b"\x81" + READ[2:])), None, "one of both is read"),
    row("an operate's first frame, wrong one, right one",
        sent(frame(b"\x40" + OPERATE[:1]), frame(b"\x05" + READ), frame(b"\x81" + OPERATE[1:])), None,
        "the wrong one is ignored by an outstation"),
    row("FIN lost: the end comes in a new fragment", sent(frame(b"\x40" + OPERATE), frame(b"\xc1" + READ)), None,
        "a second FIR starts anew"),
    row("an empty segment in between", sent(frame(b"\x40" + OPERATE[:2]), frame(b"\x01"), frame(b"\x82" + OPERATE[2:])),
        None, "denied where it is not conforming"),
    row("oversize: more than 2,048 octets, then it", oversize(), None, "refused or ended"),
    row("a fragment open, link status, the rest", sent(frame(b"\x40" + OPERATE[:2]), frame(b"", control=0xC9),
        frame(b"\x81" + OPERATE[2:])), sent(frame(b"\x40" + READ[:2]), frame(b"", control=0xC9),
        frame(b"\x81" + READ[2:]))),
    row("a fragment open on one connection, the rest on another",
        [Send(frame(b"\x40" + OPERATE[:2])), Use(1), *opened(), Send(frame(b"\x81" + OPERATE[2:]))], None, "two streams"),
]  # fmt: skip

SBO = {"client": "ews", "forbidden": frozenset((4,))}


def crob(index: int) -> bytes:
    return CROB[:5] + bytes((index, 0)) + CROB[7:]


def ews(fragment: bytes) -> bytes:
    return whole(fragment, master=2)


APPLICATION = [
    *(never(f"application flags {flags:#04x}", sent(whole(request(5, CROB, flags=flags))), "ignored by an outstation")
      for flags in (0x00, 0x40, 0x80, 0xE0)),
    never("UNS with a function without answer", sent(whole(request(6, CROB, flags=0xD0))), "functions are the policy's",
          forbidden=frozenset((6,))),
    row("a confirm in front", in_one(whole(b"\xc0\x00"), F), None, "a confirm of nothing", ),
    row("an unsolicited confirm in front", in_one(whole(b"\xd0\x00"), F), None, "a confirm of nothing"),
    never("a response by the client", in_one(whole(b"\xc0\x81\x00\x00"), F), "no master does it"),
    never("an unknown function with it as its objects", in_one(whole(b"\xc0\x77" + INNER), F), "functions are the policy's"),
    row("SELECT on one connection, OPERATE on another",
        [Send(ews(request(3, CROB))), Pause(0.1), Use(1), *opened(), Send(ews(request(4, CROB, 1)))],
        [Send(ews(request(3, CROB))), Pause(0.1), Send(ews(request(4, CROB, 1)))], expects=(3, 4), **SBO),
    row("OPERATE without SELECT", [Send(ews(request(4, CROB, 1)))], [Send(ews(READ))], expects=(1,), **SBO),
    row("OPERATE of another point than SELECT",
        [Send(ews(request(3, CROB))), Pause(0.1), Send(ews(request(4, crob(2), 1)))], None, "the row above but one", **SBO),
    row("OPERATE with another sequence number than SELECT's",
        [Send(ews(request(3, CROB))), Pause(0.1), Send(ews(request(4, CROB, 5)))], None, "the row above but two", **SBO),
    row("two OPERATEs for one SELECT",
        [Send(ews(request(3, crob(1)))), Pause(0.1), Send(ews(request(4, crob(2), 1))), Send(ews(request(4, crob(2), 2)))],
        None, "SELECT's own OPERATE is in the control above", **SBO),
    row("SELECT, RST, OPERATE on the same four-tuple",
        [Send(ews(request(3, CROB))), Pause(0.1), Send(flags=RST | ACK), Send(ews(request(4, CROB, 1)))], None,
        "no stack takes it", **SBO),
]  # fmt: skip
CASES = [*LINK, *TRANSPORT, *APPLICATION]
