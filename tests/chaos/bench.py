"""Two zones with servers that record what they execute, clients that never rest, and the firewall between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, SCADA, TwoZones
from tests.chaos.manager import Manager
from tests.peers import libmodbus_server

PLC, RTU, HMI, EWS = "10.20.0.5", "10.20.0.9", "10.10.0.11", "10.10.0.20"
ALLOWED = {"plc": {"3", "16"}, "rtu": {"0", "1"}}  # function codes that a rule names
# The PLC's conduit fails closed, the RTU's static: by address and port. (CONFIRM, 0, has no effect.)
POLICY = """
policy: {version: 1, site: Chaos, owner: tests, revision: "REVISION"}
zones:
  scada:
    security_level: 2
    networks: [10.10.0.0/24]
    interfaces: [scada0]
    assets: {hmi: 10.10.0.11, ews: 10.10.0.20}
  plcs:
    security_level: 2
    networks: [10.20.0.0/29]
    interfaces: [cell0]
    assets: {plc: {address: 10.20.0.5, units: [1]}}
  rtus:
    security_level: 2
    networks: [10.20.0.8/29]
    interfaces: [cell0]
    assets: {rtu: {address: 10.20.0.9, link_address: 10}}
conduits:
  to-plcs:
    {from: scada, to: plcs, purpose: chaos, owner: tests, fail: closed, on_deny: reject, rules: [
      {name: reads, allow: modbus, clients: [hmi, ews], servers: plc, port: [502, 1502], functions: read},
      {name: writes, allow: modbus, clients: hmi, servers: plc, port: [502, 1502], functions: 16,
       transaction_timeout: 30 s,
       registers: {holding_registers: 100-101}},
      {name: flood, allow: modbus, clients: scada, servers: plc, functions: read}]}
  to-rtus:
    {from: scada, to: rtus, purpose: chaos, owner: tests, fail: static, on_deny: reject, rules: [
      {name: polls, allow: dnp3, clients: hmi, servers: rtu, port: [20000, 20001], master: 1,
       functions: read},
      {name: flood, allow: dnp3, clients: scada, servers: rtu, port: [20000, 20001], master: 1,
       functions: read}]}
"""
SESSIONS = [
    {"name": "polls", "kind": "polls", "source": HMI, "host": PLC, "port": 502, "every": 0.004},
    {"name": "cut requests", "kind": "cut", "source": HMI, "host": PLC, "port": 502, "every": 0.01},
    {"name": "some denied", "kind": "mixed", "source": HMI, "host": PLC, "port": 502, "every": 0.01},
    {"name": "attacker", "kind": "attack", "source": EWS, "host": PLC, "port": 502, "every": 0.05},
    {"name": "DNP3 polls", "kind": "dnp3", "source": HMI, "host": RTU, "port": 20000, "every": 0.03},
    {"name": "DNP3 some denied", "kind": "dnp3-mixed", "source": HMI, "host": RTU, "port": 20001, "every": 0.03},
]
_ELSEWHERE = ("nice", "-n", "10")  # clients and servers stand for other machines, and share the processors here
_MOUNT = "conduitfw-chaos-"  # and the id of the process
CLOSED = ("polls", "cut requests", "some denied", "attacker")  # on the conduit that fails closed
Figures = dict[str, dict[str, Any]]


class Firewall:
    """`conduitfw run` as a service manager would start it, again and again."""

    def __init__(self, network: TwoZones, folder: Path, events: Path, options: Sequence[str]) -> None:
        self.options = options
        self._network, self._folder = network, folder
        self.policy = folder / "policy.yaml"
        self.policy.write_text(POLICY.replace("REVISION", "1"))
        self.socket = folder / "control.sock"
        self.events_file = events
        self.manager = Manager(folder)
        self.log = (folder / "run.log").open("a")
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        """Start it, and wait until it decides. Raises OSError where it does not."""
        words = [sys.executable, "-m", "conduitfw", "run", str(self.policy), "--json", "--bridge", BRIDGE]
        words += ["--socket", str(self.socket), "--events", str(self.events_file), *self.options]
        words, given = self.manager.command(words)
        self.process = self._network.start(FIREWALL, words, stderr=self.log, pass_fds=given)
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise OSError(f"the firewall did not start: {Path(self.log.name).read_text().strip()[-2000:]}")

    def ask(self, command: str, **words: Any) -> dict[str, Any]:
        """One request to the control process; asked again where it is being replaced. Raises TimeoutError."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.settimeout(30)
                    connection.connect(str(self.socket))
                    connection.sendall(json.dumps({"command": command, **words}).encode() + b"\n")
                    with connection.makefile("rb") as lines:
                        line = lines.readline()
                if line:
                    answer = json.loads(line)
                    assert isinstance(answer, dict)
                    return answer
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer to {command}")
            time.sleep(0.01)

    def status(self) -> dict[str, Any]:
        """How it stands. Asked again while a new program takes over, when nobody knows. Raises TimeoutError."""
        deadline = time.monotonic() + 30
        while not (found := self.ask("status"))["ok"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no status: {found['error']}")
            time.sleep(0.05)
        assert isinstance(found["status"], dict)
        return found["status"]

    def serving(self) -> dict[str, Any]:
        """The worker that serves, as `status` tells it; waits for one. Raises TimeoutError."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            worker = self.status()["workers"][0]
            if worker["state"] == "serving":
                assert isinstance(worker, dict)
                return worker
            time.sleep(0.002)
        raise TimeoutError("no worker serves")

    def processes(self) -> list[int]:
        """The supervisor and its children."""
        supervisor = self.process.pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [supervisor, *map(int, children)]

    def resident(self) -> dict[str, int]:
        """Resident memory of each kind of process, in KB; the largest where there are several."""
        found: dict[str, int] = {}
        for pid in self.processes():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
            kind = {"cfw-worker": "worker", "cfw-control": "control"}.get(name)
            if kind is None and pid != self.process.pid:
                continue
            kind = kind or "supervisor"
            found[kind] = max(found.get(kind, 0), pages * 4)
        return found

    def kill(self) -> None:
        """Supervisor and all that belongs to it: as a crash of the service would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def end(self) -> None:
        """Stop it in the orderly way."""
        self.process.terminate()
        self.process.wait(20)
        self.manager.discard()

    def restart(self) -> None:
        """End it and start it again, as `systemctl restart` does. Raises OSError where it does not start."""
        self.process.terminate()
        self.process.wait(20)
        self.start()


@dataclass
class Bench:
    """All of it, running."""

    network: TwoZones
    folder: Path
    events: Path
    firewall: Firewall
    load: subprocess.Popen[str]
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    _read: dict[str, int] = field(default_factory=dict)
    _before: list[Figures] = field(default_factory=list)  # asked for, and not yet taken

    def take(self, order: str = "") -> Figures:
        """What came of the sessions since the last time. `order`: quiet or loud, for forbidden requests."""
        found = self._ask(order)
        for before in self._before:
            for name, each in before.items():
                for what, number in each.items():
                    now = found[name][what]
                    found[name][what] = max(now, number) if what == "gap" else now + number
        self._before.clear()
        return found

    def _ask(self, order: str = "") -> Figures:
        assert self.load.stdin is not None and self.load.stdout is not None
        self.load.stdin.write(f"{order}\n")
        self.load.stdin.flush()
        line = self.load.stdout.readline()
        if not line:
            raise OSError("the load has ended")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    def sent_again(self) -> int:
        """Times that TCP on either side waited for an acknowledgement in vain, so far."""
        total = 0
        for side in (SCADA, CELL):
            names, numbers = (
                line.split()
                for line in self.network.run(side, ["cat", "/proc/net/netstat"]).stdout.splitlines()
                if line.startswith("TcpExt:")
            )
            counts = dict(zip(names, numbers, strict=True))
            total += int(counts["TCPTimeouts"]) + int(counts["TCPLossProbes"])
        return total

    def forbidden(self) -> dict[str, int]:
        """By server: how many requests it executed since the last time that no rule names."""
        found = {}
        for name, allowed in ALLOWED.items():
            with (self.folder / f"{name}.record").open() as record:
                record.seek(self._read.get(name, 0))
                text = record.read()
                self._read[name] = record.tell()
            found[name] = sum(code not in allowed for code in text.split())
        return found

    def peers(self) -> list[int]:
        """Process ids of servers and clients."""
        return [self.load.pid, *(server.pid for server in self.servers)]

    def settle(self, seconds: float = 20.0) -> None:
        """Wait until every session is answered again. Raises TimeoutError with those that are not.

        What came meanwhile is in what `take` gives.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._before.append(self._ask())
            time.sleep(0.3)
            found = self._ask()
            self._before.append(found)
            silent = [name for name, each in found.items() if not each["answers"] and name != "attacker"]
            if not silent:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not answered: {', '.join(silent)}")


def _remove_leftovers() -> None:
    """File systems of runs whose process is no more."""
    for line in Path("/proc/mounts").read_text().splitlines():
        name, path = line.split()[:2]
        if name.startswith(_MOUNT) and not Path("/proc", name.removeprefix(_MOUNT)).exists():
            subprocess.run(["umount", "-l", path], check=False)
            shutil.rmtree(Path(path).parent, ignore_errors=True)


@contextmanager
def bench(
    sessions: Sequence[dict[str, Any]] = SESSIONS, patience: float = 3.0, options: Sequence[str] = ()
) -> Iterator[Bench]:
    """Everything up, under load, and gone at the end. The event log is on a small file system of its own.

    `patience`: seconds without an answer after which a session counts as lost. `options`: of `conduitfw run`.
    """
    with ExitStack() as stack:
        _remove_leftovers()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="conduitfw-chaos-")))
        log = folder / "log"
        log.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", f"{_MOUNT}{os.getpid()}", str(log)], check=True)
        stack.callback(lambda: subprocess.run(["umount", "-l", str(log)], check=True))
        network = stack.enter_context(TwoZones())
        crowd = [str(libmodbus_server(folder, "modbus_crowd")), PLC, "502", str(folder / "plc.record")]
        servers = [network.start(CELL, [*_ELSEWHERE, *crowd])]
        for port in ("20000", "20001"):  # an outstation has one master
            words = ["-m", "conduitfw.demo.servers", "dnp3", RTU, port, str(folder / "rtu.record")]
            servers.append(network.start(CELL, [*_ELSEWHERE, sys.executable, *words]))
        for server in servers:
            assert server.stdout is not None
            if server.stdout.readline().strip() != "ready":
                raise OSError("a server did not start")
        events = log / "events.jsonl"
        firewall = Firewall(network, folder, events, options)
        stack.callback(firewall.log.close)
        firewall.start()
        words = ["-m", "tests.chaos.load", json.dumps(sessions), str(patience)]
        load = network.start(SCADA, [*_ELSEWHERE, sys.executable, *words], stderr=firewall.log)
        yield (found := Bench(network, folder, events, firewall, load, servers))
        if found.firewall.process.poll() is None:
            found.firewall.end()
