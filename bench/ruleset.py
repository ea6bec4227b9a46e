"""`python -m bench.ruleset [--tree NAME=PATH]... [--rounds N]`: what the ruleset costs a packet, without a queue.

On the bridge between two zones, with one sender on one processor (blast.c): nanoseconds of its processor time for an
inspected segment, requests and answers, on the bare bridge and behind the ruleset of each tree for 10 and for 1,000
rules, in turn. A chain of ours stands in for the engine's verdicts, on the bare bridge as well. The quickest of many
short stretches is taken: what a packet costs where its rules are in the processor's caches.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import programs
from bench.policies import CLIENT, PORT, SERVER, policy
from conduitfw.demo.network import CELL, FIREWALL, SCADA, TwoZones
from conduitfw.kernel import marks

HERE = Path(__file__).resolve().parent
RULES = (10, 1000)
SEGMENTS, ROUNDS = 5000, 5
_TIMES = 20  # of blast.c
_CLIENTS_PORT = 40000
_BARE = "the bare bridge"
_VERDICTS = (
    "table bridge verdicts { chain forward { type filter hook forward priority 0; "
    f"meta protocol ip meta mark set meta mark | {marks.VERDICT:#x}; }}; }}"
)
_END = "table netdev end { chain end { type filter hook ingress device eth0 priority 0; tcp dport %s counter drop; }; }"
_DIRECTIONS = {
    "request": (SCADA, CELL, (CLIENT, SERVER, _CLIENTS_PORT, PORT)),
    "answer": (CELL, SCADA, (SERVER, CLIENT, PORT, _CLIENTS_PORT)),
}


class _Bridge:
    """One bridge with its two senders."""

    def __init__(self, stack: ExitStack, ruleset: str) -> None:
        self._network = stack.enter_context(TwoZones())
        self._network.sysctl(FIREWALL, "net.bridge.bridge-nf-call-iptables", "1")
        self._load(FIREWALL, _VERDICTS + "\n" + ruleset)
        self._senders = {}
        self._sent = 0
        self.took: dict[str, list[float]] = {name: [] for name in _DIRECTIONS}
        for name, (zone, other, words) in _DIRECTIONS.items():
            self._load(other, _END % words[3])
            mac = self._network.run(other, ["cat", "/sys/class/net/eth0/address"]).stdout.strip()
            command = ["taskset", "-c", str(max(os.sched_getaffinity(0))), str(programs.build("blast")), "eth0", mac]
            sender = self._network.start(zone, [*command, *map(str, words)], stderr=None)
            assert sender.stdout is not None
            if sender.stdout.readline().strip() != "ready":
                raise OSError("the sender did not start")
            self._senders[name] = sender
        self._before = {name: self._first(name) for name in _DIRECTIONS}

    def _load(self, zone: str, text: str) -> None:
        process = self._network.start(zone, ["nft", "-f", "-"], stderr=None)
        process.communicate(text, 60)
        if process.returncode:
            raise OSError("nft did not take the ruleset")

    def _first(self, name: str) -> int:
        """Until the kernel has noticed that the cables are plugged in, the bridge passes nothing. Raises OSError."""
        until = time.monotonic() + 10
        while not (arrived := self._arrived(name)):
            if time.monotonic() > until:
                raise OSError(f"no {name} arrives")
            self._send(name, 1)
            time.sleep(0.05)
        return arrived

    def measure(self, segments: int) -> None:
        """One round. Raises OSError where what was sent has not arrived."""
        self._sent += segments * _TIMES
        for name, took in self.took.items():
            took.append(self._send(name, segments))
            until = time.monotonic() + 2
            while (arrived := self._arrived(name) - self._before[name]) != self._sent:
                if time.monotonic() > until:  # the last ones may still be under way
                    raise OSError(f"{self._sent} were sent, and {arrived} {name}s arrived")
                time.sleep(0.01)

    def _send(self, name: str, segments: int) -> float:
        sender = self._senders[name]
        assert sender.stdin is not None and sender.stdout is not None
        sender.stdin.write(f"{segments}\n")
        sender.stdin.flush()
        return float(sender.stdout.readline())

    def _arrived(self, name: str) -> int:
        listed = self._network.run(_DIRECTIONS[name][1], ["nft", "list", "table", "netdev", "end"]).stdout
        return int(re.findall(r"packets (\d+)", listed)[0])


def _rendered(tree: Path, path: Path) -> str:
    """The ruleset that the package in `tree` makes of a policy, with marks: there is no queue here."""
    words = [sys.executable, "-m", "conduitfw", "nft", "--by-mark", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


def measure(trees: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Nanoseconds of a segment by way and direction; medians over the rounds. Raises OSError."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bridges = {_BARE: _Bridge(stack, "")}
        for rules in RULES:
            path = Path(folder) / f"{rules}.yaml"
            path.write_text(policy(rules))
            for name, tree in trees.items():
                bridges[f"{name}, {rules} rules"] = _Bridge(stack, _rendered(tree, path))
        for _ in range(rounds):
            for bridge in bridges.values():
                bridge.measure(SEGMENTS)
        return {
            way: {name: statistics.median(took) for name, took in bridge.took.items()}
            for way, bridge in bridges.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", action="append", metavar="NAME=PATH", help="trees to compare; by default this one")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    trees = dict(each.split("=", 1) for each in options.tree or [f"this tree={HERE.parent}"])
    found = measure({name: Path(path).resolve() for name, path in trees.items()}, options.rounds)
    for way, took in found.items():
        parts = [f"{name} {ns:5.0f} ns (+{ns - found[_BARE][name]:4.0f})" for name, ns in took.items()]
        print(f"{way:40s} " + "  ".join(parts))


if __name__ == "__main__":
    main()
