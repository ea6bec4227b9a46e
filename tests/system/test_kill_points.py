"""A worker killed at every point of the pipeline: what it has in hand may be lost, every other session goes on."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from conduitfw.demo.network import CELL, SCADA
from conduitfw.protocols.modbus.requests import adu
from conduitfw.runtime.kill_points import POINTS
from conduitfw.runtime.quarantine import CLOSE_WITH_ENDS
from tests.chaos.bench import EWS, HMI, PLC, RTU, Bench, bench
from tests.chaos.load import ALLOWED_WRITE, FORBIDDEN, READ, dnp3_requests
from tests.system.hands import connection, exactly, listener

pytestmark = pytest.mark.system
KILLER = 0x4B4C  # its transaction id stands in no other packet of this file


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Workers, who are nobody, take files away there."""
    with TemporaryDirectory(prefix="conduitfw-points-") as found:
        Path(found).chmod(0o777)
        yield Path(found)


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Bench]:
    os.environ["CONDUITFW_KILL_POINTS"] = str(folder)
    try:
        with bench(sessions=()) as found:
            yield found
    finally:
        del os.environ["CONDUITFW_KILL_POINTS"]


@pytest.fixture(autouse=True)
def _no_quick_row() -> None:
    """Accidents that follow each other between the same two ends as quickly as these tests would are none."""
    time.sleep(2 * CLOSE_WITH_ENDS)


def restarts(running: Bench) -> int:
    """How many workers have died; those that were killed for their silence, on a busy machine, do not count."""
    worker = running.firewall.serving()
    return int(worker["restarts"]) - len(events(running, "worker-silent"))


def killed(running: Bench, before: int, times: int = 1) -> None:
    """Wait until workers have died so often, and one serves."""
    began = time.monotonic()
    while restarts(running) < before + times:
        assert time.monotonic() - began < 20, "no worker died"
        time.sleep(0.05)


def arm(folder: Path, point: str, marker: bytes) -> Path:
    path = folder / point
    path.with_name("new").write_bytes(marker)
    return path.with_name("new").rename(path)


def marked(body: bytes) -> tuple[bytes, bytes]:
    """A request with the killer's transaction id, and what is found in its packet."""
    data = adu(body, KILLER)
    return data, data[:7]


class Bystanders:
    """Sessions, each left in a state that only its record knows."""

    def __init__(self, running: Bench, stack: ExitStack) -> None:
        scada = running.network.namespace(SCADA)

        def to(port: int = 502, host: str = PLC) -> socket.socket:
            return stack.enter_context(connection(scada, HMI, host, port))

        self.head = to()
        self.request = adu(ALLOWED_WRITE, 0x1111)
        self.head.sendall(self.request[:15])  # acknowledged in the server's name, and kept
        self.translated = to()
        self.translated.sendall(adu(FORBIDDEN, 0x2222))
        assert exactly(self.translated, 9)[7:] == b"\x86\x01"  # answered by the firewall: numbers differ from here on
        self.slow = stack.enter_context(listener(running.network.namespace(CELL), PLC, 1502))
        self.waiting = to(1502)
        self.server = stack.enter_context(self.slow.accept()[0])
        self.server.settimeout(5)
        self.write = adu(ALLOWED_WRITE, 0x3333)
        self.waiting.sendall(self.write)  # its answer will come later
        assert exactly(self.server, len(self.write)) == self.write
        self.master = to(20000, RTU)
        (first, self.second), _ = next(dnp3_requests("dnp3-mixed"))
        self.master.sendall(first)
        time.sleep(0.2)

    def go_on(self) -> None:
        """Each does what its state allows, and once more."""
        self.head.sendall(self.request[15:])
        assert exactly(self.head, 12) == self.request[:4] + b"\0\6" + self.request[6:12]
        self.translated.sendall(adu(ALLOWED_WRITE, 0x2223) + adu(FORBIDDEN, 0x2224))
        assert exactly(self.translated, 21)[-2:] == b"\x86\x01"
        self.waiting.sendall(adu(READ, 0x3334))  # has to wait for the write's answer
        time.sleep(0.1)
        self.server.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.server.recv(100)
        self.server.settimeout(5)
        answer = self.write[:4] + b"\0\6" + self.write[6:12]
        self.server.sendall(answer)
        assert exactly(self.waiting, 12) == answer
        assert exactly(self.server, 12) == adu(READ, 0x3334)
        self.master.sendall(self.second)
        assert exactly(self.master, 10)[:2] == b"\x05\x64"
        for end in (self.head, self.translated):
            end.sendall(adu(READ, 0x4444))
            assert len(exactly(end, 29)) == 29


# What the victim sends, and what of it the server may execute: once at most, or never.
VICTIMS = {"read": READ, "allowed write": ALLOWED_WRITE, "forbidden write": FORBIDDEN}


@pytest.mark.parametrize("kind", VICTIMS)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(running: Bench, folder: Path, point: str, kind: str) -> None:
    running.forbidden()
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        victim = stack.enter_context(connection(running.network.namespace(SCADA), HMI, PLC, 502))
        victim.sendall(adu(READ, 1))
        assert len(exactly(victim, 29)) == 29
        before = restarts(running)
        data, marker = marked(VICTIMS[kind])
        path = arm(folder, point, marker)
        victim.sendall(data)
        if point == "emitted" and kind != "forbidden write":  # nothing of our own for these: it is not reached
            assert len(exactly(victim, 12)) == 12
            assert restarts(running) == before
            path.unlink()
        else:
            killed(running, before)
            assert not path.exists()
            try:
                said = exactly(victim, 9)
            except (ConnectionResetError, TimeoutError):
                said = b""
            # All is as before the packet, or behind it.
            assert said[:2] == data[:2], (said, point)
        bystanders.go_on()
    assert running.forbidden() == {"plc": 0, "rtu": 0}
    assert running.firewall.status()["worker_counters"]["engine_errors"] == 0


def events(running: Bench, action: str) -> list[dict[str, object]]:
    """What the log tells of the engine by this name."""
    found = []
    for line in running.events.read_text().splitlines():
        event = json.loads(line)
        if event["event"]["action"] == action:
            found.append(event["conduitfw"].get("engine", {}))
    return found


@pytest.mark.parametrize("point", ["received", "decoded", "marked", "inspected"])
def test_a_packet_that_always_kills_ends_its_session_and_no_other(running: Bench, folder: Path, point: str) -> None:
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        scada = running.network.namespace(SCADA)
        victim = stack.enter_context(connection(scada, HMI, PLC, 502))
        victim.sendall(adu(READ, 1))
        assert len(exactly(victim, 29)) == 29
        before = restarts(running)
        data, marker = marked(READ)
        path = arm(folder, f"always-{point}", marker)
        try:
            victim.sendall(data)
            with pytest.raises(ConnectionResetError):
                exactly(victim, 1)
            deaths = 3 if point in ("received", "decoded") else 2  # later ones its record counts
            assert restarts(running) == before + deaths
            bystanders.go_on()
            assert restarts(running) == before + deaths
        finally:
            path.unlink()


def test_a_first_packet_that_always_kills_is_shut_out(running: Bench, folder: Path) -> None:
    """SYNs with this sequence number kill, whatever port they come from."""
    marker = struct.pack(">H", 502) + b"\x77\x77\x77\x77"  # the port it goes to, and its sequence number
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        scada = running.network.namespace(SCADA)
        known = stack.enter_context(connection(scada, EWS, PLC, 502))  # of the same two ends, from before
        known.sendall(adu(READ, 5))
        assert len(exactly(known, 29)) == 29
        before = restarts(running)
        path = arm(folder, "always-received", marker)
        try:
            syns(running, EWS, 6)
            killed(running, before, 3)
            syns(running, EWS, 20)
            bystanders.go_on()
            assert restarts(running) == before + 3
            known.sendall(adu(READ, 6))
            assert len(exactly(known, 29)) == 29
            told = events(running, "quarantine")[-1]
            assert (told["source"], told["destination"], told["port"]) == (EWS, PLC, 502)
            assert running.firewall.status()["worker_counters"]["quarantined"] >= 20
            # Who has killed nothing gets in: another client, and this one elsewhere.
            stack.enter_context(connection(scada, HMI, PLC, 502))
        finally:
            path.unlink()


_SYNS = """
import sys, time
from scapy.layers.inet import IP, TCP
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number in range(int(sys.argv[2])):
    segment = TCP(sport=30000 + number, dport=502, seq=0x77777777)
    out.sendto(bytes(IP(src=sys.argv[1], dst="10.20.0.5") / segment), ("10.20.0.5", 0))
    time.sleep(0.1)
"""


def syns(running: Bench, source: str, count: int) -> None:
    running.network.run(SCADA, [sys.executable, "-c", _SYNS, source, str(count)])


def test_who_kills_on_one_session_after_the_other_is_shut_out(running: Bench, folder: Path) -> None:
    """Each ends at its second death; the two ends are told by the sixth, before it looks as if no worker could live.

    The last test here: the two are shut out for a minute.
    """
    data, marker = marked(READ)
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        scada = running.network.namespace(SCADA)
        before = restarts(running)
        path = arm(folder, "always-marked", marker)
        try:
            sessions = 0
            while sessions < 12:
                try:
                    killer = connection(scada, HMI, PLC, 502)
                except TimeoutError:
                    break
                with killer:
                    killer.sendall(data)
                    with pytest.raises(ConnectionResetError):
                        exactly(killer, 1)
                sessions += 1
            # Three, where the machine is quick enough for a row without a gap.
            assert 3 <= sessions < 12
            assert restarts(running) == before + 2 * sessions
            bystanders.go_on()
            told = events(running, "quarantine")[-1]
            assert (told["source"], told["destination"], told["port"], told["deaths"]) == (HMI, PLC, 502, 6)
            assert not events(running, "no-engine")
        finally:
            path.unlink()
    assert running.forbidden() == {"plc": 0, "rtu": 0}
