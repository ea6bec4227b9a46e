"""Ordinary packets are decided at once, and exactly as the stages decide them: Wire asks both of every packet."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from dnp3.core.crc import compute_crc

from conduitfw.flow import Flow
from conduitfw.packet import ACK, FIN, PSH, RST
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import exception, read, read_answer, write, write_answer
from tests.pipeline.wire import (
    CLIENT,
    CLIENT6,
    SERVER6,
    SERVER_MAC,
    SERVER_PORT_INDEX,
    Verdict,
    Wire,
    tables,
)


def at_once(wire: Wire) -> int:
    """How many packets went the short way since this was asked."""
    ordinary = wire.pipeline._ordinary
    assert ordinary is not None
    count = ordinary.packets
    assert wire.pipeline.counters["packets"] >= count and ordinary.packets == 0
    return count


def warm(**options: object) -> Wire:
    """A session in which one poll was answered: the longest request is known."""
    wire = Wire(**options).open()  # type: ignore[arg-type]
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client()
    at_once(wire)
    return wire


def flow_of(wire: Wire) -> Flow:
    (flow,) = wire.flows
    return flow


def coded(unit: bytes, function: int) -> bytes:
    """The same unit with another function."""
    return unit[:7] + bytes((function,)) + unit[8:]


@pytest.mark.parametrize("stamps", [False, True])
def test_a_poll_its_answer_and_the_acknowledgement_go_the_short_way(stamps: bool) -> None:
    wire = warm(stamps=stamps)
    for number in range(2, 30):
        assert wire.client(read(number)).verdict is Verdict.ACCEPT
        assert wire.server().forward  # a bare acknowledgement
        assert wire.server(read_answer(number)).forward
        assert wire.client().forward
    assert at_once(wire) == 28 * 4
    assert wire.pipeline.counters["units"] == 2 * 29


def test_the_rule_is_named() -> None:
    wire = warm()
    outcome = wire.client(read(2))
    assert at_once(wire) == 1
    assert outcome.rule is not None and outcome.rule.name == "polls"


@pytest.mark.parametrize(
    "unit",
    [
        write(2, (1, 2)),  # allowed, and brings data
        read(2) + read(3),
        read(2)[:7],
        coded(read(2), 5),  # no rule
        read(2)[:10] + b"\x00\x7e",  # 126 registers
        read(2)[:8] + b"\xff\xff\x00\x02",  # behind the last
        read(2)[:2] + b"\x00\x01" + read(2)[4:],
        read(2)[:5] + b"\x07" + read(2)[6:] + b"\x00",
    ],
)
def test_what_is_not_a_plain_read_is_left_to_the_stages(unit: bytes) -> None:
    wire = warm()
    wire.client(unit)
    assert at_once(wire) == 0


@pytest.mark.parametrize(
    "unit",
    [
        read_answer(3),  # of another request
        read_answer(2)[:-1],
        read_answer(2) + b"\x00",
        exception(2, 3, 2),
        read_answer(2)[:6] + b"\x07" + read_answer(2)[7:],  # of another unit
        read_answer(2)[:7] + b"\x04" + read_answer(2)[8:],
        write_answer(2, 1),
    ],
)
def test_what_is_not_its_answer_is_left_to_the_stages(unit: bytes) -> None:
    wire = warm()
    wire.client(read(2))
    assert at_once(wire) == 1
    wire.server(unit)
    assert at_once(wire) == 0


@pytest.mark.parametrize("stamps", [False, True])
@pytest.mark.parametrize("count", range(1, 17))
def test_one_octet_that_is_wrong_is_seen(count: int, stamps: bool) -> None:
    """Whatever length the packet has: sums are made of eight octets at a time, and what is left."""
    wire = warm(stamps=stamps)
    function, size = (1, (count + 7) // 8) if count % 2 else (3, 2 * count)
    wire.client(coded(read(2, count=count), function))
    unit = b"\0\2\0\0" + bytes((0, 3 + size, 1, function, size)) + bytes(range(0x81, 0x81 + size))
    good = wire.packet(False, wire.server_next, wire.received, ACK | PSH, unit)
    ordinary = wire.pipeline._ordinary
    assert ordinary is not None
    for place in range(len(good)):
        wrong = bytearray(good)
        wrong[place] ^= 1 << place % 8
        assert ordinary.decide(bytes(wrong), wire.now, SERVER_PORT_INDEX, SERVER_MAC, 0) is None
    outcome = ordinary.decide(good + b"behind", wire.now, SERVER_PORT_INDEX, SERVER_MAC, 0)
    assert outcome is not None and outcome.forward


def dnp3(user: bytes, *, from_master: bool = True, control: int | None = None) -> bytes:
    """A frame between master 1 and outstation 10, its CRCs by dnp3py."""
    addresses = (10, 1) if from_master else (1, 10)
    code = (0xC4 if from_master else 0x44) if control is None else control
    head = struct.pack("<BBBBHH", 0x05, 0x64, 5 + len(user), code, *addresses)
    blocks = [head, *(user[at : at + 16] for at in range(0, len(user), 16))]
    return b"".join(block + struct.pack("<H", compute_crc(block)) for block in blocks)


CLASSES = bytes.fromhex("3c0206 3c0306 3c0406 3c0106")


def dnp3_read(number: int, objects: bytes = CLASSES) -> bytes:
    return dnp3(bytes((0xC0 | number & 63, 0xC0 | number & 15, 1)) + objects)


def dnp3_answer(number: int, objects: bytes = bytes.fromhex("0101 00 00 0f 5aa5 1e02 00 00 00 01 3412")) -> bytes:
    return dnp3(bytes((0xC0 | number & 63, 0xC0 | number & 15, 129, 0, 0)) + objects, from_master=False)


def rtu() -> Wire:
    """A session in which one DNP3 read was answered."""
    wire = Wire(ends=(CLIENT, ip_address("10.20.0.9").packed), ports=(40000, 20000)).open()
    wire.client(dnp3_read(1))
    wire.server(dnp3_answer(1))
    wire.client()
    at_once(wire)
    return wire


def test_a_dnp3_read_and_its_answer_go_the_short_way() -> None:
    wire = rtu()
    for number in range(2, 40):
        assert wire.client(dnp3_read(number)).verdict is Verdict.ACCEPT
        assert wire.server(dnp3_answer(number)).forward
    assert at_once(wire) == 76


def dnp3_confirm(number: int, *, control: int = 0xC0, function: int = 0, more: bytes = b"") -> bytes:
    return dnp3(bytes((0xC0 | number & 63, control | number & 15, function)) + more)


def test_a_dnp3_confirmation_goes_the_short_way() -> None:
    wire = rtu()
    for number in range(2, 20):
        wire.client(dnp3_read(number))
        wire.server(dnp3_answer(number))
        assert wire.client(dnp3_confirm(number)).rule is not None
        wire.server()
    assert at_once(wire) == 18 * 4
    assert wire.reads[-1] == dnp3_confirm(19)


@pytest.mark.parametrize(
    "unit",
    [
        dnp3_confirm(1, control=0xD0),  # of an unsolicited response
        dnp3_confirm(1, control=0xE0),  # asks for a confirmation itself
        dnp3_confirm(1, control=0x80),  # a part
        dnp3_confirm(1, more=b"\x3c"),
        dnp3_confirm(1, more=CLASSES),
        dnp3_confirm(1, function=2),
        dnp3_confirm(1, function=23),
        dnp3_confirm(1)[:-1] + b"\0",
        dnp3(b"\x40\xc1\x00"),  # the first of several segments
        dnp3(b"\xc0\xc1"),
        dnp3_confirm(1) + dnp3_read(2),
    ],
)
def test_what_is_not_a_plain_dnp3_confirmation_is_left_to_the_stages(unit: bytes) -> None:
    wire = rtu()
    wire.client(unit)
    assert at_once(wire) == 0


def test_a_dnp3_confirmation_needs_a_rule() -> None:
    """One that allows nothing with it: the short way finds no rule, and the stages deny it."""
    wire = Wire(
        tables(dnp3="warm_restart"), ends=(CLIENT, ip_address("10.20.0.9").packed), ports=(40000, 20000)
    ).open()  # fmt: skip
    wire.client(dnp3(bytes((0xC1, 0xC1, 14))))
    wire.server(dnp3_answer(1, bytes.fromhex("3402 07 01 0500")))
    wire.client()
    at_once(wire)
    assert wire.client(dnp3_confirm(1)).reason is Reason.NO_RULE
    assert at_once(wire) == 0


@pytest.mark.parametrize(
    "unit",
    [
        dnp3_read(2)[:-1],
        dnp3_read(2) + dnp3_read(3),
        dnp3_read(2)[:-1] + b"\0",  # a CRC of the last block
        dnp3_read(2)[:9] + b"\0" + dnp3_read(2)[10:],  # and the header's
        dnp3_read(2, bytes.fromhex("0102 00 05 02")),  # a range that ends before it begins
        dnp3_read(2, bytes.fromhex("0102 17 01 05")),  # an index: an octet of the client's choice
        dnp3_read(2, bytes.fromhex("3c02 06 3c")),
        dnp3(bytes((0xC0, 0xC0, 2)) + CLASSES),  # no read
        dnp3(bytes((0xC0, 0xE0, 1)) + CLASSES),  # asks for a confirmation
        dnp3(bytes((0x40, 0xC0, 1)) + CLASSES),  # the first of several segments
        dnp3(bytes((0xC0, 0xC0, 1)) + CLASSES, control=0xF3),  # confirmed on the link
        dnp3(bytes((0xC0, 0xC0, 1)) + CLASSES, control=0x44),  # in the name of an outstation
    ],
)
def test_what_is_not_a_plain_dnp3_read_is_left_to_the_stages(unit: bytes) -> None:
    wire = rtu()
    wire.client(unit)
    assert at_once(wire) == 0


@pytest.mark.parametrize("seed", range(20))
def test_dnp3_at_random(seed: int) -> None:
    """As for Modbus below: what Wire compares after each packet is the test."""
    chance = random.Random(seed)
    wire, short = rtu(), 0
    objects = (CLASSES, bytes.fromhex("3c0206"), b"", bytes.fromhex("0102 00 00 05"), bytes.fromhex("0102 17 01 05"))
    for number in range(2, 200):
        kind = chance.random()
        if kind < 0.4:
            wire.client(dnp3_read(number, chance.choice(objects)))
        elif kind < 0.45:
            wire.client(dnp3(bytes((0xC0, 0xC0 | number & 15, chance.choice((0, 1, 2, 3, 14, 23)))) + CLASSES[:3]))
        elif kind < 0.55:
            wire.client(dnp3_confirm(number, control=chance.choice((0xC0, 0xC0, 0xD0))))
        elif kind < 0.8:
            unit = dnp3_answer(number - chance.choice((0, 1, 1, 2)))
            wire.server(unit if chance.random() < 0.9 else unit[: chance.randrange(1, len(unit))])
        elif kind < 0.85:
            wire.server(dnp3(bytes((0xC0, 0xF0 | number & 15, 130, 0, 0)), from_master=False))  # unsolicited
        elif kind < 0.95:
            wire.client(ack=wire.server_next - chance.choice((0, 0, 5)))
        else:
            wire.tick(chance.choice((0.1, 1.0, 40.0)))
        short += at_once(wire)
        if not any(flow.state in (1, 2) for flow in wire.flows):
            wire = rtu()
    assert short > 0


def test_a_limit_or_a_tag_leaves_nothing_to_the_short_way() -> None:
    """What decides by what a request says has to read it: `unlimited` names no rule then."""
    wire = warm()
    channel = flow_of(wire).channel
    assert channel is not None
    assert channel.unlimited((1,), 3) is not None and channel.unlimited((1,), 5) is None
    for grants in next(iter(channel._rows.values())):
        for grant in grants:
            grant.limits = (object(),)
    assert channel.unlimited((1,), 3) is None


def test_a_new_policy_counts_at_once() -> None:
    wire = warm()
    wire.client(read(2))
    wire.server(read_answer(2))
    wire.swap(tables(functions="write_multiple_registers"))
    assert wire.client(read(3)).reason is Reason.NO_RULE


def test_a_failure_inside_ends_the_flow_and_no_other() -> None:
    wire = warm()
    wire.twin = None

    wire.client(read(2))
    wire.server(read_answer(2))
    flow_of(wire).channel.ordinary = object()  # type: ignore[union-attr]
    outcome = wire.client(read(3))
    assert outcome.reason is Reason.ENGINE_ERROR and not outcome.forward
    assert wire.reset_to_server and wire.pipeline.counters["engine_errors"] == 1


MODBUS: tuple[Callable[[int], bytes], ...] = (
    read, read, read, read, read,
    lambda number: coded(read(number), 1),
    lambda number: coded(read(number, count=125), 4),
    lambda number: read(number)[:-2] + b"\x00\x7e",
    lambda number: write(number, (1, 2, 3)),
    lambda number: read(number) + read(number + 1),
    lambda number: read(number)[:8],
    lambda number: coded(read(number), 8),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_at_random(seed: int) -> None:
    """Packets of all kinds, most of them ordinary: what Wire compares after each is the test."""
    chance = random.Random(seed)
    ends = {"ends": (CLIENT6, SERVER6)} if seed % 8 == 7 else {}
    rules = tables(on_deny=("reset", "reject", "drop")[seed % 3])
    wire = Wire(
        rules,
        stamps=bool(seed & 1), scale=seed % 4, window=chance.choice((64000, 300, 40)),
        client_isn=chance.choice((0xFFFF_FFF0, 5)), **ends,  # type: ignore[arg-type]
    ).open()  # fmt: skip
    short = 0
    for number in range(1, 250):
        kind = chance.random()
        if kind < 0.35:
            wire.client(chance.choice(MODBUS)(number))
        elif kind < 0.65:
            unit = read_answer(number - 1 if chance.random() < 0.7 else number)
            wire.server(unit if chance.random() < 0.9 else unit[:-1])
        elif kind < 0.8:
            wire.client(ack=wire.server_next - chance.choice((0, 0, 0, 5, 1000)), at=-chance.choice((0, 0, 1, 12)))
        elif kind < 0.9:
            wire.server(ack=wire.received - chance.choice((0, 0, 0, 3, 12, -7)), window=chance.choice((None, 0, 5000)))
        elif kind < 0.95:
            wire.client(read(number), at=chance.choice((-12, -5, 3, 12)), flags=ACK | chance.choice((0, PSH)))
        elif kind < 0.96:
            wire.server(flags=chance.choice((FIN, RST)))
        elif kind < 0.97:
            _bad_packet(wire, chance, number)
        else:
            wire.tick(chance.choice((0.1, 1.0, 40.0)))
        short += at_once(wire)
        if not any(flow.state in (1, 2) for flow in wire.flows):
            wire = Wire(rules, stamps=bool(seed & 1), **ends).open()  # type: ignore[arg-type]
    assert short > 0 or ends


def _bad_packet(wire: Wire, chance: random.Random, number: int) -> None:
    """One octet of a good one changed, or octets behind its end."""
    data = bytearray(wire.packet(True, wire.client_next, wire.server_next, ACK | PSH, read(number)))
    if chance.random() < 0.5:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        data += bytes(chance.randrange(1, 9))
    outcome = wire.pipeline.decide(bytes(data), wire.now, 11, b"\x02\x00\x00\x00\x00\x0a")
    assert wire.twin is not None
    wire.twin.compare(outcome, wire.memory, bytes(data), wire.now, 11, b"\x02\x00\x00\x00\x00\x0a")
