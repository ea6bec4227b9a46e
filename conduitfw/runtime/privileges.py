"""Giving rights up: a worker parses hostile bytes, so it keeps what the kernel asks of it and nothing else.

Sending a verdict needs CAP_NET_ADMIN in the network namespace. Everything else (queues, shared memory, the sockets for
packets of its own) was opened before.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import signal
import struct

NET_ADMIN = 12  # linux/capability.h
DAC_OVERRIDE = 1
_LAST = 63
_VERSION_3 = 0x2008_0522
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 8, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
USER = "conduitfw"
NOBODY = 65534
_libc = ctypes.CDLL(None, use_errno=True)


def keep_only(*capabilities: int, become_nobody: bool = False, orphaned: signal.Signals = signal.SIGKILL) -> None:
    """Keep these capabilities (those of them that there are), for this process and what it may ever run.

    With `become_nobody`, user 0 becomes the user conduitfw, or nobody where there is none. Raises OSError where a right
    could not be given up. `orphaned`: what it is sent when its parent dies, as for child.fork.
    """
    parent = os.getppid()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    wanted = sum(1 << each for each in capabilities) & _permitted()
    for each in range(_LAST + 1):
        with contextlib.suppress(OSError):  # without CAP_SETPCAP, or one that this kernel does not know
            _prctl(_PR_CAPBSET_DROP, each)
    if become_nobody and os.geteuid() == 0:
        _become(wanted)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _set(wanted)
    # A change of user makes the kernel forget what we are sent when our parent dies.
    _prctl(_PR_SET_PDEATHSIG, orphaned)
    if os.getppid() != parent:
        os._exit(1)


def start_nothing() -> None:
    """Run no program and fork no child, from here on: without CAP_SYS_RESOURCE it cannot be taken back.

    Where the service's system-call filter forbids to set limits, the service has a limit of its own.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _become(wanted: int) -> None:
    try:
        found = pwd.getpwnam(USER)
        uid, gid = found.pw_uid, found.pw_gid
    except KeyError:
        uid = gid = NOBODY
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.setresuid(uid, uid, uid)
    except PermissionError:  # user 0 without CAP_SETUID: it keeps its number, and has no more rights than another
        return
    _set(wanted)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


_HEADER = struct.pack("=Ii", _VERSION_3, 0)


def _permitted() -> int:
    """This process's permitted capabilities, as bits."""
    data = ctypes.create_string_buffer(24)
    if _libc.capget(ctypes.create_string_buffer(_HEADER), data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    words = struct.unpack("=6I", data.raw)
    return int(words[1] | words[4] << 32)


def _set(bits: int) -> None:
    """Make these the effective and permitted capabilities, and none inheritable."""
    low, high = bits & 0xFFFF_FFFF, bits >> 32
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0), 24)
    if _libc.capset(ctypes.create_string_buffer(_HEADER), data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
