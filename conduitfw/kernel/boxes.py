"""Rules as boxes over (client, server, port), made disjoint: an nftables interval set takes no overlaps.

A box is one inclusive range of numbers for each dimension. What two rules of the same kind name
together is named once; a box that lies partly in another is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Range = tuple[int, int]
Box = tuple[Range, ...]


def disjoint(boxes: Iterable[Box]) -> list[Box]:
    """Boxes that cover the same points, none of them twice.

    Points (which most rules are) are looked up, not compared: only the wide boxes are compared with each other.
    """
    points: dict[Box, None] = {}
    wide: dict[Box, None] = {}
    for box in boxes:
        (points if all(low == high for low, high in box) else wide)[box] = None
    result: list[Box] = []
    for box in sorted(wide, key=_volume, reverse=True):
        rest = [box]
        for other in result:
            rest = [piece for each in rest for piece in _without(each, other)]
            if not rest:
                break
        result += rest
    covered = _Cover(result)
    result += [point for point in points if point not in covered]
    return result


def _volume(box: Box) -> int:
    volume = 1
    for low, high in box:
        volume *= high - low + 1
    return volume


def _without(box: Box, other: Box) -> Iterator[Box]:
    """What remains of `box` outside of `other`, as disjoint boxes."""
    for (low, high), (other_low, other_high) in zip(box, other, strict=True):
        if other_high < low or high < other_low:
            yield box
            return
    rest = list(box)
    for dimension, (other_low, other_high) in enumerate(other):
        low, high = rest[dimension]
        if low < other_low:
            yield (*rest[:dimension], (low, other_low - 1), *rest[dimension + 1 :])
        if other_high < high:
            yield (*rest[:dimension], (other_high + 1, high), *rest[dimension + 1 :])
        rest[dimension] = (max(low, other_low), min(high, other_high))


class _Cover:
    """Whether a point lies in one of some boxes."""

    def __init__(self, boxes: list[Box]) -> None:
        # By which dimensions are single numbers, and these: a wide box is then found by what is exact in it.
        self._shapes: dict[tuple[bool, ...], dict[tuple[int, ...], list[Box]]] = {}
        for box in boxes:
            shape = tuple(low == high for low, high in box)
            exact = tuple(low for low, high in box if low == high)
            self._shapes.setdefault(shape, {}).setdefault(exact, []).append(box)

    def __contains__(self, point: Box) -> bool:
        for shape, by_exact in self._shapes.items():
            exact = tuple(low for (low, _), single in zip(point, shape, strict=True) if single)
            for box in by_exact.get(exact, ()):
                if all(low <= at <= high for (at, _), (low, high) in zip(point, box, strict=True)):
                    return True
        return False
