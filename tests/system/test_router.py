"""The firewall as a router: the inet family, raw sockets for packets of its own, connection tracking."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conduitfw.demo.clients import READ
from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.rows import ROWS, Row
from conduitfw.demo.show import POLICY, Firewall, Stage, staged, try_row
from conduitfw.protocols.modbus.requests import adu

pytestmark = pytest.mark.system
HMI, EWS, PLC = "10.10.0.11", "10.10.0.20", "10.20.0.5"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(routed=True) as found:
        yield found


@pytest.fixture(scope="module")
def firewall(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Firewall:
    folder = tmp_path_factory.mktemp("router")
    text = POLICY.read_text()
    more = "      - {name: syslog, allow: udp, clients: plc-b, servers: hmi-a, port: 5140}\n"
    policy = folder / "policy.yaml"
    policy.write_text(text.replace("tests:\n", more + "\ntests:\n"))
    return Firewall(stage.network, folder, policy, bridge="")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.by}: {row.tried}")
def test_row(stage: Stage, firewall: Firewall, row: Row) -> None:
    result = try_row(row, stage, firewall)
    assert result.good, f"{result.why}; the client says {result.detail}"


def test_it_routes(firewall: Firewall) -> None:
    status = firewall.status()
    assert (status["where"], status["enforcing"]) == ("router", True)


def test_one_byte_a_segment(stage: Stage, firewall: Firewall) -> None:
    """Kept heads are acknowledged by packets of our own, through a raw socket."""
    request = adu(READ)
    parts = [request[at : at + 1].hex() for at in range(len(request))]
    asked = {"kind": "pieces", "source": HMI, "host": PLC, "port": 502, "answers": 1, "parts": parts}
    assert stage.ask(asked)["answered"]


_ECHO = """
import socket
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("{address}", {port}))
print("ready", flush=True)
while True:
    data, sender = ear.recvfrom(100)
    ear.sendto(data, sender)
"""
_ASK = """
import socket
mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mouth.bind(("{address}", {port}))
mouth.settimeout(1)
mouth.sendto(b"hello", {target})
try:
    print(mouth.recv(100).decode())
except OSError:
    print("nothing")
"""


def ask(stage: Stage, zone: str, address: str, port: int, target: tuple[str, int]) -> Any:
    script = _ASK.format(address=address, port=port, target=target)
    return stage.network.run(zone, [sys.executable, "-c", script]).stdout.strip()


def test_udp_is_opened_by_clients_only(stage: Stage, firewall: Firewall) -> None:
    for zone, address, port in ((SCADA, HMI, 5140), (CELL, PLC, 6000)):
        ear = stage.network.start(zone, [sys.executable, "-c", _ECHO.format(address=address, port=port)])
        assert ear.stdout is not None
        assert ear.stdout.readline().strip() == "ready"
    assert ask(stage, CELL, PLC, 7000, (HMI, 5140)) == "hello"
    assert ask(stage, CELL, "10.20.0.9", 7000, (HMI, 5140)) == "nothing"
    if not firewall.status()["tracking"]:
        pytest.skip("this kernel does not track connections: a server's port may send at any time")
    # From the server's port, but no answer to anything.
    time.sleep(0.1)
    assert ask(stage, SCADA, HMI, 5141, (PLC, 6000)) == "nothing"


def test_stop_leaves_it_closed(stage: Stage, firewall: Firewall, tmp_path: Path) -> None:
    """Runs last: a stopped router routes nothing between its zones that an engine would have to decide."""
    assert firewall.command("stop").returncode == 0
    firewall.process.wait(10)
    asked = {"kind": "modbus", "source": HMI, "host": PLC, "port": 502, "function": 3}
    assert not stage.ask(asked)["answered"]
