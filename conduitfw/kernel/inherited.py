"""A queue that an earlier program has bound: its socket is here, and the library cannot take it (DESIGN.md, 6).

So the messages are read and the verdicts written here, in a few lines (linux/netfilter/nfnetlink_queue.h). It takes
about 3 us a packet more than the library does, and only from an upgrade to the next cold start.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from conduitfw.kernel.nfqueue import (
    ATTRIBUTE,
    BUDGET,
    DROP,
    MESSAGE,
    PACKET,
    PACKET_HEADER,
    VERDICT,
    VERDICT_HEADER,
    BoundSocket,
)

_ACCEPT = 1  # NF_ACCEPT
_MARK, _INDEV, _PHYSINDEV, _HWADDR, _PAYLOAD = 3, 5, 7, 9, 10  # NFQA_*
_TYPE_MASK = 0x3FFF
_NUMBER = struct.Struct(">I")
_TWO = struct.Struct(">II")
_LONGEST = 65536 + 1024


class InheritedPacket:
    """One packet that the kernel waits for a verdict on."""

    __slots__ = ("_id", "_queue", "ifindex", "mac", "mark", "payload")

    def __init__(self, queue: BoundSocket, data: bytes, at: int, end: int) -> None:
        """`data` from `at` to `end`: the attributes of a message."""
        self._queue = queue
        self._id = self.mark = self.ifindex = 0
        self.mac = self.payload = b""
        indev = 0
        while at + 4 <= end:
            size, kind = ATTRIBUTE.unpack_from(data, at)
            if size < 4:
                break
            kind &= _TYPE_MASK
            if kind == _PAYLOAD:
                self.payload = data[at + 4 : at + size]
            elif kind == PACKET_HEADER:
                self._id = _NUMBER.unpack_from(data, at + 4)[0]
            elif kind == _MARK:
                self.mark = _NUMBER.unpack_from(data, at + 4)[0]
            elif kind == _PHYSINDEV:
                self.ifindex = _NUMBER.unpack_from(data, at + 4)[0]
            elif kind == _INDEV:
                indev = _NUMBER.unpack_from(data, at + 4)[0]
            elif kind == _HWADDR:
                length = int.from_bytes(data[at + 4 : at + 6], "big")
                self.mac = data[at + 8 : at + 8 + min(length, 6)]
            at += size + 3 & ~3
        self.ifindex = self.ifindex or indev

    def accept(self, payload: bytes | None = None, mark: int | None = None) -> None:
        """Let it go on, with other bytes and another mark where given."""
        attributes = [(VERDICT_HEADER, _TWO.pack(_ACCEPT, self._id))]
        if mark is not None:
            attributes.append((_MARK, _NUMBER.pack(mark)))
        if payload is not None:
            attributes.append((_PAYLOAD, payload))
        self._queue.tell(VERDICT, *attributes)

    def drop(self) -> None:
        """Do away with it."""
        self._queue.tell(VERDICT, (VERDICT_HEADER, _TWO.pack(DROP, self._id)))


class InheritedQueue(BoundSocket):
    """One NFQUEUE, bound by the program that this one replaces."""

    def __init__(self, number: int, descriptor: int, take: Callable[[InheritedPacket], None]) -> None:
        """`descriptor`: of the netlink socket that holds queue `number`."""
        super().__init__(number, socket.socket(fileno=descriptor))
        self._socket.set_inheritable(False)
        self._take = take

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the queue up in this process."""
        self._socket.close()

    def service(self) -> None:
        """Have decided what has arrived, up to BUDGET packets."""
        for _ in range(BUDGET):
            try:
                data = self._socket.recv(_LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # the kernel has dropped some, and counts them
                    continue
                raise
            at = 0
            while at + MESSAGE.size + 4 <= len(data):
                size, kind = MESSAGE.unpack_from(data, at)[:2]
                if size < MESSAGE.size:
                    break
                if kind == PACKET:
                    self._take(InheritedPacket(self, data, at + MESSAGE.size + 4, at + size))
                at += size + 3 & ~3
