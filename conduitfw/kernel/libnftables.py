"""nftables commands over a socket of ours: what makes a table that has an owner ours, not a program's.

The kernel knows the owner of a table by the netlink socket over which it was made (`flags owner`), and libnftables(3)
speaks over a socket that it opens itself. So ours is put in that one's place, under its number. It was tried with
1.0.6; the library does not bind its socket, so it takes answers that were addressed to ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket

_LIBRARY = "libnftables.so.1"  # of Debian's libnftables1, which the program `nft` is made of, too
_NETLINK_NETFILTER = 12


def open_owner() -> socket.socket:
    """A socket that can own tables. They go when its last descriptor is closed."""
    owner = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    owner.setblocking(False)  # as the library has its own: it reads until there is no more
    return owner


def load() -> ctypes.CDLL:
    """The library. Raises OSError where it is not there."""
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        raise OSError(f"{_LIBRARY} is not installed (Debian: libnftables1)") from None


def run(owner: socket.socket, commands: str) -> str:
    """Run commands as one transaction over `owner`; gives what the library says is wrong, "" where nothing is.

    For a process that is thrown away afterwards: the library ends the process where it lacks memory. Raises OSError
    where the library is not there, or not as we know it.
    """
    library = load()
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    number = os.dup(owner.fileno())
    os.close(number)  # the lowest that is free: what is opened next
    context = ctypes.c_void_p(library.nft_ctx_new(0))
    if not _is_netlink(number):
        raise OSError(f"{_LIBRARY} is a version that cannot be used: it does not begin by opening its netlink socket")
    with contextlib.suppress(BlockingIOError):
        while owner.recv(1 << 16):  # answers to one that died before it read them
            pass
    os.dup2(owner.fileno(), number)
    library.nft_ctx_buffer_error(context)
    if library.nft_run_cmd_from_buffer(context, commands.encode()) == 0:
        return ""
    said = library.nft_ctx_get_error_buffer(context).decode(errors="replace").strip().splitlines()
    return said[0] if said else "nftables refused it"


def _is_netlink(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            return copy.family == socket.AF_NETLINK
    except OSError:  # no socket
        return False
