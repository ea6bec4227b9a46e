"""Level 2: cases on the bridge of two zones, raw frames from the one, real servers in the other.

The attacker's packets leave through a packet socket in the client's zone, past that zone's own TCP; what its kernel
would say to the answers (RST) is dropped there. Servers record what they executed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conduitfw.demo.network import CELL, SCADA, TwoZones
from conduitfw.demo.show import Stage, staged
from conduitfw.packet import Packet, decode
from conduitfw.reasons import Malformed
from tests.evasion.actor import Actor
from tests.evasion.cases import DNP3_PORTS, MODBUS_PORTS
from tests.evasion.steps import Case, Send
from tests.peers import libmodbus_server
from tests.system.frames import mac

PLC, PLC6, RTU = "10.20.0.5", "fd00:20::5", "10.20.0.9"
LIBMODBUS, ONE_READ, PYMODBUS, DNP3PY = "libmodbus", "libmodbus, one read one request", "pymodbus", "dnp3py"
FIRST, LAST = 10_001, 29_999  # the attacker's ports
GAP = 0.01  # seconds between two of its packets, unless one is `quiet`
SETTLE = 0.15  # what would still execute after the last packet has had the time
PATIENCE = 3.0
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


Key = tuple[str, str, str, bool]  # a job's group, name, server, and whether it is the control


@dataclass(frozen=True)
class Job:
    case: Case
    server: str
    control: bool = False

    @property
    def key(self) -> Key:
        return self.case.group, self.case.name, self.server, self.control


@dataclass(frozen=True)
class Ran:
    """What the server executed."""

    executed: tuple[int, ...]

    def forbidden(self, job: Job) -> bool:
        return bool(job.case.forbidden & set(self.executed))

    def complete(self, job: Job) -> bool:
        counted, expects = Counter(self.executed), job.case.expects
        if job.server in job.case.fewer:
            return any(code in counted for code in expects)
        return counted >= Counter(expects)


def servers_of(case: Case) -> tuple[str, ...]:
    """The servers that a case is tried on."""
    if case.protocol == "dnp3":
        return (DNP3PY,)
    return (PYMODBUS,) if case.version == 6 else (LIBMODBUS, ONE_READ, PYMODBUS)


def packet_socket(network: TwoZones, zone: str) -> socket.socket:
    """A packet socket in a zone, for this process."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{network.namespace(zone)}", os.O_RDONLY)
    try:
        _enter(there)
        try:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            found.bind(("eth0", 3))
        finally:
            _enter(home)
    finally:
        os.close(there)
        os.close(home)
    found.setblocking(False)
    return found


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Served:
    """A running server and its record."""

    def __init__(self, network: TwoZones, words: Sequence[str], record: Path) -> None:
        self.record = record
        self.process = network.start(CELL, [*words, str(record)])
        self._before = 0

    def ready(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise OSError(f"a server did not start: {self.record}")

    def _all(self) -> list[int]:
        return [int(line) for line in self.record.read_text().split()] if self.record.exists() else []

    def forget(self) -> None:
        self._before = len(self._all())

    def executed(self) -> tuple[int, ...]:
        return tuple(self._all()[self._before :])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class BridgeNetwork:
    """The attacker's side of the bridge, for one case."""

    def __init__(self, lane: Lane, server: Served, port: int) -> None:
        self._lane, self._server, self._port = lane, server, port
        self.losing = self.frozen = False

    def send(self, packet: bytes, step: Send) -> None:
        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        if step.tags == b"SNAP":
            kind = struct.pack("!H", len(packet) + 8) + b"\xaa\xaa\x03\0\0\0" + kind
        else:
            kind = step.tags + kind
        self._lane.socket.send(self._lane.addresses + kind + packet)

    def receive(self, seconds: float) -> list[Packet]:
        end = time.monotonic() + seconds
        while True:
            found = self._drain()
            left = end - time.monotonic()
            if found or left <= 0:
                return found
            select.select([self._lane.socket], [], [], left)

    def _drain(self) -> list[Packet]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = self._lane.socket.recvfrom(65536)
                if address[2] == socket.PACKET_OUTGOING or data[12:14] not in (b"\x08\x00", b"\x86\xdd"):
                    continue
                with contextlib.suppress(Malformed):  # veth leaves checksums to the card that is not there
                    packet = decode(data[14:], verify_checksums=False)
                    if packet.source_port == self._port:
                        found.append(packet)
        return found

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def lose(self, on: bool) -> None:
        words = ["INPUT", "-p", "tcp", "--dport", str(self._port), "-j", "DROP"]
        self._lane.network.run(CELL, ["iptables-nft", "-w", "5", "-A" if on else "-D", *words])
        self.losing = on

    def freeze(self, on: bool) -> None:
        self._server.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)
        self.frozen = on

    def window(self, size: int) -> None:
        raise AssertionError("the window of a real server is its own matter")

    def restore(self) -> None:
        if self.frozen:
            self.freeze(False)
        if self.losing:
            self.lose(False)


class Lane:
    """One of several attackers that work at a time: its socket, its servers, its ports."""

    def __init__(self, stage: Stage, number: int, built: Path, six: Served, lock: threading.Lock) -> None:
        self.network, self._folder, self._number, self._built = stage.network, stage.folder, number, built
        self._six, self._six_lock = six, lock
        self._ports = dict(zip((LIBMODBUS, ONE_READ, PYMODBUS), MODBUS_PORTS[3 * number :], strict=False))
        self._ports[DNP3PY] = DNP3_PORTS[number]
        self.socket = packet_socket(self.network, SCADA)
        self.addresses = b"".join(
            bytes.fromhex(mac(self.network, zone).replace(":", "")) for zone in (CELL, SCADA)
        )  # fmt: skip
        self._runs = 0
        self._servers = {
            kind: Served(
                self.network, python_server(words, self._ports[kind]), self._folder / f"{kind}-{number}.record"
            )
            for kind, words in ((PYMODBUS, ("modbus", PLC)), (DNP3PY, ("dnp3", RTU)))
        }

    def ready(self) -> None:
        for server in self._servers.values():
            server.ready()

    def run(self, job: Job) -> Ran:
        """One case on one server; the server is given all that it needs, and what it leaves is removed."""
        self._runs += 1
        if job.case.version == 6:
            with self._six_lock:
                return self._run(job, self._six, MODBUS_PORTS[-1])
        if job.server in self._servers:
            return self._run(job, self._servers[job.server], self._ports[job.server])
        port = self._ports[job.server]
        record = self._folder / f"lane-{self._number}-{self._runs}.record"
        words = ["sh", "-c", 'exec "$0" "$1" "$2" "$4" $3', str(self._built), PLC, str(port)]
        served = Served(self.network, [*words, "all" if job.server == ONE_READ else ""], record)
        try:
            served.ready()
            return self._run(job, served, port)
        finally:
            served.end()
            record.unlink(missing_ok=True)

    def _run(self, job: Job, served: Served, port: int) -> Ran:
        served.forget()
        network = BridgeNetwork(self, served, port)
        network.receive(0)
        first = FIRST + self._number * 2000 + self._runs * 2 % 2000
        actor = Actor(network, job.case, first, port, self._runs * 0x0101_0101 % 0xF000_0000, GAP)
        try:
            actor.run(job.case.all_steps(control=job.control))
            end = time.monotonic() + (PATIENCE if job.control else SETTLE)
            while time.monotonic() < end:
                actor.settle(0.02)
                ran = Ran(served.executed())
                if ran.complete(job) if job.control else ran.forbidden(job):
                    break
            return Ran(served.executed())
        finally:
            network.restore()
            actor.close()

    def end(self) -> None:
        self.socket.close()


def python_server(words: tuple[str, str], port: int) -> list[str]:
    return [sys.executable, "-m", "conduitfw.demo.servers", *words, str(port)]


class Bench:
    """Lanes over one stage; with or without the firewall between."""

    def __init__(self, stage: Stage, lanes: list[Lane]) -> None:
        self.stage, self._lanes = stage, lanes

    def run(self, jobs: Sequence[Job], *, all_answer: bool = True) -> dict[Key, Ran]:
        """All jobs, several at a time. `all_answer` False: one to which the server does not answer executes nothing.

        That is for runs without the firewall, where rows before it may have left a server unable to.
        """
        free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for lane in self._lanes:
            free.put(lane)

        def one(job: Job) -> Ran:
            lane = free.get()
            try:
                return lane.run(job)
            except AssertionError:
                if all_answer:
                    raise
                return Ran(())
            finally:
                free.put(lane)

        with ThreadPoolExecutor(len(self._lanes)) as pool:
            return dict(zip((job.key for job in jobs), pool.map(one, jobs), strict=True))


@contextmanager
def bench(lanes: int = 4) -> Iterator[Bench]:
    """Zones, servers and attackers, all of which are gone afterwards."""
    with staged() as stage, ExitStack() as stack:
        built = libmodbus_server(stage.folder)
        rule = ["OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "--sport", f"{FIRST}:{LAST}", "-j", "DROP"]
        for program in ("iptables-nft", "ip6tables-nft"):
            stage.network.run(SCADA, [program, "-A", *rule])
            stack.callback(stage.network.run, SCADA, [program, "-D", *rule], check=False)
        six = Served(
            stage.network, python_server(("modbus", PLC6), MODBUS_PORTS[-1]), stage.folder / "six.record"
        )  # fmt: skip
        lock = threading.Lock()
        made = []
        for number in range(lanes):
            made.append(Lane(stage, number, built, six, lock))
            stack.callback(made[-1].end)
        for lane in made:
            lane.ready()
        six.ready()
        # The zones' kernels find each other once, so that no row waits for ARP: a SYN-ACK that does is a second late.
        for address, port in ((PLC, MODBUS_PORTS[2]), (RTU, DNP3_PORTS[0]), (PLC6, MODBUS_PORTS[-1])):
            connect = f"import socket; socket.create_connection(({address!r}, {port}), 5)"
            stage.network.run(SCADA, [sys.executable, "-c", connect])
        yield Bench(stage, made)
