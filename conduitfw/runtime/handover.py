"""A new program in the place of the running one, with no session reset and no packet lost.

The supervisor runs the new program by exec: process, children and descriptors stay. Workers of the old program go on
deciding until the new one's are prepared, and then leave their places to them, as in a reload. What the new program
needs is told in one environment variable: descriptors of the queues' sockets, of the shared memories, of the sockets
between processes; process ids. Where the memories' layout is another one, sessions are taken up as after a cold start.

Where the service manager restarts the service, the old program has ended before the new one begins. It leaves
queues, memories and the guard with the manager when its workers have left, and packets wait in the queues meanwhile. It
does not know whether it is a restart: if it was stopped for good, the manager closes them, and each conduit is as its
`fail` says. Nothing is left there while the program runs, so that a queue is nobody's when it crashes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from conduitfw.kernel.guard import Owned
from conduitfw.runtime import child
from conduitfw.runtime.service_manager import ServiceManager

VARIABLE = "CONDUITFW_HANDOVER"
_DESCRIPTION, _QUEUE, _MEMORY, _GUARD = (
    "handover",
    "queue-",
    "memory-",
    "guard",
)  # names of what the service manager keeps
LAYOUT = 1  # of slots and ledger (flow.py has a version of its own); to be raised with any change of them
CHECK_WITHIN = 60.0  # seconds for the new program to check the policy


class Serving(msgspec.Struct, frozen=True):
    """A worker of the old program that serves a place."""

    place: int
    pid: int
    orders: int  # descriptor
    restarts: int


class Handover(msgspec.Struct, frozen=True):
    """What the old program leaves. Numbers are descriptors, but for `pid`, `layout` and those that end in `pid`."""

    pid: int
    layout: int
    version: str
    queues: dict[int, int]  # by the queue's number
    memories: dict[str, int]
    owned: Owned = Owned()  # the guard
    # Nothing of this outlives a restart of the service.
    listener: int = -1
    notices: tuple[int, int] = (-1, -1)  # workers' end, control's end
    members: list[Serving] = []
    spare_pid: int = 0
    control_pid: int = 0
    guard: tuple[int, int] = (0, -1)  # of a program whose guard was a process's: its id, a pipe to it


def leave(handover: Handover) -> None:
    """Become the new program. Does not return; raises OSError where it cannot be run."""
    for descriptor in (
        *handover.queues.values(),
        *handover.memories.values(),
        handover.listener,
        *handover.notices,
        *(member.orders for member in handover.members),
        handover.owned.descriptor,
    ):
        if descriptor >= 0:
            os.set_inheritable(descriptor, True)
    os.environ[VARIABLE] = msgspec.json.encode(handover).decode()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (ourselves, as we were started)
    finally:
        del os.environ[VARIABLE]


def inherited() -> Handover | None:
    """What an old program left for this one, once; None where there was none."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    found = msgspec.json.decode(text, type=Handover)
    if found.pid != os.getpid():
        return None
    for descriptor in (*found.queues.values(), *found.memories.values(), found.listener, *found.notices):
        os.set_inheritable(descriptor, False)
    if found.owned.descriptor >= 0:
        os.set_inheritable(found.owned.descriptor, False)
    _dismiss(*found.guard)
    for member in found.members:
        os.set_inheritable(member.orders, False)
    return found


def _dismiss(pid: int, pipe: int) -> None:
    """End a guard that ours cannot go on with: its table has the name that ours will have."""
    if pid:
        child.kill(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        os.close(pipe)


def deposit(handover: Handover, manager: ServiceManager) -> None:
    """Leave queues, memories and the guard with the service manager."""
    description = os.memfd_create(f"conduitfw-{_DESCRIPTION}", os.MFD_CLOEXEC)
    os.write(description, msgspec.json.encode(handover))
    queues = {f"{_QUEUE}{number}": descriptor for number, descriptor in handover.queues.items()}
    memories = {f"{_MEMORY}{name}": descriptor for name, descriptor in handover.memories.items()}
    guard = {_GUARD: handover.owned.descriptor} if handover.owned.descriptor >= 0 else {}
    manager.keep({**queues, **memories, **guard, _DESCRIPTION: description})
    os.close(description)


def deposited(manager: ServiceManager) -> Handover | None:
    """What the program before this one left with the service manager, once; None where that is nothing, or not all."""
    kept = manager.kept()
    manager.forget(kept)
    description = kept.pop(_DESCRIPTION, -1)
    try:
        found = msgspec.json.decode(os.pread(description, 65536, 0), type=Handover)
        queues = {number: kept.pop(f"{_QUEUE}{number}") for number in found.queues}
        memories = {name: kept.pop(f"{_MEMORY}{name}") for name in found.memories}
        owned = msgspec.structs.replace(found.owned, descriptor=kept.pop(_GUARD, -1))
    except (OSError, KeyError, msgspec.DecodeError):
        found = None
    for descriptor in (description, *kept.values()):
        if descriptor >= 0:
            os.close(descriptor)
    if found is None:
        return None
    return msgspec.structs.replace(found, pid=os.getpid(), queues=queues, memories=memories, owned=owned)


@dataclass
class TakingUp:
    """How far the taking up of an older program's place is."""

    version: str  # the older one's
    exchanging: bool = False


class Memory:
    """Shared memory that can be handed over: zeroed, or what the old program left where that fits."""

    def __init__(self, name: str, size: int, descriptor: int | None = None) -> None:
        """`descriptor`: of the old program's."""
        self.fits = descriptor is not None and os.fstat(descriptor).st_size == size
        if descriptor is not None and not self.fits:
            os.close(descriptor)
            descriptor = None
        if descriptor is None:
            descriptor = os.memfd_create(f"conduitfw-{name}", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self.map = mmap.mmap(descriptor, size, mmap.MAP_SHARED)


class Check:
    """The new program checks the policy, in a process of its own, before anything is given up."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Start it. Raises OSError where it cannot be run, or this one was not started as `conduitfw run`."""
        words = sys.orig_argv[1:]
        if "run" not in words:
            raise OSError("this program was not started as `conduitfw run`")
        words = [*words[: words.index("run")], "check", *paths]
        self._process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def result(self) -> str | None:
        """Why not, "" where the new program takes the policy; None while it checks."""
        code = self._process.poll()
        if code is None:
            return None
        assert self._process.stderr is not None
        said = self._process.stderr.read(4096).decode(errors="replace").strip().splitlines()
        self._process.stderr.close()
        return "" if code == 0 else f"the new program does not take the policy: {said[-1] if said else f'exit {code}'}"


def adopted(descriptor: int) -> socket.socket:
    """A socket of the old program."""
    made = socket.socket(fileno=descriptor)
    with contextlib.suppress(OSError):
        made.setblocking(False)
    return made
