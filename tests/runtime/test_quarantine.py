"""Whose packets are shut out, and for how long."""

from __future__ import annotations

import time

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from conduitfw.denial import Emission
from conduitfw.flow import FlowTable
from conduitfw.kernel.netlink_queue import Packet
from conduitfw.packet import ACK, build
from conduitfw.policy import ledger
from conduitfw.runtime.messages import wide_pair
from conduitfw.runtime.pool import HOPELESS
from conduitfw.runtime.quarantine import (
    CLOSE,
    CLOSE_WITH_ENDS,
    PATIENCE,
    PATIENCE_WITH_ENDS,
    QUARANTINE_SECONDS,
    Quarantine,
    place_of,
)
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker
from tests.pipeline.wire import CLIENT, SERVER, tables

SEGMENT = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5, dport=502, seq=0x01020304))
NAME = bytes((10, 0, 0, 1, 10, 0, 0, 2, 1, 0xF6))


def memory() -> memoryview:
    return Shared(workers=1).workers[0].quarantine


class TestPlace:
    @pytest.mark.parametrize(
        ("packet", "source", "port", "sequence"),
        [
            (SEGMENT, "10.0.0.1", 502, b"\1\2\3\4"),
            (bytes(IP(src="10.0.0.1", options=b"\x94\4\0\0") / TCP(dport=502, seq=1)), "10.0.0.1", 502, b"\0\0\0\1"),
            (bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=20000)), "10.0.0.1", 20000, b""),
            (bytes(IPv6(src="fd00::1", dst="fd00::2") / TCP(dport=502, seq=2)), "fd00::1", 502, b"\0\0\0\2"),
        ],
        ids=["TCP", "with IP options", "UDP", "IPv6"],
    )  # fmt: skip
    def test_found(self, packet: bytes, source: str, port: int, sequence: bytes) -> None:
        place = place_of(packet)
        assert place is not None
        assert (place.source, place.destination_port, place.sequence) == (source, port, sequence)

    def test_it_is_the_flow_tables_key(self) -> None:
        place = place_of(SEGMENT)
        assert place is not None
        assert (place.key, place.name) == (NAME[:8] + b"\0\5\1\xf6", NAME)

    def test_none_where_there_is_none(self) -> None:
        for size in range(28):
            place_of(SEGMENT[:size])  # raises nothing
            place_of(b"\x60" + bytes(size))
        assert place_of(SEGMENT[:20]) is None
        assert place_of(b"\x45" + bytes(30)) is None
        assert place_of(b"\x4f" + SEGMENT[1:]) is None  # its header would end behind the packet


def test_accidents_are_forgiven() -> None:
    book = Quarantine(memory(), 0.0)
    assert not book.active
    for number in range(10):
        assert book.blame(NAME, number * (CLOSE + 1)) == 1
    assert not book.holds(NAME, 100.0)


def test_who_kills_again_and_again_is_shut_out_for_a_while_also_by_successors() -> None:
    shared = memory()
    for death in range(1, PATIENCE + 1):
        book = Quarantine(shared, float(death))  # each by a worker of its own
        assert not book.holds(NAME, float(death))
        assert book.blame(NAME, float(death)) == death
    assert book.holds(NAME, PATIENCE + QUARANTINE_SECONDS) and not book.holds(NAME[:-1], 1.0)
    assert Quarantine(shared, 10.0).holds(NAME, 10.0)
    assert not book.holds(NAME, PATIENCE + QUARANTINE_SECONDS + 1)
    book.expire(PATIENCE + QUARANTINE_SECONDS + 1)
    assert not book.active
    assert not Quarantine(shared, PATIENCE + QUARANTINE_SECONDS + 1).active


def test_two_ends_are_told_by_a_quick_row_of_deaths_whatever_kills() -> None:
    place = place_of(SEGMENT)
    assert place is not None
    book = Quarantine(memory(), 0.0)
    for number in range(50):
        assert not book.blame_ends(place, number * (CLOSE_WITH_ENDS + 0.1))
    told = [book.blame_ends(place._replace(key=bytes(12)), 100 + each / 4) for each in range(PATIENCE_WITH_ENDS)]
    assert told == [False] * (PATIENCE_WITH_ENDS - 1) + [True]
    assert not book.holds(place.name, 103.0)  # it only counts: who asks shuts out
    assert PATIENCE_WITH_ENDS < HOPELESS


def test_it_is_bounded_and_forgets_the_oldest() -> None:
    book = Quarantine(memory(), 0.0)
    for number in range(1000):
        book.shut_out(number.to_bytes(4, "big"), number / 100)
    held = [number for number in range(1000) if book.holds(number.to_bytes(4, "big"), 10.0)]
    assert held == list(range(1000 - len(held), 1000)) and 10 < len(held) < 100


class Recorded(Packet):
    """A packet of the queue that remembers its verdict."""

    def __init__(self, payload: bytes) -> None:
        self.mark, self.ifindex, self.mac, self.payload = 0x4000_0000, 3, b"", payload
        self.verdict: tuple[str, object] | None = None

    def accept(self, mark: int, payload: bytes | None = None) -> None:
        self.verdict = ("accept", payload)

    def drop(self) -> None:
        self.verdict = ("drop", None)


@pytest.mark.parametrize(("mode", "verdict"), [("enforce", ("drop", None)), ("monitor", ("accept", None))])
@pytest.mark.parametrize("from_client", [True, False])
def test_who_only_watches_shuts_nobody_out(mode: str, verdict: tuple[str, object], from_client: bool) -> None:
    """What kills workers is not looked at any more: on a watched conduit it passes, on another it does not."""
    shared = Shared(1)
    ours, theirs = wide_pair()
    flows, ledger_memory = bytearray(FlowTable.memory_size(16)), bytearray(ledger.SIZE)
    post = Post(shared.workers[0], [], flows, ledger_memory)
    worker = Worker([post], tables(mode=mode), theirs, Nobody())
    worker._begin(post, after_death=False)
    ends = (CLIENT, SERVER, 40000, 502) if from_client else (SERVER, CLIENT, 502, 40000)
    unit = build(*ends, sequence=1, ack=1, flags=ACK, window=100, timestamps=None, payload=b"x")
    place = place_of(unit)
    assert place is not None
    worker._quarantine.shut_out(place.key, time.monotonic())
    packet = Recorded(unit)
    worker._hand.take(packet)
    assert packet.verdict == verdict
    ours.close()
    theirs.close()


class Nobody:
    """Sends nothing."""

    def send(self, emission: Emission) -> bool:
        return False
