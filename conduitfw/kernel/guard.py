"""A second table, which nobody else can change: what was neither decided nor named goes nowhere.

The ruleset proper has to outlive this process, so whoever is root can flush or delete it. The guard is owned: the
kernel lets nobody but its owner change it, `nft flush ruleset` passes it by, and it goes when its owner ends (tried on
6.18; `flags owner` is there since 5.12). The owner is a socket of ours. While the ruleset is gone, packets carry no
mark of it, and the guard drops them (docs/decisions/0005-guard.md).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from conduitfw.kernel import libnftables, marks, nft
from conduitfw.kernel.sets import ports_of
from conduitfw.kernel.shape import Shape
from conduitfw.policy.model import Policy

_NAME = "conduitfw_guard"
_PRIORITY = 100  # behind the queue, in front of nobody's filter that matters: it only drops


class Owned(msgspec.Struct, frozen=True):
    """A guard's table, and the descriptor of the socket that owns it; -1: there is none."""

    family: str = ""
    name: str = ""
    descriptor: int = -1


def render(policy: Policy, shape: Shape, name: str = _NAME) -> list[str]:
    """Commands that fill the guard anew: with nothing, where nothing is enforced."""
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
    """The owner's socket, and what stands over it."""

    def __init__(self, ask: Callable[[str, Callable[[], object]], Any]) -> None:
        """`ask`: gives what a question gives, asked in a process of its own (runtime/child.py)."""
        self._ask = ask
        # The name is this process's: a predecessor's table may take a moment to go.
        self.name = f"{_NAME}_{os.getpid()}"
        self._family = ""
        self._owner: socket.socket | None = None
        self._commands: list[str] = []

    def stand(self, policy: Policy, shape: Shape) -> None:
        """Make the table fit the policy. Raises OSError with what nftables says where that fails."""
        commands = render(policy, shape, self.name)
        if commands == self._commands and self._owner is not None:
            return
        if shape.family != self._family:
            self.end()
            self._family = shape.family
        owner = self._owner = self._owner or libnftables.open_owner()
        # One line is one transaction: there is no moment in which the table is empty.
        line = "; ".join(commands)
        pid, refusal = self._ask("cfw-guard", lambda: _change(owner, line))
        nft.own.append(pid)
        if refusal:
            raise OSError(f"the guard's table is refused: {refusal}")
        self._commands = commands

    def end(self) -> None:
        """Let the table go, if no other process has the socket: with its chain goes what waits in every queue."""
        if self._owner is not None:
            self._owner.close()
        self._owner = None
        self._commands = []

    def hand_over(self) -> Owned:
        """What the program needs that takes this one's place."""
        return Owned(self._family, self.name, self._owner.fileno() if self._owner is not None else -1)

    def adopt(self, owned: Owned) -> None:
        """Take it. What stands is taken for another policy's."""
        if owned.descriptor >= 0:
            self._family, self.name = owned.family, owned.name
            self._owner = socket.socket(fileno=owned.descriptor)
            self._owner.setblocking(False)


def _change(owner: socket.socket, line: str) -> tuple[int, str]:
    """Who changed it, and what was refused."""
    try:
        return os.getpid(), libnftables.run(owner, line)
    except OSError as error:
        return os.getpid(), str(error)
