"""Figures of round trips: ranks, buckets, differences, and the file they are kept in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from conduitfw.observe.latency import Asked, Figures, Measurement, compare, encode, figures, load, mismatch
from conduitfw.observe.polls import Read, Tally

ASKED = Asked("10.10.0.11", "10.20.0.5:502", 3, 0, 1, 50)


def of(times_us: list[float]) -> Figures:
    return figures("10.20.0.5:502", Tally([int(took * 1000) for took in times_us]), 0)


# How many answers of 1, 2, 3 ... us; p50, p99, p99.9.
RANKS = [
    (0, None, None, None),
    (1, None, None, None),
    (2, 1, None, None),
    (99, 50, None, None),
    (100, 50, 99, None),
    (999, 500, 990, None),
    (1000, 500, 990, 999),
    (2001, 1001, 1981, 1999),
]


@pytest.mark.parametrize(("count", "p50", "p99", "p99_9"), RANKS)
def test_ranks(count: int, p50: float | None, p99: float | None, p99_9: float | None) -> None:
    found = of([float(took) for took in range(count, 0, -1)])
    trip = found.round_trip_us
    assert (trip.p50, trip.p99, trip.p99_9) == (p50, p99, p99_9)
    assert (found.answers, found.max_us) == (count, count or None)
    assert sum(bucket.answers for bucket in found.histogram) == count


def test_buckets_go_on_and_hold_their_lower_edge() -> None:
    found = of([100, 124.9, 125, 250])
    assert [(bucket.low, bucket.high, bucket.answers) for bucket in found.histogram] == [
        (100, 125, 2),
        (125, 160, 1),
        (160, 200, 0),
        (200, 250, 0),
        (250, 315, 1),
    ]


def test_what_no_bucket_is_for_is_in_the_nearest() -> None:
    found = of([0.5, 3e8])
    assert [bucket.answers for bucket in found.histogram if bucket.answers] == [1, 1]


def test_tenths_show_a_run_that_was_not_steady() -> None:
    assert of([100.0] * 99).p50_of_tenths is None
    assert of([100.0] * 100).p50_of_tenths == (100, 100)
    assert of([100.0] * 90 + [300.0] * 10).p50_of_tenths == (100, 300)


def test_a_comparison_is_of_what_both_have() -> None:
    found = compare("before", of([300.0] * 100), of([200.0] * 50))
    assert found.p50 is not None and (found.p50.difference_us, found.p50.ratio) == (100, 1.5)
    assert (found.p99, found.p99_9) == (None, None)


def test_what_is_kept_is_what_was_found(tmp_path: Path) -> None:
    kept = Measurement("2026-11-28T12:00:00+00:00", ASKED, of([200.0] * 1000), compare("x", of([3.0]), of([])))
    path = tmp_path / "before.json"
    path.write_bytes(encode(kept))
    assert load(path) == kept


@pytest.mark.parametrize("name", Asked.__struct_fields__)
def test_what_was_asked_otherwise_is_not_compared(name: str) -> None:
    other = msgspec.structs.replace(ASKED, **{name: "x" if isinstance(getattr(ASKED, name), str) else 9})
    said = mismatch(ASKED, other)
    assert said is not None and said.startswith(f"{name} {getattr(other, name)}, now ")
    assert mismatch(ASKED, ASKED) is None


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23, 8, 43, 0])
def test_nothing_but_reads_can_be_asked(function: int) -> None:
    with pytest.raises(ValueError, match="does not only read"):
        Read(function)
