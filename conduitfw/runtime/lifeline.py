"""A sign that whoever serves a place is dead, before its process is taken apart.

The kernel gives a dead process's memory back before it tells the parent: for one of our size that is much of the time
in which nobody serves. First of all it lets go of the robust futexes that the process held (set_robust_list(2); the
kernel's Documentation/locking/robust-futexes.rst), and none of its instructions runs any more by then: a successor may
begin. Where a machine is not in the table below there is no such sign, and the parent is told as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading

from conduitfw.runtime import child

_NUMBERS = {"x86_64": (202, 273), "aarch64": (98, 99), "riscv64": (98, 99)}  # futex, set_robust_list
_WAITERS, _OWNER_DIED, _HOLDER = 0x8000_0000, 0x4000_0000, 0x3FFF_FFFF  # linux/futex.h
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


class Lifeline:
    """One word of memory that every process sees: the kernel marks it when the process that holds it dies."""

    def __init__(self, view: memoryview) -> None:
        """`view`: SIZE octets at a multiple of four."""
        self._word = ctypes.c_uint32.from_buffer(view)
        self._robust = _Robust()

    def hold(self) -> None:
        """From here on the kernel tells when this process dies. One lifeline for a process, which has one thread."""
        if _set_robust_list is None:
            return
        head = ctypes.addressof(self._robust)
        entry = head + _Robust.next.offset
        self._robust.first, self._robust.next = entry, head
        self._robust.offset = ctypes.addressof(self._word) - entry
        # "Somebody waits" is always said: else the kernel would wake nobody.
        self._word.value = os.getpid() | _WAITERS
        _libc.syscall(_set_robust_list, ctypes.byref(self._robust), ctypes.c_size_t(_Robust.next.offset))

    def release(self) -> None:
        """It is whole, and nobody holds it: who dies now means nothing by it."""
        self._word.value = 0

    @property
    def broken(self) -> bool:
        """Whether a process died holding it, since it was whole."""
        return bool(self._word.value & _OWNER_DIED)

    def watch(self, descriptor: int) -> None:
        """Write an octet there each time that it breaks: from a thread, which does nothing else, as long as we live."""
        if _futex is not None:
            threading.Thread(target=self._watch, args=(descriptor,), daemon=True).start()

    def _watch(self, descriptor: int) -> None:
        while True:
            seen = self._word.value
            # It returns at once where the word has changed, and without the interpreter's lock it waits.
            _libc.syscall(_futex, ctypes.byref(self._word), _WAIT, ctypes.c_uint32(seen), None, None, 0)
            if self.broken:
                # Its end would keep those from a core whom it should not keep waiting.
                child.make_way(seen & _HOLDER)
                with contextlib.suppress(BlockingIOError):  # full: it is read soon enough
                    os.write(descriptor, b"\0")
