"""What the kernel says of the processes' rights, while they serve."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conduitfw.demo.show import Stage
from tests.system.test_reload import until
from tests.system.test_sessions import MODBUS_READ, WITHOUT_TESTS, Start, answered

pytestmark = pytest.mark.system
NET_ADMIN = 1 << 12
LIMITS = "--no-new-privs --inh-caps=-all,{0} --ambient-caps=-all,{0} --bounding-set=-all,{0}"


def rights(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(pid: int) -> dict[str, int]:
    return {name: int(value, 16) for name, value in rights(pid).items() if name.startswith("Cap")}


def test_a_worker_may_send_verdicts_and_nothing_else(stage: Stage, start: Start) -> None:
    firewall = start(WITHOUT_TESTS)
    status = firewall.status()
    (worker,) = status["workers"]
    until(lambda: capabilities(status["spare"])["CapEff"] == NET_ADMIN)
    for pid in (worker["pid"], status["spare"]):
        assert capabilities(pid) == {"CapInh": 0, "CapPrm": NET_ADMIN, "CapEff": NET_ADMIN, "CapBnd": 0, "CapAmb": 0}
        found = rights(pid)
        assert found["NoNewPrivs"] == "1"
        assert "0" not in found["Uid"].split() and "0" not in found["Gid"].split() and found["Groups"] == ""
    assert answered(stage, MODBUS_READ)
    # Another one that takes over has as little.
    os.kill(worker["pid"], 9)
    until(lambda: firewall.status()["workers"][0]["pid"] not in (None, worker["pid"]))
    (again,) = firewall.status()["workers"]
    until(lambda: capabilities(again["pid"])["CapEff"] == NET_ADMIN)
    assert answered(stage, MODBUS_READ)


def test_a_worker_dies_with_its_supervisor(start: Start) -> None:
    """Giving up user 0 makes the kernel forget the parent-death signal: it is set again."""
    firewall = start(WITHOUT_TESTS)
    status = firewall.status()
    pids = [status["workers"][0]["pid"], status["spare"], status["control"]["pid"]]
    os.kill(status["pid"], 9)
    firewall.process.wait(10)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_control_has_no_right_over_the_network(start: Start) -> None:
    firewall = start(WITHOUT_TESTS)
    pid = firewall.status()["control"]["pid"]
    assert not capabilities(pid)["CapPrm"] & NET_ADMIN
    assert rights(pid)["NoNewPrivs"] == "1"
