"""A sign that whoever serves a place is dead, before its process is taken apart.

The kernel gives a dead process's memory back before it tells the parent: for one of our size that is much of the time
in which nobody serves. First of all it lets go of the robust futexes that the process held (set_robust_list(2); the
kernel's Documentation/locking/robust-futexes.rst), and none of its instructions runs any more by then: a successor may
begin. Where a machine is not in the table below there is no such sign, and the parent is told as ever.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import threading
from collections.abc import Callable

_NUMBERS = {"x86_64": (202, 273), "aarch64": (98, 99), "riscv64": (98, 99)}  # futex, set_robust_list
_WAITERS, _OWNER_DIED = 0x8000_0000, 0x4000_0000  # linux/futex.h
_WAIT = 0
SIZE = 4  # octets

_libc = ctypes.CDLL(None, use_errno=True)
_futex, _set_robust_list = _NUMBERS.get(platform.machine(), (None, None))


class _Robust(ctypes.Structure):
    """A robust_list_head with its one entry behind it."""

    _fields_ = (
        ("first", ctypes.c_void_p),
        ("offset", ctypes.c_long),  # of a word from its entry
        ("pending", ctypes.c_void_p),
        ("next", ctypes.c_void_p),  # of the entry: the head again
    )


# Of this process, which has one thread where it holds one. The kernel reads it when we die, so it is never given back.
_robust = _Robust()
_HEAD = ctypes.addressof(_robust)
_ENTRY = _HEAD + _Robust.next.offset
_robust.first = _robust.next = _HEAD


class Lifeline:
    """One word of memory that every process sees: the kernel marks it when the process that holds it dies."""

    def __init__(self, view: memoryview) -> None:
        """`view`: SIZE octets at a multiple of four."""
        self._word = ctypes.c_uint32.from_buffer(view)

    def hold(self) -> None:
        """From here on the kernel tells when this process dies. It holds no other."""
        if _set_robust_list is None:
            return
        # "Somebody waits" is always said: else the kernel would wake nobody.
        self._word.value = os.getpid() | _WAITERS
        _robust.offset = ctypes.addressof(self._word) - _ENTRY
        _robust.first = _ENTRY
        _libc.syscall(_set_robust_list, ctypes.byref(_robust), ctypes.c_size_t(_Robust.next.offset))

    def release(self) -> None:
        """Our death means nothing any more."""
        _robust.first = _HEAD
        self._word.value = 0

    def mend(self) -> None:
        """Whoever held it is gone: from here on a break means the next one."""
        self._word.value = 0

    @property
    def broken(self) -> bool:
        """Whether a process died holding it, since it was mended."""
        return bool(self._word.value & _OWNER_DIED)

    def watch(self, told: Callable[[], bool]) -> None:
        """Call it each time that the line breaks, until it gives False: from a thread, which does nothing else."""
        if _futex is not None:
            threading.Thread(target=self._watch, args=(told,), daemon=True).start()

    def _watch(self, told: Callable[[], bool]) -> None:
        while True:
            seen = ctypes.c_uint32(self._word.value)
            # It returns at once where the word has changed, and without the interpreter's lock it waits.
            failed = _libc.syscall(_futex, ctypes.byref(self._word), _WAIT, seen, None, None, 0)
            if failed and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
                return  # forbidden here, or not there: the parent is told as ever
            if self.broken and not told():
                return
