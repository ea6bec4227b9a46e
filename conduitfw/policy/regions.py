"""What rules allow as regions of numbers, so that two policies can be subtracted from each other.

A *region* gives for some dimensions (client, server's port, function, register ...) the ranges that are allowed; a
dimension that it does not name is unlimited. The difference of two regions is a list of regions that do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Range = tuple[float, float]  # inclusive
Spans = tuple[Range, ...]  # sorted, no two that touch


@dataclass(frozen=True, order=True)
class Dimension:
    """One kind of number that a request has. `order`: the earlier one is cut, and told, first."""

    order: int
    name: str
    lowest: float
    highest: float
    whole: bool = True  # whole numbers: what follows 5 is 6

    def __hash__(self) -> int:
        """Cheap: regions are dictionaries by dimension, and there are many of them."""
        return self.order

    @property
    def all(self) -> Spans:
        """Every number there is."""
        return ((self.lowest, self.highest),)

    def after(self, number: float) -> float:
        """The next number."""
        return number + 1 if self.whole else math.nextafter(number, math.inf)

    def before(self, number: float) -> float:
        """The number before it."""
        return number - 1 if self.whole else math.nextafter(number, -math.inf)


Region = Mapping[Dimension, Spans]


def spans(dimension: Dimension, ranges: Iterable[Range]) -> Spans:
    """Ranges, sorted, and those that touch made one."""
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= dimension.after(found[-1][1]):
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)


def common(ours: Spans, theirs: Spans) -> Spans:
    """What is in both."""
    found: list[Range] = []
    mine, other = 0, 0
    while mine < len(ours) and other < len(theirs):
        low, high = max(ours[mine][0], theirs[other][0]), min(ours[mine][1], theirs[other][1])
        if low <= high:
            found.append((low, high))
        if ours[mine][1] < theirs[other][1]:
            mine += 1
        else:
            other += 1
    return tuple(found)


def without(dimension: Dimension, ours: Spans, theirs: Spans) -> Spans:
    """What is in `ours` and not in `theirs`."""
    found: list[Range] = []
    for low, high in ours:
        for first, last in theirs:
            if last < low or first > high:
                continue
            if first > low:
                found.append((low, dimension.before(first)))
            low = dimension.after(last)
            if low > high:
                break
        if low <= high:
            found.append((low, high))
    return tuple(found)


def apart(ours: Region, theirs: Region) -> bool:
    """Whether no request lies in both."""
    return any(
        dimension in ours and not common(ours[dimension], theirs[dimension])
        for dimension in theirs
    )  # fmt: skip


def subtract(ours: Region, theirs: Region) -> list[Region]:
    """What is in `ours` and not in `theirs`, in parts that do not overlap."""
    if apart(ours, theirs):
        return [ours]
    parts: list[Region] = []
    rest = dict(ours)
    for dimension in sorted(theirs):
        mine = rest.get(dimension, dimension.all)
        if left := without(dimension, mine, theirs[dimension]):
            parts.append({**rest, dimension: left})
        rest[dimension] = common(mine, theirs[dimension])
    return parts


def subtract_all(ours: Region, theirs: Iterable[Region]) -> list[Region]:
    """What is in `ours` and in none of `theirs`."""
    left: list[Region] = [ours]
    for each in theirs:
        left = [part for whole in left for part in subtract(whole, each)]
        if not left:
            break
    return left


def joined(regions: Sequence[Region]) -> list[Region]:
    """The same with those made one that differ in one dimension only."""
    found = [dict(region) for region in regions]
    again = True
    while again:
        again = False
        for place, one in enumerate(found):
            for other in found[place + 1 :]:
                differing = [d for d in {*one, *other} if one.get(d, d.all) != other.get(d, d.all)]
                if len(differing) > 1:
                    continue
                for dimension in differing:
                    both = (*one.get(dimension, dimension.all), *other.get(dimension, dimension.all))
                    one[dimension] = spans(dimension, both)
                found.remove(other)
                again = True
                break
            if again:
                break
    return list(found)
