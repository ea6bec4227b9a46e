"""DNP3 frames by dnp3py: application headers and objects, transport segments, link frames and every CRC."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dnp3.application.fragment import ObjectBlock
from dnp3.application.header import RequestHeader, ResponseHeader
from dnp3.application.qualifiers import CountRange, ObjectHeader, PrefixCode, RangeCode, StartStopRange
from dnp3.core.crc import append_crc
from dnp3.core.enums import CommandStatus, ControlCode, FunctionCode
from dnp3.core.flags import IIN
from dnp3.datalink import builder as link
from dnp3.datalink.control import ControlByte
from dnp3.datalink.frame import DataLinkFrame
from dnp3.master.commands import ControlOperation, DirectOperateTask
from dnp3.objects.binary_output import CROB
from dnp3.transport.segmenter import segment_fragment

from tests.vectors.case import Octets

MASTER, OUTSTATION = 1, 10
HEADER_OCTETS = 10  # of a link frame, its CRC included


@dataclass(frozen=True)
class Block:
    """An object header and what stands behind it. `by_hand`: what of it dnp3py does not make."""

    octets: bytes
    by_hand: str = ""


@dataclass(frozen=True)
class Fragment:
    """An application fragment, and what of it was made by hand."""

    octets: bytes
    by_hand: tuple[str, ...] = ()

    def changed(self, what: str, octets: bytes) -> Fragment:
        """The same with other octets."""
        return Fragment(octets, (*self.by_hand, what))


# --- objects -------------------------------------------------------------------------------------------------


def _block(
    group: int,
    variation: int,
    prefix: PrefixCode,
    code: RangeCode,
    number: bytes,
    data: bytes = b"",
    made: bool = False,
) -> Block:
    """`number`: the range or the count; `made`: whether dnp3py made the objects in `data`."""
    header = ObjectHeader.build(group=group, variation=variation, prefix=prefix, range_code=code)
    note = f"contents of g{group}v{variation}" if data and not made else ""
    return Block(ObjectBlock(header=header, data=number + data).to_bytes(), note)


def every(group: int, variation: int = 0) -> Block:
    """Qualifier 0x06: all points."""
    return _block(group, variation, PrefixCode.NONE, RangeCode.ALL_OBJECTS, b"")


def span(
    group: int, variation: int, first: int, last: int, data: bytes = b"", size: int = 1, made: bool = False
) -> Block:
    """Qualifiers 0x00, 0x01, 0x02: a range. `size`: octets of each end."""
    codes = {1: RangeCode.UINT8_START_STOP, 2: RangeCode.UINT16_START_STOP, 4: RangeCode.UINT32_START_STOP}
    ends = StartStopRange(start=first, stop=last)
    number = {1: ends.to_bytes_1, 2: ends.to_bytes_2, 4: ends.to_bytes_4}[size]()
    return _block(group, variation, PrefixCode.NONE, codes[size], number, data, made)


def counted(group: int, variation: int, count: int, data: bytes = b"", size: int = 1, made: bool = False) -> Block:
    """Qualifiers 0x07 and 0x08: a count."""
    number = CountRange(count=count)
    code = RangeCode.UINT8_COUNT if size == 1 else RangeCode.UINT16_COUNT
    octets = number.to_bytes_1() if size == 1 else number.to_bytes_2()
    return _block(group, variation, PrefixCode.NONE, code, octets, data, made)


def indexed(
    group: int, variation: int, objects: Sequence[tuple[int, bytes]], size: int = 1, made: bool = False
) -> Block:
    """Qualifiers 0x17 and 0x28: an index before each object. Indexes alone are nothing that dnp3py has to make."""
    prefix = PrefixCode.UINT8_INDEX if size == 1 else PrefixCode.UINT16_INDEX
    code = RangeCode.UINT8_COUNT if size == 1 else RangeCode.UINT16_COUNT
    data = b"".join(index.to_bytes(size, "little") + octets for index, octets in objects)
    bare = not any(octets for _, octets in objects)
    return _block(group, variation, prefix, code, len(objects).to_bytes(size, "little"), data, made or bare)


def sized(group: int, variation: int, objects: Sequence[bytes]) -> Block:
    """Qualifier 0x5B: free format, a size before each object. The contents are ours."""
    data = b"".join(len(octets).to_bytes(2, "little") + octets for octets in objects)
    return _block(group, variation, PrefixCode.UINT16_SIZE, RangeCode.FREE_FORMAT, bytes((len(objects),)), data)


def class_data(number: int) -> Block:
    """A class of data."""
    return every(60, number + 1)


CLOSE, TRIP = 0x41, 0x81
PULSE_ON, LATCH_ON, LATCH_OFF = 1, 3, 4


def crob(code: int = CLOSE, *, status: int = 0) -> bytes:
    """A control relay output block without its index."""
    block = CROB(control_code=ControlCode(code), count=1, on_time_ms=100, off_time_ms=100, status=CommandStatus(status))
    return block.to_bytes()


def controls(*points: tuple[int, int], status: int = 0, size: int = 1) -> Block:
    """g12v1 by index and code."""
    return indexed(12, 1, [(index, crob(code, status=status)) for index, code in points], size, made=True)


def set_points(*points: tuple[int, int]) -> Block:
    """g41v1 by index and value, as dnp3py's master sends it."""
    operations = [ControlOperation(index=index, analog_value=value, is_analog=True) for index, value in points]
    block = DirectOperateTask(operations=operations).build_request().objects[0]
    return Block(block.to_bytes())


_NUMBERS = {1: "<i", 2: "<h", 3: "<f", 4: "<d"}


def analog(variation: int, *points: tuple[int, float], status: int = 0, size: int = 1) -> Block:
    """g41 of any variation, by index and value; of these dnp3py makes only g41v1 with status 0."""
    objects = [(index, struct.pack(_NUMBERS[variation], value) + bytes((status,))) for index, value in points]
    return indexed(41, variation, objects, size)


def status_of(variation: int, first: int, *values: float) -> Block:
    """g40 of any variation: flags and numbers."""
    data = b"".join(b"\x01" + struct.pack(_NUMBERS[variation], value) for value in values)
    return span(40, variation, first, first + len(values) - 1, data)


# --- fragments -----------------------------------------------------------------------------------------------

_NEAREST = FunctionCode.ABORT_FILE  # for functions that dnp3py does not know


def request(function: int, *blocks: Block, seq: int = 0, **bits: bool) -> Fragment:
    """A request. `bits` of the application control octet: fir, fin, con, uns."""
    notes = [block.by_hand for block in blocks if block.by_hand]
    known = function in set(FunctionCode)
    code = FunctionCode(function) if known else _NEAREST
    header = bytearray(RequestHeader.build(function=code, seq=seq, **bits).to_bytes())
    if not known:
        header[1] = function
        notes.insert(0, f"function {function}")
    return Fragment(bytes(header) + b"".join(block.octets for block in blocks), tuple(dict.fromkeys(notes)))


def response(*blocks: Block, seq: int = 0, iin: int = 0, function: int = 129, **bits: bool) -> Fragment:
    """A response; 130 has the bit for unsolicited ones."""
    notes = tuple(dict.fromkeys(block.by_hand for block in blocks if block.by_hand))
    bits.setdefault("uns", function == FunctionCode.UNSOLICITED_RESPONSE)
    header = ResponseHeader.build(function=FunctionCode(function), iin=IIN(iin), seq=seq, **bits)
    return Fragment(header.to_bytes() + b"".join(block.octets for block in blocks), notes)


# --- frames --------------------------------------------------------------------------------------------------


def _by(notes: Iterable[str]) -> str:
    said = ", ".join(notes)
    return f"dnp3py, changed by hand: {said}" if said else "dnp3py"


def frames(
    fragment: Fragment,
    *,
    master: int = MASTER,
    outstation: int = OUTSTATION,
    down: bool = True,
    transport: int = 0,
    confirmed: bool = False,
) -> list[Octets]:
    """The fragment's link frames. `down`: from the master."""
    destination, source = (outstation, master) if down else (master, outstation)
    found = []
    for segment in segment_fragment(fragment.octets, transport):
        if confirmed:
            frame = link.build_confirmed_user_data(destination, source, down, True, segment.to_bytes())
        else:
            frame = link.build_unconfirmed_user_data(destination, source, down, segment.to_bytes())
        found.append(Octets(frame.to_bytes(), _by(fragment.by_hand)))
    return found


def down(fragment: Fragment, **where: int) -> Octets:
    """A master's fragment of one frame."""
    (only,) = frames(fragment, **where)
    return only


def up(fragment: Fragment, **where: int) -> Octets:
    """An outstation's fragment of one frame."""
    (only,) = frames(fragment, down=False, **where)
    return only


def ask(function: int, *blocks: Block, seq: int = 0, **where: int) -> Octets:
    """A request of one frame."""
    return down(request(function, *blocks, seq=seq), **where)


def answer(*blocks: Block, seq: int = 0, iin: int = 0, **where: int) -> Octets:
    """A response of one frame."""
    return up(response(*blocks, seq=seq, iin=iin), **where)


def event(*blocks: Block, seq: int = 0, **where: int) -> Octets:
    """An unsolicited response of one frame."""
    return up(response(*blocks, seq=seq, function=130, con=True), **where)


def shortened(fragment: Fragment, less: int) -> Fragment:
    """Without its last octets, framed anew."""
    return fragment.changed(f"{less} octets cut off", fragment.octets[:-less])


def service(
    kind: str, *, down: bool = True, master: int = MASTER, outstation: int = OUTSTATION, **bits: bool
) -> Octets:
    """A link frame without user data: a `build_...` of dnp3py."""
    destination, source = (outstation, master) if down else (master, outstation)
    return Octets(getattr(link, f"build_{kind}")(destination, source, down, **bits).to_bytes(), "dnp3py")


def with_control(octets: Octets, what: str, control: int) -> Octets:
    """Another link control octet; the header's CRC is made anew by dnp3py."""
    header = append_crc(octets.data[:3] + bytes((control,)) + octets.data[4 : HEADER_OCTETS - 2])
    return octets.changed(what, data=header + octets.data[HEADER_OCTETS:])


def bare(control: int, user_data: bytes = b"") -> Octets:
    """A frame with whatever user data, from the master."""
    frame = DataLinkFrame.build(OUTSTATION, MASTER, ControlByte.from_int(control), user_data)
    return Octets(frame.to_bytes(), "dnp3py")
