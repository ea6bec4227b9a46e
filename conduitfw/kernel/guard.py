"""A second table, which nobody else can change: what was neither decided nor named goes nowhere.

The ruleset proper has to outlive this process, so whoever is root can flush or delete it. The guard is owned: the
kernel lets nobody but its owner change it, `nft flush ruleset` passes it by, and it goes when its owner ends (tried on
6.18; `flags owner` is there since 5.12). The owner is an `nft -i` that waits on a pipe of ours. While the ruleset is
gone, packets carry no mark of it, and the guard drops them (docs/decisions/0005-guard.md).
"""

from __future__ import annotations

import os
import subprocess

from conduitfw.kernel import marks
from conduitfw.kernel.sets import ports_of
from conduitfw.kernel.shape import Shape
from conduitfw.policy.model import Policy

_NAME = "conduitfw_guard"
_PRIORITY = 100  # behind the queue, in front of nobody's filter that matters: it only drops


def render(policy: Policy, shape: Shape, name: str = _NAME) -> list[str]:
    """Commands for `nft -i` that fill the guard anew: with nothing, where nothing is enforced."""
    table = f"{shape.family} {name}"
    if not any(conduit.mode == "enforce" for conduit in policy.conduits):
        return [f"add table {table} {{ flags owner; }}", f"flush table {table}"]
    passed = marks.VERDICT | marks.PASSED
    ours = marks.INSPECT | marks.CLOSED
    rules = [
        f"meta mark & {passed:#x} != 0 accept",
        f"meta mark & {ours:#x} == {marks.INSPECT:#x} accept",  # of a static conduit, without an engine
    ]
    if ports := ports_of(policy):
        names = ", ".join(f'"{port}"' for port in ports)
        rules.insert(0, f"iifname != {{ {names} }} oifname != {{ {names} }} accept")
    return [
        f"add table {table} {{ flags owner; }}",
        f"add chain {table} forward {{ type filter hook forward priority {_PRIORITY}; policy accept; }}",
        f"flush table {table}",
        f"add counter {table} unmarked",
        *(f"add rule {table} forward {rule}" for rule in rules),
        f"add rule {table} forward counter name unmarked drop",
    ]


class Guard:
    """The owner: a process of ours, which holds the table as long as it lives."""

    def __init__(self) -> None:
        # The name is this process's: a predecessor's table may take a moment to go.
        self.name = f"{_NAME}_{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: list[str] = []

    def stand(self, policy: Policy, shape: Shape) -> None:
        """Make the table fit the policy. Raises OSError where nft cannot be run."""
        commands = render(policy, shape, self.name)
        if commands != self._commands or not self.alive:
            self._commands = commands
            self._send()

    @property
    def alive(self) -> bool:
        """Whether the owner lives."""
        return self._process is not None and self._process.poll() is None

    def revive(self) -> bool:
        """Start the owner again where it has ended; gives whether it had. Raises OSError where that fails."""
        if self.alive or not self._commands:
            return False
        self._send()
        return True

    def end(self) -> None:
        """Let the table go."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _send(self) -> None:
        if not self.alive:
            self.end()
            path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
            self._process = subprocess.Popen(
                ["nft", "-i"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PATH": path},
                start_new_session=True,
            )
        assert self._process is not None and self._process.stdin is not None
        # One line is one transaction: there is no moment in which the table is empty.
        self._process.stdin.write("; ".join(self._commands).encode() + b"\n")
        self._process.stdin.flush()
