"""A few of each fault under load. How fast things come back is measured by `make chaos`, and asserted nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.bench import bench
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.run import Runner

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with bench(patience=10.0) as running:  # on a busy machine, a start takes a while
        yield Runner(running)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(runner: Runner, fault: Fault) -> None:
    found = runner.run(fault, fault.short)
    assert found.count == fault.short
    assert found.answers > 100 and found.tried > 10 and found.denials > 10  # there was a load
    assert found.executed_closed == 0
    assert found.executed_static == 0 or fault.opens
    assert found.broken == 0, found.lost


def test_every_denial_was_told_or_counted_as_lost(runner: Runner) -> None:
    """Runs behind the faults."""
    runner.quiet()
    assert runner.unaccounted == 0
