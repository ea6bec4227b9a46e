"""DNP3 cases: objects and points, in one frame and in several."""

from __future__ import annotations

from tests.vectors.case import Cases, Step, client, server
from tests.vectors.dnp3_encoder import (
    CLOSE,
    LATCH_ON,
    TRIP,
    Block,
    analog,
    answer,
    ask,
    class_data,
    controls,
    counted,
    crob,
    down,
    every,
    frames,
    indexed,
    request,
    response,
    set_points,
    shortened,
    sized,
    span,
    up,
)
from tests.vectors.dnp3_usual import (
    COLD_RESTART,
    DIRECT,
    DIRECT_NO_RESPONSE,
    NOTHING,
    OPERATE,
    POLL,
    READ,
    RESTART_SEEN,
    SELECT,
    TIME,
    WRITE,
    answers_too,
)


def add_to(cases: Cases) -> None:
    """All of them."""
    _objects(cases)
    _parts(cases)
    _authentication(cases)
    _points(cases)


def _exactly_one_frame() -> tuple[Block, Block]:
    """Controls that fill a first frame to its last octet: what stands behind them is in the second."""
    return controls(*((index, CLOSE) for index in range(9))), controls(
        *((index, CLOSE) for index in range(9, 19)), size=2
    )


def _objects(cases: Cases) -> None:
    rule = 'functions: [read, write], objects: [g30, g1v2, "class 1-3"]'
    cases.add(
        "objects",
        "those named",
        rule,
        client(ask(READ, every(30))),
        client(ask(READ, span(30, 5, 0, 7), seq=1)),
        client(ask(READ, span(1, 2, 0, 300, size=2), seq=2)),
        client(ask(READ, class_data(1), class_data(2), class_data(3), seq=3)),
        client(ask(READ, counted(30, 1, 5), seq=4)),
    )
    cases.add(
        "objects",
        "others",
        rule,
        client(POLL, "object", "g60v1"),
        client(ask(READ, class_data(0)), "object"),
        client(ask(READ, every(1)), "object", "g1v0"),
        client(ask(READ, every(1, 1)), "object"),
        client(ask(READ, every(30), every(31)), "object"),
        client(ask(READ, every(10, 2)), "object"),
        client(ask(READ, span(200, 1, 0, 0)), "object"),
        client(ask(WRITE, TIME), "object", "g50v1"),
        client(ask(WRITE, RESTART_SEEN), "object"),
        client(ask(READ, sized(70, 5, [bytes(8)])), "object"),
        client(ask(READ, indexed(12, 1, [(3, b"")])), "object"),
    )
    cases.add(
        "objects",
        "setting the time, and clearing the restart bit",
        "functions: write, objects: [g50v1, g80v1]",
        client(ask(WRITE, TIME)),
        server(NOTHING),
        client(ask(WRITE, RESTART_SEEN, seq=1)),
        server(answer(seq=1)),
        client(ask(WRITE, TIME, counted(50, 3, 1, bytes(6))), "object"),
        client(ask(WRITE, span(51, 1, 0, 0, bytes(6))), "object"),
    )
    cases.add(
        "objects",
        "by a group's name, and ranges of variations",
        "functions: read, objects: [analog_input, g1v1-2]",
        client(ask(READ, every(30, 6))),
        client(ask(READ, every(1, 1), seq=1)),
        client(ask(READ, every(1, 0)), "object"),
        client(ask(READ, every(2, 1)), "object"),
    )
    cases.add(
        "objects",
        "a control is an object",
        "functions: control, objects: g12v1",
        client(ask(DIRECT, controls((3, CLOSE)))),
        server(NOTHING),
        client(ask(DIRECT, set_points((3, 1))), "object"),
        client(ask(DIRECT, controls((3, CLOSE)), set_points((3, 1))), "object", "g41v1"),
        client(ask(DIRECT, indexed(12, 2, [(3, crob())])), "object", "g12v2"),
        client(ask(SELECT, set_points((3, 1))), "object"),
        client(ask(DIRECT_NO_RESPONSE, set_points((3, 1))), "object"),
    )
    everything = "functions: [read, write, control]"
    cases.add(
        "objects",
        "an unknown object hides none behind it",
        f"{everything}, objects: [g12v1, g12v9, g200]",
        client(ask(DIRECT, indexed(12, 9, [(3, crob())]), controls((3, CLOSE))), "dnp3-object-unknown"),
        client(ask(WRITE, span(200, 1, 0, 0, b"\0"), TIME), "dnp3-object-unknown"),
        client(ask(READ, span(200, 1, 0, 0), every(50, 1)), "object"),
        client(ask(WRITE, counted(70, 5, 1, bytes(9))), "dnp3-object-unknown"),
        client(ask(WRITE, counted(50, 0, 1, bytes(6))), "dnp3-object-unknown"),
    )
    cases.add(
        "objects",
        "of any size, where it says it",
        f"{everything}, objects: [g70, g110]",
        client(ask(WRITE, sized(70, 5, [bytes(20)]))),
        server(NOTHING),
        client(ask(WRITE, span(110, 4, 0, 1, b"abcdefgh"), seq=1)),
        server(answer(seq=1)),
        client(ask(WRITE, sized(83, 1, [bytes(20)])), "object"),
    )
    cases.add(
        "objects",
        "headers that are none",
        f"{everything}, objects: g30",
        client(ask(READ, span(30, 0, 5, 4)), "dnp3-object-range"),
        client(ask(READ, span(30, 0, 300, 299, size=2)), "dnp3-object-range"),
        client(ask(READ, Block(b"\x1e\x00\x0a", "qualifier 0x0A")), "dnp3-qualifier"),
        client(ask(READ, Block(b"\x1e\x00\x16", "qualifier 0x16")), "dnp3-qualifier"),
        client(ask(READ, Block(b"\x1e\x00\x86", "qualifier 0x86")), "dnp3-qualifier"),
        client(ask(READ, Block(b"\x1e\x00\x0b\x01", "qualifier 0x0B")), "dnp3-qualifier"),
        client(ask(READ, Block(b"\x1e\x00\x03\x00\x00", "qualifier 0x03")), "dnp3-qualifier"),
        client(down(shortened(request(READ, span(30, 0, 0, 7)), 1)), "dnp3-object-cut"),
        client(down(shortened(request(READ, every(30)), 1)), "dnp3-object-cut"),
        client(down(shortened(request(WRITE, span(34, 1, 0, 1, bytes(4))), 1)), "dnp3-object-cut"),
        client(ask(WRITE, every(34, 1)), "dnp3-qualifier"),
        client(ask(WRITE, indexed(80, 1, [(7, b"\0")])), "dnp3-qualifier"),
    )
    answers_too(
        cases, "objects", 'functions: read, objects: "class 0-3"', ask(READ, span(60, 1, 1, 0)), "dnp3-object-range"
    )


def _parts(cases: Cases) -> None:
    """A fragment of several frames: one rule allows all of it, or its last frame never comes."""
    many = controls(*((index, CLOSE) for index in range(30)))
    two = frames(request(DIRECT, many))
    cases.add(
        "objects", "two frames", "functions: control, objects: g12v1", *(client(each) for each in two), server(NOTHING)
    )
    whole = "functions: control, objects: g12v1"
    first, second = frames(request(DIRECT, many, set_points((3, 50))))
    cases.add("objects", "another object in the second frame", whole, client(first), client(second, "object", "g41v1"))
    first, second = frames(request(DIRECT, *_exactly_one_frame(), set_points((3, 50))))
    cases.add(
        "objects",
        "another object in the second frame, that a second rule allows",
        ("functions: control, objects: g12v1", "functions: control, objects: g41v1"),
        client(first),
        client(second, "object"),
        client(ask(DIRECT, set_points((3, 50)), seq=1)),
    )
    cases.add(
        "objects",
        "another object in the second frame, that one rule allows along with the first",
        ("functions: control, objects: g12v1", "functions: control, objects: [g12v1, g41v1]"),
        client(first),
        client(second),
        server(NOTHING),
    )
    cases.add(
        "functions",
        "frames that do not follow",
        "functions: control",
        client(two[1], "dnp3-no-first-segment"),
        client(two[0]),
        client(frames(request(DIRECT, many), transport=1)[1], "dnp3-segment-gap"),
        client(two[0]),
        client(two[1]),
        server(NOTHING),
    )
    cases.add(
        "points",
        "beyond in the second frame",
        "functions: control, points: {g12: 0-28}",
        client(two[0]),
        client(two[1], "point", "29"),
    )
    odd = frames(request(DIRECT, controls(*((index, CLOSE) for index in range(29)), (29, LATCH_ON))))
    cases.add(
        "controls",
        "another code in the second frame",
        "functions: control, controls: close",
        client(odd[0]),
        client(odd[1], "control", "latch_on"),
    )
    # The object that lies across two frames is judged with the second, whole.
    for place, code in ((19, 0), (20, 1), (21, 1)):
        points = [(index, LATCH_ON if index == place else CLOSE) for index in range(30)]
        cut = frames(request(DIRECT, controls(*points)))
        steps: list[Step] = [client(cut[0], *(("control", "latch_on") if code == 0 else ()))]
        steps += [client(cut[1], "control", "latch_on")] if code else []
        cases.add(
            "controls",
            f"another code at the {place}th place, near the cut",
            "functions: control, controls: close",
            *steps,
        )
    first, second = frames(request(DIRECT, analog(2, *((index, 101 if index == 65 else 7) for index in range(70)))))
    cases.add(
        "values",
        "too high in the second frame",
        "functions: control, values: 0-100",
        client(first),
        client(second, "value"),
    )
    ended = frames(shortened(request(DIRECT, many), 1))
    cases.add(
        "objects", "cut at the end of the second frame", whole, client(ended[0]), client(ended[1], "dnp3-object-cut")
    )
    unknown = frames(request(DIRECT, many, indexed(12, 9, [(3, crob())]), controls((3, TRIP))))
    cases.add(
        "objects",
        "an unknown object in the second frame",
        "functions: control",
        client(unknown[0]),
        client(unknown[1], "dnp3-object-unknown"),
    )


def _authentication(cases: Cases) -> None:
    rule = 'functions: [read, authentication], objects: ["class 0-3", g120]'
    challenge = up(response(sized(120, 1, [bytes(12)]), function=131, uns=False))
    cases.add(
        "objects",
        "secure authentication",
        rule,
        client(ask(32, sized(120, 2, [bytes(16)]))),
        server(challenge),
        client(ask(33, sized(120, 7, [bytes(13)]), seq=1)),
        client(ask(32, counted(120, 4, 1, b"\x01\x00"), seq=2)),
    )
    aggressive = (counted(120, 3, 1, bytes(6)), class_data(1), sized(120, 9, [bytes(16)]))
    cases.add("objects", "an aggressive request around a poll", rule, client(ask(READ, *aggressive)), server(NOTHING))
    cases.add(
        "objects",
        "secure authentication that is not named",
        'functions: [read, authentication], objects: "class 0-3"',
        client(ask(32, sized(120, 2, [bytes(16)])), "object"),
        client(ask(READ, *aggressive), "object", "g120v3"),
    )
    cases.add(
        "objects",
        "what it surrounds counts",
        'functions: [read, authentication], objects: ["class 1", g120]',
        client(ask(READ, aggressive[0], class_data(0), aggressive[2]), "object", "g60v1"),
        client(ask(READ, aggressive[0], class_data(1), every(30), aggressive[2]), "object", "g30v0"),
    )
    cases.add(
        "objects",
        "a restart that is authenticated",
        "functions: cold_restart, objects: g120",
        client(ask(COLD_RESTART, aggressive[0], aggressive[2])),
        server(NOTHING),
        client(ask(COLD_RESTART, aggressive[0], class_data(1), aggressive[2]), "dnp3-object-unwanted"),
    )


def _points(cases: Cases) -> None:
    rule = "functions: [read, write, freeze], points: {g30: 0-15, g12: 0-7, g20: [0, 4-7], g80: 7}"
    cases.add(
        "points",
        "within",
        rule,
        client(ask(READ, span(30, 0, 0, 15))),
        client(ask(READ, span(30, 1, 3, 3, size=4), seq=1)),
        client(ask(READ, span(30, 0, 2, 4), span(20, 0, 4, 7), seq=2)),
    )
    cases.add("points", "within, frozen", rule, client(ask(7, span(20, 0, 0, 0))))
    cases.add("points", "within, by index", rule, client(ask(READ, indexed(30, 1, [(0, b""), (15, b"")]))))
    cases.add("points", "within, written", rule, client(ask(WRITE, RESTART_SEEN)))
    cases.add("points", "groups that are not named are left alone", rule, client(ask(READ, every(1), class_data(0))))
    cases.add(
        "points",
        "beyond",
        rule,
        client(ask(READ, span(30, 0, 0, 16)), "point"),
        client(ask(READ, span(30, 0, 16, 16, size=2)), "point"),
        client(ask(READ, span(30, 0, 256, 260, size=2)), "point"),
        client(ask(READ, every(30)), "point"),
        client(ask(READ, counted(30, 0, 5)), "point"),
        client(ask(READ, span(20, 0, 0, 4)), "point"),
        client(ask(READ, indexed(30, 1, [(0, b""), (16, b"")])), "point", "16"),
        client(ask(READ, span(30, 0, 0, 15), span(30, 0, 16, 16)), "point"),
        client(ask(READ, span(30, 0, 0, 0xFFFFFFFF, size=4)), "point"),
        client(ask(7, every(20)), "point"),
        client(ask(9, span(20, 0, 1, 1)), "point"),
        client(ask(WRITE, span(80, 1, 0, 7, b"\0")), "point"),
        client(ask(WRITE, span(80, 1, 6, 6, b"\0")), "point"),
    )
    operate = "functions: control, points: {g12: 0-7, g41: 3}"
    for name, block in (
        ("one", controls((7, CLOSE))),
        ("two", controls((0, CLOSE), (7, TRIP))),
        ("of two octets", controls((7, CLOSE), size=2)),
        ("a set point", set_points((3, 50))),
    ):
        cases.add("points", f"operated: {name}", operate, client(ask(DIRECT, block)))
    cases.add(
        "points",
        "operated, beyond",
        operate,
        client(ask(DIRECT, controls((8, CLOSE))), "point", "8"),
        client(ask(SELECT, controls((7, CLOSE), (8, CLOSE))), "point"),
        client(ask(OPERATE, controls((0x107, CLOSE), size=2)), "point", "263"),
        client(ask(DIRECT, set_points((4, 50))), "point"),
        client(ask(DIRECT_NO_RESPONSE, controls((0, CLOSE)), set_points((2, 50))), "point"),
        client(ask(DIRECT, counted(12, 1, 1, crob())), "point"),
        client(ask(DIRECT, span(12, 1, 7, 8, crob() + crob())), "point"),
        client(ask(DIRECT, span(12, 3, 0, 8, b"\xff\x01")), "point"),
    )
    cases.add(
        "points",
        "operated, cut",
        operate,
        client(down(shortened(request(DIRECT, controls((7, CLOSE))), 1)), "dnp3-object-cut"),
        client(ask(DIRECT, Block(b"\x0c\x01\x17\x02\x07" + crob(), "a count of two")), "dnp3-object-cut"),
        client(ask(DIRECT, every(12, 1)), "dnp3-qualifier"),
    )
    answers_too(
        cases, "points", "functions: read, points: {g30: 0-15}", ask(READ, span(30, 0, 15, 0)), "dnp3-object-range"
    )
