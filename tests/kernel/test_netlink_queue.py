"""The queue's transport: against a socket that speaks for the kernel, and against the kernel in a namespace."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduitfw.demo.network import FIREWALL, TwoZones
from conduitfw.kernel import netlink_queue
from conduitfw.kernel.netlink_queue import BUDGET, BURST, LENGTH, TOGETHER, NetlinkQueue, Packet, Waiter
from conduitfw.packet import build_udp, decode
from tests.system.hands import inside

QUEUE = 7
ACCEPTED, DROPPED = 1, 0


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(*attributes: bytes, kind: int = 0x300) -> bytes:
    body = struct.pack(">BBH", 2, 0, QUEUE) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def queued(number: int, payload: bytes = b"a packet", *more: bytes) -> bytes:
    return message(attribute(1, struct.pack(">IHBB", number, 0x800, 3, 0)[:7]), *more, attribute(10, payload))


def verdicts(data: bytes) -> list[tuple[int, int, int | None, bytes | None]]:
    """Of one buffer that went to the kernel: verdict, packet, mark, other octets."""
    found = []
    while data:
        size, kind, flags = struct.unpack_from("=IHH", data)
        assert (kind, flags, data[16:20]) == (0x301, 1, struct.pack(">BBH", 0, 0, QUEUE))
        at, parts = 20, {}
        while at < size:
            length, what = struct.unpack_from("=HH", data, at)
            parts[what] = data[at + 4 : at + length]
            at += length + 3 & ~3
        verdict, number = struct.unpack(">II", parts[2])
        found.append((verdict, number, struct.unpack(">I", parts[3])[0] if 3 in parts else None, parts.get(10)))
        data = data[at:]
    return found


class Peer:
    """A queue whose kernel is the test."""

    def __init__(self) -> None:
        self.end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.end.settimeout(1)
        self.queue = NetlinkQueue(QUEUE, fail_open=False, descriptor=other.detach())
        self.end.recv(65536)  # its settings
        self.seen: list[tuple[int, bytes, int, int, bytes]] = []
        self.queue.take = self.take

    def take(self, packet: Packet) -> None:
        self.seen.append((packet.number, packet.payload, packet.mark, packet.ifindex, packet.mac))
        packet.accept(packet.mark | 0x2000_0000)

    def close(self) -> None:
        self.queue.let_go()
        self.end.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def word(number: int) -> bytes:
    return struct.pack(">I", number)


MAC = struct.pack(">HH", 6, 0) + bytes((2, 0, 0, 0, 0, 9)) + bytes(2)


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ((), (0, 0, b"")),
        ((attribute(3, word(0x4000_0007)), attribute(5, word(3)), attribute(9, MAC)), (0x4000_0007, 3, MAC[4:10])),
        ((attribute(5, word(4)), attribute(7, word(3))), (0, 3, b"")),
        ((attribute(7, word(3)), attribute(5, word(4))), (0, 3, b"")),
        ((attribute(3, word(0xFFFF_FFFF)),), (0xFFFF_FFFF, 0, b"")),
        ((attribute(9, struct.pack(">HH", 999, 0) + bytes(range(8))),), (0, 0, bytes(range(6)))),
    ],
    ids=["bare", "on a bridge by the statement", "through br_netfilter", "in another order", "all marks", "long MAC"],
)
def test_what_a_message_says(peer: Peer, more: tuple[bytes, ...], seen: tuple[int, int, bytes]) -> None:
    peer.end.send(queued(0x8000_0001, b"octets", *more))
    assert peer.queue.service() == 1
    assert peer.seen == [(0x8000_0001, b"octets", *seen)]
    assert verdicts(peer.end.recv(65536)) == [(ACCEPTED, 0x8000_0001, seen[0] | 0x2000_0000, None)]


def test_verdicts_go_in_order_a_few_in_one_buffer(peer: Peer) -> None:
    def take(packet: Packet) -> None:
        way = packet.number % 3
        if way == 0:
            packet.drop()
        else:
            packet.accept(way, b"changed!" * packet.number if way == 2 else None)

    peer.queue.take = take
    for number in range(1, BURST + 4):
        peer.end.send(queued(number))
    assert peer.queue.service() == BURST + 3
    expected = [
        (DROPPED, number, None, None)
        if number % 3 == 0
        else (ACCEPTED, number, number % 3, b"changed!" * number if number % 3 == 2 else None)
        for number in range(1, BURST + 4)
    ]
    buffers = []
    while sum(map(len, buffers)) < len(expected):
        buffers.append(verdicts(peer.end.recv(65536)))
    assert [each for buffer in buffers for each in buffer] == expected
    # The first of each burst alone.
    assert [len(buffer) for buffer in buffers] == [1, *[TOGETHER] * ((BURST - 1) // TOGETHER), 1, 1, TOGETHER]


def test_what_is_sent_in_the_midst_comes_behind_the_verdicts_so_far(peer: Peer) -> None:
    sent: list[list[int]] = []

    def take(packet: Packet) -> None:
        packet.accept(0)
        if packet.number == 2:
            packet.flush()
            for _ in range(2):
                sent.append([number for _, number, _, _ in verdicts(peer.end.recv(65536))])

    peer.queue.take = take
    for number in (1, 2, 3):
        peer.end.send(queued(number))
    peer.queue.service()
    assert sent == [[1], [2]]
    assert [number for _, number, _, _ in verdicts(peer.end.recv(65536))] == [3]


def test_many_long_packets_that_are_changed(peer: Peer) -> None:
    """More than one buffer holds: it goes when it is full."""
    peer.queue.take = lambda packet: packet.accept(1, bytes([packet.number]) * 6000)
    for number in range(BURST):
        peer.end.send(queued(number))
    assert peer.queue.service() == BURST
    found = []
    while len(found) < BURST:
        found += verdicts(peer.end.recv(1 << 20))
    assert found == [(ACCEPTED, number, 1, bytes([number]) * 6000) for number in range(BURST)]


def test_refused_verdicts_and_other_messages_are_no_packets(peer: Peer) -> None:
    peer.end.send(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16))
    peer.end.send(message(attribute(1, bytes(8)), kind=0x303))
    peer.end.send(queued(5))
    assert peer.queue.service() == 3
    assert [number for number, *_ in peer.seen] == [5]


def test_no_error_hides_what_waits(peer: Peer) -> None:
    """A successor drops what is in front of the first packet in the socket, whatever messages stand before it."""
    peer.end.send(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16))
    peer.end.send(queued(9))
    peer.queue.drop_undecided()
    data = peer.end.recv(65536)
    assert struct.unpack_from("=IH", data)[1] == 0x303
    assert data[24:32] == struct.pack(">II", DROPPED, 8)
    assert peer.queue.service() == 1
    assert [number for number, *_ in peer.seen] == [9]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.builds(lambda size, rest: struct.pack("=IHHII", size, 0x300, 0, 0, 0) + rest,
                      st.integers(0, 0xFFFF_FFFF), st.binary(max_size=80)),
            st.lists(st.builds(lambda size, kind, rest: struct.pack("=HH", size, kind) + rest,
                               st.integers(0, 40),
                               st.sampled_from((1, 3, 5, 7, 9, 10, 0x800A)), st.binary(max_size=9)))
            .map(lambda parts: message(*parts)),
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_no_octets_raise(datagrams: list[bytes]) -> None:
    """What is not as the kernel writes it says less, and nothing more."""
    peer = Peer()
    try:
        for data in datagrams:
            peer.end.send(data)
        peer.end.send(queued(77, b"whole"))
        peer.queue.service()
        assert peer.seen[-1] == (77, b"whole", 0, 0, b"")
        sent = b"".join(datagrams)
        assert all(payload in sent and mac in sent for _, payload, _, _, mac in peer.seen[:-1])
    finally:
        peer.close()


@pytest.mark.parametrize("alone", [False, True], ids=["any queue", "one queue"])
def test_waiting(peer: Peer, alone: bool) -> None:
    other, far = socket.socketpair()
    with other, far:
        waiter = Waiter([peer.queue], other.fileno(), alone=peer.queue if alone else None)
        assert not waiter.serve(0)
        peer.end.send(queued(1))
        began = time.monotonic()
        assert not waiter.serve(0.2)
        assert time.monotonic() - began >= 0.2
        assert len(peer.seen) == 1
        far.send(b"l")
        began = time.monotonic()
        assert waiter.serve(5)
        assert time.monotonic() - began < 5


def test_one_queue_does_not_shut_the_others_out(peer: Peer) -> None:
    """What comes by a queue in which nothing is expected is late, no more: in the quiet, and under a stream."""
    quiet = Peer()
    other, far = socket.socketpair()
    try:
        with other, far:
            waiter = Waiter([peer.queue, quiet.queue], other.fileno(), alone=peer.queue)
            quiet.end.send(queued(1))
            assert not waiter.serve(0.1)
            assert [each[0] for each in quiet.seen] == [1]

            def another(packet: Packet) -> None:
                packet.accept(0)
                peer.queue.flush()
                peer.end.recv(65536)  # the verdict
                peer.end.send(queued(packet.number + 1))
                if packet.number == 100:
                    quiet.end.send(queued(2))

            def order(packet: Packet) -> None:
                quiet.take(packet)
                far.send(b"l")

            quiet.queue.take = order
            peer.queue.take = another
            peer.end.send(queued(1))
            assert waiter.serve(10)
            assert [each[0] for each in quiet.seen] == [1, 2]
    finally:
        quiet.close()


def test_one_queue_is_waited_on_without_a_turn_of_the_processor(peer: Peer) -> None:
    other, far = socket.socketpair()
    with other, far:
        waiter = Waiter([peer.queue], other.fileno(), alone=peer.queue)
        began = time.process_time()
        assert not waiter.serve(0.5)
        assert time.process_time() - began < 0.1


def test_busy_polling(peer: Peer) -> None:
    """After a packet it asks again without sleeping, for as long as it was told to; without one it sleeps."""
    other, far = socket.socketpair()
    with other, far:
        waiter = Waiter([peer.queue], other.fileno(), busy_poll=0.1)
        spent = []
        for wait in (0.01, 0.3):
            peer.end.send(queued(1))
            began = time.process_time()
            assert not waiter.serve(wait)
            spent.append(time.process_time() - began)
        began = time.process_time()
        assert not waiter.serve(0.2)
        spent.append(time.process_time() - began)
        assert len(peer.seen) == 2
        assert spent[0] < 0.05 and spent[2] < 0.01 < spent[1], spent


def test_busy_polling_hears_orders(peer: Peer) -> None:
    """Under a stream that never lets it sleep, too."""
    peer.end.setblocking(False)
    take = peer.queue.take

    def another(packet: Packet) -> None:
        take(packet)
        peer.end.send(queued(packet.number + 1))
        with contextlib.suppress(BlockingIOError):
            peer.end.recv(65536)  # the verdict on the one before

    peer.queue.take = another
    other, far = socket.socketpair()
    with other, far:
        waiter = Waiter([peer.queue], other.fileno(), busy_poll=0.02)
        peer.end.send(queued(1))
        began = time.monotonic()
        assert not waiter.serve(0.1)
        assert 0.1 <= time.monotonic() - began < 1
        assert len(peer.seen) > BUDGET
        far.send(b"l")
        assert waiter.serve(5)
        assert time.monotonic() - began < 2


# --- the kernel ---------------------------------------------------------------------------------------

PORT = 9000
RULES = (
    "-t mangle -A OUTPUT -p udp --dport 9000 -j MARK --set-mark 0x1234",
    f"-t mangle -A OUTPUT -p udp --dport 9000 -j NFQUEUE --queue-num {QUEUE}",
    "-t mangle -A POSTROUTING -p udp --dport 9000 -m mark ! --mark 0x20001234 -j DROP",
)


class Kernel:
    """A namespace where what goes to PORT is queued, and arrives only with the right mark."""

    def __init__(self, network: TwoZones, figures: Path) -> None:
        self.namespace = network.namespace(FIREWALL)
        self.figures = figures
        self.sender, self.receiver = inside(self.namespace, self._sockets)
        for each in (self.sender, self.receiver):
            each.setblocking(False)
        self.sender.setsockopt(
            socket.SOL_SOCKET, 32, 1 << 24
        )  # SO_SNDBUFFORCE: what waits in the queue is charged to it

    @staticmethod
    def _sockets() -> tuple[socket.socket, socket.socket]:
        sender, receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        receiver.bind(("127.0.0.1", PORT))
        sender.connect(("127.0.0.1", PORT))
        return sender, receiver

    def bind(self, *, fail_open: bool = False) -> NetlinkQueue:
        queue = inside(self.namespace, lambda: NetlinkQueue(QUEUE, fail_open=fail_open))
        queue.take = accept
        return queue

    def send(self, *numbers: int, size: int = 10) -> None:
        for number in numbers:
            with contextlib.suppress(PermissionError):  # the queue is full
                self.sender.send(b"%04d" % number + bytes(size - 4))

    def arrived(self) -> list[int]:
        """All that has: nothing is under way behind a verdict."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(int(self.receiver.recv(65536, socket.MSG_DONTWAIT)[:4]))
        return found

    def line(self) -> list[int]:
        """The kernel's figures of the queue."""
        return [int(word) for line in self.figures.read_text().splitlines() for word in line.split()]


def accept(packet: Packet) -> None:
    packet.accept(packet.mark | 0x2000_0000)


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[TwoZones, Path]]:
    with TwoZones() as found:
        for rule in RULES:
            found.run(FIREWALL, ["iptables-nft", *rule.split()])
        stays = found.start(FIREWALL, ["sh", "-c", "echo there; exec sleep 600"])
        assert stays.stdout is not None
        assert stays.stdout.readline() == "there\n"  # before that, its /proc is of the machine's own network
        yield found, Path(f"/proc/{stays.pid}/net/netfilter/nfnetlink_queue")


@pytest.fixture
def kernel(network: tuple[TwoZones, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setattr(netlink_queue, "_FIGURES", network[1])  # /proc/net is the test's own
    found = Kernel(*network)
    yield found
    found.sender.close()
    found.receiver.close()


@pytest.fixture
def queue(kernel: Kernel) -> Iterator[NetlinkQueue]:
    bound = kernel.bind()
    yield bound
    bound.let_go()


def in_child(what: Callable[[], None]) -> None:
    """Done by a forked process that then dies as a killed one does."""
    pid = os.fork()
    if not pid:
        try:
            what()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.system
class TestKernel:
    def test_order_marks_and_checksums(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        marks, whole = set(), []

        def take(packet: Packet) -> None:
            marks.add(packet.mark)
            whole.append(decode(packet.payload).payload[:4])  # raises where a checksum is wrong, or not there yet
            if packet.payload[-1] or int(packet.payload[28:32]) % 4:
                accept(packet)
            else:
                packet.drop()

        queue.take = take
        kernel.send(*range(40))
        while queue.service():
            pass
        assert kernel.arrived() == [number for number in range(40) if number % 4]
        assert marks == {0x1234}
        assert whole == [b"%04d" % number for number in range(40)]
        assert kernel.line()[2] == 0

    def test_other_octets(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        def take(packet: Packet) -> None:
            here = decode(packet.payload)
            longer = build_udp(here.source, here.destination, here.source_port, here.destination_port, b"0005" * 100)
            packet.accept(packet.mark | 0x2000_0000, longer)

        queue.take = take
        kernel.send(1)
        queue.service()
        assert kernel.receiver.recv(65536) == b"0005" * 100

    def test_long_packets_come_whole(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        kernel.send(3, size=9000)
        assert queue.service() == 1
        assert len(kernel.receiver.recv(65536)) == 9000

    def test_no_more_than_its_turn(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        kernel.send(*range(2 * BUDGET + 3))
        assert [queue.service(), kernel.arrived()] == [BUDGET, list(range(BUDGET))]
        assert [queue.service(), queue.service(), queue.service()] == [BUDGET, 3, 0]

    def test_what_is_decided_goes_when_it_is_flushed(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        seen = []

        def take(packet: Packet) -> None:
            accept(packet)
            seen.append(kernel.arrived())
            packet.flush()
            seen.append(kernel.arrived())

        queue.take = take
        kernel.send(1, 2)
        queue.service()
        assert seen == [[], [1], [], [2]]

    def test_a_verdict_that_comes_too_late_hurts_no_other(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        """The kernel refuses it, tells so in the socket, and carries the others of the same buffer out."""

        def take(packet: Packet) -> None:
            accept(packet)
            packet.number += 1000
            accept(packet)

        queue.take = take
        kernel.send(1, 2)
        queue.service()
        queue.take = accept
        assert kernel.arrived() == [1, 2]
        kernel.send(3)
        assert queue.service() == 3  # two of them refusals
        assert kernel.arrived() == [3]

    def test_a_socket_that_overflows(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        queue._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        kernel.send(*range(200), size=1000)
        assert kernel.line()[6] > 0  # the kernel counts them
        while queue.service():
            pass
        there = kernel.arrived()
        assert there == list(range(len(there))) and 0 < len(there) < 200
        kernel.send(300)
        assert queue.service() == 1
        assert kernel.arrived() == [300]

    def test_taking_over_from_an_overflown_socket(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        queue._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        kernel.send(*range(200), size=1000)
        queue.drop_undecided()
        while queue.service():
            pass
        assert kernel.arrived()[:1] == [0]
        assert kernel.line()[2] == 0

    def test_a_killed_one_loses_what_it_has_not_sent(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        """What it had taken from the socket; its successor has the rest."""

        def dies(packet: Packet) -> None:
            accept(packet)
            if packet.payload[28:32] == b"0005":
                os._exit(1)

        queue.take = dies
        kernel.send(*range(30))
        in_child(queue.service)  # type: ignore[arg-type]
        assert kernel.arrived() == [0, 1, 2, 3, 4]  # the sixth was decided, and waited for the seventh
        queue.take = accept
        queue.drop_undecided()
        while queue.service():
            pass
        assert kernel.arrived() == list(range(BURST, 30))
        assert kernel.line()[2] == 0

    def test_a_killed_one_that_had_read_all(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        queue.take = lambda packet: os._exit(1)
        kernel.send(1, 2, 3)
        in_child(queue.service)  # type: ignore[arg-type]
        queue.take = accept
        queue.drop_undecided()
        assert kernel.line()[2] == 0
        kernel.send(4)
        queue.service()
        assert kernel.arrived() == [4]

    def test_children_serve_one_after_the_other(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        for number in range(3):
            kernel.send(number)
            in_child(queue.service)  # type: ignore[arg-type]
            assert kernel.arrived() == [number]

    def test_hand_over(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        kernel.send(1)
        heir = NetlinkQueue(QUEUE, fail_open=False, descriptor=os.dup(queue.hand_over()))
        queue.let_go()
        heir.take = accept
        kernel.send(2)
        assert heir.service() == 2
        assert kernel.arrived() == [1, 2]
        heir.let_go()
        assert kernel.figures.read_text() == ""

    def test_a_queue_that_another_has(self, kernel: Kernel, queue: NetlinkQueue) -> None:
        with pytest.raises(OSError, match="queue 7 cannot be bound: another process has it"):
            kernel.bind()

    @pytest.mark.parametrize("fail_open", [False, True])
    def test_a_full_queue(self, kernel: Kernel, fail_open: bool) -> None:
        queue = kernel.bind(fail_open=fail_open)
        # What passes undecided has no verdict in its mark: the rule behind counts it (and drops it).
        kernel.send(*range(LENGTH + 12))
        line = kernel.line()
        assert line[2] == LENGTH
        assert line[5] == (0 if fail_open else 12)
        while queue.service():
            kernel.arrived()
        queue.let_go()
