"""A second table, which nobody else can change: what was neither decided nor named goes nowhere.

The ruleset proper has to outlive this process, so whoever is root can flush or delete it. The guard is owned: the
kernel lets nobody but its owner change it, `nft flush ruleset` passes it by, and it goes when its owner ends (tried on
6.18; `flags owner` is there since 5.12). The owner is an `nft -i` that waits on a pipe of ours. While the ruleset is
gone, packets carry no mark of it, and the guard drops them (docs/decisions/0005-guard.md).
"""

from __future__ import annotations

import os
import signal

from conduitfw.kernel import marks, nft
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
        self._pid = 0
        self._pipe = -1
        self._commands: list[str] = []

    def stand(self, policy: Policy, shape: Shape) -> None:
        """Make the table fit the policy. Raises OSError where nft cannot be run."""
        commands = render(policy, shape, self.name)
        if commands != self._commands or not self._alive():
            self._commands = commands
            self._send()

    def revive(self) -> bool:
        """Start the owner again where it has ended; gives whether it had. Raises OSError where that fails."""
        if not self._commands or self._alive():
            return False
        self._send()
        return True

    def end(self) -> None:
        """Let the table go."""
        if self._alive():
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self._pid = 0
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def hand_over(self) -> tuple[int, int]:
        """The owner's process id and the pipe's descriptor, for the program that takes this one's place."""
        return self._pid, self._pipe

    def adopt(self, pid: int, pipe: int) -> None:
        """Take them."""
        if pid:
            self._pid, self._pipe = pid, pipe
            os.set_inheritable(pipe, False)

    def _alive(self) -> bool:
        if not self._pid:
            return False
        try:
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                return True
        except ChildProcessError:
            pass
        self._pid = 0
        return False

    def _send(self) -> None:
        if not self._alive():
            self.end()
            theirs, self._pipe = os.pipe()
            path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
            null = os.open(os.devnull, os.O_RDWR)
            try:
                self._pid = os.posix_spawnp(
                    "nft",
                    ["nft", "-i"],
                    {**os.environ, "PATH": path},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, theirs, 0),
                        (os.POSIX_SPAWN_DUP2, null, 1),
                        (os.POSIX_SPAWN_DUP2, null, 2),
                    ],
                    setsid=True,
                    setsigmask=[],
                    setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
                )
                nft.own.append(self._pid)
            finally:
                os.close(theirs)
                os.close(null)
        # One line is one transaction: there is no moment in which the table is empty.
        line = "; ".join(self._commands).encode() + b"\n"
        while line:
            line = line[os.write(self._pipe, line) :]
