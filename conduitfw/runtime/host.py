"""The machine's kernel as the supervisor uses it: ruleset, queues, packets of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conduitfw.kernel import marks, nft, shut
from conduitfw.kernel.bridges import find_bridge, ports_of
from conduitfw.kernel.emit import BridgeEmitter, RouterEmitter
from conduitfw.kernel.guard import Guard, Owned
from conduitfw.kernel.netlink_queue import NetlinkQueue
from conduitfw.kernel.ruleset import BRIDGE, INET, Method, Ruleset, Shape, removal, render, without
from conduitfw.kernel.staging import Staging
from conduitfw.kernel.watch import Watch
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Policy
from conduitfw.runtime import child
from conduitfw.runtime.candidate import Trial
from conduitfw.runtime.hand import Transmitter

_LOADS = 3


class KernelHost:
    """A bridge or a router: as it is told, or as the first policy's interfaces say."""

    def __init__(
        self,
        bridge: str | None,
        queue_base: int = marks.DEFAULT_QUEUE_BASE,
        *,
        router: bool = False,
        management: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        """`bridge` None and not `router`: found out when the first policy is examined.

        `management`: the interfaces by which alone the machine itself may be spoken to; none: by any.
        """
        self._bridge = bridge
        self._found = router or bridge is not None
        self._queue_base = queue_base
        self._management = tuple(management)
        self._numbers = [
            number for worker in range(workers) for number in marks.queue_numbers(queue_base, worker)
        ]  # of each worker: closed, static
        self._workers = workers
        self._shape: Shape | None = None
        self._booted = False
        self._guard = Guard(child.ask)
        self._watch: Watch | None = None
        self._ruleset: tuple[Policy, bool, int, Ruleset] | None = None  # made to be installed, and of what
        self._held: frozenset[str] = frozenset()  # constant sets that stand in the kernel as they should
        self._there: frozenset[tuple[str, str]] = frozenset()  # all sets that we have brought
        self._staging: Staging | None = None

    @property
    def shape(self) -> Shape:
        """How this kernel takes the ruleset; found out once. Raises OSError where nft cannot be used."""
        if self._shape is None:
            found = nft.shape_of_host(BRIDGE if self._bridge else INET, self._queue_base)
            self._shape = replace(found, management=self._management, workers=self._workers)
        return self._shape

    def examine(self, paths: Sequence[str]) -> Trial:
        """Read and check a policy, and whether its ruleset is one; raises nothing."""
        loaded = load_policy([Path(path) for path in paths])
        problems = [
            {
                "severity": each.severity,
                "file": each.place.file,
                "line": each.place.line,
                "column": each.place.column,
                "message": f"{each.message}; {each.hint}" if each.hint else each.message,
            }
            for each in loaded.problems
        ]
        policy = loaded.policy
        if policy is None:
            return Trial(problems=problems)
        try:
            self.find_bridge(policy)
        except OSError as error:
            problems.append({"severity": "error", "message": str(error)})
            return Trial(problems=problems)
        problems += [{"severity": "warning", "message": message} for message in self._missing_ports(policy)]
        try:
            ruleset = Ruleset(policy, self.shape)
            # Packets wait for the kernel while it tries all of it: not before there is a ruleset that they pass by.
            for text in [ruleset.text()] if self._watch is None else ruleset.trials():
                nft.check(text)
            closed = render(policy, replace(self.shape, method=Method.NONE))
        except OSError as error:
            problems.append({"severity": "error", "message": f"the kernel's part of the policy is refused: {error}"})
            return Trial(problems=problems)
        return Trial(policy, problems, loaded.sources, closed)

    def find_bridge(self, policy: Policy) -> None:
        """The bridge that the policy's interfaces are ports of, where nothing has said yet. Raises OSError."""
        if not self._found:
            named = [interface for zone in policy.zones for interface in zone.interfaces]
            self._bridge, self._found = find_bridge(named), True

    def _missing_ports(self, policy: Policy) -> list[str]:
        """Interfaces that the policy names and the machine does not have where it should."""
        named = sorted({interface for zone in policy.zones for interface in zone.interfaces})
        if self._bridge is None:
            return [f"there is no interface {name}" for name in named if not Path("/sys/class/net", name).exists()]
        if not Path("/sys/class/net", self._bridge, "bridge").is_dir():
            return [f"{self._bridge} is not a bridge on this machine"]
        ports = ports_of(self._bridge)
        missing = [f"{name} is not a port of {self._bridge}" for name in named if name not in ports]
        unnamed = [name for name in ports if named and name not in named]
        return missing + [
            f"the policy names no zone for {name}, a port of {self._bridge}: it is shut" for name in unnamed
        ]

    def bind(self, held: Mapping[int, int]) -> Sequence[NetlinkQueue]:
        """Bind the queues: of each worker the closed conduits', then the static ones'.

        Raises OSError where somebody else holds one.

        `held`: descriptors of those that the program before this one has bound, by number.
        """
        for number, descriptor in held.items():
            if number not in self._numbers:
                os.close(descriptor)
        return [
            NetlinkQueue(number, fail_open=place % marks.QUEUES == marks.QUEUE_STATIC, descriptor=held.get(number))
            for place, number in enumerate(self._numbers)
        ]

    def stage(self, policy: Policy, *, static: bool, per_source: int = 0) -> Staging:
        """What `install` will ask for and takes long to bring: to be stepped by the caller before it installs.

        Where it is not, or something else was installed meanwhile, nothing is lost: `install` brings what is missing.
        """
        ruleset = self._made(policy, static, per_source)
        names = ruleset.large() - self._held
        self._staging = Staging(names, ruleset.pieces(names))
        self._there |= {each for each in ruleset.sets if each[1] in names}
        return self._staging

    def install(self, policy: Policy, *, static: bool, per_source: int = 0) -> None:
        """Load the ruleset in one transaction; raises OSError. `static`: no engine for fail-static conduits.

        `per_source`: packets per second that one source may have queued; 0: no limit.
        """
        if self._watch is None:
            self._watch = Watch(self.shape)
        ruleset = self._made(policy, static, per_source)
        held = self._held
        if self._staging is not None and self._staging.done:
            held |= self._staging.names
        # What is being staged for another ruleset is none of this one's, and goes.
        self._ruleset = self._staging = None
        for _ in range(_LOADS):  # until nobody else changes something at the same time
            # What somebody else may have touched is brought anew.
            self._load(ruleset, held & ruleset.constant if self._watch.begin() else frozenset())
            self._guard.stand(policy, self.shape)
            self._held, self._there = ruleset.constant, ruleset.sets
            if self._watch.remember():
                return
            held = self._held = frozenset()

    def _made(self, policy: Policy, static: bool, per_source: int) -> Ruleset:
        key = policy, static, per_source
        if self._ruleset is None or self._ruleset[:3] != key:
            self._ruleset = *key, Ruleset(policy, self.shape, static=static, per_source=per_source)
        return self._ruleset[3]

    def _load(self, ruleset: Ruleset, held: frozenset[str]) -> None:
        stale: Iterable[tuple[str, str]] = self._there - ruleset.sets
        if not held or not self._build_on(ruleset, held):
            self._held = frozenset()
            stale = nft.sets(self.shape.family) - ruleset.sets
            nft.install(ruleset.text(), self.shape)
        if stale:
            self._take_out(stale)
        if not self._booted:
            # What was shut at boot is the policy's now. Taking a base chain out drops what waits in every queue of the
            # machine: nothing does yet.
            nft.load(shut.removal())
            self._booted = True

    def _build_on(self, ruleset: Ruleset, held: frozenset[str]) -> bool:
        """Load it around what stands there; False where that is not what we think, and nothing was changed."""
        try:
            nft.install(ruleset.text(held), self.shape)
        except OSError:
            return False
        return True

    def _take_out(self, stale: Iterable[tuple[str, str]]) -> None:
        """What nobody asks for any more. What is not there as we think is not asked for either."""
        try:
            nft.load(without(self.shape.family, stale))
        except OSError:
            for each in stale:
                with contextlib.suppress(OSError):
                    nft.load(without(self.shape.family, [each]))

    def watched(self) -> int:
        """A descriptor: something to read there means that something has changed in nftables."""
        assert self._watch is not None
        return self._watch.fileno()

    def disturbance(self) -> tuple[str, str] | None:
        """What of ours somebody has changed, and who; None where all stands as it was loaded."""
        assert self._watch is not None
        who = self._watch.changed(self._staging.pids if self._staging is not None else ())
        if who is not None:
            self._staging = None  # no rule asks for that yet, so nobody would see whether it was touched
        if who is None and (self.shape.method is Method.STATEMENT or not self._bridge or nft.calls_on()):
            return None
        what = self._watch.wrong()
        return (what, who or "a sysctl") if what else None

    def restore(self, policy: Policy, *, static: bool, per_source: int = 0) -> None:
        """Load it again over whatever somebody has made of it; raises OSError."""
        try:
            self.install(policy, static=static, per_source=per_source)
        except OSError:  # a chain of our name that is another's: it goes, and what waits in the queues with it
            nft.load(removal(self.shape.family))
            self.install(policy, static=static, per_source=per_source)

    def remove(self) -> None:
        """Take out everything that `install` brought."""
        self._guard.end()
        nft.remove(self.shape)

    def hand_over(self) -> Owned:
        """The guard, for the program that takes this one's place."""
        return self._guard.hand_over()

    def adopt(self, guard: Owned) -> None:
        """Take it, before anything is installed."""
        self._guard.adopt(guard)

    def close(self) -> None:
        """Let go of what only a living supervisor holds; in a child of it, of the child's share. The ruleset stays."""
        self._guard.end()

    def transmitter(self) -> Transmitter:
        """What sends packets of our own."""
        return BridgeEmitter() if self._bridge else RouterEmitter()

    def describe(self) -> dict[str, Any]:
        """Where it stands, for `status`."""
        return {
            "where": f"bridge {self._bridge}" if self._bridge else "router",
            "queues": self._numbers,
            "method": self.shape.method.value,
            "tracking": self.shape.tracking,
        }

    def counters(self) -> dict[str, dict[str, int]]:
        """The ruleset's counters: name -> packets and bytes. Asks nft: nothing for a process that must be on time."""
        return nft.counters(self.shape.family, self._guard.name)
