"""Sizes (tcp-rules.md, 5): no packet that we make is longer than what is known to arrive."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from conduitfw.policy.compile import Tables
from tests.pipeline.modbus_units import read, write, write_answer
from tests.pipeline.test_limits import HEAD, RTU, compiled, frame
from tests.pipeline.wire import Wire

BOTH = HEAD.replace("10.10.0.0/24]", '10.10.0.0/24, "fd00:10::/64"]').replace(
    "10.20.0.0/24]", '10.20.0.0/24, "fd00:20::/64"]'
)
BOTH = BOTH.replace("assets: {hmi: 10.10.0.11}", 'assets: {hmi: 10.10.0.11, hmi6: "fd00:10::11"}')
BOTH = BOTH.replace(
    "rtu: {address: 10.20.0.9,", 'rtu6: {address: "fd00:20::9", link_address: 10}, rtu: {address: 10.20.0.9,'
)
POLLS = "allow: dnp3, clients: hmi, servers: rtu, functions: read"
POLLS6 = "allow: dnp3, clients: hmi6, servers: rtu6, functions: read"
RTU6 = (ip_address("fd00:10::11").packed, ip_address("fd00:20::9").packed)

COUNT = 16  # of polls that may be outstanding
CUT = 5  # bytes of a head: what completes it is enlarged, with all that follows


def poll(number: int) -> bytes:
    """A poll of many objects: a frame of 115 bytes."""
    return frame(bytes((0xC0, 0xC0 | number % 16, 1)) + b"\x3c\x02\x06" * 30)


SIZE = len(poll(0))
STREAM = b"".join(poll(number) for number in range(COUNT))


@pytest.fixture
def rules(tmp_path: Path) -> Tables:
    return compiled(tmp_path, POLLS, POLLS6, head=BOTH)


def pieces(wire: Wire, before: int) -> list[bytes]:
    return [each.payload for each in wire.at_server[before:] if each.payload]


def sent_on(wire: Wire) -> list[int]:
    """Sizes of the packets in which sixteen polls leave, none of them as it came."""
    before = len(wire.at_server)
    wire.client(STREAM[:CUT])
    wire.client(STREAM[CUT:])
    assert b"".join(pieces(wire, before)) == STREAM
    return [len(each) for each in pieces(wire, before)]


def answer_all(wire: Wire, count: int) -> None:
    for number in range(count):
        response = bytes((0xC0, 0xC0 | number, 0x81, 0, 0))
        assert wire.server(frame(response, master=10, outstation=1, control=0x44)).reason is None


@pytest.mark.parametrize(
    ("ends", "sizes"), [(RTU, [4 * SIZE] * 4), (RTU6, [10 * SIZE, 6 * SIZE])], ids=["IPv4", "IPv6"]
)
def test_at_least(rules: Tables, ends: tuple[bytes, bytes], sizes: list[int]) -> None:
    """536 and 1,220 bytes reach every host."""
    assert sent_on(Wire(rules, ends=ends, ports=(40000, 20000)).open()) == sizes


def test_no_longer_than_what_the_server_has_taken_of_this_client(rules: Tables) -> None:
    wire = Wire(rules, ends=RTU, ports=(40000, 20000)).open()
    wire.client(STREAM[: 9 * SIZE])  # as it came
    answer_all(wire, 9)
    assert sent_on(wire) == [9 * SIZE, 7 * SIZE]


def test_what_was_not_taken_proves_nothing(rules: Tables) -> None:
    """It may have vanished, and for its length."""
    wire = Wire(rules, ends=RTU, ports=(40000, 20000)).open()
    wire.losing = True
    wire.client(STREAM[: 9 * SIZE])
    wire.losing = False
    wire.client(STREAM[CUT : 9 * SIZE], at=CUT - 9 * SIZE)
    assert [len(each) for each in pieces(wire, 0)] == [4 * SIZE, 4 * SIZE, SIZE]


def test_packets_of_our_own_are_cut_at_units(rules: Tables) -> None:
    wire = Wire(rules, ends=RTU, ports=(40000, 20000), mss=3 * SIZE + 100).open()
    assert sent_on(wire) == [3 * SIZE] * 5 + [SIZE]
    for each in pieces(wire, 0):
        assert all(each[at : at + 2] == b"\x05\x64" for at in range(0, len(each), SIZE))


@pytest.mark.parametrize(("stamps", "count"), [(False, 8), (True, 7)])
def test_options_count(stamps: bool, count: int) -> None:
    """An MSS of 100 leaves 88 bytes beside time stamps: seven reads of 12 bytes, and not eight."""
    reads = b"".join(read(number) for number in range(16))
    wire = Wire(mss=100, stamps=stamps).open()
    wire.client(reads[:CUT])
    wire.client(reads[CUT:])
    assert len(pieces(wire, 0)[0]) == count * 12
    wire = Wire(mss=100, stamps=stamps).open()
    wire.client(write(1))
    wire.client(reads)  # waits for the answer, and leaves in packets of our own
    wire.server(write_answer(1))
    assert wire.reads[1:] and b"".join(wire.reads[1:]) == reads
    assert max(len(each) for each in wire.reads[1:]) == count * 12


def test_a_large_unit_goes_in_full_pieces() -> None:
    """Back to back, and only once all of it is there, and allowed."""
    wire = Wire(mss=100).open()
    unit = write(1, tuple(range(100)))
    for first in range(0, len(unit), 50):
        assert pieces(wire, 0) == []
        wire.client(unit[first : first + 50])
    assert [len(each) for each in pieces(wire, 0)] == [100, 100, len(unit) - 200]
    numbers = [each.sequence for each in wire.at_server if each.payload]
    assert [(number - numbers[0]) & 0xFFFFFFFF for number in numbers] == [0, 100, 200]
    assert b"".join(wire.reads) == unit


def test_the_rest_of_a_large_unit_is_cut_behind_what_is_taken() -> None:
    """Where it stands is told by what the server has, not by what its bytes look like."""
    wire = Wire(mss=100).open()
    unit = write(1, tuple(range(100)))
    wire.losing = True
    wire.client(unit)
    wire.losing = False
    begin = wire.received
    wire.server(ack=begin + 100 & 0xFFFFFFFF)  # only the first piece has arrived
    wire.received = begin + 100 & 0xFFFFFFFF
    wire.client(unit[100:140], at=100 - len(unit))
    assert [len(each) for each in pieces(wire, 0)] == [100, len(unit) - 200]
    assert b"".join(wire.reads) == unit[100:]
    assert wire.denials == []
