"""A policy on trial takes no time from the engine, and gets some where nobody leaves any."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence

import pytest

from conduitfw.policy.model import Policy
from conduitfw.runtime import candidate
from conduitfw.runtime.candidate import Candidate, Trial

IN_FORCE = Policy("", "", datetime.date.today().isoformat(), "", (), ())


def scheduled(_: Sequence[str]) -> Trial:
    """How the process that examines is scheduled, as a problem."""
    return Trial(problems=[{"scheduler": os.sched_getscheduler(0)}])


def starved(paths: Sequence[str]) -> Trial:
    """What a machine that leaves no time does to a process that runs on it."""
    if os.sched_getscheduler(0) == os.SCHED_IDLE:
        time.sleep(60)
    return scheduled(paths)


def result_of(one: Candidate) -> Trial:
    until = time.monotonic() + 10
    while (found := one.result(time.monotonic())) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def test_it_runs_on_time_that_nobody_wants() -> None:
    assert result_of(Candidate((), scheduled, IN_FORCE)).problems == [{"scheduler": os.SCHED_IDLE}]


def test_on_a_machine_that_leaves_no_time_it_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "IDLE_FOR", 0.1)
    assert result_of(Candidate((), starved, IN_FORCE)).problems == [{"scheduler": os.SCHED_OTHER}]
