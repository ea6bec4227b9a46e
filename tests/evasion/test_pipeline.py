"""Level 1: every case through the pipeline, in both ways of denying; nothing forbidden, and no control hurt."""

from __future__ import annotations

import pytest

from conduitfw.policy.compile import Tables
from tests.evasion.cases import CASES, KNOWN_OPEN, tables
from tests.evasion.level1 import MODELS, run
from tests.evasion.steps import Case

HERE = [case for case in CASES if "pipeline" in case.levels]
CONTROLS = [case for case in HERE if case.control is not None]


def label(case: Case) -> str:
    return f"{case.group}: {case.name}"


@pytest.fixture(scope="module", params=["reset", "reject"])
def rules(request: pytest.FixtureRequest) -> Tables:
    return tables(request.param)


@pytest.mark.parametrize("case", HERE, ids=label)
def test_nothing_forbidden_executes(rules: Tables, case: Case) -> None:
    for server in MODELS[case.protocol]:
        ran = run(case, server, rules)
        assert not ran.forbidden(case) or (label(case), server) in KNOWN_OPEN, (server, ran)


@pytest.mark.parametrize("case", CONTROLS, ids=label)
def test_the_control_executes(rules: Tables, case: Case) -> None:
    for server in MODELS[case.protocol]:
        ran = run(case, server, rules, control=True)
        assert not case.forbidden - set(case.expects) & set(ran.executed), (server, ran)
        assert ran.complete(case, server) or (label(case), server) in KNOWN_OPEN, (server, ran)


def test_every_row_has_a_name_of_its_own() -> None:
    names = [label(case) for case in CASES]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]
