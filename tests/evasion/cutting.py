"""Requests cut into segments, put together into one, hidden in the data of others, lost and repeated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from tests.evasion.steps import Case, Freeze, Lose, Pause, Send, Step, Window
from tests.pipeline.modbus_units import carrying, forbidden, read, write

F, R, A = forbidden(9), read(9), read(1)
ONE_READ = {"libmodbus, one read one request": "takes two requests in one read for one"}
FIRST_ONLY = {**ONE_READ, "pymodbus": "answers only the first request of a read"}
Shape = Callable[[bytes], list[Step]]


def pair(name: str, group: str, shape: Shape, **more: object) -> Case:
    """The same shape around the forbidden and around the allowed request."""
    return Case(name, group, shape(F), shape(R), **more)  # type: ignore[arg-type]


def pieces(data: bytes, *cuts: int) -> list[Step]:
    """Segments that are cut there."""
    edges = [0, *cuts, len(data)]
    return [Send(data[first:last]) for first, last in pairwise(edges)]


def two(at: int) -> Shape:
    return lambda unit: pieces(unit, at)


def three(first: int, second: int) -> Shape:
    return lambda unit: pieces(unit, first, second)


def paused(at: int, seconds: float) -> Shape:
    return lambda unit: [Send(unit[:at]), Pause(seconds), Send(unit[at:])]


def behind(at: int) -> Shape:
    return lambda unit: pieces(A + unit, *([at] if at else []))


def before(at: int) -> Shape:
    return lambda unit: pieces(unit + A, *([at] if at else []))


def backwards(at: int) -> Shape:
    """Two segments, the second first; then once more, as a TCP would, when the first is there."""
    return lambda unit: [Send(unit[at:], at=at), Send(unit[:at], at=0), Send(unit[at:], at=at)]


PLAIN = [
    pair("as it is", "plain", lambda unit: [Send(unit)]),
    pair("one byte a segment", "cut", lambda unit: pieces(unit, *range(1, 12))),
    *(pair(f"cut at {at}", "cut", two(at), often=at in (1, 6, 7, 8, 11)) for at in range(1, 12)),
    *(
        pair(f"cut at {first} and {second}", "cut", three(first, second), often=(first, second) in ((2, 8), (7, 8)))
        for first in range(1, 11)
        for second in range(first + 1, 12)
        if (first + 3 * second) % 4 == 0 or (first, second) == (7, 8)
    ),
    *(pair(f"cut at {at}, two seconds between", "cut", paused(at, 2.0), often=at == 7) for at in (2, 7, 8)),
    *(pair(f"cut at {at}, the tail first", "order", backwards(at), often=at == 7) for at in (1, 6, 7, 8, 11)),
]
PIPELINED = [
    *(
        pair(
            f"allowed, then it, {f'cut at {at}' if at else 'in one segment'}", "pipelined", behind(at),
            fewer=FIRST_ONLY, often=at in (0, 12, 19), expects=(3, 3),
        )
        for at in range(24)
    ),
    *(
        pair(
            f"it, then allowed, {f'cut at {at}' if at else 'in one segment'}", "pipelined", before(at),
            fewer=FIRST_ONLY, often=at in (0, 12, 19), expects=(3, 3),
        )
        for at in range(24)
    ),
    pair(
        "the last of 64 units in a segment", "pipelined",
        lambda unit: [Send(b"".join(read(number) for number in range(63)) + unit), Pause(0.1)],
        fewer=FIRST_ONLY, expects=(3,) * 64, note="reads past the sixteenth wait for answers",
    ),
    pair(
        "the first of 64 units in a segment", "pipelined",
        lambda unit: [Send(unit + b"".join(read(number) for number in range(63))), Pause(0.1)],
        fewer=FIRST_ONLY, expects=(3,) * 64,
    ),
    Case(
        "the middle of 64 units, cut in the midst of it", "pipelined",
        pieces(b"".join(read(number) for number in range(32)) + F + b"".join(read(number) for number in range(31)), 391),
        pieces(b"".join(read(number) for number in range(64)), 391), fewer=FIRST_ONLY, expects=(3,) * 64,
    ),
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
CASES = [*PLAIN, *PIPELINED, *DATA]
