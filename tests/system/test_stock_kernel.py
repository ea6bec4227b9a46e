"""What only a kernel with nft_queue shows: packets reach the queue by the `queue` statement, in bridge and inet.

`make test-vm` runs this under Debian's own kernel; where the kernel lacks the statement, it skips and says so.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, PACE
from conduitfw.demo.show import Firewall, Stage, staged
from conduitfw.protocols.modbus.requests import adu, pdu
from tests.system.tagged import in_vlan
from tests.system.tagged import staged as tagged_zones
from tests.system.test_reload import until
from tests.system.test_sessions import EWS, MODBUS_READ, MODBUS_WRITE, PLC, WITHOUT_TESTS, answered

pytestmark = pytest.mark.system
VLAN = 10
REGISTERS, FIRST = 100, 200  # of one write, and where it begins
MANY = 20  # writes in one go: 213 bytes each


@pytest.fixture(scope="module", params=["bridge", "bridge in a VLAN", "router"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    tagged = request.param == "bridge in a VLAN"
    folder = tmp_path_factory.mktemp("tagged")
    with tagged_zones(folder, VLAN) if tagged else staged(routed=request.param == "router") as found:
        family = "inet" if request.param == "router" else "bridge"
        table = f"table {family} conduitfw_probe {{ chain c {{ queue num 9; }}; }}"
        tried = found.network.run(FIREWALL, ["nft", "-c", table], check=False)
        if tried.returncode:
            assert "No such file or directory" in tried.stderr, tried.stderr
            pytest.skip(f"this kernel has no `queue` statement in the {family} family: `make test-vm` runs it")
        yield found


@pytest.fixture(scope="module")
def firewall(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Firewall:
    folder = tmp_path_factory.mktemp("stock")
    policy = folder / "policy.yaml"
    policy.write_text(in_vlan(WITHOUT_TESTS, VLAN) if in_a_vlan(stage) else WITHOUT_TESTS)
    bridge = BRIDGE if "bridge" in listing(stage, ["ip", "-d", "link"], r"(bridge) forward_delay") else ""
    return Firewall(stage.network, folder, policy, bridge=bridge)


def in_a_vlan(stage: Stage) -> bool:
    return "vlan protocol 802.1Q" in stage.network.run(CELL, ["ip", "-d", "link", "show", "eth0"]).stdout


def listing(stage: Stage, command: list[str], pattern: str) -> list[str]:
    return re.findall(pattern, stage.network.run(FIREWALL, command).stdout)


def test_packets_reach_the_queue_by_the_statement(stage: Stage, firewall: Firewall) -> None:
    status = firewall.status()
    assert (status["method"], status["enforcing"]) == ("queue statement", True)
    assert listing(stage, ["nft", "list", "ruleset"], r"queue (?:flags bypass )?to (\d+)") == ["6200", "6201", "6201"]
    before = status["worker_counters"]["packets"]
    assert answered(stage, MODBUS_READ)
    assert firewall.status()["worker_counters"]["packets"] > before


def writes(segments: int) -> list[str]:
    """Many allowed writes as one stream, cut into so many pieces anywhere."""
    values = b"".join(n.to_bytes(2, "big") for n in range(REGISTERS))
    one = pdu(16, FIRST, REGISTERS, data=bytes((2 * REGISTERS,)) + values)
    stream = b"".join(adu(one, transaction=n) for n in range(1, MANY + 1))
    size = -(-len(stream) // segments)
    return [stream[at : at + size].hex() for at in range(0, len(stream), size)]


@pytest.mark.parametrize("segments", [1, 3, 7])
def test_bulk_writes_over_several_segments_are_executed_once_and_all(
    stage: Stage, firewall: Firewall, segments: int
) -> None:
    """The sender's kernel hands over segments of several thousand bytes (GSO), which the queue's kernel splits."""
    before = len(stage.executed("plc"))
    asked = {"kind": "pieces", "source": EWS, "host": PLC, "port": 502, "answers": MANY, "parts": writes(segments)}
    answer = stage.ask(asked)
    executed = until(lambda: (done := stage.executed("plc")[before:]) and len(done) >= MANY and done)
    assert executed == [16] * MANY, answer


def test_ipv6(stage: Stage, firewall: Firewall) -> None:
    """No rule names the IPv6 hosts: dropped, with the reason counted."""
    before = firewall.counter("unnamed")
    asked = {"kind": "tcp", "source": "fd00:10::11", "host": "fd00:20::5", "port": 502}
    assert not stage.ask(asked)["answered"]
    assert firewall.counter("unnamed") > before


def test_a_dead_worker_is_replaced(stage: Stage, firewall: Firewall) -> None:
    pid = firewall.status()["workers"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: firewall.status()["workers"][0]["pid"] not in (None, pid))
    assert answered(stage, MODBUS_READ)
    assert not answered(stage, MODBUS_WRITE)


def test_without_a_supervisor_closed_conduits_drop(stage: Stage, firewall: Firewall) -> None:
    """Nobody listens, and the statement has no `bypass`: the kernel drops. The last test of this module's firewall."""
    os.kill(firewall.status()["pid"], signal.SIGKILL)
    firewall.process.wait(10 * PACE)
    assert not answered(stage, MODBUS_READ)
    assert not answered(stage, MODBUS_WRITE)
