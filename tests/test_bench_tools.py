"""That what measures still measures: each is run with a little of everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import decision, ruleset


def run(*words: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_packets_way_through_a_worker() -> None:
    found = run("-m", "bench.hand", "6")
    assert set(found) == {f"{unit}, {number} at a time" for unit in ("poll", "answer") for number in (1, 8)}
    assert min(found.values()) > 0


@pytest.mark.system
def test_what_a_ruleset_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises where a segment does not come through what it measures."""
    monkeypatch.setattr(ruleset, "SEGMENTS", 5)
    found = ruleset.measure({"this": Path(__file__).parents[1]}, 1)
    assert len(found) == 1 + len(ruleset.RULES)
    assert all(set(took) == {"request", "answer"} and min(took.values()) > 0 for took in found.values())


@pytest.mark.parametrize("flows", [1, 30])
def test_a_decision_alone(flows: int) -> None:
    sizes = ("--rules", "20", "--conduits", "2", "--flows", str(flows), "--packets", "300")
    found = run("-m", "bench.decision", *sizes, "--json")
    for protocol in ("modbus", "dnp3"):
        for kind in decision.Line.KINDS:
            assert found[f"{protocol} {kind}"] > 0 and found[f"{protocol} {kind}{decision.CALM}"] > 0
        assert found[f"{protocol} {decision.YARDSTICK}"] > 0


def test_the_calm_is_that_of_the_calmest_process() -> None:
    runs = [
        {"modbus request": 3.0, "modbus request, calm": 2.0, "modbus yardstick": 9.0},
        {"modbus request": 9.0, "modbus request, calm": 7.0, "modbus yardstick": 5.0},  # calm, and no quicker for it
        {"modbus request": 4.0, "modbus request, calm": 1.0, "modbus yardstick": 8.0},
    ]
    assert decision.together(runs) == {
        "modbus request": 4.0, "modbus request, calm": 7.0, "modbus yardstick": 8.0,
    }  # fmt: skip
