"""What `conduitfw bench` found: figures of round trips, how they differ from others, and the file they are kept in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec

from conduitfw.observe.polls import Failure, Tally

# Edges of the histogram in microseconds: ten to a decade (ISO 3, R10), from 1 us to 100 s.
_EDGES = [step * 10.0**power for power in range(8) for step in (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)]

_Duration = Annotated[float, msgspec.Meta(gt=0)]  # microseconds
_Number = Annotated[int, msgspec.Meta(ge=0)]


class Percentiles(msgspec.Struct, frozen=True):
    """By nearest rank, in microseconds; None where there are too few answers for them to mean anything."""

    p50: _Duration | None
    p99: _Duration | None  # of 100 answers and more
    p99_9: _Duration | None  # of 1,000 and more


class Bucket(msgspec.Struct, frozen=True):
    """How many round trips were from `low` up to, and not, `high` microseconds."""

    low: float
    high: float
    answers: _Number


class Figures(msgspec.Struct, frozen=True):
    """What came of the polls of one server."""

    server: str
    answers: _Number
    round_trip_us: Percentiles
    max_us: _Duration | None
    p50_of_tenths: tuple[_Duration, _Duration] | None  # lowest and highest over ten parts of the run: how steady it was
    timeouts: _Number
    lost_connections: _Number  # ended, or not made anew
    wrong_answers: _Number
    exceptions: dict[str, _Number]  # by code
    reconnects: _Number
    histogram: list[Bucket]


class Asked(msgspec.Struct, frozen=True):
    """What bears on the figures; two measurements are compared where all of it is the same."""

    source: str
    server: str
    function: int
    register: int
    unit: int
    rate: int  # polls a second, at most


class Change(msgspec.Struct, frozen=True):
    """A percentile less the other's, in microseconds, and divided by it."""

    difference_us: float
    ratio: float


class Comparison(msgspec.Struct, frozen=True):
    """Figures beside others, which were made `how`: "beside" in the same run, "before" in a saved one."""

    how: str
    other: Figures
    p50: Change | None
    p99: Change | None
    p99_9: Change | None


class Measurement(msgspec.Struct, frozen=True, tag_field="format", tag="conduitfw bench 1"):
    """A whole run, as it is printed and kept."""

    began: str  # ISO 8601, UTC
    asked: Asked
    figures: Figures
    compared: Comparison | None = None


def figures(server: str, tally: Tally, reconnects: int) -> Figures:
    """The figures of what was counted."""
    ranked = sorted(took / 1000 for took in tally.times)
    failures = tally.failures
    return Figures(
        server=server,
        answers=len(ranked),
        round_trip_us=Percentiles(_percentile(ranked, 500), _percentile(ranked, 990), _percentile(ranked, 999)),
        max_us=ranked[-1] if ranked else None,
        p50_of_tenths=_tenths([took / 1000 for took in tally.times]),
        timeouts=failures[Failure.TIMEOUT],
        lost_connections=failures[Failure.ENDED] + failures[Failure.CONNECT] + failures[Failure.ADDRESS],
        wrong_answers=failures[Failure.WRONG],
        exceptions={str(code): count for code, count in sorted(tally.exceptions.items())},
        reconnects=reconnects,
        histogram=_histogram(ranked),
    )


def _percentile(ranked: Sequence[float], thousandths: int) -> float | None:
    """The nearest rank; None where less than one answer in all is expected beyond it."""
    if len(ranked) * (1000 - thousandths) < 1000:
        return None
    return ranked[-(-len(ranked) * thousandths // 1000) - 1]


def _tenths(in_turn: Sequence[float]) -> tuple[float, float] | None:
    """The lowest and the highest p50 of ten parts, one after the other, of ten answers each and more."""
    size = len(in_turn) // 10
    if size < 10:
        return None
    medians = [median(in_turn[at * size : (at + 1) * size]) for at in range(10)]
    return min(medians), max(medians)


def _histogram(ranked: Sequence[float]) -> list[Bucket]:
    places = [min(max(bisect_right(_EDGES, took), 1), len(_EDGES) - 1) for took in ranked]
    counts = {place: len(list(same)) for place, same in groupby(places)}
    if not counts:
        return []
    return [Bucket(_EDGES[at - 1], _EDGES[at], counts.get(at, 0)) for at in range(places[0], places[-1] + 1)]


def compare(how: str, found: Figures, other: Figures) -> Comparison:
    """What `found` is more than `other`, and how many times as much."""
    ours, theirs = found.round_trip_us, other.round_trip_us
    return Comparison(
        how,
        other,
        _change(ours.p50, theirs.p50),
        _change(ours.p99, theirs.p99),
        _change(ours.p99_9, theirs.p99_9),
    )


def _change(ours: float | None, theirs: float | None) -> Change | None:
    return None if ours is None or theirs is None else Change(ours - theirs, ours / theirs)


def encode(measurement: Measurement) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(measurement)


def load(path: Path) -> Measurement:
    """A measurement that was kept. Raises ValueError with a sentence where the file holds none, OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Measurement)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is not what `conduitfw bench --save` wrote: {error}") from None


def mismatch(asked: Asked, before: Asked) -> str | None:
    """In what two measurements differ that makes a comparison of them mean nothing; None: in nothing."""
    for name in Asked.__struct_fields__:
        ours, theirs = getattr(asked, name), getattr(before, name)
        if ours != theirs:
            return f"{name} {theirs}, now {ours}"
    return None
