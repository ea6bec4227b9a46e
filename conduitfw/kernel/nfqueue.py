"""The queue: a thin layer over NetfilterQueue, and the netlink messages that it has no call for.

NetfilterQueue 1.1.0 knows no queue flags and no batch verdicts. Both are sent as raw messages on its
socket: the kernel goes by the socket's port id, so this works from every process that shares it. No
message asks for an acknowledgement, which whoever reads packets would have to read.

Nor can it go on with a queue that another program has bound (kernel/inherited.py).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import netfilterqueue

_QUEUE_SUBSYSTEM = 3  # NFNL_SUBSYS_QUEUE (linux/netfilter/nfnetlink.h)
PACKET = _QUEUE_SUBSYSTEM << 8  # NFQNL_MSG_PACKET (linux/netfilter/nfnetlink_queue.h)
VERDICT = _QUEUE_SUBSYSTEM << 8 | 1
_CONFIG = _QUEUE_SUBSYSTEM << 8 | 2
_VERDICT_BATCH = _QUEUE_SUBSYSTEM << 8 | 3
_REQUEST = 1  # NLM_F_REQUEST
VERDICT_HEADER = 2  # NFQA_VERDICT_HDR
PACKET_HEADER = 1  # NFQA_PACKET_HDR
_CONFIG_MASK, _CONFIG_FLAGS = 4, 5  # NFQA_CFG_MASK, NFQA_CFG_FLAGS
_FAIL_OPEN = 1  # NFQA_CFG_F_FAIL_OPEN
DROP = 0  # NF_DROP
MESSAGE = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
_FIGURES = Path("/proc/net/netfilter/nfnetlink_queue")

# Packets that may wait: what comes while a worker is replaced. More would only make everybody late in a flood.
LENGTH = 2048
BUDGET = 64  # packets decided in one go: then the other queue has its turn, and time-outs and orders
SOCKET_BYTES = 8 * 1024 * 1024


class QueuedPacket:
    """One packet that the kernel waits for a verdict on."""

    __slots__ = ("_packet", "payload")

    def __init__(self, packet: netfilterqueue.Packet) -> None:
        self._packet = packet
        self.payload = packet.get_payload()

    @property
    def mark(self) -> int:
        """The packet mark."""
        return self._packet.mark

    @property
    def ifindex(self) -> int:
        """The port it came in by: through br_netfilter the bridge's port is `physindev`, else `indev`."""
        return self._packet.physindev or self._packet.indev

    @property
    def mac(self) -> bytes:
        """The sender's MAC address; b"" where there is none."""
        return (self._packet.get_hw() or b"")[:6]

    def accept(self, payload: bytes | None = None, mark: int | None = None) -> None:
        """Let it go on, with other bytes and another mark where given."""
        if mark is not None:
            self._packet.set_mark(mark)
        if payload is not None:
            self._packet.set_payload(payload)
        self._packet.accept()

    def drop(self) -> None:
        """Do away with it."""
        self._packet.drop()


class BoundSocket:
    """The netlink socket that a queue is bound by, whoever bound it."""

    def __init__(self, number: int, inner: socket.socket) -> None:
        self.number = number
        self._socket = inner

    def hand_over(self) -> int:
        """A descriptor that outlives an exec: the queue stays bound as long as it is open."""
        self._socket.set_inheritable(True)
        return self._socket.fileno()

    def let_go(self) -> None:
        """Hold it no longer in this process; others do."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, self._socket.fileno(), inheritable=False)
        os.close(null)

    def drop_undecided(self) -> None:
        """Drop what a predecessor had received and not decided: all before the first message still in the socket."""
        first = self._first_waiting()
        if first is None:
            line = _line(self.number)
            last = line[7] if line else 0
            again = self._first_waiting()
            first = last + 1 if again is None else again
        if first > 1:
            self.tell(_VERDICT_BATCH, (VERDICT_HEADER, struct.pack(">II", DROP, first - 1)))

    def _first_waiting(self) -> int | None:
        """The packet id of the first message in the socket."""
        try:
            data = self._socket.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, OSError):
            return None
        if len(data) < 32 or MESSAGE.unpack_from(data)[1] != PACKET:
            return None
        size, kind = ATTRIBUTE.unpack_from(data, 20)
        return int(struct.unpack_from(">I", data, 24)[0]) if kind == PACKET_HEADER and size >= 8 else None

    def tell(self, kind: int, *attributes: tuple[int, bytes]) -> None:
        """Send the kernel a message about this queue."""
        body = struct.pack(">BBH", socket.AF_UNSPEC, 0, self.number)
        for number, value in attributes:
            body += ATTRIBUTE.pack(ATTRIBUTE.size + len(value), number) + value + bytes(-len(value) % 4)
        self._socket.send(MESSAGE.pack(MESSAGE.size + len(body), kind, _REQUEST, 0, 0) + body)


class Queue(BoundSocket):
    """One NFQUEUE, bound for as long as any process holds its socket."""

    def __init__(self, number: int, take: Callable[[QueuedPacket], None], *, fail_open: bool) -> None:
        """Bind queue `number`. `fail_open`: what finds no room passes. Raises OSError where somebody else has it."""
        self._queue = netfilterqueue.NetfilterQueue()
        try:
            self._queue.bind(number, lambda packet: take(QueuedPacket(packet)), max_len=LENGTH, sock_len=SOCKET_BYTES)
        except OSError:
            holder = "" if _line(number) is None else ": another process has it"
            raise OSError(f"queue {number} cannot be bound{holder}") from None
        os.set_inheritable(self._queue.get_fd(), False)
        super().__init__(number, socket.socket(fileno=os.dup(self._queue.get_fd())))
        self._portion = _Portion(self._socket)
        if fail_open:
            flags = struct.pack(">I", _FAIL_OPEN)
            self.tell(_CONFIG, (_CONFIG_MASK, flags), (_CONFIG_FLAGS, flags))

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._queue.get_fd()

    def let_go(self) -> None:
        """Hold it no longer in this process; others do."""
        super().let_go()  # the library's own descriptor must not be closed, or its destructor might close another's
        os.dup2(self._socket.fileno(), self._queue.get_fd(), inheritable=False)

    def close(self) -> None:
        """Give the queue up in this process."""
        self._socket.close()
        self._queue.unbind()

    def service(self) -> None:
        """Have decided what has arrived, up to BUDGET packets."""
        self._portion.left = BUDGET
        self._queue.run_socket(cast(socket.socket, self._portion))  # it calls nothing but recv


class _Portion:
    """A socket that has no more after so many messages: the library would read until nothing comes any more."""

    def __init__(self, inner: socket.socket) -> None:
        self._receive = inner.recv
        self.left = 0

    def recv(self, size: int) -> bytes:
        """One message. Raises BlockingIOError where there is none, or enough."""
        if self.left <= 0:
            raise BlockingIOError(errno.EAGAIN, "enough")
        self.left -= 1
        return self._receive(size, socket.MSG_DONTWAIT)


def _line(number: int) -> list[int] | None:
    """The kernel's figures of a queue (nfnetlink_queue.c, seq_show), or None where nobody has bound it."""
    try:
        lines = _FIGURES.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        figures = [int(word) for word in line.split()]
        if figures and figures[0] == number:
            return figures
    return None
