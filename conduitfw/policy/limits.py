"""What a rule may limit beside addresses and functions: one small class for each field of the policy.

A limit looks at one unit and says nothing, or why it refuses. It knows what the unit *does* (protocols.Item),
and no protocol. `rank` says how far a unit came: of several rules that refuse it, the one that came furthest is
told.

Where there is no ledger, a question is asked (`explain`): what it leaves open is not held against the asker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from conduitfw.policy.ledger import Ledger, key
from conduitfw.protocols import UNSAID, Definition, Item, Kind, Unit
from conduitfw.reasons import Reason

SELECT_SECONDS = 10.0  # an OPERATE that comes later was not selected just before (an outstation's usual time)

Ranges = tuple[tuple[int, int], ...]  # inclusive, sorted, no two that touch
Numbers = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: the reason, and what it was about in this very unit. `rank`: see above."""

    reason: Reason
    detail: str = ""
    rank: int = 0


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, with those that touch made one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)


def range_with(ranges: Ranges, first: int, last: int) -> tuple[int, int] | None:
    """The range that holds all of first to last."""
    for low, high in ranges:
        if low <= first and last <= high:
            return low, high
    return None


def said(first: float, last: float) -> str:
    """A range as people write it."""
    if last == first:
        return spelled(first)
    return f"{spelled(first)}{' to ' if first < 0 or last < 0 else '-'}{spelled(last)}"


def spelled(number: float) -> str:
    """A number as people write it: whole ones without a point."""
    if number - number != 0:  # NaN, infinity
        return str(number)
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:.9g}"


def listed(ranges: Iterable[tuple[float, float]]) -> str:
    """Ranges for people."""
    return ", ".join(said(low, high) for low, high in ranges)


class Limit:
    """One limit of a rule. Immutable, and equal to another that limits the same."""

    rank: ClassVar[int] = 0
    __slots__ = ()

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        """Why this unit must not pass, or None. `ledger` None: a question."""
        raise NotImplementedError

    def between(self, client: bytes, server: bytes) -> Limit:
        """The same for traffic between these two (packed addresses)."""
        return self

    def sent(self, unit: Unit, ledger: Ledger, now: float) -> None:
        """A unit that this limit did not refuse was sent on."""

    def _no(self, reason: Reason, detail: str = "") -> Refusal:
        return Refusal(reason, detail, self.rank)


@dataclass(frozen=True, slots=True)
class SubFunctions(Limit):
    """`sub_functions`: of each function named, these and no other."""

    rank: ClassVar[int] = 1
    allowed: Mapping[int, frozenset[int]]
    protocol: Definition

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        allowed = self.allowed.get(unit.function)
        if allowed is None or unit.detail in allowed or unit.detail == UNSAID:
            return None
        return self._no(Reason.SUB_FUNCTION, self.protocol.details[unit.function].name(unit.detail))


@dataclass(frozen=True, slots=True)
class Objects(Limit):
    """`objects`: only these variations of object groups (space << 8 | variation)."""

    rank: ClassVar[int] = 2
    allowed: frozenset[int]
    protocol: Definition

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            if item.variation == UNSAID:
                if any(item.space << 8 | variation in self.allowed for variation in range(256)):
                    continue
                name = f"g{item.space}"
            elif item.space << 8 | item.variation in self.allowed:
                continue
            else:
                name = f"g{item.space}v{item.variation}"
            return self._no(Reason.OBJECT, f"{name} ({self.protocol.spaces.name(item.space)})")
        return None


@dataclass(frozen=True, slots=True)
class Points(Limit):
    """`registers` and `points`: all that a unit names lies within one of these ranges.

    `closed`: of spaces that are not named, nothing may be touched; but of those in `elsewhere`.
    """

    rank: ClassVar[int] = 3
    ranges: Mapping[int, Ranges]
    closed: bool
    protocol: Definition
    elsewhere: frozenset[int] = frozenset()

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            ranges = self.ranges.get(item.space)
            name = self.protocol.spaces.name(item.space)
            if ranges is None:
                if self.closed and item.space not in self.elsewhere:
                    return self._no(Reason.POINT, f"the rule names no {name}")
            elif item.first != UNSAID and range_with(ranges, item.first, max(item.last, item.first)) is None:
                if item.last >= self.protocol.last_point:
                    return self._no(Reason.POINT, f"all points of {name} are not within {listed(ranges)}")
                return self._no(Reason.POINT, f"{name} {said(item.first, item.last)} is not within {listed(ranges)}")
        return None


@dataclass(frozen=True, slots=True)
class Files(Limit):
    """`files`: only these records of these files. `space`: where they are items."""

    rank: ClassVar[int] = 3
    records: tuple[tuple[tuple[int, int], Ranges], ...]  # range of files, ranges of records
    space: int

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            if item.space == self.space and not self._has(item):
                where = f"file {item.variation} record {said(item.first, item.last)}"
                return self._no(Reason.POINT, f"{where} is none that the rule names")
        return None

    def _has(self, item: Item) -> bool:
        return any(
            (item.variation == UNSAID or low <= item.variation <= high)
            and (item.first == UNSAID or range_with(records, item.first, max(item.last, item.first)) is not None)
            for (low, high), records in self.records
        )


@dataclass(frozen=True, slots=True)
class Quantity(Limit):
    """`quantity`: how many items one field of a request may name."""

    rank: ClassVar[int] = 4
    ranges: Ranges

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            count = item.last - item.first + 1
            if count > 0 and range_with(self.ranges, count, count) is None:
                return self._no(Reason.QUANTITY, f"{count} is not within {listed(self.ranges)}")
        return None


@dataclass(frozen=True, slots=True)
class Controls(Limit):
    """`controls`: only these control codes of a CROB, the whole octet."""

    rank: ClassVar[int] = 5
    allowed: frozenset[int]
    protocol: Definition

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        assert self.protocol.controls is not None
        for item in unit.items():
            if item.code >= 0 and item.code not in self.allowed:
                where = f" at index {item.first}" if item.first >= 0 else ""
                return self._no(Reason.CONTROL, self.protocol.controls.name(item.code) + where)
        return None


@dataclass(frozen=True, slots=True)
class Values(Limit):
    """`values`: every number that is written lies within one of these ranges.

    Numbers of several registers begin at the first register of a range of `starts` and every `width` from there; ranges
    that touch stay two.
    `bits`: spaces of single bits.
    """

    rank: ClassVar[int] = 6
    ranges: Numbers
    encoding: str  # name in Definition.encodings
    big: bool
    starts: Mapping[int, Ranges]
    bits: frozenset[int]
    protocol: Definition

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        for item in unit.items():
            if not item.writes or item.values == ():
                continue
            if item.values is None:
                return self._no(Reason.VALUE, "what is written cannot be told from the request")
            numbers = self._numbers(item)
            if numbers is None:
                where = f"{self.protocol.spaces.name(item.space)} {said(item.first, item.last)}"
                return self._no(Reason.VALUE, f"{where} is not whole numbers of {self.encoding}")
            for number in numbers:
                if number - number != 0 or not any(low <= number <= high for low, high in self.ranges):
                    return self._no(Reason.VALUE, f"{spelled(number)} is not within {listed(self.ranges)}")
        return None

    def _numbers(self, item: Item) -> tuple[float, ...] | None:
        assert item.values
        if item.space in self.bits:
            return item.values
        encoding = self.protocol.encodings[self.encoding]
        width = encoding.width
        if len(item.values) % width:
            return None
        if width > 1 and item.first != UNSAID:
            ranges = self.starts.get(item.space, ())
            if not any(
                low <= item.first and item.last <= high and (item.first - low) % width == 0 for low, high in ranges
            ):
                return None
        return tuple(
            encoding.decode(item.values[at : at + width], self.big) for at in range(0, len(item.values), width)
        )


@dataclass(frozen=True, slots=True)
class Selected(Limit):
    """`select_before_operate`: these functions pass only for what was selected just before."""

    rank: ClassVar[int] = 8
    functions: frozenset[int]

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        if unit.function not in self.functions or not unit.complete or unit.selected == UNSAID:
            return None
        if unit.selected >= 0 and now - unit.selected <= SELECT_SECONDS:
            return None
        return self._no(Reason.NOT_SELECTED)


@dataclass(frozen=True, slots=True)
class Rate(Limit):
    """`at_most`: so many requests that change something in any such time, of each client at each server."""

    rank: ClassVar[int] = 9
    count: int
    period: float  # seconds
    rule: str  # its conduit and name: a policy that is loaded anew goes on counting
    protocol: Definition
    name: bytes = b""

    def between(self, client: bytes, server: bytes) -> Limit:
        return replace(self, name=key("rate", self.rule, self.period, client, server))

    def _counts(self, unit: Unit) -> bool:
        if unit.kind is not Kind.REQUEST or unit.function in self.protocol.quiet:
            return False
        return unit.detail not in self.protocol.quiet_details.get(unit.function, ())

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        if ledger is None or not self._counts(unit) or ledger.used(self.name, self.period, now) < self.count:
            return None
        return self._no(Reason.RATE, f"{self.count} in {spelled(self.period)} s")

    def sent(self, unit: Unit, ledger: Ledger, now: float) -> None:
        if self._counts(unit) and unit.complete:
            ledger.use(self.name, self.period, now)
