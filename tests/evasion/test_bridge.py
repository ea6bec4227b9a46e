"""Level 2: the cases on the bridge, through the running firewall, to real servers. `make evasion` runs all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.evasion.cases import CASES, KNOWN_OPEN, policy
from tests.evasion.level2 import Bench, Job, Key, Ran, bench, servers_of
from tests.evasion.steps import Case
from tests.evasion.test_pipeline import label
from tests.peers import firewalled

pytestmark = pytest.mark.system
HERE = [case for case in CASES if "bridge" in case.levels and case.often]
JOBS = [Job(case, server) for case in HERE for server in servers_of(case)]
CONTROLS = [Job(case, server, True) for case in HERE if case.control is not None for server in servers_of(case)]


def title(job: Job) -> str:
    return f"{label(job.case)}, {job.server}"


@pytest.fixture(scope="module")
def lanes() -> Iterator[Bench]:
    with bench() as found:
        yield found


@pytest.fixture(scope="module")
def ran(lanes: Bench) -> dict[Key, Ran]:
    """Everything at once, several at a time."""
    with firewalled(lanes.stage.network, lanes.stage.folder, policy("reset")):
        return lanes.run([*JOBS, *CONTROLS])


@pytest.mark.parametrize("job", JOBS, ids=title)
def test_nothing_forbidden_executes(ran: dict[Key, Ran], job: Job) -> None:
    assert not ran[job.key].forbidden(job) or (label(job.case), job.server) in KNOWN_OPEN, ran[job.key]


@pytest.mark.parametrize("job", CONTROLS, ids=title)
def test_the_control_executes(ran: dict[Key, Ran], job: Job) -> None:
    assert ran[job.key].complete(job) or (label(job.case), job.server) in KNOWN_OPEN, ran[job.key]


BITES = ("as it is", "cut in front of it", "one byte a segment", "it, then allowed, in one segment")


def test_the_cases_bite_without_the_firewall(lanes: Bench, ran: dict[Key, Ran]) -> None:
    """The same way of looking sees what is executed. (After `ran`: the firewall has gone.)"""
    plain: list[Case] = [case for case in CASES if case.group in ("plain", "in data") and case.name in BITES]
    jobs = [Job(case, server) for case in plain for server in servers_of(case)]
    found = lanes.run(jobs)
    for job in jobs:
        if job.case.group == "plain" or job.server.endswith("one read one request"):
            assert found[job.key].forbidden(job), title(job)
