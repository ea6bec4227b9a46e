"""Units that say one thing and are another: the MBAP header and what stands behind it."""

from __future__ import annotations

import struct

from tests.evasion.family import MODBUS, pieces
from tests.evasion.steps import Case, Send, Step
from tests.pipeline.modbus_units import read_answer, write

F, R, A = MODBUS.forbidden, MODBUS.allowed, MODBUS.first
only = MODBUS.only
GROUP = "MBAP"
MALFORMED = "malformed: the well-formed one is the row `plain`"


def adu(pdu: bytes, *, length: int | None = None, protocol: int = 0, transaction: int = 9, unit: int = 1) -> bytes:
    """Any header in front of any PDU."""
    return struct.pack("!HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


WRITE_ONE = F[7:]


def each(name: str, unit: bytes, *more: Step) -> Case:
    return only(name, GROUP, [Send(unit), *more], MALFORMED)


def cut(name: str, unit: bytes, at: int) -> Case:
    return only(f"{name}, cut at {at}", GROUP, pieces(unit, at), MALFORMED, often=False)


LONGER = adu(R[7:] + F, length=6 + len(F))  # a read whose length takes in the forbidden request behind it
INFLATED = adu(R[7:], length=6 + len(F)) + F
READ_WRITE = struct.pack("!BHHHHB", 23, 0, 1, 0, 1, 2) + b"\0\1"
COUNT = struct.pack("!BHHB", 16, 0, 1, 2)
CASES = [
    *(each(f"protocol id {number}", adu(WRITE_ONE, protocol=number)) for number in (1, 0x100, 0xFFFF)),
    *(each(f"length {number}", adu(WRITE_ONE, length=number)) for number in (0, 1, 2, 5, 7, 254, 255, 256, 0xFFFF)),
    *(each(f"length {number}, then padding", adu(WRITE_ONE, length=number) + bytes(300)) for number in (7, 254, 0xFFFF)),
    *(each(f"length {number}, and it again behind", adu(WRITE_ONE, length=number) + F) for number in (0, 1, 5, 7, 255)),
    each("a read of length 1, it behind", adu(R[7:], length=1) + F),
    each("a read of length 5, it behind", adu(R[7:], length=5) + F),
    each("a read of length 7, it behind", adu(R[7:], length=7) + F),
    each("a read whose inflated length hides it", INFLATED),
    *(cut("a read whose inflated length hides it", INFLATED, at) for at in range(1, len(INFLATED), 2)),
    cut("a read whose inflated length hides it", INFLATED, 12),
    each("a read with an inflated length over two segments", LONGER[:12], Send(LONGER[12:])),
    each("a write whose quantity is less than its data", adu(COUNT + F[:2] + F)),
    each("a write whose byte count is less than its data", adu(struct.pack("!BHHB", 16, 0, 7, 2) + b"\0\1" + F)),
    each("a write whose byte count is more than its data", adu(struct.pack("!BHHB", 16, 0, 1, 14) + b"\0\1") + F),
    each("a write whose byte count is right and its quantity not", adu(struct.pack("!BHHB", 16, 0, 1, 12) + F)),
    each("a write of length without its data, it behind", adu(struct.pack("!BHHB", 16, 0, 1, 2), length=7) + b"\0\1" + F),
    *(each(f"read of {count} registers, it behind", adu(struct.pack("!BHH", 3, 0, count)) + F) for count in (0, 126, 65535)),
    *(each(f"unknown function {code}, it as its data", adu(bytes((code,)) + F)) for code in (9, 65, 100, 127, 128, 255)),
    each("exception code of the read, it behind", adu(b"\x83\x02") + F),
    each("a response by the client, it behind", read_answer(9) + F),
    only("a request by the server", GROUP, [Send(A), Send(F, by_server=True)], "no server does it", levels=("pipeline",)),
    Case("function 23, read and write in one", GROUP, [Send(adu(READ_WRITE))], [Send(R)], forbidden=frozenset((23,)),
         note="the control is a plain read"),
    Case("to unit 255", GROUP, [Send(adu(WRITE_ONE, unit=255))], None, note="units are the policy's matter"),
    Case("to unit 0", GROUP, [Send(adu(WRITE_ONE, unit=0))], None, note="units are the policy's matter"),
    Case("transaction 0 and it again", GROUP, [Send(adu(WRITE_ONE, transaction=0)), Send(adu(WRITE_ONE, transaction=0))],
         [Send(adu(R[7:], transaction=0)), Send(adu(R[7:], transaction=0))]),
    Case("the largest write, it behind", GROUP, [Send(write(1, (7,) * 123) + F)], [Send(write(1, (7,) * 123) + R)],
         expects=(16,), note="what is behind the write waits for its answer"),
    Case("behind a write that is not answered", GROUP, [Send(write(1)), Send(F)], [Send(write(1)), Send(R)],
         expects=(16, 3)),
    Case("in one segment with a write in front", GROUP, [Send(write(1) + F)], [Send(write(1) + R)], expects=(16,)),
]  # fmt: skip
