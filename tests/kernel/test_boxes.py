"""Boxes that overlap become boxes that do not, over the same points."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from conduitfw.kernel.boxes import Box, disjoint

SIDE = 6
ranges = st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1)).map(lambda pair: (min(pair), max(pair)))
boxes = st.lists(st.tuples(ranges, ranges, ranges), max_size=8)


def points(box: Box) -> set[tuple[int, ...]]:
    return set(itertools.product(*(range(low, high + 1) for low, high in box)))


@given(boxes)
@settings(max_examples=300)
def test_the_same_points_each_once(given_boxes: list[Box]) -> None:
    result = disjoint(given_boxes)
    covered = [point for box in result for point in points(box)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {point for box in given_boxes for point in points(box)}


def test_points_in_a_wide_box_are_named_once() -> None:
    wide: Box = ((0, 255), (7, 7))
    assert disjoint([((3, 3), (7, 7)), wide, ((3, 3), (8, 8))]) == [wide, ((3, 3), (8, 8))]


def test_boxes_that_cross_are_cut() -> None:
    assert sorted(disjoint([((0, 255), (7, 7)), ((3, 3), (0, 255))])) == [
        ((0, 255), (7, 7)), ((3, 3), (0, 6)), ((3, 3), (8, 255)),
    ]  # fmt: skip
