"""Runs the demo: the zones, the peers, the firewall, every row, the latency, and the table."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, SCADA, TwoZones
from conduitfw.demo.rows import DNP3_PORT, HMI, MODBUS_PORT, PLC, ROWS, RTU, WEB_PORT, Row

POLICY = Path(__file__).with_name("policy.yaml")
_POLLS = 2000
_SETTLE = 0.3  # seconds: what would still reach the server after a denial has had the time
SERVERS = {"plc": ("modbus", PLC, MODBUS_PORT), "rtu": ("dnp3", RTU, DNP3_PORT), "web": ("tcp", PLC, WEB_PORT)}


@dataclass(frozen=True)
class Result:
    """What came of a row. `executed`: by the server's own record; `good`: all is as expected."""

    row: Row
    answered: bool
    detail: str
    executed: tuple[int, ...]
    good: bool
    why: str  # where it is not
    told: str = ""  # what the event of a denial said: its code, and what it was about


class Stage:
    """Zones, servers and one client that does what it is told."""

    def __init__(self, network: TwoZones, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self._client: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the peers; raises OSError where one does not come up."""
        for name, (kind, address, port) in SERVERS.items():
            words = [sys.executable, "-m", "conduitfw.demo.servers", kind, address, str(port), str(self.record(name))]
            server = self.network.start(CELL, words)
            assert server.stdout is not None
            if server.stdout.readline().strip() != "ready":
                raise OSError(f"the {kind} server did not start")
        self._client = self.network.start(SCADA, [sys.executable, "-m", "conduitfw.demo.clients"])

    def record(self, server: str) -> Path:
        """Where a server writes what it executes."""
        return self.folder / f"{server}.record"

    def executed(self, server: str) -> list[int]:
        """The function codes that a server has recorded."""
        path = self.record(server)
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have the client do something; raises OSError where it has gone."""
        client = self._client
        assert client is not None and client.stdin is not None and client.stdout is not None
        client.stdin.write(json.dumps(request) + "\n")
        client.stdin.flush()
        line = client.stdout.readline()
        if not line:
            raise OSError(f"the client ended at {request}")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


class Firewall:
    """`conduitfw run` in the namespace between the zones."""

    def __init__(self, network: TwoZones, folder: Path, policy: Path, *options: str, bridge: str = BRIDGE) -> None:
        """Start it; raises OSError with what it said where it does not come to enforce. `bridge` "": it finds out."""
        self._network = network
        self.socket = folder / "control.sock"
        self.events_file = folder / "events.json"
        self.log = folder / "run.log"
        words = [sys.executable, "-m", "conduitfw", "run", str(policy), "--json", *options]
        words += ["--bridge", bridge] if bridge else []
        words += ["--socket", str(self.socket), "--events", str(self.events_file)]
        with self.log.open("w") as log:
            self.process = network.start(FIREWALL, words, stderr=log)
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise OSError(f"the firewall did not start: {self.log.read_text().strip()}")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A subcommand of conduitfw beside it, to its end."""
        return self._network.run(
            FIREWALL, [sys.executable, "-m", "conduitfw", *words, "--socket", str(self.socket)], check=False
        )

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        found = json.loads(self.command("status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    def counter(self, name: str) -> int:
        """Packets that a counter of the kernel has seen."""
        return int(self.status()["kernel_counters"].get(name, {}).get("packets", 0))

    def events(self) -> list[dict[str, Any]]:
        """The event log so far."""
        if not self.events_file.exists():
            return []
        return [json.loads(line) for line in self.events_file.read_text().splitlines()]


def try_row(row: Row, stage: Stage, firewall: Firewall) -> Result:
    """Try one row, and compare what was seen at the client, at the server and in the events."""
    before = len(stage.executed(row.server))
    counted = firewall.counter(row.counter) if row.counter else 0
    told = len(firewall.events())
    answer = stage.ask(dict(row.request))
    time.sleep(_SETTLE)
    executed = tuple(stage.executed(row.server)[before:])
    problems = []
    if executed != row.executed:
        problems.append(f"the server executed {list(executed)} instead of {list(row.executed)}")
    if row.answered is not None and bool(answer["answered"]) != row.answered:
        problems.append("it was answered" if answer["answered"] else "it was not answered")
    if row.counter and firewall.counter(row.counter) <= counted:
        problems.append(f"the kernel's counter {row.counter} did not grow")
    denials = _denials(firewall.events()[told:])
    if row.denial and row.denial not in denials:
        problems.append(f"no event says {row.denial}")
    said = f"{row.denial}: {denials[row.denial]}" if denials.get(row.denial) else row.denial
    return Result(
        row, bool(answer["answered"]), str(answer["detail"]), executed, not problems, "; ".join(problems), said
    )


def _denials(events: list[dict[str, Any]]) -> dict[str, str]:
    """By the codes of the reasons, what each was about."""
    return {
        str(event["event"]["code"]): str(event["conduitfw"].get("detail", ""))
        for event in events
        if "code" in event["event"]
    }


@dataclass(frozen=True)
class Shown:
    """The whole demo. Latencies in microseconds: `p50` and `p99` of a read, without and with the firewall."""

    results: list[Result]
    without: dict[str, float]
    with_firewall: dict[str, float]

    @property
    def good(self) -> bool:
        """Whether every row is as expected."""
        return all(result.good for result in self.results)


@contextmanager
def staged(*, routed: bool = False) -> Iterator[Stage]:
    """Zones with peers in them, and nothing but a bridge (or a router) between."""
    with tempfile.TemporaryDirectory(prefix="conduitfw-demo-") as folder, TwoZones(routed=routed) as network:
        stage = Stage(network, Path(folder))
        stage.start()
        yield stage


def show(tell: Callable[[str], None]) -> Shown:
    """Run the demo. `tell` is given a line for each step. Raises OSError where it cannot be set up."""
    poll = {"kind": "latency", "source": HMI, "host": PLC, "port": MODBUS_PORT, "count": _POLLS}
    tell("two zones, a bridge, a Modbus server, a DNP3 outstation")
    with staged() as stage:
        tell(f"{_POLLS} polls over the bare bridge")
        without = stage.ask(dict(poll))
        tell("the firewall starts")
        firewall = Firewall(stage.network, stage.folder, POLICY)
        results = []
        for row in ROWS:
            tell(f"{row.by}: {row.tried}")
            results.append(try_row(row, stage, firewall))
        tell(f"{_POLLS} polls through the firewall")
        with_firewall = stage.ask(dict(poll))
        firewall.command("stop")
        return Shown(results, without, with_firewall)
