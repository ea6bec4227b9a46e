"""The few words that a service manager understands: sd_notify(3) over its datagram socket.

It also keeps descriptors over a restart, and gives them to the next start (sd_pid_notify_with_fds(3),
sd_listen_fds(3)); when the service is stopped for good, it closes them.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence

_FIRST = 3  # of the descriptors that are given to a start (SD_LISTEN_FDS_START)
_TAKES = 1.0  # seconds for the manager to take what is left with it


class ServiceManager:
    """Tells systemd how it goes; does nothing where nobody asked to be told."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._watchdog = 0.0
        self._last = 0.0
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            microseconds = os.environ.get("WATCHDOG_USEC", "")
            self._watchdog = int(microseconds) / 1e6 / 3 if microseconds.isdigit() else 0.0

    def tell(self, *assignments: str) -> None:
        """Send assignments such as "READY=1". A manager that does not listen is none of our worry."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return

    @property
    def keeps(self) -> bool:
        """Whether there is a manager with whom something can be left."""
        return self._socket is not None

    def keep(self, named: Mapping[str, int]) -> bool:
        """Leave descriptors with the manager for the next start; gives whether it has them.

        `named`: by names of at most 255 characters, without a colon.
        """
        if self._socket is None:
            return False
        seen, end = os.pipe2(os.O_CLOEXEC)
        try:
            self._socket.settimeout(_TAKES)
            for name, descriptor in named.items():
                # Not polled: an overrun of a queue's socket is an error to read, and no reason to close it.
                self._send(("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0"), descriptor)
            self._send(("BARRIER=1",), end)
            os.close(end)
            end = -1
            hears = select.poll()
            hears.register(seen, 0)  # the other end was closed: it has read all before
            return bool(hears.poll(_TAKES * 1000))
        except OSError:
            return False
        finally:
            self._socket.setblocking(False)
            os.close(seen)
            if end >= 0:
                os.close(end)

    def _send(self, assignments: Sequence[str], descriptor: int) -> None:
        assert self._socket is not None
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._socket.sendmsg(["\n".join(assignments).encode()], rights, 0, self._address)

    @staticmethod
    def kept() -> dict[str, int]:
        """What was left with the manager for this start, once: descriptors by name. Empty where nothing was."""
        pid, count, names = (os.environ.pop(f"LISTEN_{each}", "") for each in ("PID", "FDS", "FDNAMES"))
        if pid != str(os.getpid()) or not count.isdigit():
            return {}
        found = {}
        for place, name in zip(range(int(count)), names.split(":"), strict=False):
            os.set_inheritable(_FIRST + place, False)
            found[name] = _FIRST + place
        return found

    def forget(self, names: Iterable[str]) -> None:
        """Have the manager close what it still keeps under these names."""
        for name in names:
            self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")

    def reloading(self) -> None:
        """Say that a reload has begun; READY=1 ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tick(self, now: float) -> None:
        """Feed the watchdog, three times in its time. `now`: seconds of CLOCK_MONOTONIC."""
        if self._watchdog and now - self._last >= self._watchdog:
            self._last = now
            self.tell("WATCHDOG=1")
