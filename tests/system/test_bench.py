"""`conduitfw bench` between two hosts with the firewall between them: by the servers' own records it only reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conduitfw.demo.network import CELL, PACE, SCADA
from conduitfw.demo.show import Firewall, Stage
from tests.peers import libmodbus_server
from tests.system.test_sessions import HMI, PLC, WITHOUT_TESTS, changed

pytestmark = [pytest.mark.system, pytest.mark.alone]
Start = Callable[..., Firewall]
COUNT, RATE = "300", "200"
PATIENCE = f"{2 * PACE:g}"  # seconds
BESIDE = "10.10.0.20"  # an address of the client's own zone
WITH_1502 = changed(
    "allow: modbus\n        clients: hmi-a", "allow: modbus\n        port: [502, 1502]\n        clients: hmi-a"
)


def bench(stage: Stage, *options: str, source: str = HMI, to: str = PLC) -> subprocess.CompletedProcess[str]:
    words = ["bench", "--from", source, "--to", to, "--count", COUNT, "--rate", RATE, "--timeout", PATIENCE, *options]
    return stage.network.run(SCADA, [sys.executable, "-m", "conduitfw", *words], check=False)


def polled(count: str = COUNT) -> list[int]:
    """What a server records of a measurement: one poll goes before those that count."""
    return [3] * (int(count) + 1)


class Served:
    """A server on libmodbus, and its own record."""

    def __init__(self, stage: Stage, program: Path, zone: str, address: str, record: Path) -> None:
        self._record = record
        self.process = stage.network.start(zone, [str(program), address, "1502", str(record)])
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def executed(self) -> list[int]:
        return [int(line) for line in self._record.read_text().split()]

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return libmodbus_server(tmp_path_factory.mktemp("peers"))


@pytest.fixture
def behind(stage: Stage, program: Path, tmp_path: Path) -> Iterator[Served]:
    found = Served(stage, program, CELL, PLC, tmp_path / "behind.record")
    yield found
    found.end()


@pytest.fixture
def beside(stage: Stage, program: Path, tmp_path: Path) -> Iterator[Served]:
    found = Served(stage, program, SCADA, BESIDE, tmp_path / "beside.record")
    yield found
    found.end()


def test_polls_of_pymodbus_are_inspected_and_answered(stage: Stage, start: Start) -> None:
    firewall = start(WITHOUT_TESTS)
    before, inspected = len(stage.executed("plc")), packets(firewall)
    done = bench(stage, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert (figures["answers"], figures["timeouts"], figures["reconnects"]) == (int(COUNT), 0, 0)
    assert stage.executed("plc")[before:] == polled()
    assert packets(firewall) - inspected >= 2 * len(polled())  # requests and answers, at the least
    assert firewall.events() and not [event for event in firewall.events() if "code" in event["event"]]


def packets(firewall: Firewall) -> int:
    return int(firewall.status()["worker_counters"]["packets"])


def test_in_turn_with_a_server_that_no_firewall_stands_before(
    stage: Stage, start: Start, behind: Served, beside: Served
) -> None:
    start(WITH_1502)
    done = bench(stage, "--beside", f"{BESIDE}:1502", "--json", to=f"{PLC}:1502")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["figures"]["server"], found["figures"]["answers"]) == (f"{PLC}:1502", int(COUNT))
    other = found["compared"]["other"]
    assert (other["server"], other["answers"]) == (f"{BESIDE}:1502", int(COUNT))
    assert found["compared"]["p99"] is not None
    assert behind.executed() == beside.executed() == polled()


def test_without_the_firewall_with_it_and_while_it_is_static(
    stage: Stage, start: Start, behind: Served, tmp_path: Path
) -> None:
    kept = tmp_path / "before.json"
    done = bench(stage, "--save", str(kept), to=f"{PLC}:1502")
    assert done.returncode == 0, done.stderr
    firewall = start(WITH_1502.replace("fail: closed", "fail: static"))
    for _ in ("with it", "static"):
        done = bench(stage, "--against", str(kept), to=f"{PLC}:1502")
        assert done.returncode == 0, done.stderr
        assert "\ndifference " in done.stdout
        if firewall.process.poll() is None:
            firewall.command("stop")
    assert behind.executed() == polled() * 3


# on_deny, and what its client is told of a unit that no rule names.
DENIED = [
    ("reset", "the connection was ended when 10.20.0.5:502 was to answer; the policy or the server denies this read"),
    ("reject", "10.20.0.5:502 answered with exception 01 (Illegal Function); the policy or the server denies"),
    ("drop", f"10.20.0.5:502 did not answer the read within {PATIENCE} s; the policy or the server denies this read"),
]


@pytest.mark.parametrize(("on_deny", "said"), DENIED)
def test_a_read_that_the_policy_denies(stage: Stage, start: Start, on_deny: str, said: str) -> None:
    firewall = start(changed("on_deny: reset", f"on_deny: {on_deny}"))
    before = len(stage.executed("plc"))
    done = bench(stage, "--unit", "2")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "conduitfw explain POLICY --from 10.10.0.11 --to 10.20.0.5 --modbus 3 --unit 2 --register 0" in done.stderr
    assert stage.executed("plc")[before:] == []
    assert [event["event"]["code"] for event in firewall.events() if "code" in event["event"]] == ["no-rule-address"]


def test_a_client_that_no_rule_names(stage: Stage, start: Start) -> None:
    start(WITHOUT_TESTS)
    done = bench(stage, source="10.10.0.66")
    assert done.returncode == 1
    assert (
        f"no connection from 10.10.0.66 to 10.20.0.5:502: nobody answered within {PATIENCE} s; is the server"
        in done.stderr
    )


def test_a_rule_that_goes_meanwhile_ends_it(stage: Stage, start: Start, tmp_path: Path) -> None:
    """Its session is reset, further connections come to nothing: it gives up, and says what it had."""
    firewall = start(WITHOUT_TESTS)
    words = ["bench", "--from", HMI, "--to", PLC, "--count", "100000", "--rate", RATE, "--timeout", PATIENCE, "--json"]
    before = len(stage.executed("plc"))
    process = stage.network.start(SCADA, [sys.executable, "-m", "conduitfw", *words], stderr=subprocess.PIPE)
    while len(stage.executed("plc")) < before + 50:
        assert process.poll() is None
        time.sleep(0.05)
    without = tmp_path / "without.yaml"
    rule = WITHOUT_TESTS[WITHOUT_TESTS.index("      - name: HMI reads") : WITHOUT_TESTS.index("      # Engineering")]
    without.write_text(WITHOUT_TESTS.replace(rule, ""))
    assert firewall.command("reload", str(without)).returncode == 0
    said, errors = process.communicate(timeout=60 * PACE)
    assert process.returncode == 1, errors
    figures = json.loads(said)["figures"]
    assert 40 < figures["answers"] < len(stage.executed("plc")) - before
    assert figures["lost_connections"] > 0
    assert "stopped: 10 polls of 10.20.0.5:502 in a row had no answer" in errors
