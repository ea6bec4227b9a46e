"""A sign that whoever serves a place is dead, before its process is taken apart.

The kernel gives a dead process's memory back before it tells the parent: for one of our size that is much of the time
in which nobody serves. First of all it lets go of the robust futexes that the process held (set_robust_list(2); the
kernel's Documentation/locking/robust-futexes.rst), and none of its instructions runs any more by then: a successor may
begin. Where a machine is not in the table below there is no such sign, and the parent is told as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import threading
from collections.abc import Callable

_NUMBERS = {"x86_64": (202, 273), "aarch64": (98, 99), "riscv64": (98, 99)}  # futex, set_robust_list
_WAITERS, _OWNER_DIED = 0x8000_0000, 0x4000_0000  # linux/futex.h
_WAIT = 0
# The kernel wakes one thread for each. The second stands where there was only one before: programs of both kinds go on
# from each other (handover.LAYOUT).
_WORDS = 2
_WORD = 8  # octets from one to the next, as from one entry of the list to the next
SIZE = _WORDS * _WORD  # octets

_libc = ctypes.CDLL(None, use_errno=True)
_futex, _set_robust_list = _NUMBERS.get(platform.machine(), (None, None))


class _Robust(ctypes.Structure):
    """A robust_list_head with its entries behind it."""

    _fields_ = (
        ("first", ctypes.c_void_p),
        ("offset", ctypes.c_long),  # of a word from its entry
        ("pending", ctypes.c_void_p),
        ("next", ctypes.c_void_p * _WORDS),  # of each entry; of the last one the head again
    )


# Of this process, which has one thread where it holds one. The kernel reads it when we die, so it is never given back.
_robust = _Robust()
_HEAD = ctypes.addressof(_robust)
_ENTRY = _HEAD + _Robust.next.offset
_robust.first = _HEAD
for _each in range(_WORDS):
    _robust.next[_each] = _ENTRY + (_each + 1) * _WORD if _each < _WORDS - 1 else _HEAD


class Lifeline:
    """Words of memory that every process sees: the kernel marks them when the process that holds it dies."""

    def __init__(self, view: memoryview) -> None:
        """`view`: SIZE octets at a multiple of eight."""
        self._words = [ctypes.c_uint32.from_buffer(view, at) for at in range(0, SIZE, _WORD)]
        self._telling = threading.Lock()
        self._told = False  # of the break that there is
        self._enough = False

    def hold(self) -> None:
        """From here on the kernel tells when this process dies. It holds no other."""
        if _set_robust_list is None:
            return
        # "Somebody waits" is always said: else the kernel would wake nobody.
        self._set(os.getpid() | _WAITERS)
        _robust.offset = ctypes.addressof(self._words[0]) - _ENTRY
        _robust.first = _ENTRY
        _libc.syscall(_set_robust_list, ctypes.byref(_robust), ctypes.c_size_t(_Robust.next.offset))

    def release(self) -> None:
        """Our death means nothing any more."""
        _robust.first = _HEAD
        self._set(0)

    def mend(self) -> None:
        """Whoever held it is gone: from here on a break means the next one."""
        self._set(0)
        self._told = False

    def _set(self, value: int) -> None:
        for word in self._words:
            word.value = value

    @property
    def broken(self) -> bool:
        """Whether a process died holding it, since it was mended."""
        return any(word.value & _OWNER_DIED for word in self._words)

    def watch(self, told: Callable[[], bool]) -> None:
        """Call it once for each time that the line breaks, until it gives False: from a thread that does nothing else.

        There are two such threads, on a processor each, and the first to wake up calls: the kernel takes the dead
        process apart without letting go of its processor, and who has to wait for that one is late.
        """
        if _futex is None:
            return
        processors = sorted(os.sched_getaffinity(0))
        for word, processor in zip(self._words, {processors[0], processors[-1]}, strict=False):
            threading.Thread(target=self._watch, args=(word, processor, told), daemon=True).start()

    def _watch(self, word: ctypes.c_uint32, processor: int, told: Callable[[], bool]) -> None:
        with contextlib.suppress(OSError):  # the service may not: it is woken where the kernel likes
            os.sched_setaffinity(0, {processor})
        while not self._enough:
            seen = ctypes.c_uint32(word.value)
            # It returns at once where the word has changed, and without the interpreter's lock it waits.
            failed = _libc.syscall(_futex, ctypes.byref(word), _WAIT, seen, None, None, 0)
            if failed and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
                return  # forbidden here, or not there: the parent is told as ever
            with self._telling:
                if self.broken and not self._told:
                    self._told = True
                    self._enough = not told()
