"""The decision alone, by pytest-benchmark: `pytest bench/test_decision.py`, from build/compiled for the compiled build.

With its calibration, outliers and comparisons of runs (`--benchmark-autosave`, `--benchmark-compare`). It measures one
tree at a time; what is to be told apart to a few per cent stands side by side in `python -m bench.decision --tree`.
Each round are the decisions of 100 sessions: divide by 100.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.decision import Line
from conduitfw import build

ROUNDS, FLOWS = 200, 100


@pytest.mark.parametrize("kind", Line.KINDS)
@pytest.mark.parametrize("protocol", ["modbus", "dnp3"])
def test_decision(benchmark: BenchmarkFixture, protocol: str, kind: str) -> None:
    line = Line(protocol, rules=1000, conduits=10, flows=FLOWS)
    place, rounds = Line.KINDS.index(kind), 0

    def say(kinds: tuple[str, ...]) -> None:
        for other in kinds:
            line.decide(line.packets(other, rounds), other, rounds)

    def setup() -> tuple[tuple[list[bytes], str, int], dict[str, object]]:
        """All that comes between two of the kind that is measured."""
        nonlocal rounds
        if rounds:
            say(Line.KINDS[place + 1 :])
        rounds += 1
        say(Line.KINDS[:place])
        return (line.packets(kind, rounds), kind, rounds), {}

    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        benchmark.extra_info.update(build=build.how(), decisions=FLOWS)
        run: Any = benchmark.pedantic  # it has no types
        run(line.decide, setup=setup, rounds=ROUNDS, warmup_rounds=2)
    finally:
        gc.enable()
        gc.unfreeze()
    say(Line.KINDS[place + 1 :])
    line.check(rounds)
