"""Sockets in a zone, held by the test itself: so that a session can be left in any state."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from conduitfw.demo.network import PACE

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)
Made = TypeVar("Made")


def enter(namespace: str) -> None:
    """This thread goes into a network namespace. Raises OSError."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(descriptor, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def inside(namespace: str, make: Callable[[], Made]) -> Made:
    """What `make` gives when it is called in a network namespace. Sockets stay in the one they were made in."""
    found: list[Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            enter(namespace)
            found.append(make())
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def connection(namespace: str, source: str, host: str, port: int) -> socket.socket:
    """A connection from a zone."""
    made = inside(namespace, lambda: socket.create_connection((host, port), 5, source_address=(source, 0)))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def listener(namespace: str, host: str, port: int) -> socket.socket:
    """A listening socket in a zone."""

    def make() -> socket.socket:
        made = socket.create_server((host, port), backlog=64)
        made.settimeout(5)
        return made

    return inside(namespace, make)


def exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer where the other side ends."""
    data = b""
    while len(data) < count and (more := end.recv(count - len(data))):
        data += more
    return data


def until(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What it gives as soon as that is something."""
    end = time.monotonic() + seconds * PACE
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds * PACE} s"
        time.sleep(0.1)
    return found
