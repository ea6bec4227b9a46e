"""Requests cut into segments, put together into one, hidden in the data of others, lost and repeated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from tests.evasion.family import DNP3, FIRST_ONLY, MODBUS, ONE_READ, Family, Shape, pieces
from tests.evasion.steps import Case, Freeze, Lose, Pause, Send, Step, Window
from tests.pipeline.modbus_units import carrying, write

F, R, A = MODBUS.forbidden, MODBUS.allowed, MODBUS.first


def two(at: int) -> Shape:
    return lambda unit: pieces(unit, at)


def three(first: int, second: int) -> Shape:
    return lambda unit: pieces(unit, first, second)


def paused(at: int, seconds: float) -> Shape:
    return lambda unit: [Send(unit[:at]), Pause(seconds), Send(unit[at:])]


def together(at: int, order: Callable[[bytes], bytes]) -> Shape:
    return lambda unit: pieces(order(unit), *([at] if at else []))


def backwards(at: int) -> Shape:
    """Two segments, the second first; then once more, as a TCP would, when the first is there."""
    return lambda unit: [Send(unit[at:], at=at), Send(unit[:at], at=0), Send(unit[at:], at=at)]


def plain(f: Family) -> list[Case]:
    """One request, cut and put into another order."""
    n = f.length
    short = (2, 7, 8)
    return [
        f.pair("as it is", "plain", lambda unit: [Send(unit)]),
        f.pair("one byte a segment", "cut", lambda unit: pieces(unit, *range(1, n))),
        *(f.pair(f"cut at {at}", "cut", two(at), often=at in (1, 6, 7, 8, 11)) for at in range(1, n)),
        *(
            f.pair(
                f"cut at {first} and {second}", "cut", three(first, second), often=(first, second) in ((2, 8), (7, 8))
            )
            for first in range(1, n - 1)
            for second in range(first + 1, n)
        ),
        *(
            f.pair(f"cut at {at}, two seconds between", "cut", paused(at, 2.0), often=at == 7)
            for at in (range(1, n) if f is MODBUS else short)
        ),
        *(f.pair(f"cut at {at}, the tail first", "order", backwards(at), often=at == 7) for at in range(1, n)),
    ]


def pipelined(f: Family) -> list[Case]:
    """Several requests in a segment, and cut anywhere."""
    n, forbidden, allowed = f.length, f.forbidden, f.first
    behind: Callable[[bytes], bytes] = lambda unit: allowed + unit  # noqa: E731
    before: Callable[[bytes], bytes] = lambda unit: unit + allowed  # noqa: E731
    more: dict[str, object] = {"fewer": f.fewer, "expects": f.times(64)}

    def reads(first: int, last: int) -> bytes:
        return b"".join(f.many(number) for number in range(first, last))

    return [
        *(
            f.pair(
                f"{name}, {f'cut at {at}' if at else 'in one segment'}", "pipelined", together(at, order),
                fewer=f.fewer, often=at in (0, 12, 19), expects=f.times(2),
            )
            for name, order in (("allowed, then it", behind), ("it, then allowed", before))
            for at in range(2 * n)
        ),
        f.pair("the last of 64 units in a segment", "pipelined",
               lambda unit: [Send(reads(0, 63) + unit), Pause(0.1)],
               note="reads past the sixteenth wait for answers", **more),
        f.pair("the first of 64 units in a segment", "pipelined",
               lambda unit: [Send(unit + reads(0, 63)), Pause(0.1)], **more),
        f.case("the middle of 64 units, cut in the midst of it", "pipelined",
               pieces(reads(0, 32) + forbidden + reads(32, 63), 32 * n + 7), pieces(reads(0, 64), 32 * n + 7), **more),
    ]  # fmt: skip


OUTER = carrying(F)  # an allowed write whose registers are the whole forbidden request
INNER = OUTER.index(F)
CALM = carrying(R)  # the control: the same with the read's bytes as data. Only the outer write may execute.


def inside(name: str, shape: Shape, **more: object) -> Case:
    """What executes in the control is the write itself, function 16."""
    steps, control = shape(OUTER), shape(CALM)
    return Case(name, "in data", steps, control, **{"expects": (16,), **more})  # type: ignore[arg-type]


def lost_then(*cuts: int, order: tuple[int, ...] = ()) -> Shape:
    """Whole, and lost; then repeated in pieces."""

    def shape(unit: bytes) -> list[Step]:
        edges = [0, *cuts, len(unit)]
        parts = [(first, unit[first:last]) for first, last in pairwise(edges)]
        chosen = [parts[index] for index in order] if order else parts
        again: list[Step] = [Send(part, at=at) for at, part in chosen]
        return [Lose(True), Send(unit), Lose(False), *again]

    return shape


def two_writes(unit: bytes) -> list[Step]:
    """Two, so that a read that ends in the second begins anew in its data."""
    return [Freeze(True), *(Send(carrying(unit[INNER : INNER + 12], number)) for number in (2, 3)), Freeze(False)]


def buffered(size: int, step: int) -> Shape:
    """Writes padded so that a reader of `size` octets at a time is left with a request that begins in the data."""

    def shape(unit: bytes) -> list[Step]:
        inner = unit[INNER : INNER + 12]
        # a unit as long as `size` less 13, so that the next one's 13 octets of header end the read
        filler = write(1, (0,) * ((size - 26) // 2 if size < 262 else 110))
        units = [filler, *(carrying(inner, number) for number in range(2, 2 + step))]
        stream, parts = b"".join(units), [Freeze(True)]
        return [*parts, *pieces(stream, *range(200, len(stream), 200)), Pause(0.05), Freeze(False), Pause(0.1)]

    return shape


DATA = [
    inside("cut in front of it", lambda unit: pieces(unit, INNER)),
    inside("cut in front of it, a second between", lambda unit: [Send(unit[:INNER]), Pause(1), Send(unit[INNER:])]),
    inside("whole", lambda unit: [Send(unit)]),
    *(inside(f"cut at {at}", two(at), often=False) for at in range(1, len(OUTER), 3) if at != INNER),
    inside("cut in front of it, and a read behind", lambda unit: pieces(unit + A, INNER)),
    inside("behind a read, cut in front of it", lambda unit: pieces(A + unit, 12 + INNER)),
    inside("the tail alone, first", lambda unit: [Send(unit[INNER:], at=INNER), *pieces(unit, INNER)]),
    inside("lost, repeated cut in front of it", lost_then(INNER)),
    inside("lost, repeated cut, the tail first", lost_then(INNER, order=(1, 0, 1))),
    *(inside(f"lost, repeated cut at {at}", lost_then(at), often=False) for at in (1, 6, 7, 8, 12, 14, 20, 24)),
    inside("lost, repeated in three", lost_then(7, INNER)),
    inside("head lost, then whole", lambda unit: [Lose(True), Send(unit[:INNER]), Lose(False), Send(unit, at=0)]),
    inside(
        "tail lost, repeated alone",
        lambda unit: [Send(unit[:INNER]), Lose(True), Send(unit[INNER:]), Lose(False), Send(unit[INNER:], at=INNER)],
    ),
    inside("pipelined, to a server that does not read", two_writes, fewer=ONE_READ),
    inside("sixteen at once, 260 octets a read", buffered(260, 16), fewer=FIRST_ONLY, levels=("pipeline", "bridge")),
    inside("sixteen at once, 512 octets a read", buffered(512, 16), fewer=FIRST_ONLY),
    inside(
        "window of the server at 0, then open",
        lambda unit: [Window(0), Send(unit), Window(64000), Send(unit, at=0)], levels=("pipeline",),
    ),
    *(
        inside(
            f"window of the server shrunk to {size} octets",
            lambda unit, size=size: [Window(size), Send(unit), Window(64000), Send(unit, at=0)], levels=("pipeline",),
        )
        for size in (1, INNER, len(OUTER) - 1)
    ),
]  # fmt: skip
CASES = [*plain(MODBUS), *pipelined(MODBUS), *DATA, *plain(DNP3), *pipelined(DNP3)]
