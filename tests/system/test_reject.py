"""Denied, and answered, between real TCP ends: the session stays, each answer in its place, nothing at the server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.show import Firewall, Stage
from tests.peers import libmodbus_server
from tests.pipeline.test_limits import crobs, frame, message
from tests.system.hands import connection, exactly
from tests.system.test_sessions import EWS, RTU, WITHOUT_TESTS

pytestmark = pytest.mark.system
Start = Callable[..., Firewall]
POLICY = WITHOUT_TESTS.replace("on_deny: reset", "on_deny: reject").replace(
    "allow: modbus\n", "allow: modbus\n        port: [502, 1502]\n"
)

# A client that asks in turn, and several at once: it prints the answers and how often it had to connect.
PLAIN = r"""
import json, socket, struct, sys
port, rounds, depth, nagle = json.loads(sys.argv[1])
READ, BAD, VALUE, BEYOND = (struct.pack(">BHH", *each) for each in ((3, 0, 2), (8, 0, 1), (6, 40, 5000), (6, 50, 1)))
KINDS = [READ, BAD, VALUE, READ, BEYOND, BAD, READ]
EXPECTED = {READ: "0304", BAD: "8801", VALUE: "8603", BEYOND: "8602"}
s = socket.create_connection(("10.20.0.5", port), 20, source_address=("10.10.0.11", 0))
s.settimeout(20)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0 if nagle else 1)

def answer():
    data = b""
    while len(data) < 6 or len(data) < 6 + data[5]:
        more = s.recv(1 if len(data) < 6 else 6 + data[5] - len(data))
        if not more:
            raise SystemExit("the session was closed")
        data += more
    return int.from_bytes(data[:2], "big"), data[7:9].hex()

number, waiting, wrong = 0, [], []
for _ in range(rounds):
    for kind in KINDS:
        number += 1
        s.sendall(struct.pack(">HHHB", number, 0, len(kind) + 1, 1) + kind)
        waiting.append((number, EXPECTED[kind]))
        while len(waiting) >= depth:
            got = answer()
            wrong += [] if got == waiting[0] else [(got, waiting[0])]
            waiting.pop(0)
while waiting:
    got = answer()
    wrong += [] if got == waiting[0] else [(got, waiting[0])]
    waiting.pop(0)
print(json.dumps({"asked": number, "wrong": wrong[:3]}))
"""

PYMODBUS = """
import json
from pymodbus.client import ModbusTcpClient
client = ModbusTcpClient("10.20.0.5", source_address=("10.10.0.11", 0), timeout=3, retries=0, reconnect_delay=0)
assert client.connect()
first = client.socket.getsockname()
said = []
for value in (500, 5000, 700):
    said.append(client.write_register(40, value, device_id=1).function_code)
    said.append(client.read_holding_registers(0, count=2, device_id=1).function_code)
said.append(client.write_registers(0, [1], device_id=1).exception_code)
print(json.dumps([said, client.socket.getsockname() == first]))
"""

DNP3 = """
import asyncio, json
from dnp3.application.builder import build_cold_restart_request
from dnp3.master import DefaultSOEHandler, Master, MasterConfig, MasterTcpRunner

async def main():
    station = Master(handler=DefaultSOEHandler(), config=MasterConfig(address=1, outstation_address=10))
    runner = MasterTcpRunner(master=station, host="10.20.0.9", port=20000, response_timeout=3)
    said = []
    async with runner:
        for request in (
            station.build_integrity_poll,
            lambda: build_cold_restart_request(station.next_request_sequence()),
            station.build_integrity_poll,
            lambda: station.build_direct_operate(station.command_builder().latch_on(0).build_direct_operate()),
            station.build_integrity_poll,
        ):
            answers = await runner.request(request())
            said.append([str(answer) for answer in answers])
    print(json.dumps(said))

asyncio.run(main())
"""


def run(stage: Stage, script: str, *words: str, timeout: float = 120) -> Any:
    done = stage.network.run(SCADA, [sys.executable, "-c", script, *words], check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@contextmanager
def losing(stage: Stage, percent: int) -> Iterator[None]:
    """Both ends lose so many of the packets that arrive."""
    rule = ["INPUT", "-m", "statistic", "--mode", "random", "--probability", str(percent / 100), "-j", "DROP"]
    for zone in (SCADA, CELL):
        stage.network.run(zone, ["iptables-nft", "-A", *rule])
    try:
        yield
    finally:
        for zone in (SCADA, CELL):
            stage.network.run(zone, ["iptables-nft", "-D", *rule])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server on libmodbus, which takes several requests from one read."""
    return libmodbus_server(tmp_path_factory.mktemp("peers"))


class Served:
    """The server, in the cell, on a port of its own."""

    port = 1502

    def __init__(self, stage: Stage, server: Path, folder: Path) -> None:
        self._record = folder / "served.record"
        words = [str(server), "10.20.0.5", str(self.port), str(self._record)]
        self.process = stage.network.start(CELL, words)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def executed(self) -> list[int]:
        return [int(line) for line in self._record.read_text().split()]


@pytest.fixture
def served(stage: Stage, server: Path, tmp_path: Path) -> Iterator[Served]:
    found = Served(stage, server, tmp_path)
    yield found
    found.process.send_signal(signal.SIGKILL)
    found.process.wait(10)


@pytest.mark.parametrize("nagle", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_in_turn_and_several_at_once(stage: Stage, start: Start, served: Served, depth: int, nagle: bool) -> None:
    start(POLICY)
    found = run(stage, PLAIN, json.dumps([served.port, 20, depth, nagle]))
    assert found == {"asked": 140, "wrong": []}
    assert served.executed() == [3] * 60


@pytest.mark.parametrize(
    "options", [{"tcp_timestamps": 1, "tcp_sack": 1}, {"tcp_timestamps": 0, "tcp_sack": 0}], ids=str
)
def test_with_loss_on_both_sides(stage: Stage, start: Start, served: Served, options: dict[str, int]) -> None:
    start(POLICY)
    for zone in (SCADA, CELL):
        for name, value in options.items():
            stage.network.sysctl(zone, f"net.ipv4.{name}", str(value))
    try:
        with losing(stage, 10):
            found = run(stage, PLAIN, json.dumps([served.port, 6, 4, False]))
    finally:
        for zone in (SCADA, CELL):
            for name in options:
                stage.network.sysctl(zone, f"net.ipv4.{name}", "1")
    assert found == {"asked": 42, "wrong": []}
    assert served.executed() == [3] * 18


def test_pymodbus_stays_connected(stage: Stage, start: Start) -> None:
    start(POLICY)
    before = len(stage.executed("plc"))
    said, same = run(stage, PYMODBUS)
    assert said == [6, 3, 0x86, 3, 6, 3, 2]
    assert same
    assert stage.executed("plc")[before:] == [6, 3, 3, 6, 3]


def test_dnp3py_goes_on_polling(stage: Stage, start: Start) -> None:
    firewall = start(POLICY)
    before = len(stage.executed("rtu"))
    said = run(stage, DNP3)
    assert len(said) == 5 and all(said), said
    assert [code for code in stage.executed("rtu")[before:] if code] == [1, 1, 1]
    denied = [event["event"] for event in firewall.events() if event["event"].get("action") == "reject"]
    assert [event["code"] for event in denied] == ["no-rule", "no-rule"]


def test_a_dnp3_request_of_several_frames(stage: Stage, start: Start) -> None:
    """The outstation has the first frame of a SELECT whose second is denied: at the next request it starts anew."""
    start(POLICY)
    select = message(3, crobs(1, 5, 2), 5 + 13, sequence=4, master=2)
    poll = frame(bytes((0xC2, 0xC5, 1, 60, 2, 6)), master=2)
    session = connection(stage.network.namespace(SCADA), EWS, RTU, 20000)
    before = len(stage.executed("rtu"))
    with session:
        for each in select:
            session.sendall(each)
        denied = exactly(session, 17)
        assert denied[11:15] == bytes((0xC4, 129, 0, 0x04)), denied.hex()
        session.sendall(poll)
        answer = exactly(session, 17)
        assert answer[11:13] == bytes((0xC5, 129)), answer.hex()
    assert 3 not in stage.executed("rtu")[before:]
