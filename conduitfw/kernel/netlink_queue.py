"""The queue: netlink messages of nfnetlink_queue, read and answered here, without a library between.

One transport for a queue that this program binds and for one that an earlier program has bound (DESIGN.md, 2): its
socket is all that counts, the kernel goes by the socket's port id. Every process that shares it can read and answer, so
no message asks for an acknowledgement once the queue is shared: whoever reads packets would have to read it.

Packets are taken in bursts, of what waits already; verdicts go to the kernel a few in one message. What is decided
and not sent, TOGETHER at most, is lost with a process that dies, as if it were lost on the wire behind it.

The same file runs as it is and compiled (CONTRIBUTING.md); compiled, a burst is one recvmmsg, and a packet makes no
object but its octets. Formats: linux/netfilter/nfnetlink.h, nfnetlink_queue.h. GSO is not asked for: packets come
as they would go on the wire, with checksums.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_COMPILED = not __file__.endswith(".py")
TRANSPORT = (
    "netlink, compiled: packets by recvmmsg" if _COMPILED else "netlink, plain Python: a receive for each packet"
)
_LITTLE = sys.byteorder == "little"

_NETLINK_NETFILTER, _SOL_NETLINK, _SO_RCVBUFFORCE = 12, 270, 33
_QUEUE_SUBSYSTEM = 3  # NFNL_SUBSYS_QUEUE
_PACKET = _QUEUE_SUBSYSTEM << 8  # NFQNL_MSG_PACKET
_VERDICT = _QUEUE_SUBSYSTEM << 8 | 1
_CONFIG = _QUEUE_SUBSYSTEM << 8 | 2
_VERDICT_BATCH = _QUEUE_SUBSYSTEM << 8 | 3
_ERROR = 2  # NLMSG_ERROR
_REQUEST, _ACKNOWLEDGE = 1, 4  # NLM_F_REQUEST, NLM_F_ACK
_DROP, _ACCEPT = 0, 1  # NF_DROP, NF_ACCEPT
# NFQA_*: of a packet (2: of a verdict, its header) ...
_PACKET_HEADER, _MARK, _INDEV, _PHYSINDEV, _HWADDR, _PAYLOAD = 1, 3, 5, 7, 9, 10
_VERDICT_HEADER = 2
_TYPE_MASK = 0x3FFF
# ... and NFQA_CFG_*: of the configuration.
_CFG_COMMAND, _CFG_PARAMETERS, _CFG_LENGTH, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_BIND = 1  # NFQNL_CFG_CMD_BIND
_COPY_PACKET = 2  # NFQNL_COPY_PACKET
_FAIL_OPEN = 1  # NFQA_CFG_F_FAIL_OPEN
_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct(">I")
_TWO = struct.Struct(">II")
_TIMEVAL = struct.Struct("@ll")  # socket(7), SO_RCVTIMEO
_FAMILY_HEAD = 20  # octets of nlmsghdr and nfgenmsg, in front of the attributes
_ANSWER = 40  # octets of a verdict that carries no packet, at most
# The parts of one.
_DROP_HEAD, _ACCEPT_HEAD = (_MESSAGE.pack(size, _VERDICT, _REQUEST, 0, 0) for size in (_ANSWER - 8, _ANSWER))
_VERDICT_HEAD, _MARK_HEAD = _ATTRIBUTE.pack(12, _VERDICT_HEADER), _ATTRIBUTE.pack(8, _MARK)
_FIGURES = Path("/proc/net/netfilter/nfnetlink_queue")

# Packets that may wait: what comes while a worker is replaced. More would only make everybody late in a flood.
LENGTH = 2048
BUDGET = 64  # packets decided in one go: then the other queue has its turn, and time-outs and orders
BURST = 16  # packets that are taken at once
# Verdicts that go together, the first of a burst alone. More would cost less, but who gets the packets works on another
# core meanwhile: with all of a burst together, fewer polls a second got through (bench/README.md).
TOGETHER = 2
# Seconds: how late is what comes where nothing is expected, in the quiet and under a stream of packets.
ASIDE, ASIDE_UNDER_WAY = 0.012, 0.001
_BUDGET, _BURST, _TOGETHER, _ASIDE_UNDER_WAY = BUDGET, BURST, TOGETHER, ASIDE_UNDER_WAY  # the compiler's own
COPY_RANGE = 9216  # octets of a packet that are handed over: jumbo frames are no longer
SOCKET_BYTES = 8 * 1024 * 1024
_ROOM = COPY_RANGE + 384  # for one message of the kernel: the packet, and less than 300 octets about it
_OUT = 64 * 1024  # for verdicts, of which a few carry a packet: within what a socket sends at once by default


class Packet:
    """One packet that the kernel waits for a verdict on: give it one, and then keep it no longer.

    payload: the IP packet; mark: the packet mark; ifindex: the port it came in by (through br_netfilter the bridge's
    port is `physindev`, else `indev`); mac: the sender's MAC address, b"" where there is none.
    """

    def __init__(self, queue: NetlinkQueue) -> None:
        """`queue`: that it waits in."""
        self._queue = queue
        self.number = 0
        self.mark = self.ifindex = 0
        self.mac = self.payload = b""

    def accept(self, mark: int, payload: bytes | None = None) -> None:
        """Let it go on with this mark, with other octets where given."""
        if payload is None:
            self._queue.answer(self.number, _ACCEPT, mark)
        else:
            self._queue.answer_changed(self.number, mark, payload)

    def drop(self) -> None:
        """Do away with it."""
        self._queue.answer(self.number, _DROP, -1)

    def flush(self) -> None:
        """Have the verdicts so far carried out: what is sent after this comes behind them."""
        self._queue.flush()


class NetlinkQueue:
    """One NFQUEUE, bound for as long as any process holds its socket."""

    def __init__(self, number: int, *, fail_open: bool, descriptor: int | None = None) -> None:
        """Bind queue `number`, or take the socket that an earlier program has bound it by.

        `fail_open`: what finds no room passes. Raises OSError where somebody else has it.
        """
        self.number = number
        # Decides a packet. Whoever serves sets it; the supervisor reads no packets.
        self.take: Callable[[Packet], object] = _nobody
        self._packet = Packet(self)
        self._head = struct.pack(">BBH", socket.AF_UNSPEC, 0, number)
        # A burst as it came, and verdicts that wait to be sent. Compiled, one piece of memory each, used again and
        # again: private, and not there before somebody writes to it.
        self._messages: list[bytes] = []
        self._verdicts: list[bytes] = []
        self._into = mmap.mmap(-1, _BURST * _ROOM, mmap.MAP_PRIVATE)
        self._out = mmap.mmap(-1, _OUT, mmap.MAP_PRIVATE)
        self._used = 0
        if descriptor is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
            self._socket.bind((0, 0))
        else:
            self._socket = socket.socket(fileno=descriptor)
            self._socket.set_inheritable(False)
        self._descriptor = self._socket.fileno()
        try:
            self._configure(fail_open=fail_open, bind=descriptor is None)
        except OSError as error:
            self._socket.close()
            holder = ": another process has it" if _line(number) is not None else f": {error.strerror}"
            raise OSError(f"queue {number} cannot be bound{holder}") from None

    # --- the socket -----------------------------------------------------------------------------------

    def _configure(self, *, fail_open: bool, bind: bool) -> None:
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, SOCKET_BYTES)
        flags = _NUMBER.pack(_FAIL_OPEN if fail_open else 0)
        settings = [
            (_CFG_PARAMETERS, struct.pack(">IB", COPY_RANGE, _COPY_PACKET)),
            (_CFG_LENGTH, _NUMBER.pack(LENGTH)),
            (_CFG_MASK, _NUMBER.pack(_FAIL_OPEN)),
            (_CFG_FLAGS, flags),
        ]
        if not bind:
            self._tell(_CONFIG, settings)
            return
        self._tell(_CONFIG, [(_CFG_COMMAND, struct.pack(">BBH", _BIND, 0, socket.AF_UNSPEC))], _ACKNOWLEDGE)
        self._acknowledged()
        self._tell(_CONFIG, settings, _ACKNOWLEDGE)
        self._acknowledged()

    def _acknowledged(self) -> None:
        """Nobody else reads yet. Raises OSError where the kernel refuses; a packet that comes before it is dropped."""
        while True:
            data = self._socket.recv(_ROOM)
            size, kind = _MESSAGE.unpack_from(data)[:2]
            if kind == _ERROR and size >= _MESSAGE.size + 4:
                code = -int(struct.unpack_from("=i", data, _MESSAGE.size)[0])
                if code:
                    raise OSError(code, os.strerror(code))
                return
            if kind == _PACKET:
                self._read(data, 0, len(data))
                self.flush()

    def _tell(self, kind: int, attributes: list[tuple[int, bytes]], flags: int = 0) -> None:
        """Send the kernel a message about this queue."""
        self._socket.send(self._message(kind, attributes, flags))

    def _message(self, kind: int, attributes: list[tuple[int, bytes]], flags: int = 0) -> bytes:
        parts = [self._head]
        for number, value in attributes:
            parts += (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number), value, bytes(-len(value) % 4))
        body = b"".join(parts)
        return _MESSAGE.pack(_MESSAGE.size + len(body), kind, _REQUEST | flags, 0, 0) + body

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._descriptor

    def hand_over(self) -> int:
        """A descriptor that outlives an exec: the queue stays bound as long as it is open."""
        self._socket.set_inheritable(True)
        return self._descriptor

    def let_go(self) -> None:
        """Hold it no longer in this process; others do."""
        self._socket.close()

    def drop_undecided(self) -> None:
        """Drop what a predecessor had received and not decided: all before the first packet still in the socket."""
        first = self._first_waiting()
        if first is None:
            last = self.last_number()
            again = self._first_waiting()
            first = last + 1 if again is None else again
        if first > 1:
            self._tell(_VERDICT_BATCH, [(_VERDICT_HEADER, _TWO.pack(_DROP, first - 1))])

    def last_number(self) -> int:
        """The packet id of the packet that came last."""
        line = _line(self.number)
        return line[7] if line else 0

    def _first_waiting(self) -> int | None:
        """The packet id of the first packet in the socket. What stands in front of it is no packet, and goes."""
        while True:
            try:
                data = self._socket.recv(512, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            if len(data) >= 32 and _MESSAGE.unpack_from(data)[1] == _PACKET:
                size, kind = _ATTRIBUTE.unpack_from(data, _FAMILY_HEAD)
                if kind == _PACKET_HEADER and size >= 8:
                    return int(_NUMBER.unpack_from(data, _FAMILY_HEAD + 4)[0])
            self._socket.recv(512, socket.MSG_DONTWAIT)

    # --- packets in -----------------------------------------------------------------------------------

    def wait_at_most(self, seconds: float) -> None:
        """How long `service` waits where it is told to. The kernel counts in ticks of its clock (4 ms, mostly)."""
        whole = int(seconds)
        limit = _TIMEVAL.pack(whole, int((seconds - whole) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def service(self, wait: bool = False) -> int:
        """Have decided what has arrived, up to BUDGET packets, and gives how many. `wait`: for the first of them."""
        done = 0
        while done < _BUDGET:
            count = self._receive(wait and done == 0)
            for place in range(count):
                if _COMPILED:
                    self._read(self._into, place * _ROOM, place * _ROOM + self._sizes[place])  # type: ignore
                else:
                    self._read(self._messages[place], 0, len(self._messages[place]))
                if place % _TOGETHER == 0:
                    self.flush()
            self.flush()
            done += count
            if count < _BURST:  # there was no more a moment ago
                break
        return done

    def _receive(self, wait: bool) -> int:
        """Take what waits, up to BURST messages; gives how many. The kernel counts what found no room."""
        if _COMPILED:
            count: int = receive_burst(self._descriptor, self._into, _ROOM, self._sizes, wait)  # type: ignore # noqa: F821
            return count
        messages = self._messages
        messages.clear()
        while len(messages) < _BURST:
            try:
                messages.append(self._socket.recv(_ROOM, 0 if wait and not messages else socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # told once
                    raise
        return len(messages)

    def _read(self, data: bytes, at: int, end: int) -> None:
        """Have every packet decided that stands in `data` from `at` to `end`: one, as kernels go."""
        while at + _FAMILY_HEAD <= end:
            if _COMPILED:
                size, kind = _half(data, at) | _half(data, at + 2) << 16, _half(data, at + 4)
                if not _LITTLE:
                    size = size >> 16 | (size & 0xFFFF) << 16
            else:
                size, kind = _MESSAGE.unpack_from(data, at)[:2]
            if size < _FAMILY_HEAD:
                break
            if kind == _PACKET:
                self._read_packet(data, at + _FAMILY_HEAD, min(at + size, end))
            at += size + 3 & ~3

    def _read_packet(self, data: bytes, at: int, end: int) -> None:
        """One packet, by its attributes."""
        packet = self._packet
        packet.number = packet.mark = packet.ifindex = 0
        packet.mac = packet.payload = b""
        indev = 0
        while at + 4 <= end:
            if _COMPILED:
                size, kind = _half(data, at), _half(data, at + 2) & _TYPE_MASK
            else:
                size, kind = _ATTRIBUTE.unpack_from(data, at)
                kind &= _TYPE_MASK
            if size < 4 or at + size > end:
                break
            if kind == _PAYLOAD:
                if _COMPILED:
                    packet.payload = octets(data, at + 4, at + size)  # type: ignore # noqa: F821
                else:
                    packet.payload = data[at + 4 : at + size]
            elif kind == _HWADDR:
                if size >= 14:
                    length = min(data[at + 4] << 8 | data[at + 5], 6)
                    if _COMPILED:
                        packet.mac = octets(data, at + 8, at + 8 + length)  # type: ignore # noqa: F821
                    else:
                        packet.mac = data[at + 8 : at + 8 + length]
            elif size < 8:
                pass
            elif kind == _PACKET_HEADER:
                packet.number = _word(data, at + 4)
            elif kind == _MARK:
                packet.mark = _word(data, at + 4)
            elif kind == _PHYSINDEV:
                packet.ifindex = _word(data, at + 4)
            elif kind == _INDEV:
                indev = _word(data, at + 4)
            at += size + 3 & ~3
        if packet.ifindex == 0:
            packet.ifindex = indev
        self.take(packet)

    # --- verdicts out ---------------------------------------------------------------------------------

    def answer(self, number: int, verdict: int, mark: int) -> None:
        """The verdict on a packet, with a mark that is not negative; it goes with the next `flush`."""
        if self._used + _ANSWER > _OUT:
            self.flush()
        if not _COMPILED:
            self._used += _ANSWER
            if mark < 0:
                self._verdicts += (_DROP_HEAD, self._head, _VERDICT_HEAD, _TWO.pack(verdict, number))
            else:
                self._verdicts += (_ACCEPT_HEAD, self._head, _VERDICT_HEAD, _TWO.pack(verdict, number))
                self._verdicts += (_MARK_HEAD, _NUMBER.pack(mark))
            return
        self._used = put_verdict(self._out, self._used, self.number, number, verdict, mark)  # type: ignore # noqa: F821

    def answer_changed(self, number: int, mark: int, payload: bytes) -> None:
        """Let a packet go on with other octets."""
        message = self._message(
            _VERDICT,
            [(_VERDICT_HEADER, _TWO.pack(_ACCEPT, number)), (_MARK, _NUMBER.pack(mark)), (_PAYLOAD, payload)],
        )
        if self._used + len(message) > _OUT:
            self.flush()
        if not _COMPILED:
            self._used += len(message)
            self._verdicts.append(message)
            return
        self._used = put_octets(self._out, self._used, message)  # type: ignore # noqa: F821

    def flush(self) -> None:
        """Send the verdicts so far; they are carried out when this returns."""
        if not self._used:
            return
        size, self._used = self._used, 0
        if _COMPILED:
            send_buffer(self._descriptor, self._out, size)  # type: ignore # noqa: F821
        else:
            self._socket.send(b"".join(self._verdicts))
            self._verdicts.clear()


def message_of(number: int, packet: bytes, port: int = 1) -> bytes:
    """What the kernel writes for an IPv4 packet that came in by a bridge's port, through br_netfilter."""
    attributes = (
        (_PACKET_HEADER, struct.pack(">IHB", number, 0x0800, 2)),
        (_MARK, _NUMBER.pack(0)),
        (_INDEV, _NUMBER.pack(9)),
        (_PHYSINDEV, _NUMBER.pack(port)),
        (_HWADDR, struct.pack(">H2x6s2x", 6, bytes((2, 0, 0, 0, 0, port)))),
        (_PAYLOAD, packet),
    )
    body = bytes((socket.AF_INET, 0, 0, 0)) + b"".join(
        _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    return _MESSAGE.pack(_MESSAGE.size + len(body), _PACKET, 0, 0, 0) + body


class Waiter:
    """Has the packets of several queues decided as they come."""

    def __init__(
        self,
        queues: Sequence[NetlinkQueue],
        other: int,
        busy_poll: float = 0.0,
        alone: NetlinkQueue | None = None,
    ) -> None:
        """`other`: a descriptor of something else, to be told of.

        `busy_poll`: seconds for which the queues are asked again and again after a packet, before anybody sleeps.
        `alone`: of `queues` the one that all packets are expected in. It is waited on by receiving from it, a system
        call less for each packet than by asking all of them. The others and `other` are looked at every ASIDE
        seconds, under a stream of packets every ASIDE_UNDER_WAY.
        """
        self._busy_poll = busy_poll
        self._alone = alone
        self._looked = 0.0
        self._epoll = select.epoll()
        self._by_descriptor = {queue.fileno(): queue for queue in queues}
        for descriptor in (*self._by_descriptor, other):
            self._epoll.register(descriptor, select.EPOLLIN)
        self._other = other
        self._descriptor = self._epoll.fileno()
        if alone is not None:
            alone.wait_at_most(ASIDE)

    def serve(self, seconds: float) -> bool:
        """For so long, and at least once. True where `other` has something to read: then at once, or after ASIDE."""
        now = time.monotonic()
        until = now + seconds
        while True:
            served = self._look(until - now) if self._alone is None or now >= until else self._serve_alone()
            if served < 0:
                return True
            if served and self._busy_poll > 0:
                self._ask_again(until)
            now = time.monotonic()
            if now >= until:
                return False

    def _serve_alone(self) -> int:
        """What the one queue brings within ASIDE, and what there is of everything else; gives as `_look` does."""
        assert self._alone is not None
        served = self._alone.service(True)
        now = time.monotonic()
        if served and now - self._looked < _ASIDE_UNDER_WAY:
            return served
        self._looked = now
        return self._look(0)

    def _look(self, seconds: float) -> int:
        """What any of the queues brings within so long; gives how many did, -1 where `other` has something to read."""
        if _COMPILED:
            count = wait_on(self._descriptor, seconds, self._ready)  # type: ignore # noqa: F821
        else:
            found = self._epoll.poll(max(seconds, 0))
            count = len(found)
        for place in range(count):
            descriptor = self._ready[place] if _COMPILED else found[place][0]  # type: ignore
            if descriptor == self._other:
                return -1
            queue = self._by_descriptor[descriptor]
            queue.service()
        return int(count)

    def _ask_again(self, until: float) -> None:
        """Until no queue has had a packet for so long, but no longer than `until`: orders and time-outs wait."""
        now = time.monotonic()
        last = now
        while now < until and now - last < self._busy_poll:
            for queue in self._by_descriptor.values():
                if queue.service():
                    last = now
            now = time.monotonic()


def _half(data: bytes, at: int) -> int:
    """16 bits in the machine's order."""
    return data[at] | data[at + 1] << 8 if _LITTLE else data[at] << 8 | data[at + 1]


def _word(data: bytes, at: int) -> int:
    """32 bits in the network's order."""
    if not _COMPILED:
        return int(_NUMBER.unpack_from(data, at)[0])
    high = data[at] << 8 | data[at + 1]  # in two halves: a compiler's int has no room for four octets without a sign
    return high << 16 | (data[at + 2] << 8 | data[at + 3])


def _nobody(packet: Packet) -> None:
    packet.drop()


def _line(number: int) -> list[int] | None:
    """The kernel's figures of a queue (nfnetlink_queue.c, seq_show), or None where nobody has bound it."""
    try:
        file = os.open(_FIGURES, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    text = b""
    try:
        while more := os.read(file, 4096):  # not more: while a successor asks, packets wait
            text += more
    except OSError:
        return None
    finally:
        os.close(file)
    wanted = b"%d" % number
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == wanted:
            return [int(word) for word in words]
    return None
