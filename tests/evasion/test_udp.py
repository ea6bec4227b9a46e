"""Datagrams: nothing forbidden executes, and no control is hurt. (On the bridge: scenarios.py.)"""

from __future__ import annotations

import pytest

from conduitfw.policy.compile import Tables
from tests.evasion.cases import tables
from tests.evasion.udp import ALLOWED, FORBIDDEN, ROWS, Row, to_model


@pytest.fixture(scope="module", params=["reset", "reject", "drop"])
def rules(request: pytest.FixtureRequest) -> Tables:
    return tables(request.param)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_nothing_forbidden_executes(rules: Tables, row: Row) -> None:
    assert FORBIDDEN not in to_model(row, rules)


@pytest.mark.parametrize("row", [row for row in ROWS if row.control], ids=[row.name for row in ROWS if row.control])
def test_the_control_executes(rules: Tables, row: Row) -> None:
    assert to_model(row, rules, control=True) == [ALLOWED] * row.executes


def test_they_bite() -> None:
    assert sum(FORBIDDEN in to_model(row, None) for row in ROWS) > len(ROWS) / 2
