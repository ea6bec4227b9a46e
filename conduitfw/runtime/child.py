"""Forked children: they end with the supervisor, and leave without running a destructor.

A child that left by `sys.exit` would run the queue objects' destructors, which unbind the queues of
everybody (DESIGN.md, 2).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


def fork(name: str, main: Callable[[], None], orphaned: signal.Signals = signal.SIGKILL) -> int:
    """Fork a child that runs `main` and ends; gives its process id. `name`: at most 15 characters.

    The child is sent `orphaned` when its parent dies, and hears no signal that is meant for the supervisor: a
    terminal's Ctrl-C and a service manager's SIGTERM go to all, and it is the supervisor who ends its children.
    """
    parent = os.getpid()
    # What exists now is never garbage in the child, and its pages stay shared (it is never touched).
    gc.freeze()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, orphaned)
        _libc.prctl(_PR_SET_NAME, name.encode()[:15])
        if os.getppid() == parent:  # else it died before we asked to be told
            main()
        status = 0
    except BaseException:  # noqa: BLE001  (whatever it is, nothing may unwind into the supervisor's frames)
        traceback.print_exc()
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(status)


def ask(name: str, question: Callable[[], object]) -> Any:
    """What `question` gives, asked in a child of its own: what it read and made on the way is gone with the child.

    Raises OSError where the child ends before it has answered.
    """
    with os.fdopen(os.memfd_create(name), "w+b") as memory:

        def main() -> None:
            pickle.dump(question(), memory, pickle.HIGHEST_PROTOCOL)
            memory.flush()

        _, status = os.waitpid(fork(name, main), 0)
        if status:
            raise OSError(f"{name} ended by itself: {_in_words(status)}")
        memory.seek(0)
        return pickle.load(memory)  # noqa: S301  (written by our own child)


def reap(pid: int) -> str | None:
    """How the child ended, in words ("signal 9 (SIGKILL)", "exit 1"); None while it lives."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "gone"
    return _in_words(status) if found else None


def _in_words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal has no name
        return f"signal {-code}"


def ran(pid: int) -> float:
    """Seconds of processor time that it has had; 0 where the kernel does not say."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def runnable(pid: int) -> bool:
    """Whether it runs or waits for a processor: neither sleeps nor is stopped."""
    return _state(pid) == "R"


def is_alive(pid: int) -> bool:
    """Whether a process, ours or not, has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) not in ("Z", "X")


def _state(pid: int) -> str:
    """proc(5): R, S, T, Z ...; "" where the kernel does not say."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""


def make_way(pid: int) -> None:
    """Let a dead child, which the kernel takes apart, have a core only where nobody else wants it.

    Who is woken on the same core would wait behind it, milliseconds.
    """
    with contextlib.suppress(OSError):  # it is gone, or the service may not
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def kill(pid: int) -> None:
    """SIGKILL, also for one that is stopped. No error where it is gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
