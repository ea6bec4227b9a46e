"""Objects of an application fragment (IEEE 1815-2012, 4.2.2.7 and annex A): headers, and the data behind them.

A header is group, variation, qualifier, and a range or count that the qualifier asks for:

    qualifier 0x28:  0 | prefix code 2 (an index of two octets before each object) | range code 8 (a count of two)

Every octet of a fragment belongs to a header or to data whose size is known, or the fragment is denied: what
could not be sized might be anything for the station. Fragments are read frame by frame and never kept, so a
reading that stops in the midst of a header or an object says so in a `Reading`, which the next frame goes on from.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from conduitfw.protocols import UNSAID, Asked, Item
from conduitfw.protocols.dnp3.catalogue import (
    ANALOG_DEADBAND,
    ANALOG_OUTPUT,
    AUTHENTICATION,
    BINARY_OUTPUT_COMMAND,
    CHANGES_NOTHING,
    LAYOUTS,
    TIME,
)
from conduitfw.protocols.numbers import shortest
from conduitfw.reasons import Reason

LAST_INDEX = 0xFFFF_FFFF
CROB_OCTETS = 11
_FIRST_RESPONSE = 129
SUCCESS = 0  # status of a command (A.8.1)
_HEADER_OCTETS = 3

# By range code: octets of start and stop together, or of a count. Codes 3 to 5 are virtual addresses, which no
# station uses any more; nobody agrees on their meaning.
_START_STOP = {0x0: Struct("<BB"), 0x1: Struct("<HH"), 0x2: Struct("<II")}
_COUNT = {0x7: Struct("<B"), 0x8: Struct("<H"), 0x9: Struct("<I"), 0xB: Struct("<B")}
_ALL = 0x6
# By prefix code: octets of an index before each object; or of its size.
_INDEX_OCTETS = {0: 0, 1: 1, 2: 2, 3: 4}
_SIZE_OCTETS = {4: 1, 5: 2, 6: 4}

# Requests whose headers name objects and bring none of their own; authentication objects and free formats do
# anywhere, and in a freeze at a time the time does.
_NAMES_ONLY = frozenset((1, *range(7, 25)))
_AT_TIME = frozenset((11, 12))
# Requests that no object belongs to: a station refuses them with one, or does not look.
_WITHOUT_OBJECTS = frozenset((13, 14, 23, 24))
# Objects whose contents a rule may limit.
_ONLINE = 0x01  # of the flags (11.6): what an object says while it is not is no value
_VALUED = frozenset((ANALOG_OUTPUT, ANALOG_DEADBAND))
_CONTROLS = frozenset((BINARY_OUTPUT_COMMAND << 8 | 1, BINARY_OUTPUT_COMMAND << 8 | 2))

_MOST_OBJECTS = 0xFFFF  # more than any fragment holds
_KEPT = 24  # octets of a header or of one object that may be cut: 3 + 8, or an index of 4 and 15
_LONGEST_KEPT = 20
READING = Struct(f"<BBBIIIB{_KEPT}s")


class Header:
    """One object header. `first` is -1 where it names no range, `count` is -1 where it means all points."""

    __slots__ = ("count", "first", "group", "last", "qualifier", "variation")

    def __init__(self, group: int, variation: int, qualifier: int, first: int, last: int, count: int) -> None:
        self.group = group
        self.variation = variation
        self.qualifier = qualifier
        self.first = first
        self.last = last
        self.count = count

    @property
    def indexed(self) -> bool:
        """Whether an index stands before each object."""
        return 1 <= self.qualifier >> 4 <= 3


class Run:
    """Objects of one header, one behind the other in one frame."""

    __slots__ = ("at", "count", "data", "first", "group", "prefix", "stride", "variation")

    def __init__(
        self, group: int, variation: int, data: bytes, at: int, count: int, stride: int, prefix: int, first: int
    ) -> None:
        self.group = group
        self.variation = variation
        self.data = data
        self.at = at  # of the first one's prefix, or of itself where it has none
        self.count = count
        self.stride = stride  # octets from one to the next
        self.prefix = prefix  # octets of the index before each
        self.first = first  # index of the first one where none stands before it; -1: nobody says it

    def index(self, position: int) -> int:
        """The index of one of them; -1 where nobody says it."""
        if self.prefix:
            at = self.at + position * self.stride
            return int.from_bytes(self.data[at : at + self.prefix], "little")
        return self.first + position if self.first >= 0 else -1

    def octets(self, position: int) -> int:
        """Where the contents of one of them begin in `data`."""
        return self.at + position * self.stride + self.prefix


class Reading:
    """Where the reading of a fragment's objects stands between two frames. It never changes."""

    __slots__ = ("group", "index", "kept", "left", "qualifier", "skip", "variation")

    def __init__(
        self,
        group: int = 0,
        variation: int = 0,
        qualifier: int = 0,
        left: int = 0,
        index: int = 0,
        skip: int = 0,
        kept: bytes = b"",
    ) -> None:
        self.group = group
        self.variation = variation
        self.qualifier = qualifier
        self.left = left  # objects of this header that are still to come
        self.index = index  # of the next one, where the header gives a range
        self.skip = skip  # octets of the object in hand (or of packed bits) that are still to come
        self.kept = kept  # the beginning of a header or of an object that was cut

    @property
    def finished(self) -> bool:
        """Whether a fragment may end here."""
        return not (self.left or self.skip or self.kept)

    def pack(self) -> bytes:
        """In `READING.size` bytes."""
        return READING.pack(
            self.group, self.variation, self.qualifier, self.left, self.index, self.skip, len(self.kept), self.kept
        )


def unpack(packed: tuple[int, int, int, int, int, int, int, bytes]) -> Reading:
    """From what READING gives."""
    group, variation, qualifier, left, index, skip, length, kept = packed
    return Reading(group, variation, qualifier, left, index, skip, kept[:length])


BEGINNING = Reading()


class Objects:
    """What one frame brings of a fragment's objects."""

    __slots__ = ("after", "brings_octets", "headers", "reason", "runs")

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.runs: list[Run] = []
        self.after = BEGINNING
        self.reason: Reason | None = None
        # Whether it holds anything but headers: indexes and data are octets of the sender's choice.
        self.brings_octets = False


NONE = Objects()


def read_objects(before: Reading, octets: bytes, at: int, function: int, last: bool) -> Objects:
    """Read on from `before` with octets[at:], the application octets of the next frame. `last`: of the fragment.

    The result's `reason` is set where the objects cannot be sized or contradict themselves.
    """
    if before is BEGINNING and at == len(octets):
        return NONE
    found = Objects()
    data = before.kept + octets[at:] if before.kept else octets[at:]
    if before.left or before.skip:
        found.brings_octets = True
    _Reader(found, data, before).read(function)
    if found.reason is None and last and not found.after.finished:
        found.reason = Reason.DNP3_OBJECT_CUT
    return found


class _Reader:
    """One pass over one frame's octets."""

    __slots__ = ("data", "end", "found", "group", "index", "left", "place", "qualifier", "skip", "variation")

    def __init__(self, found: Objects, data: bytes, before: Reading) -> None:
        self.found = found
        self.data = data
        self.end = len(data)
        self.place = 0
        self.group, self.variation, self.qualifier = before.group, before.variation, before.qualifier
        self.left, self.index, self.skip = before.left, before.index, before.skip

    def read(self, function: int) -> None:
        found = self.found
        while True:
            if self.skip:
                step = min(self.skip, self.end - self.place)
                self.place += step
                self.skip -= step
                if self.skip:
                    break
            if self.left:
                if not self._objects(function):
                    break
            elif self.place == self.end or not self._header(function):
                break
        if found.reason is None:
            found.after = Reading(
                self.group, self.variation, self.qualifier, self.left, self.index, self.skip, self.data[self.place :]
            )

    def _header(self, function: int) -> bool:
        """Read a header. False where it is cut, or cannot be read."""
        data, place, found = self.data, self.place, self.found
        if self.end - place < _HEADER_OCTETS:
            return False
        group, variation, qualifier = data[place], data[place + 1], data[place + 2]
        prefix, code = qualifier >> 4, qualifier & 0x0F
        sized = prefix in _SIZE_OCTETS
        pair, number = _START_STOP.get(code), _COUNT.get(code)
        place += _HEADER_OCTETS
        first, last, count = -1, -1, -1
        if pair is not None and prefix == 0:
            if self.end - place < pair.size:
                return False
            first, last = pair.unpack_from(data, place)
            place += pair.size
            count = last - first + 1
            if count < 1:
                found.reason = Reason.DNP3_OBJECT_RANGE
        elif number is not None and (prefix in _INDEX_OCTETS or sized) and (code != 0xB or sized):
            if self.end - place < number.size:
                return False
            count = number.unpack_from(data, place)[0]
            place += number.size
        elif code != _ALL or prefix:
            found.reason = Reason.DNP3_QUALIFIER
        if function in _WITHOUT_OBJECTS and group != AUTHENTICATION:
            found.reason = Reason.DNP3_OBJECT_UNWANTED
        elif count == 0 and function < _FIRST_RESPONSE:
            found.reason = Reason.DNP3_OBJECT_RANGE  # no master asks for nothing, and nothing would be judged
        if found.reason is None:
            self.place = place
            self.group, self.variation, self.qualifier = group, variation, qualifier
            found.headers.append(Header(group, variation, qualifier, first, last, count))
            self._begin(function, first, count)
        return found.reason is None

    def _brings_data(self, function: int) -> bool:
        if self.qualifier >> 4 in _SIZE_OCTETS or self.group == AUTHENTICATION:
            return True
        if function in _NAMES_ONLY:
            return function in _AT_TIME and self.group == TIME
        return True

    def _begin(self, function: int, first: int, count: int) -> None:
        """What follows the header that was just read."""
        self.left, self.index, self.skip = 0, max(first, 0), 0
        prefix = self.qualifier >> 4
        if not self._brings_data(function):
            # Names of objects: indexes may follow, and nothing else.
            self.left = count if prefix in _INDEX_OCTETS and prefix else 0
            return
        layout = LAYOUTS.get(self.group << 8 | self.variation)
        if prefix in _SIZE_OCTETS:
            # Free format is for objects that have no other size, and strings; a control in it would be told by nothing.
            if (layout is not None and not (layout.sized or layout.string)) or is_told(self.group, self.variation):
                self.found.reason = Reason.DNP3_QUALIFIER
            self.left = count
            return
        if count > _MOST_OBJECTS:
            self.found.reason = Reason.DNP3_OBJECT_RANGE
        elif layout is None or layout.sized:
            self.found.reason = Reason.DNP3_OBJECT_UNKNOWN
        elif layout.bits:
            if prefix or count < 0:
                self.found.reason = Reason.DNP3_QUALIFIER
            else:
                self.skip = (count * layout.bits + 7) // 8
                self.found.brings_octets = True
        elif layout.octets or layout.own_length or prefix:
            if count < 0:
                self.found.reason = Reason.DNP3_QUALIFIER
            else:
                self.left = count

    def _objects(self, function: int) -> bool:
        """Read objects of the header in hand. False where the next one is cut, or cannot be read."""
        found = self.found
        found.brings_octets = True
        prefix = self.qualifier >> 4
        if prefix in _SIZE_OCTETS:
            return self._one_in_front(_SIZE_OCTETS[prefix])
        octets = _INDEX_OCTETS[prefix]
        size = 0
        if self._brings_data(function):
            layout = LAYOUTS[self.group << 8 | self.variation]
            if layout.own_length:
                return self._one_in_front(1, octets, 1)
            size = layout.octets
        stride = octets + size
        count = min(self.left, (self.end - self.place) // stride)
        if count:
            self._note(count, stride, octets)
        if self.left and stride > _LONGEST_KEPT and self.end - self.place >= octets:
            # A long one, of which the index is there: its contents limit nothing, and are passed over.
            self._note(1, octets, octets)
            self.skip = size
            return True
        return not self.left

    def _note(self, count: int, stride: int, prefix: int) -> None:
        ranged = self.qualifier >> 4 == 0 and self.qualifier & 0x0F in _START_STOP
        self.found.runs.append(
            Run(self.group, self.variation, self.data, self.place, count, stride, prefix, self.index if ranged else -1)
        )
        self.place += count * stride
        self.left -= count
        self.index = min(self.index + count, LAST_INDEX)

    def _one_in_front(self, octets: int, prefix: int = 0, before: int = 0) -> bool:
        """One object behind a length of so many octets; in front of that an index, and `before` octets of its own."""
        if self.end - self.place < prefix + before + octets:
            return False
        if prefix:
            self.found.runs.append(Run(self.group, self.variation, self.data, self.place, 1, prefix, prefix, -1))
        at = self.place + prefix + before
        self.skip = int.from_bytes(self.data[at : at + octets], "little")
        self.place = at + octets
        self.left -= 1
        self.index = min(self.index + 1, LAST_INDEX)
        return True


# --- what a rule looks at -----------------------------------------------------------------------------------


def items_of(objects: Objects, function: int) -> Iterator[Item]:
    """The points that a frame's headers and objects name, with the values and control codes that they bring."""
    writes = function not in CHANGES_NOTHING
    for header in objects.headers:
        told = writes and function not in _NAMES_ONLY and is_told(header.group, header.variation)
        if header.indexed or told:
            continue  # the objects say which, each with its value
        named = header.first >= 0
        first, last = (header.first, header.last) if named else (0, LAST_INDEX)
        yield Item(header.group, first, last, variation=header.variation, writes=writes)
    for run in objects.runs:
        if run.prefix or not writes or is_told(run.group, run.variation):
            yield from _items_of_run(run, writes)


def is_told(group: int, variation: int) -> bool:
    """Whether a rule may limit what such an object brings: each of them is an item, with its value or control code."""
    key = group << 8 | variation
    return group in _VALUED or key in _CONTROLS or (key in LAYOUTS and bool(LAYOUTS[key].number))


def _items_of_run(run: Run, writes: bool) -> Iterator[Item]:
    key = run.group << 8 | run.variation
    layout = LAYOUTS.get(key)
    number = None
    if layout is not None and layout.number_at >= 0 and run.stride - run.prefix == layout.octets:
        number = Struct("<" + layout.number)
    control = key in _CONTROLS and run.stride - run.prefix == CROB_OCTETS
    for position in range(run.count):
        index = run.index(position)
        first, last = (index, index) if index >= 0 else (0, LAST_INDEX)
        item = Item(run.group, first, last, variation=run.variation, writes=writes)
        if number is not None and layout is not None:
            at = run.octets(position)
            value = number.unpack_from(run.data, at + layout.number_at)[0]
            if writes or not layout.flags or run.data[at] & _ONLINE:
                item.values = (shortest(value) if layout.number == "f" else value,)
        elif control:
            item.code = run.data[run.octets(position)]
        elif run.group in _VALUED and writes:
            item.values = None
        yield item


def outcome_of(objects: Objects) -> Iterator[tuple[Item, bool]]:
    """Of an answer to an operation: each point that it repeats, and whether the station did it (A.8.1, status)."""
    for run in objects.runs:
        key = run.group << 8 | run.variation
        if not run.prefix or (run.group != ANALOG_OUTPUT and key not in _CONTROLS):
            continue
        for position, item in enumerate(_items_of_run(run, True)):
            status = run.data[run.octets(position) + run.stride - run.prefix - 1]
            yield item, status == SUCCESS


def asked(function: int, question: Asked) -> list[Item]:
    """The items of a request as a question of `explain` puts it."""
    if question.space == UNSAID:
        return []
    last = question.point + max(question.quantity, 1) - 1 if question.point != UNSAID else UNSAID - 1
    return [
        Item(
            question.space, question.point, last, variation=question.variation,
            writes=function not in CHANGES_NOTHING, values=question.values, code=question.code,
        )
    ]  # fmt: skip
