"""Denied, and ended, between real TCP ends: both know within 300 ms, also where the RST to one of them is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.show import Firewall, Stage
from tests.system.test_sessions import WITHOUT_TESTS

pytestmark = pytest.mark.system
Start = Callable[..., Firewall]
POLICY = WITHOUT_TESTS.replace("allow: modbus\n", "allow: modbus\n        port: [502, 1503]\n")
KNOWN_WITHIN = 0.3  # seconds
TRIES = 3  # the machine that runs the tests may be busy elsewhere for longer than that

# It says when its session ended, and how: CLOCK_MONOTONIC is one for all namespaces.
SERVER = """
import json, socket, time
ear = socket.create_server(("10.20.0.5", 1503))
print("ready", flush=True)
while True:
    session, _ = ear.accept()
    how, got = "closed", b""
    try:
        while data := session.recv(4096):
            got += data
    except OSError as error:
        how = type(error).__name__
    print(json.dumps([time.monotonic(), how, got.hex()]), flush=True)
"""
# Function 8 is not allowed. It waits before it asks, so that both ends have nothing under way.
CLIENT = """
import json, socket, time
session = socket.create_connection(("10.20.0.5", 1503), 5, source_address=("10.10.0.11", 0))
time.sleep(0.25)
session.sendall(bytes.fromhex("000100000006010800000001"))
asked, how = time.monotonic(), "closed"
try:
    session.recv(4096)
except OSError as error:
    how = type(error).__name__
print(json.dumps([asked, time.monotonic(), how]))
"""


@contextmanager
def losing_the_first_reset(stage: Stage, zone: str) -> Iterator[None]:
    """The zone loses the first RST that arrives."""
    chain = "CFW-FIRST"
    words = ["-p", "tcp", "--tcp-flags", "RST", "RST"]
    lost = ["-m", "statistic", "--mode", "nth", "--every", "1000", "--packet", "0", "-j", "DROP"]
    for rule in (["-N", chain], ["-A", chain, *lost], ["-A", "INPUT", *words, "-j", chain]):
        stage.network.run(zone, ["iptables-nft", *rule])
    try:
        yield
        listed = stage.network.run(zone, ["iptables-nft", "-vnxL", chain]).stdout.splitlines()[2].split()
        assert listed[0] == "1", listed  # one RST was lost
    finally:
        for rule in (["-D", "INPUT", *words, "-j", chain], ["-F", chain], ["-X", chain]):
            stage.network.run(zone, ["iptables-nft", *rule])


@pytest.fixture
def server(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    process = stage.network.start(CELL, [sys.executable, "-c", SERVER])
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("lost", [None, SCADA, CELL], ids=["none lost", "the client's lost", "the server's lost"])
def test_both_ends_know(stage: Stage, start: Start, server: subprocess.Popen[str], lost: str | None) -> None:
    start(POLICY)
    assert server.stdout is not None
    later: list[float] = []
    for _ in range(TRIES):
        if lost is None:
            asked, client_knew, how = once(stage)
        else:
            with losing_the_first_reset(stage, lost):
                asked, client_knew, how = once(stage)
        server_knew, servers_how, got = json.loads(server.stdout.readline())
        assert (how, servers_how, got) == ("ConnectionResetError", "ConnectionResetError", "")
        later.append(max(client_knew, server_knew) - asked)
        if later[-1] < KNOWN_WITHIN:
            break
    print(later, client_knew - asked, server_knew - asked)
    assert min(later) < KNOWN_WITHIN, later


def once(stage: Stage) -> tuple[float, float, str]:
    """When the client asked, when it knew of the end, and as what."""
    done = stage.network.run(SCADA, [sys.executable, "-c", CLIENT])
    asked, knew, how = json.loads(done.stdout)
    return float(asked), float(knew), str(how)
