"""What DNP3 cases have in common: the usual requests and answers, and what holds for every field."""

from __future__ import annotations

from dnp3.core.timestamp import DNP3Timestamp
from dnp3.objects.time import TimeAndDate

from tests.vectors.case import Cases, Octets, client, server
from tests.vectors.dnp3_encoder import (
    answer,
    ask,
    class_data,
    counted,
    indexed,
    response,
    shortened,
    span,
    up,
)

BEYOND, UNMATCHED = "no-rule-address", "unmatched-response"

READ, WRITE, SELECT, OPERATE, DIRECT, DIRECT_NO_RESPONSE = 1, 2, 3, 4, 5, 6

POLL = ask(READ, class_data(1), class_data(2), class_data(3), class_data(0))

NOTHING = answer()

TIME = counted(50, 1, 1, TimeAndDate(DNP3Timestamp(1_700_000_000_000)).to_bytes(), made=True)

RESTART_SEEN = span(80, 1, 7, 7, b"\0")  # clears IIN1.7

EVENT = indexed(2, 1, [(0, b"\x81")])

COLD_RESTART, WARM_RESTART, MEASURE, RECORD = 13, 14, 23, 24

# The answer that is cut, the one whose range runs backwards, and the one that answers nothing: under every policy.
CUT_ANSWER = up(shortened(response(span(30, 3, 0, 1, bytes(8))), 1))

BACKWARDS_ANSWER = answer(span(30, 3, 5, 4))

OTHER_SEQUENCE = answer(seq=5)


def answers_too(cases: Cases, field: str, rule: str, malformed: Octets, reason: str, good: Octets = POLL) -> None:
    """What holds for every field: malformed requests, and answers."""
    cases.add(
        field,
        "malformed, and answers",
        rule,
        client(malformed, reason),
        client(good),
        server(OTHER_SEQUENCE, UNMATCHED),
        server(CUT_ANSWER, "dnp3-object-cut"),
        server(BACKWARDS_ANSWER, "dnp3-object-range"),
        server(answer(outstation=11), UNMATCHED),
        server(answer(master=2), UNMATCHED),
        server(NOTHING),
    )
