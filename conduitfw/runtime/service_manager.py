"""The few words that a service manager understands: sd_notify(3) over its datagram socket."""

from __future__ import annotations

import os
import socket
import time


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

    def reloading(self) -> None:
        """Say that a reload has begun; READY=1 ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tick(self, now: float) -> None:
        """Feed the watchdog, three times in its time. `now`: seconds of CLOCK_MONOTONIC."""
        if self._watchdog and now - self._last >= self._watchdog:
            self._last = now
            self.tell("WATCHDOG=1")
