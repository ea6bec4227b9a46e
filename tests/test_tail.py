"""What bench.tail reads of `perf sched timehist`, and how it shares a round trip out."""

from __future__ import annotations

import pytest

from bench.tail import ENDS, IDLE, KERNEL, OTHERS, OURS, VERDICTS, WAITING, Run, runs, shares

LISTED = """\
           time    cpu  task name                       wait time  sch delay   run time
                        [tid/pid]                          (msec)     (msec)     (msec)
--------------- ------  ------------------------------  ---------  ---------  ---------
      10.000100 [0000]  ping[11]                            0.000      0.000      0.100
      10.000140 [0001]  <idle>                              0.000      0.000      0.040
      10.000190 [0001]  cfw-worker[22]                      0.500      0.010      0.050
      10.000200 [0000]  python[34/33]                       1.000      0.000      0.060
      10.000230 [0000]  ksoftirqd/0[9]                      1.000      0.000      0.030
      10.000240 [0000]  sh[77]                              1.000      0.000      0.010
"""


def test_each_line_is_a_run_and_what_was_waited_for_it() -> None:
    found = list(runs(LISTED, {11: ENDS, 22: VERDICTS, 33: OURS}))
    assert [(run.kind, round((run.ended - run.began) * 1e6)) for run in found] == [
        (ENDS, 100), (IDLE, 40), (VERDICTS, 50), (WAITING, 10), (OURS, 60), (KERNEL, 30), (OTHERS, 10),
    ]  # fmt: skip
    assert found[3].ended == pytest.approx(found[2].began)


def test_a_round_trip_has_what_ran_within_it() -> None:
    timeline = [Run(1.0, 1.000100, ENDS), Run(1.000050, 1.000150, VERDICTS), Run(0.5, 2.0, OTHERS), Run(3.0, 4.0, ENDS)]
    found = shares([(1_000_000.0, 120.0), (1_000_040.0, 20.0)], timeline)
    assert found[ENDS] == pytest.approx((100 + 20) / 2)
    assert found[VERDICTS] == pytest.approx((70 + 10) / 2)
    assert found[OTHERS] == pytest.approx((120 + 20) / 2)
    assert found[IDLE] == 0
