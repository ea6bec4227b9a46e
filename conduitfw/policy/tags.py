"""Tags: points by their names in the plant, in engineering units, and what may be written to them.

A tag's limits hold for every write to its point, whichever rule allows it: who reads `max: 80` in the policy is
to rely on it. A rule that names tags (`read`, `write`) allows these points and no other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from conduitfw.policy.ledger import Ledger, key
from conduitfw.policy.limits import Limit, Refusal, said, spelled
from conduitfw.policy.model import Address, Place
from conduitfw.protocols import UNSAID, Definition, Encoding, Item, Kind, Unit
from conduitfw.reasons import Reason

_WIDEST = 4  # registers of the widest number


@dataclass(frozen=True)
class Tag:
    """A point of an asset. Limits are in engineering units: raw number * scale + offset."""

    name: str
    asset: str
    server: Address
    protocol: Definition
    unit: int | None  # the server's part of its units' address (unit id, link address); None: any
    one_of_several: bool  # other units, with points of their own, answer at the same address
    space: int
    point: int  # address or index of its first register
    encoding: str  # name in Definition.encodings; "": it holds no number
    big: bool  # the most significant word comes first
    scale: float
    offset: float
    engineering_unit: str
    lowest: float | None
    highest: float | None
    max_step: float | None
    place: Place

    @cached_property
    def _key(self) -> tuple[object, ...]:
        """Another point, or another reading of it, is another value."""
        return (
            "tag", self.server, self.protocol.name, self.space, self.point, self.encoding, self.big, self.scale,
            self.offset,
        )  # fmt: skip

    @cached_property
    def _own_key(self) -> bytes:
        return key(*self._key, self.unit)

    def key_at(self, address: int) -> bytes:
        """Under which its last value is remembered. `address`: the server's part of the unit's address."""
        return self._own_key if self.unit is not None else key(*self._key, "at", address)

    def is_at(self, address: int) -> bool:
        """Whether a unit with this address shows it."""
        return self.unit is None or self.unit == address

    def may_be_at(self, address: int) -> bool:
        """Whether a request to this address may change it: devices that stand alone take many for theirs."""
        return not self.one_of_several or self.unit == address or address in self.protocol.everyone

    @property
    def width(self) -> int:
        """How many registers (or coils, or objects) it takes."""
        return self._encoding.width if self.encoding else 1

    @property
    def _encoding(self) -> Encoding:
        return self.protocol.encodings[self.encoding]

    @property
    def last(self) -> int:
        """The address of its last register."""
        return self.point + self.width - 1

    @property
    def limited(self) -> bool:
        """Whether anything limits what may be written."""
        # Not as one chain behind a `not`: Cython 3.3 turns that into `lowest is not highest is ...`.
        return self.lowest is not None or self.highest is not None or self.max_step is not None

    def number(self, item: Item) -> float | None:
        """Its value in engineering units in an item that holds all of it; None where the item says none."""
        if not item.values or not self.encoding or len(item.values) != item.last - item.first + 1:
            return None  # of an object without an index nobody knows which it is
        at = self.point - item.first
        raw = self._encoding.decode(item.values[at : at + self.width], self.big)
        if (self.scale, self.offset) == (1.0, 0.0):
            return raw
        return float(f"{raw * self.scale + self.offset:.12g}")  # 3 * 0.1 is 0.3 to an engineer

    def raw(self, number: float) -> tuple[float, ...]:
        """The raw values of a number in engineering units; raises ValueError where it does not fit."""
        if not self.encoding:
            raise ValueError(f"{self.name} holds no number")
        raw = (number - self.offset) / self.scale
        return self._encoding.encode(float(f"{raw:.12g}"), self.big)

    def spelled(self, number: float | None) -> str:
        """A value for people: with a point where the tag has one."""
        if number is None:
            return "?"
        broken = self.encoding in ("float32", "float64", "number") or self.scale != 1
        text = spelled(number)
        return f"{text}.0" if broken and text.lstrip("-").isdigit() else text

    def refuses(self, number: float, seen: float | None, told: Sequence[float], *, asked: bool) -> Refusal | None:
        """Why this value must not be written, or None.

        `seen`: the last value that the server is known to have had; `told`: those that it may have by now. `asked`:
        in a question, where nothing may have been seen.
        """
        part, dot, rest = self.name.rpartition(".")
        subject = f"{rest} {part}" if dot else self.name
        unit = f" {self.engineering_unit}" if self.engineering_unit else ""
        change = f"{subject} {self.spelled(seen)} -> {self.spelled(number)}{unit}"
        if number - number != 0:
            return self._no(Reason.TAG_LIMIT, f"{change} is no number")
        if self.highest is not None and number > self.highest:
            return self._no(Reason.TAG_LIMIT, f"{change} is above {spelled(self.highest)}")
        if self.lowest is not None and number < self.lowest:
            return self._no(Reason.TAG_LIMIT, f"{change} is below {spelled(self.lowest)}")
        if self.max_step is None:
            return None
        if seen is None:
            return None if asked else self._no(Reason.TAG_UNSEEN, change)
        step = max(abs(number - last) for last in (seen, *told))
        if step > self.max_step * (1 + 1e-6):  # of numbers that were rounded on their way
            return self._no(Reason.TAG_STEP, f"{change} is a step of {spelled(step)}, above {spelled(self.max_step)}")
        return None

    @staticmethod
    def _no(reason: Reason, detail: str) -> Refusal:
        return Refusal(reason, detail, TagLimits.rank)


class _Index:
    """Tags of one server by space and point: they do not overlap, so few have to be looked at."""

    __slots__ = ("_by_space",)

    def __init__(self, tags: Iterable[tuple[int, Tag]]) -> None:
        """`tags` with the space in which they are looked for."""
        by_space: dict[int, list[Tag]] = {}
        for space, tag in tags:
            by_space.setdefault(space, []).append(tag)
        self._by_space = {
            space: ([tag.point for tag in ordered], ordered)
            for space, found in by_space.items()
            for ordered in [sorted(found, key=lambda tag: tag.point)]
        }

    def touched(self, space: int, first: int, last: int) -> Iterator[Tag]:
        """The tags that a range of points touches, of whatever unit, in the order of their points."""
        found = self._by_space.get(space)
        if found is None:
            return
        points, tags = found
        place = bisect_right(points, first - _WIDEST)
        while place < len(tags) and points[place] <= last:
            if tags[place].last >= first:
                yield tags[place]
            place += 1


class TagLimits:
    """The limits of all tags of one server, for whatever rule, and what is known of their values."""

    rank: ClassVar[int] = 7
    __slots__ = ("_points", "_shown")

    def __init__(self, tags: Sequence[Tag], protocol: Definition) -> None:
        self._points = _Index((tag.space, tag) for tag in tags)
        self._shown = _Index(
            (space, tag) for tag in tags if tag.limited for space in protocol.shown_in.get(tag.space, (tag.space,))
        )

    def refuses(self, unit: Unit, ledger: Ledger | None) -> Refusal | None:
        """Why a request must not pass, or None. `ledger` None: a question."""
        before: dict[bytes, list[float]] = {}  # what this very request writes to a tag, if it does so several times
        for item in unit.items():
            if not item.writes or item.values == ():
                continue
            for tag in self._points.touched(item.space, item.first, item.last):
                address = unit.address[tag.protocol.server_field]
                if not tag.limited or not tag.may_be_at(address):
                    continue
                if tag.point < item.first or tag.last > item.last:
                    part = f"{said(item.first, item.last)} is a part of {tag.name}"
                    return Refusal(Reason.TAG_PART, part, self.rank)
                number = tag.number(item)
                if number is None:
                    unknown = f"what becomes of {tag.name} cannot be told from the request"
                    return Refusal(Reason.TAG_PART, unknown, self.rank)
                name = tag.key_at(address)
                told = before.setdefault(name, list(ledger.told(name)) if ledger is not None else [])
                seen = ledger.seen(name) if ledger is not None else None
                refusal = tag.refuses(number, seen, told, asked=ledger is None)
                if refusal is not None:
                    return refusal
                told.append(number)
        return None

    def sent(self, unit: Unit, ledger: Ledger, now: float) -> None:
        """A unit was sent on: note what a request tells the server, and what an answer tells of it."""
        if unit.kind is Kind.REQUEST:
            self._told(unit, ledger, now)
            return
        for item in unit.items() if unit.since >= 0 else ():
            if item.values and not item.writes:
                for tag, address in self._whole(self._shown, item, unit):
                    number = tag.number(item)
                    if tag.is_at(address) and number is not None and number - number == 0:
                        ledger.note(tag.key_at(address), number, unit.since)
        for item, taken in unit.outcome():
            for tag, address in self._whole(self._points, item, unit):
                if tag.may_be_at(address):
                    ledger.settle(tag.key_at(address), tag.number(item), now, taken=taken)

    def _told(self, unit: Unit, ledger: Ledger, now: float) -> None:
        for item in unit.items():
            if not item.values or not item.writes:
                continue
            for tag, address in self._whole(self._points, item, unit):
                number = tag.number(item)
                if number is not None and tag.may_be_at(address) and unit.function not in tag.protocol.quiet:
                    ledger.tell(tag.key_at(address), number, now)

    @staticmethod
    def _whole(index: _Index, item: Item, unit: Unit) -> Iterator[tuple[Tag, int]]:
        """The limited tags of which an item holds all, and the server's part of the address."""
        for tag in index.touched(item.space, item.first, item.last):
            if tag.limited and item.first <= tag.point and tag.last <= item.last:
                yield tag, unit.asked_of if unit.asked_of >= 0 else unit.address[tag.protocol.server_field]


@dataclass(frozen=True)
class Named(Limit):
    """`read` and `write`: what is touched are the points of these tags, whole, and nothing between them."""

    rank: ClassVar[int] = 3
    read: tuple[Tag, ...]
    write: tuple[Tag, ...]
    protocol: Definition
    server: bytes = b""  # whose; b"": not said yet (`between`)

    def between(self, client: bytes, server: bytes) -> Limit:
        return Named(self.read, self.write, self.protocol, server)

    @cached_property
    def _read(self) -> _Index:
        shown = self.protocol.shown_in
        return _Index((s, tag) for tag in self._here(self.read) for s in {tag.space, *shown.get(tag.space, ())})

    @cached_property
    def _write(self) -> _Index:
        return _Index((tag.space, tag) for tag in self._here(self.write))

    def _here(self, tags: tuple[Tag, ...]) -> Iterator[Tag]:
        return (tag for tag in tags if tag.server.packed == self.server)

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            if item.first == UNSAID:
                continue
            index = self._write if item.writes else self._read
            unsaid = item.last < item.first  # how many is left open: is there such a tag?
            place, last = item.first, max(item.first, item.last)
            for tag in index.touched(item.space, place, last):
                if not tag.is_at(unit.address[self.protocol.server_field]):
                    continue
                if tag.point > place or (item.writes and tag.point != place):
                    break
                place = tag.last + 1
            where = f"{self.protocol.spaces.name(item.space)} {said(item.first, last)}"
            if place <= last:
                return self._no(Reason.POINT, f"{where} is none of the tags that the rule names")
            if item.writes and not unsaid and place != last + 1:
                return self._no(Reason.TAG_PART, f"{where} is a part of a tag")
        return None
