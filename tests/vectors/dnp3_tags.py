"""DNP3 cases: tags, their limits and what is remembered of their values, and rules that name them."""

from __future__ import annotations

from tests.vectors.case import Cases, Step, client, server
from tests.vectors.dnp3_encoder import (
    CLOSE,
    analog,
    answer,
    ask,
    class_data,
    controls,
    counted,
    crob,
    down,
    event,
    every,
    frames,
    indexed,
    request,
    response,
    set_points,
    shortened,
    span,
    status_of,
    up,
)
from tests.vectors.dnp3_usual import (
    CUT_ANSWER,
    DIRECT,
    DIRECT_NO_RESPONSE,
    NOTHING,
    OPERATE,
    OTHER_SEQUENCE,
    POLL,
    READ,
    SELECT,
    TIME,
    UNMATCHED,
    WRITE,
)

WHOLE = "functions: [read, write, control]"
BOUNDED = "FV-1.setpoint: {asset: rtu-7, group: g41, index: 3, min: 0, max: 100}\n"
STEPPED = 'FV-1.setpoint: {asset: rtu-7, group: g41, index: 3, min: 0, max: 100, max_step: 5, unit: "%"}\n'
SCALED = "FV-2.setpoint: {asset: rtu-7, group: analog_output, index: 0, scale: 0.1, max: 100}\n"
BREAKER = "CB-1: {asset: rtu-7, group: g12, index: 2}\n"
LEVEL = "LT-5: {asset: rtu-7, group: g30, index: 5}\n"

READ_40 = (client(ask(READ, span(40, 0, 3, 3))), server(answer(status_of(2, 3, 40))))


def add_to(cases: Cases) -> None:
    """All of them."""
    _bounds(cases)
    _seen(cases)
    _operated(cases)
    _read(cases)
    _write(cases)


def _bounds(cases: Cases) -> None:
    for value in (0, 100):
        cases.add(
            "min" if value == 0 else "max",
            f"{value} %",
            WHOLE,
            client(ask(DIRECT, set_points((3, value)))),
            tags=BOUNDED,
        )
    cases.add("max", "another index", WHOLE, client(ask(DIRECT, set_points((4, 999)))), tags=BOUNDED)
    cases.add("max", "another group", WHOLE, client(ask(DIRECT, controls((3, CLOSE)))), tags=BOUNDED)
    cases.add(
        "min",
        "below, in whatever form",
        WHOLE,
        client(ask(DIRECT, set_points((3, -1))), "tag-limit", "below 0"),
        client(ask(SELECT, analog(2, (3, -1))), "tag-limit"),
        client(ask(OPERATE, analog(3, (3, -0.5))), "tag-limit"),
        client(ask(DIRECT_NO_RESPONSE, analog(4, (3, -1e300))), "tag-limit"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "above, in whatever form",
        WHOLE,
        client(ask(DIRECT, set_points((3, 101))), "tag-limit", "above 100"),
        client(ask(SELECT, analog(2, (3, 101))), "tag-limit"),
        client(ask(DIRECT, analog(3, (3, 100.5))), "tag-limit"),
        client(ask(DIRECT, analog(3, (3, float("nan")))), "tag-limit"),
        client(ask(DIRECT, analog(4, (3, float("inf")))), "tag-limit"),
        client(ask(DIRECT, set_points((2, 7), (3, 101))), "tag-limit"),
        client(ask(DIRECT, controls((3, CLOSE)), set_points((3, 101))), "tag-limit"),
        client(ask(DIRECT, analog(2, (3, 101), size=2)), "tag-limit"),
        client(ask(DIRECT, span(41, 2, 2, 3, b"\x07\0\0\x65\0\0")), "tag-limit"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "a set point without an index may be any",
        WHOLE,
        client(ask(DIRECT, counted(41, 2, 1, b"\x32\0\0")), "tag-part"),
        client(ask(SELECT, counted(41, 1, 1, bytes(5))), "tag-part"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "in engineering units: raw * 0.1",
        WHOLE,
        client(ask(DIRECT, set_points((0, 1000)))),
        server(NOTHING),
        client(ask(DIRECT, set_points((0, 1001)), seq=1), "tag-limit", "100.1"),
        tags=SCALED,
    )
    far = frames(request(DIRECT, analog(2, *((index, 50) for index in range(10, 70)), (3, 101))))
    cases.add(
        "max",
        "above in the second frame",
        WHOLE,
        client(far[0]),
        client(far[1], "tag-limit"),
        tags=BOUNDED,
    )
    for address in (65532, 65535):
        cases.add(
            "max",
            f"above, to {address}, which is every station",
            f"functions: control, outstation: [10, {address}]",
            client(ask(DIRECT_NO_RESPONSE, set_points((3, 101)), outstation=address), "tag-limit"),
            tags=BOUNDED,
        )
    for field in ("min", "max"):
        cases.add(
            field,
            "malformed, and answers",
            WHOLE,
            client(down(shortened(request(DIRECT, set_points((3, 50))), 1)), "dnp3-object-cut"),
            client(ask(DIRECT, set_points((3, 50)))),
            server(OTHER_SEQUENCE, UNMATCHED),
            server(CUT_ANSWER, "dnp3-object-cut"),
            server(answer(set_points((3, 50)))),
            tags=BOUNDED,
        )


def _direct(value: int, reason: str | None = None, seq: int = 1) -> Step:
    return client(ask(DIRECT, set_points((3, value)), seq=seq), reason)


def _seen(cases: Cases) -> None:
    cases.add("max_step", "unseen", WHOLE, _direct(50, "tag-unseen"), _direct(101, "tag-limit"), tags=STEPPED)
    cases.add(
        "max_step",
        "from the status that was read",
        WHOLE,
        *READ_40,
        _direct(46, "tag-step"),
        _direct(34, "tag-step"),
        _direct(45),
        server(answer(set_points((3, 45)), seq=1)),
        _direct(51, "tag-step", 2),
        _direct(50, None, 2),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "from the status that was read among others, in several frames",
        WHOLE,
        client(POLL),
        *(
            server(each)
            for each in frames(response(span(30, 1, 0, 59, bytes(300)), status_of(1, 0, 7, 8, 9, 40, 11)), down=False)
        ),
        _direct(46, "tag-step"),
        _direct(35),
        tags=STEPPED,
    )
    changed = indexed(42, 1, [(3, b"\x01\x28\0\0\0")])
    cases.add(
        "max_step",
        "an event teaches nothing: the oldest may come last",
        f"{WHOLE}, unsolicited: yes",
        server(event(changed)),
        _direct(45, "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "an event that was not allowed teaches nothing",
        WHOLE,
        server(event(changed), "no-rule"),
        _direct(45, "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "other points, and an answer to nothing, teach nothing",
        WHOLE,
        server(answer(status_of(2, 3, 40)), UNMATCHED),
        _direct(40, "tag-unseen"),
        client(ask(READ, span(40, 0, 0, 9))),
        server(answer(status_of(2, 4, 40))),
        _direct(40, "tag-unseen"),
        client(ask(READ, span(30, 0, 3, 3), seq=2)),
        server(answer(span(30, 4, 3, 3, b"\x28\0"), seq=2)),
        _direct(40, "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "a status without an index teaches nothing",
        WHOLE,
        client(ask(READ, every(40))),
        server(answer(counted(40, 2, 1, b"\x01\x28\0"))),
        _direct(40, "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "malformed, and answers",
        WHOLE,
        READ_40[0],
        server(up(shortened(response(status_of(2, 3, 40)), 1)), "dnp3-object-cut"),
        server(OTHER_SEQUENCE, UNMATCHED),
        READ_40[1],
        client(down(shortened(request(DIRECT, set_points((3, 41)), seq=1), 1)), "dnp3-object-cut"),
        _direct(41),
        tags=STEPPED,
    )


def _operated(cases: Cases) -> None:
    """What an operation's answer says of the value, and what it does not."""
    select, operate = ask(SELECT, set_points((3, 44)), seq=1), ask(OPERATE, set_points((3, 44)), seq=2)
    cases.add(
        "max_step",
        "a select changes nothing",
        WHOLE,
        *READ_40,
        client(select),
        server(answer(set_points((3, 44)), seq=1)),
        client(ask(SELECT, set_points((3, 48)), seq=2), "tag-step"),
        client(ask(SELECT, set_points((3, 36)), seq=2)),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "the answer of a select makes nothing seen",
        WHOLE,
        client(ask(SELECT, set_points((2, 44)))),
        server(answer(set_points((3, 44)))),
        _direct(44, "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "an operate that was done does",
        WHOLE,
        *READ_40,
        client(select),
        server(answer(set_points((3, 44)), seq=1)),
        client(operate),
        server(answer(set_points((3, 44)), seq=2)),
        _direct(50, "tag-step", 3),
        _direct(49, None, 3),
        tags=STEPPED,
    )
    for status in (4, 7, 12):
        cases.add(
            "max_step",
            f"an operate that the station refuses, status {status}, does not",
            WHOLE,
            *READ_40,
            client(select),
            server(answer(set_points((3, 44)), seq=1)),
            client(operate),
            server(answer(analog(1, (3, 44), status=status), seq=2)),
            _direct(48, "tag-step", 3),
            _direct(36, None, 3),
            tags=STEPPED,
        )
    cases.add(
        "max_step",
        "a direct operate that the station refuses does not",
        WHOLE,
        *READ_40,
        _direct(44),
        server(answer(analog(1, (3, 44), status=7), seq=1)),
        _direct(48, "tag-step", 2),
        _direct(36, None, 2),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "an answer without objects leaves it open: both values count",
        WHOLE,
        *READ_40,
        _direct(44),
        server(answer(seq=1)),
        _direct(48, "tag-step", 2),
        _direct(36, "tag-step", 2),
        _direct(42, None, 2),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "without a response both values count",
        WHOLE,
        *READ_40,
        client(ask(DIRECT_NO_RESPONSE, set_points((3, 44)), seq=1)),
        _direct(48, "tag-step", 2),
        _direct(36, "tag-step", 2),
        _direct(42, None, 2),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "a value written twice in one request",
        WHOLE,
        *READ_40,
        client(ask(DIRECT, set_points((3, 44), (3, 46)), seq=1), "tag-step"),
        client(ask(DIRECT, set_points((3, 45), (3, 36)), seq=1), "tag-step"),
        tags=STEPPED,
    )


def _read(cases: Cases) -> None:
    tags, rule = LEVEL + BOUNDED + BREAKER, "read: [LT-5, FV-1.setpoint, CB-1]"
    cases.add(
        "read",
        "what the tags name, and where the station shows it",
        rule,
        client(ask(READ, span(30, 0, 5, 5))),
        client(ask(READ, span(40, 0, 3, 3), span(10, 2, 2, 2), seq=1)),
        client(down(request(0))),
        tags=tags,
    )
    cases.add("read", "what the tags name, by index", rule, client(ask(READ, indexed(30, 1, [(5, b"")]))), tags=tags)
    cases.add(
        "read",
        "and nothing else",
        rule,
        client(ask(READ, span(30, 0, 4, 5)), "point"),
        client(ask(READ, span(30, 0, 5, 6)), "point"),
        client(ask(READ, every(30)), "point"),
        client(ask(READ, counted(30, 0, 1)), "point"),
        client(POLL, "point"),
        client(ask(READ, class_data(1)), "point"),
        client(ask(READ, span(40, 0, 5, 5)), "point"),
        client(ask(READ, span(31, 0, 5, 5)), "point"),
        client(ask(READ, span(30, 0, 5, 5), span(1, 0, 5, 5)), "point"),
        client(ask(WRITE, TIME), "no-rule"),
        client(ask(DIRECT, set_points((3, 50))), "no-rule"),
        tags=tags,
    )
    cases.add(
        "read",
        "malformed, and answers",
        rule,
        client(ask(READ, span(30, 0, 5, 4)), "dnp3-object-range"),
        client(ask(READ, span(30, 0, 5, 5))),
        server(OTHER_SEQUENCE, UNMATCHED),
        server(CUT_ANSWER, "dnp3-object-cut"),
        server(answer(span(30, 4, 5, 5, b"\x28\0"))),
        tags=tags,
    )


def _write(cases: Cases) -> None:
    tags, rule = LEVEL + BOUNDED + BREAKER, "write: [FV-1.setpoint, CB-1]"
    for name, block in (
        ("a set point", set_points((3, 50))),
        ("a breaker", controls((2, CLOSE))),
        ("a float", analog(3, (3, 50.5))),
    ):
        cases.add("write", name, rule, client(ask(DIRECT, block)), tags=tags)
    cases.add(
        "write",
        "selected, then operated",
        rule,
        client(ask(SELECT, controls((2, CLOSE)))),
        server(answer(controls((2, CLOSE)))),
        client(ask(OPERATE, controls((2, CLOSE)), seq=1)),
        tags=tags,
    )
    cases.add(
        "write",
        "other points",
        rule,
        client(ask(DIRECT, set_points((4, 50))), "point"),
        client(ask(DIRECT, controls((3, CLOSE))), "point"),
        client(ask(SELECT, set_points((3, 50), (4, 50))), "point"),
        client(ask(DIRECT, set_points((3, 50)), controls((1, CLOSE))), "point"),
        client(ask(DIRECT, counted(12, 1, 1, crob())), "point"),
        client(ask(DIRECT, set_points((3, 101))), "tag-limit"),
        client(ask(DIRECT, indexed(12, 2, [(3, crob())])), "point"),
        tags=tags,
    )
    cases.add(
        "write",
        "functions that do not follow from the tags",
        rule,
        client(ask(READ, span(40, 0, 3, 3)), "no-rule"),
        client(ask(WRITE, TIME), "no-rule"),
        client(ask(DIRECT_NO_RESPONSE, set_points((3, 50))), "no-rule"),
        client(ask(13), "no-rule"),
        tags=tags,
    )
    cases.add(
        "write",
        "only what was selected",
        f"{rule}, select_before_operate: required",
        client(ask(DIRECT, set_points((3, 50))), "no-rule"),
        client(ask(OPERATE, set_points((3, 50))), "not-selected"),
        client(ask(SELECT, set_points((3, 50)))),
        server(answer(set_points((3, 50)))),
        client(ask(OPERATE, set_points((3, 51)), seq=1), "not-selected"),
        client(ask(OPERATE, set_points((3, 50)), seq=1)),
        tags=tags,
    )
    cases.add(
        "write",
        "malformed, and answers",
        rule,
        client(down(shortened(request(DIRECT, controls((2, CLOSE))), 1)), "dnp3-object-cut"),
        client(ask(DIRECT, controls((2, CLOSE)))),
        server(OTHER_SEQUENCE, UNMATCHED),
        server(CUT_ANSWER, "dnp3-object-cut"),
        server(answer(controls((2, CLOSE)))),
        tags=tags,
    )
