"""The event log: JSON lines, one event each, in a bounded file. Runs in the control process.

Denials that repeat within a window are folded: the first is written at once, the others are counted
and told by one line when the window ends. A full, slow or missing disk loses events, which are
counted and told afterwards; it never raises.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from conduitfw.observe.ecs import document, repeated
from conduitfw.runtime.messages import EngineKind, EngineNotice, FlowNotice, Message

DEFAULT_PATH = "/var/log/conduitfw/events.jsonl"
WINDOW = 10.0  # seconds in which equal denials are folded
FOLDED_MAX = 4096  # kinds of denial that are remembered at a time
OWED = ".owed"  # behind the log's name: a file with the number of events that are neither written nor told as lost
FILE_MAX = 64 << 20  # bytes: then the file is moved to PATH.1, and what was there is gone

_OWED = struct.Struct("<Q")
_encode = msgspec.json.Encoder().encode


@dataclass
class _Folded:
    first: float
    last: FlowNotice
    count: int = 0  # beyond the first, which was written


class Folding:
    """Equal denials within a window become one. Bounded."""

    def __init__(self, window: float = WINDOW, limit: int = FOLDED_MAX) -> None:
        self._window = window
        self._limit = limit
        self._known: dict[tuple[object, ...], _Folded] = {}  # in order of their first

    def take(self, notice: FlowNotice) -> list[dict[str, Any]]:
        """The documents to write now: none where an equal denial was written within the window.

        The last one is this denial's; those before it stand for others (`conduitfw.repeated` says how many).
        """
        key = (
            notice.conduit,
            notice.client,
            notice.server,
            notice.server_port,
            notice.transport,
            notice.from_client,
            notice.protocol,
            notice.rule,
            notice.reason,
            notice.unit,
            notice.described.get("function"),
            notice.address,
            notice.action,
        )  # fmt: skip  (the client's port and the very values are left out: each new try has others)
        known = self._known.get(key)
        if known is not None and notice.time - known.first <= self._window:
            known.last = notice
            known.count += 1
            return []
        documents = []
        if known is not None:
            documents += self._close(key)
        elif len(self._known) >= self._limit:
            documents += self._close(next(iter(self._known)))
        self._known[key] = _Folded(notice.time, notice)
        return [*documents, document(notice)]

    def expire(self, now: float) -> list[dict[str, Any]]:
        """What stands for the windows that have ended by `now` (CLOCK_MONOTONIC)."""
        documents = []
        while self._known:
            key, folded = next(iter(self._known.items()))
            if now - folded.first <= self._window:
                break
            documents += self._close(key)
        return documents

    def _close(self, key: tuple[object, ...]) -> list[dict[str, Any]]:
        folded = self._known.pop(key)
        return [repeated(folded.last, folded.count, folded.first)] if folded.count else []


class EventLog:
    """The sink of the control process (runtime/messages.py, Sink)."""

    def __init__(self, path: str = DEFAULT_PATH, *, window: float = WINDOW, file_max: int = FILE_MAX) -> None:
        """`path`: a file, whose folder is made where it is missing, or "-" for standard output."""
        self._path = path
        self._file_max = file_max
        self._folding = Folding(window)
        self._descriptor = -1
        self._torn = False  # the last line was cut by a full disk
        self._written = self._unwritten = self._folded = 0
        self._lost = 0  # on their way here, as last told by `tick`
        self._lost_told = self._unwritten_told = 0  # of them the log speaks already
        self._settled = 0
        self._owed = -1  # descriptor
        self._owes = 0
        self._open()
        self._open_owed()

    # --- the sink ---------------------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Write one event, or count it among its equals."""
        if isinstance(message, FlowNotice) and message.kind in ("denied", "remark"):
            documents = self._folding.take(message)
            self._folded += not documents
        else:
            documents = [document(message)]
        for found in documents:
            self._write(found)

    def tick(self, lost: int) -> None:
        """Time has passed: end windows, tell losses, follow a file that was moved away."""
        self._lost = lost
        self._follow()
        for found in self._folding.expire(time.monotonic()):
            self._write(found)
        lost, unwritten = self._lost, self._unwritten
        missing = lost - self._lost_told + unwritten - self._unwritten_told
        if missing > 0:
            detail = {
                "lost": missing,
                "on_the_way": lost - self._lost_told,
                "unwritten": unwritten - self._unwritten_told,
            }
            if self._write(document(EngineNotice(EngineKind.EVENTS_LOST, time.monotonic(), detail)), counts=False):
                self._settled += unwritten - self._unwritten_told
                self._lost_told, self._unwritten_told = lost, unwritten

    def reopen(self) -> None:
        """Begin a new file where the old one was moved away (logrotate)."""
        if self._path != "-" and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._open()

    def close(self) -> None:
        """Write what is folded, and close."""
        for found in self._folding.expire(float("inf")):
            self._write(found)
        if self._path != "-" and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def figures(self) -> dict[str, int]:
        """Counters for `status`. `folded` are counted in other events; `unwritten` are lost."""
        return {"written": self._written, "folded": self._folded, "unwritten": self._unwritten}

    def owe(self, count: int) -> None:
        """Note beside the log how many events are neither written nor told as lost."""
        if count == self._owes or self._owed < 0:
            return
        with contextlib.suppress(OSError):
            os.pwrite(self._owed, _OWED.pack(count), 0)
            self._owes = count

    def owed(self) -> int:
        """What was noted there last: died with who noted it."""
        return self._owes

    @property
    def settled(self) -> int:
        """How many of the events that it took are written (also as repetitions), or told as lost."""
        return self._settled

    @property
    def losses_told(self) -> int:
        """How many of the events that were lost on their way here the log speaks of."""
        return self._lost_told

    # --- the file ---------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._path == "-":
            self._descriptor = sys.stdout.fileno()
            return
        with contextlib.suppress(OSError):  # tried again with every event
            os.makedirs(os.path.dirname(self._path) or ".", mode=0o750, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                self._descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                self._descriptor = os.open(self._path, flags)
            else:
                os.fchmod(self._descriptor, 0o640)  # the group reads events, whatever the service's umask

    def _open_owed(self) -> None:
        if self._path == "-":
            return
        with contextlib.suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._owed = os.open(self._path + OWED, flags, 0o640)
            found = os.pread(self._owed, _OWED.size, 0)
            if len(found) == _OWED.size:
                self._owes = _OWED.unpack(found)[0]
            else:  # its place on the disk is taken now: later the disk may be full
                os.pwrite(self._owed, _OWED.pack(0), 0)

    def _follow(self) -> None:
        """Reopen where the path leads elsewhere now; begin a new file where this one is long enough."""
        if self._path == "-" or self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            ours = os.fstat(self._descriptor)
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                self.reopen()
                return
            if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                self.reopen()
            elif ours.st_size >= self._file_max:
                os.replace(self._path, self._path + ".1")
                self.reopen()

    def _write(self, found: dict[str, Any], *, counts: bool = True) -> bool:
        events = found["conduitfw"].get("repeated", 1) if counts else 0
        line = (b"\n" if self._torn else b"") + _encode(found) + b"\n"
        if self._descriptor < 0:
            self._open()
        try:
            done = os.write(self._descriptor, line)
        except OSError:
            done = 0
        if done == len(line):
            self._torn = False
            self._written += counts
            self._settled += events
            return True
        if done:
            self._torn = True
        self._unwritten += events
        return False
