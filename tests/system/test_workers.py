"""Several workers: each decides for a share of the servers, both ways, and dies alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from conduitfw.demo.network import CELL, FIREWALL, SCADA
from conduitfw.demo.rows import ROWS, Row
from conduitfw.demo.show import POLICY, Firewall, Stage, staged, try_row
from conduitfw.protocols.modbus.requests import adu
from tests.chaos.bench import HMI, PLC, Bench, bench
from tests.chaos.bench import POLICY as OF_BENCH
from tests.chaos.load import READ
from tests.system.hands import connection, exactly, until
from tests.system.tagged import in_vlan
from tests.system.tagged import staged as in_tags
from tests.system.test_kill_points import Bystanders, events

pytestmark = pytest.mark.system
WORKERS = 3  # among three the demo's PLC and its outstation have two
VLAN = 10
HMI_6, PLC_6 = "fd00:10::11", "fd00:20::5"


@pytest.fixture(scope="module", params=["bridge", "router", "bridge in a VLAN"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stage(where: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    tagged = where == "bridge in a VLAN"
    zones = in_tags(tmp_path_factory.mktemp("zones"), VLAN) if tagged else staged(routed=where == "router")
    with zones as found:
        words = ["-m", "conduitfw.demo.servers", "modbus", PLC_6, "502", str(found.folder / "six.record")]
        server = found.network.start(CELL, [sys.executable, *words])
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        yield found


@pytest.fixture(scope="module")
def firewall(where: str, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Firewall:
    text = POLICY.read_text()
    if where == "bridge in a VLAN":
        text = in_vlan(text, VLAN)
    text = text.replace("      hmi-a:", f'      hmi-6: "{HMI_6}"\n      hmi-a:')
    text = text.replace("      plc-b:", f'      plc-6: {{address: "{PLC_6}", units: [1]}}\n      plc-b:')
    six = "      - {name: six, allow: modbus, clients: hmi-6, servers: plc-6, functions: read}\n"
    policy = tmp_path_factory.mktemp("workers") / "policy.yaml"
    policy.write_text(text.replace("tests:\n", f"{six}\ntests:\n", 1))
    return Firewall(stage.network, stage.folder, policy, "--workers", str(WORKERS), bridge="")


def packets(status: dict[str, Any]) -> list[int]:
    return [worker["packets"] for worker in status["workers"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.by}: {row.tried}")
def test_row(stage: Stage, firewall: Firewall, row: Row) -> None:
    result = try_row(row, stage, firewall)
    assert result.good, f"{result.why}; the client says {result.detail}"


@pytest.mark.parametrize(("client", "server"), [("10.10.0.11", "10.20.0.5"), (HMI_6, PLC_6)], ids=["IPv4", "IPv6"])
def test_a_server_has_one_worker(stage: Stage, firewall: Firewall, client: str, server: str) -> None:
    """What it says comes by the same worker as what is said to it: the other two see nothing."""
    before = packets(firewall.status())
    asked = {"kind": "modbus", "source": client, "host": server, "port": 502}
    for _ in range(10):
        assert stage.ask({**asked, "function": 3})["answered"]
    assert not stage.ask({**asked, "function": 16})["answered"]
    grown = sorted(after - earlier for earlier, after in zip(before, packets(firewall.status()), strict=True))
    assert grown[:-1] == [0] * (WORKERS - 1)
    assert grown[-1] > 10 * 4


def test_they_share_the_servers(firewall: Firewall) -> None:
    """Runs behind the rows."""
    status = firewall.status()
    assert sum(count > 0 for count in packets(status)) >= 2
    assert status["kernel_counters"]["unjudged"]["packets"] == 0
    assert len({worker["pid"] for worker in status["workers"]}) == WORKERS
    assert status["queues"] == list(range(6200, 6200 + 2 * WORKERS))


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    with bench(sessions=(), options=("--workers", str(WORKERS))) as found:
        yield found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_dies_and_the_others_go_on(running: Bench, number: signal.Signals) -> None:
    for place in range(WORKERS):
        with ExitStack() as stack:
            bystanders = Bystanders(running, stack)
            before = running.firewall.status()["workers"]
            os.kill(before[place]["pid"], number)
            until(lambda: running.firewall.status()["workers"][place]["pid"] not in (None, before[place]["pid"]))  # noqa: B023
            bystanders.go_on()
            after = running.firewall.status()["workers"]
            for each in range(WORKERS):
                assert (after[each]["pid"] == before[each]["pid"]) == (each != place)
    assert running.forbidden() == {"plc": 0, "rtu": 0}


def test_all_die_at_once(running: Bench) -> None:
    """There is one that waits; the others have to be started."""
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        for worker in running.firewall.status()["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        until(lambda: running.firewall.status()["enforcing"])
        bystanders.go_on()
    assert running.forbidden() == {"plc": 0, "rtu": 0}


def test_reload_upgrade_restart(running: Bench) -> None:
    for change in ("reload", "upgrade", "restart"):
        with ExitStack() as stack:
            bystanders = Bystanders(running, stack)
            before = running.firewall.status()["workers"]
            if change == "restart":
                running.firewall.restart()
            else:
                running.firewall.policy.write_text(OF_BENCH.replace("REVISION", change))
                words = [sys.executable, "-m", "conduitfw", change, "--socket", str(running.firewall.socket)]
                running.network.run(FIREWALL, words)
            after = running.firewall.status()["workers"]
            assert not {worker["pid"] for worker in before} & {worker["pid"] for worker in after}
            assert [worker["state"] for worker in after] == ["serving"] * WORKERS
            bystanders.go_on()
    assert running.forbidden() == {"plc": 0, "rtu": 0}
    assert len(events(running, "engine-upgrade")) == 2


def test_another_number_of_workers_begins_anew(running: Bench) -> None:
    """Servers are shared out otherwise: what was known of sessions is somebody else's. (The last test here.)"""
    running.firewall.options = ("--workers", "2")
    with connection(running.network.namespace(SCADA), HMI, PLC, 502) as session:
        session.sendall(adu(READ, 0x5555))
        assert len(exactly(session, 29)) == 29
        running.firewall.restart()
        assert running.firewall.status()["queues"] == [6200, 6201, 6202, 6203]
        session.sendall(adu(READ, 0x5556))
        with pytest.raises(ConnectionResetError):  # nobody knows it, and its conduit says `midstream: reset`
            exactly(session, 29)
    with ExitStack() as stack:
        Bystanders(running, stack).go_on()
    assert running.forbidden() == {"plc": 0, "rtu": 0}
