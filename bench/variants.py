"""What stands between the poller and the PLC: one bridge with two zones for each way, all standing at once.

Who is not measured waits in a system call, so the ways can be measured in turn, round by round, in one run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import programs
from bench.policies import CLIENT, PORT, SERVER
from conduitfw.demo.network import CELL, FIREWALL, SCADA, TwoZones
from conduitfw.demo.show import Firewall
from conduitfw.runtime import child

_QUEUE = 100
_CORES = sorted(os.sched_getaffinity(0))
_POLLING_CORE, _SERVING_CORE = str(_CORES[0]), str(_CORES[-1])
_CALL = "net.bridge.bridge-nf-call-iptables"


@dataclass
class Way:
    """One way between the zones, with its poller."""

    name: str
    network: TwoZones
    poller: subprocess.Popen[str]
    firewall: Firewall | None = None
    policy: Path = Path()
    queueing: int = 0  # the process that gives verdicts, where there is one
    answering: int = 0  # the process that answers the polls

    def ran(self) -> float:
        """Seconds of processor time of the process that gives verdicts, so far."""
        if self.firewall is not None and not self.queueing:
            self.queueing = self.firewall.status()["workers"][0]["pid"]
        return child.ran(self.queueing) if self.queueing else 0.0

    def measure(self, command: str) -> dict[str, Any]:
        """One command to the poller (ping.c), and its answer. Raises OSError where it has gone."""
        self.begin(command)
        return self.end()

    def trace(self, polls: int) -> list[tuple[float, float]]:
        """So many polls: when each began and how long it took (us, CLOCK_MONOTONIC)."""
        self.begin(f"trace {polls}")
        return [(began, took) for began, took in json.loads(self._line())]

    def begin(self, command: str) -> None:
        """Give the poller a command."""
        assert self.poller.stdin is not None
        self.poller.stdin.write(command + "\n")
        self.poller.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Wait for the poller's answer."""
        answer = json.loads(self._line())
        assert isinstance(answer, dict)
        return answer

    def _line(self) -> str:
        assert self.poller.stdout is not None
        line = self.poller.stdout.readline()
        if not line:
            raise OSError(f"{self.name}: the poller ended with {self.poller.wait()}")
        return line


class Ways:
    """Ways that stand until the end. A context manager."""

    def __init__(self, folder: Path) -> None:
        """`folder`: for policies, logs and sockets."""
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Ways:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def nothing(self, sessions: int) -> Way:
        """The bare bridge."""
        return self._finish("nothing queued", self._network(), sessions)

    def c_accepts_all(self, sessions: int) -> Way:
        """A C program on libnetfilter_queue that accepts everything."""
        return self._accepting("C accept-all", [str(programs.build("accept_all")), str(_QUEUE)], sessions)

    def c_accepts_all_behind(self, policy: str, sessions: int) -> Way:
        """The same C program behind the ruleset that the firewall would load for a policy (its text)."""
        network = self._network()
        path = self._folder / "ruleset.yaml"
        path.write_text(policy)
        words = [sys.executable, "-m", "bench.behind_ruleset", str(path), str(programs.build("accept_all"))]
        name = "C accept-all behind our ruleset"
        return self._served(name, network, words, sessions)

    def python_accepts_all(self, sessions: int) -> Way:
        """NetfilterQueue from Python, accepting everything."""
        words = [sys.executable, "-m", "bench.accept_all", str(_QUEUE)]
        return self._accepting("NetfilterQueue accept-all", words, sessions)

    def conduitfw(self, name: str, policy: str, sessions: int, *options: str, tree: Path | None = None) -> Way:
        """The firewall with a policy (its text). `options` of `conduitfw run`; `tree`: where the package is."""
        network = self._network()
        firewall, path = self._firewall(network, name, policy, *options, tree=tree)
        way = self._finish(name, network, sessions, firewall)
        way.policy = path
        return way

    def sharing(self, workers: int, policy: str, servers: Sequence[str], connections: int, tree: Path) -> list[Way]:
        """The firewall with so many workers, and a poller for each of `servers`, all at the same time."""
        network = self._network()
        for server in servers:
            network.run(CELL, ["ip", "address", "add", f"{server}/32", "dev", "eth0"])
            network.run(SCADA, ["ip", "route", "add", f"{server}/32", "dev", "eth0", "src", CLIENT])
        name = f"{workers} workers"
        firewall = self._firewall(network, name, policy, "--workers", str(workers), tree=tree)[0]
        ping = str(programs.build("ping"))
        ways = []
        for server in servers:
            _ready(network.start(CELL, [ping, "serve", server, str(PORT)], stderr=None), "the answering side")
            words = [ping, "poll", CLIENT, server, str(PORT), str(connections)]
            poller = _ready(network.start(SCADA, words, stderr=None), name)
            ways.append(Way(name, network, poller, firewall))
        return ways

    def _firewall(
        self, network: TwoZones, name: str, policy: str, *options: str, tree: Path | None
    ) -> tuple[Firewall, Path]:
        folder = self._folder / name.replace(" ", "-")
        folder.mkdir()
        path = folder / "policy.yaml"
        path.write_text(policy)
        with _running_from(tree):
            firewall = Firewall(network, folder, path, *options)
        self._stack.callback(firewall.command, "stop")
        return firewall, path

    def _network(self) -> TwoZones:
        return self._stack.enter_context(TwoZones())

    def _accepting(self, name: str, words: list[str], sessions: int) -> Way:
        """Everything of TCP to a queue, at the hook where the firewall has its rule (kernel/nft.py)."""
        network = self._network()
        network.sysctl(FIREWALL, _CALL, "1")
        rule = ["-I", "FORWARD", "1", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", str(_QUEUE)]
        network.run(FIREWALL, ["iptables-nft", "-t", "mangle", *rule])
        return self._served(name, network, words, sessions)

    def _served(self, name: str, network: TwoZones, words: list[str], sessions: int) -> Way:
        process = _ready(network.start(FIREWALL, words, stderr=None), name)
        way = self._finish(name, network, sessions)
        way.queueing = process.pid
        return way

    def _finish(self, name: str, network: TwoZones, sessions: int, firewall: Firewall | None = None) -> Way:
        ping = str(programs.build("ping"))
        # Both sides keep to a core of their own: else the scheduler puts them on one now and then, and half of the
        # round trips cost a third of the others, with and without anything between them.
        serve = ["taskset", "-c", _SERVING_CORE, ping, "serve", SERVER, str(PORT)]
        answering = _ready(network.start(CELL, serve, stderr=None), "the answering side").pid
        words = ["taskset", "-c", _POLLING_CORE, ping, "poll", CLIENT, SERVER, str(PORT), str(sessions)]
        poller = _ready(network.start(SCADA, words, stderr=None), name)
        return Way(name, network, poller, firewall, answering=answering)


@contextmanager
def _running_from(tree: Path | None) -> Iterator[None]:
    """Programs that start meanwhile take the package from `tree`, and not from the current folder."""
    names = ("PYTHONPATH", "PYTHONSAFEPATH")
    before = {name: os.environ.get(name) for name in names}
    if tree is not None:
        os.environ.update(PYTHONPATH=str(tree), PYTHONSAFEPATH="1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ready(process: subprocess.Popen[str], name: str) -> subprocess.Popen[str]:
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise OSError(f"{name} did not start")
    return process
