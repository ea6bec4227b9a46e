"""DNP3 cases: control codes, values, SELECT before OPERATE, and how often."""

from __future__ import annotations

from tests.vectors.case import Cases, Step, client, server
from tests.vectors.dnp3_encoder import (
    CLOSE,
    LATCH_OFF,
    LATCH_ON,
    PULSE_ON,
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
    span,
    up,
)
from tests.vectors.dnp3_usual import (
    CUT_ANSWER,
    DIRECT,
    DIRECT_NO_RESPONSE,
    NOTHING,
    OPERATE,
    OTHER_SEQUENCE,
    READ,
    SELECT,
    TIME,
    UNMATCHED,
    WRITE,
    answers_too,
)


def add_to(cases: Cases) -> None:
    """All of them."""
    _controls(cases)
    _values(cases)
    _selection(cases)
    _at_most(cases)


def _controls(cases: Cases) -> None:
    rule = "functions: [read, control], controls: [close, trip]"
    for name, block in (
        ("close", controls((3, CLOSE))),
        ("trip", controls((3, TRIP))),
        ("both", controls((3, CLOSE), (4, TRIP))),
        ("indexes of two octets", controls((300, TRIP), size=2)),
    ):
        cases.add("controls", name, rule, client(ask(DIRECT, block)))
    cases.add(
        "controls",
        "others",
        rule,
        client(ask(DIRECT, controls((3, LATCH_ON))), "control", "latch_on"),
        client(ask(SELECT, controls((3, LATCH_OFF))), "control"),
        client(ask(OPERATE, controls((3, PULSE_ON))), "control", "pulse_on"),
        client(ask(DIRECT, controls((3, 2))), "control"),
        client(ask(DIRECT_NO_RESPONSE, controls((3, 0))), "control"),
        client(ask(DIRECT, controls((3, CLOSE), (4, LATCH_ON))), "control"),
        client(ask(DIRECT, controls((3, CLOSE)), controls((4, LATCH_ON), size=2)), "control"),
    )
    cases.add(
        "controls",
        "the whole octet counts: queue, clear, and what is reserved",
        rule,
        client(ask(DIRECT, controls((3, CLOSE | 0x10))), "control"),
        client(ask(DIRECT, controls((3, TRIP | 0x20))), "control"),
        client(ask(DIRECT, controls((3, 0xC1))), "control"),
        client(ask(DIRECT, controls((3, 0x43))), "control"),
    )
    cases.add(
        "controls",
        "without an index, in a range, and in a pattern control block",
        rule,
        client(ask(DIRECT, counted(12, 1, 1, crob(LATCH_ON))), "control"),
        client(ask(DIRECT, span(12, 1, 3, 3, crob(LATCH_ON))), "control"),
        client(ask(DIRECT, counted(12, 2, 1, crob(LATCH_ON)), span(12, 3, 0, 7, b"\x01")), "control"),
    )
    cases.add(
        "controls",
        "by number",
        "functions: control, controls: [0x03, 4]",
        client(ask(DIRECT, controls((3, LATCH_ON), (3, LATCH_OFF)))),
        server(NOTHING),
        client(ask(DIRECT, controls((3, CLOSE))), "control"),
    )
    cases.add("controls", "set points have none", rule, client(ask(DIRECT, set_points((3, 50)))))
    cases.add(
        "controls",
        "cut",
        rule,
        client(down(shortened(request(DIRECT, controls((3, CLOSE))), 11)), "dnp3-object-cut"),
        client(ask(DIRECT, every(12, 1)), "dnp3-qualifier"),
    )
    answers_too(
        cases,
        "controls",
        rule,
        down(shortened(request(DIRECT, controls((3, CLOSE))), 5)),
        "dnp3-object-cut",
        ask(DIRECT, controls((3, CLOSE))),
    )
    cases.add(
        "controls",
        "an answer that repeats the command",
        rule,
        client(ask(DIRECT, controls((3, CLOSE)))),
        server(answer(controls((3, CLOSE), status=4))),
    )


def _values(cases: Cases) -> None:
    rule = "functions: [read, write, control], values: 0-100"
    for name, block in (
        ("g41v1", set_points((3, 100))),
        ("g41v2", analog(2, (3, 0))),
        ("g41v3", analog(3, (3, 50.5))),
        ("g41v4", analog(4, (3, 99.75))),
        ("two", analog(2, (3, 0), (4, 100))),
        ("a CROB", controls((3, CLOSE))),
    ):
        cases.add("values", name, rule, client(ask(DIRECT, block)))
    cases.add(
        "values",
        "outside",
        rule,
        client(ask(DIRECT, set_points((3, 101))), "value", "101"),
        client(ask(SELECT, set_points((3, -1))), "value", "-1"),
        client(ask(OPERATE, analog(2, (3, -1))), "value"),
        client(ask(DIRECT, analog(3, (3, 100.5))), "value"),
        client(ask(DIRECT, analog(3, (3, float("nan")))), "value"),
        client(ask(DIRECT, analog(4, (3, float("inf")))), "value"),
        client(ask(DIRECT_NO_RESPONSE, analog(4, (3, 1e9))), "value"),
        client(ask(DIRECT, analog(2, (3, 7), (4, 101))), "value"),
        client(ask(DIRECT, set_points((3, 7)), analog(2, (4, 101))), "value"),
        client(ask(DIRECT, analog(2, (300, 101), size=2)), "value"),
        client(ask(DIRECT, span(41, 2, 3, 3, b"\x65\x00\x00")), "value"),
        client(ask(DIRECT, counted(41, 2, 1, b"\x65\x00\x00")), "value"),
    )
    cases.add(
        "values",
        "below zero, and fractions",
        "functions: control, values: {min: -50, max: 50.5}",
        client(ask(DIRECT, set_points((3, -50)))),
        server(NOTHING),
        client(ask(DIRECT, analog(3, (3, 50.5)), seq=1)),
        server(answer(seq=1)),
        client(ask(DIRECT, set_points((3, -51))), "value"),
        client(ask(DIRECT, analog(4, (3, 50.6))), "value"),
    )
    cases.add(
        "values",
        "of dead bands",
        rule,
        client(ask(WRITE, span(34, 1, 0, 0, b"\x64\x00"))),
        server(NOTHING),
        client(ask(WRITE, span(34, 1, 0, 0, b"\x65\x00"), seq=1), "value"),
        client(ask(WRITE, span(34, 2, 0, 1, bytes(4) + b"\x65\x00\x00\x00"), seq=1), "value"),
    )
    cases.add("values", "the time is no number of the plant", rule, client(ask(WRITE, TIME)))
    cases.add("values", "reads write nothing", rule, client(ask(READ, every(40))))
    cases.add(
        "values",
        "no such set point",
        rule,
        client(ask(DIRECT, indexed(41, 5, [(3, bytes(5))])), "dnp3-object-unknown"),
        client(down(shortened(request(DIRECT, set_points((3, 7))), 1)), "dnp3-object-cut"),
        client(ask(DIRECT, every(41, 1)), "dnp3-qualifier"),
    )
    answers_too(
        cases,
        "values",
        rule,
        down(shortened(request(DIRECT, set_points((3, 7))), 2)),
        "dnp3-object-cut",
        ask(DIRECT, set_points((3, 7))),
    )


def _selection(cases: Cases) -> None:
    rule = "functions: [read, select, operate], select_before_operate: required"
    close, trip = controls((3, CLOSE)), controls((3, TRIP))
    select = (client(ask(SELECT, close), at=0.0), server(answer(close), at=0.1))

    def operate(block: Block, seq: int = 1, reason: str | None = None, at: float = 1.0, **where: int) -> Step:
        return client(ask(OPERATE, block, seq=seq, **where), reason, at=at)

    cases.add(
        "select_before_operate",
        "the same, just before",
        rule,
        *select,
        operate(close),
        server(answer(close, seq=1), at=1.1),
    )
    cases.add("select_before_operate", "ten seconds later", rule, *select, operate(close, at=10.0))
    cases.add("select_before_operate", "too late", rule, *select, operate(close, reason="not-selected", at=10.1))
    cases.add("select_before_operate", "never selected", rule, operate(close, reason="not-selected"))
    cases.add("select_before_operate", "another code", rule, *select, operate(trip, reason="not-selected"))
    for name, block in (
        ("another index", controls((4, CLOSE))),
        ("one more", controls((3, CLOSE), (4, CLOSE))),
        ("another index format", controls((3, CLOSE), size=2)),
        ("another status octet", controls((3, CLOSE), status=1)),
        ("a set point", set_points((3, 1))),
    ):
        cases.add("select_before_operate", name, rule, *select, operate(block, reason="not-selected"))
    for seq in (0, 2, 15):
        cases.add(
            "select_before_operate",
            f"sequence number {seq} behind 0",
            rule,
            *select,
            operate(close, seq, "not-selected"),
        )
    cases.add(
        "select_before_operate",
        "sequence number 0 behind 15",
        rule,
        client(ask(SELECT, close, seq=15), at=0.0),
        server(answer(close, seq=15), at=0.1),
        operate(close, 0),
    )
    cases.add(
        "select_before_operate",
        "another sequence number of the transport function",
        rule,
        *select,
        operate(close, transport=9),
    )
    cases.add(
        "select_before_operate",
        "a selection is for one operate",
        rule,
        *select,
        operate(close),
        server(answer(close, seq=1), at=1.1),
        operate(close, 2, "not-selected", 2.0),
        operate(close, 1, "not-selected", 2.1),
    )
    cases.add(
        "select_before_operate",
        "a selection takes the place of the one before",
        rule,
        *select,
        client(ask(SELECT, trip, seq=1), at=0.5),
        server(answer(trip, seq=1), at=0.6),
        operate(close, 1, "not-selected"),
        operate(close, 2, "not-selected"),
        operate(trip, 2),
    )
    cases.add(
        "select_before_operate",
        "an operate that was denied leaves the selection",
        rule,
        *select,
        operate(trip, 1, "not-selected"),
        operate(close, 1),
    )
    cases.add(
        "select_before_operate",
        "a read in between",
        rule,
        *select,
        client(ask(READ, class_data(1), seq=1), at=0.5),
        server(answer(seq=1), at=0.6),
        operate(close, 2, "not-selected"),
    )
    cases.add(
        "select_before_operate",
        "of another outstation",
        f"{rule}, outstation: [10, 11]",
        *select,
        operate(close, 1, "not-selected", outstation=11),
        operate(close, 1),
    )
    cases.add(
        "select_before_operate",
        "direct operate is no way round",
        rule,
        client(ask(DIRECT, close), "no-rule"),
        client(ask(DIRECT_NO_RESPONSE, close), "no-rule"),
    )
    cases.add(
        "select_before_operate", "optional", "functions: operate, select_before_operate: optional", operate(close)
    )
    points = [(index, CLOSE) for index in range(30)]
    many = controls(*points)
    odd = controls(*points[:-1], (29, TRIP))
    selected = [*(client(each, at=0.0) for each in frames(request(SELECT, many))), server(NOTHING, at=0.1)]
    first, second = frames(request(OPERATE, many, seq=1))
    cases.add(
        "select_before_operate",
        "in two frames",
        rule,
        *selected,
        client(first, at=1.0),
        client(second, at=1.0),
    )
    first, second = frames(request(OPERATE, odd, seq=1))
    cases.add(
        "select_before_operate",
        "in two frames, another code in the second",
        rule,
        *selected,
        client(first, at=1.0),
        client(second, "not-selected", at=1.0),
    )
    cases.add(
        "select_before_operate",
        "malformed, and answers",
        rule,
        client(ask(SELECT, close), at=0.0),
        server(answer(close, seq=1), UNMATCHED, at=0.1),
        server(up(shortened(response(close), 1)), "dnp3-object-cut", at=0.2),
        server(answer(close), at=0.3),
        client(down(shortened(request(OPERATE, close, seq=1), 1)), "dnp3-object-cut", at=1.0),
        operate(close, at=2.0),
        server(OTHER_SEQUENCE, UNMATCHED, at=2.1),
        server(CUT_ANSWER, "dnp3-object-cut", at=2.2),
        server(answer(close, seq=1), at=2.3),
    )


def _at_most(cases: Cases) -> None:
    close = controls((3, CLOSE))
    rule = "functions: [read, control], at_most: 1/10 s"
    cases.add(
        "at_most",
        "the second operation in ten seconds",
        rule,
        client(ask(DIRECT, close), at=0.0),
        server(NOTHING, at=0.1),
        client(ask(DIRECT, close, seq=1), "rate", at=1.0),
        client(ask(DIRECT_NO_RESPONSE, close, seq=1), "rate", at=2.0),
        client(ask(READ, class_data(1), seq=2), at=3.0),
        server(answer(seq=2), at=3.1),
        client(ask(DIRECT, close, seq=3), at=11.0),
    )
    cases.add(
        "at_most",
        "a select only announces",
        rule,
        client(ask(SELECT, close), at=0.0),
        server(NOTHING, at=0.1),
        client(ask(OPERATE, close, seq=1), at=1.0),
        server(answer(seq=1), at=1.1),
        client(ask(SELECT, close, seq=2), at=2.0),
        server(answer(seq=2), at=2.1),
        client(ask(OPERATE, close, seq=3), "rate", at=3.0),
    )
    many = request(DIRECT, controls(*((index, CLOSE) for index in range(30))))
    first, second = frames(many)
    cases.add(
        "at_most",
        "two frames are one request",
        rule,
        client(first, at=0.0),
        client(second, at=0.0),
        server(NOTHING, at=0.1),
        client(first, "rate", at=1.0),
    )
    cases.add(
        "at_most",
        "malformed, and answers",
        rule,
        client(down(shortened(request(DIRECT, close), 1)), "dnp3-object-cut", at=0.0),
        client(ask(DIRECT, close), at=1.0),
        server(OTHER_SEQUENCE, UNMATCHED, at=1.1),
        server(CUT_ANSWER, "dnp3-object-cut", at=1.2),
        server(NOTHING, at=1.3),
        client(ask(DIRECT, close, seq=1), "rate", at=2.0),
    )
