"""Watching (`monitor`) over a bad line: however the ends repeat and cut anew, no honest session looks wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.wire import Wire, tables

COUNT = 12


class Sender:
    """One end's bytes: any part of what is not acknowledged may be sent at any time, however it was cut before."""

    def __init__(self, chance: random.Random, data: bytes) -> None:
        self.chance, self.data = chance, data
        self.ready = 0  # how much of it may be sent yet
        self.acknowledged = 0
        self.pieces: set[int] = set()
        self.arrived = 0  # in order, at the other end

    def segment(self) -> tuple[int, bytes]:
        """Where it begins, and what it holds."""
        begin = self.chance.randint(self.acknowledged, max(self.acknowledged, self.ready - 1))
        return begin, self.data[begin : min(begin + self.chance.choice((1, 5, 12, 13, 30, 60)), self.ready)]

    def arrives(self, begin: int, payload: bytes) -> None:
        self.pieces.update(range(begin, begin + len(payload)))
        while self.arrived in self.pieces:
            self.arrived += 1


def play(chance: random.Random, wire: Wire) -> int:
    """A session to its end. Gives the number of packets that would have been denied."""
    answers = [read_answer(number) for number in range(COUNT)]
    client = Sender(chance, b"".join(read(number) for number in range(COUNT)))
    server = Sender(chance, b"".join(answers))
    client.ready, size = len(client.data), len(client.data) // COUNT
    at_client, at_server = wire.client_next, wire.server_next
    under_way: list[tuple[bool, int, int, bytes]] = []  # left their sender, in any order
    denied = 0
    while server.acknowledged < len(server.data):
        server.ready = sum(len(each) for each in answers[: client.arrived // size])
        from_client = chance.random() < 0.5
        sender, other = (client, server) if from_client else (server, client)
        begin, payload = sender.segment()
        under_way.append((from_client, begin, other.arrived, payload))
        if len(under_way) > 6 or chance.random() < 0.3:
            from_client, begin, ack, payload = under_way.pop(chance.randrange(len(under_way)))
            sender, other = (client, server) if from_client else (server, client)
            sequence, number = (at_client, at_server) if from_client else (at_server, at_client)
            packet = wire.packet(from_client, (sequence + begin) & 0xFFFFFFFF, (number + ack) & 0xFFFFFFFF, 16, payload)
            outcome = wire.send(packet, from_client)
            assert outcome.forward and outcome.payload is None
            denied += outcome.reason is not None
            if chance.random() < 0.9:  # else it is lost behind us
                sender.arrives(begin, payload)
                other.acknowledged = max(other.acknowledged, ack)
    return denied


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_honest_session_looks_wrong(seed: int) -> None:
    wire = Wire(tables(mode="monitor")).open()
    assert play(random.Random(seed), wire) == 0
    wire.client_next += 12 * COUNT
    wire.server_next += len(read_answer(0)) * COUNT
    assert wire.client(forbidden(99)).reason is not None  # and it still sees what is wrong


@pytest.mark.parametrize("from_client", [True, False])
def test_a_repeat_behind_a_gap_may_hold_more_than_the_first(from_client: bool) -> None:
    wire = Wire(tables(mode="monitor")).open()
    if not from_client:
        wire.client(read(1) + read(2) + read(3))
    unit = read if from_client else read_answer
    way = wire.client if from_client else wire.server
    size = len(unit(1))
    way(unit(2)[:7], at=size)
    way(unit(2) + unit(3)[:5], at=size)
    way(unit(1))
    if from_client:
        wire.client_next += size + 5
        wire.server(ack=wire.client_next)
    else:
        wire.server_next += size + 5
        wire.client()
    assert [way(unit(3)[5:]).reason, wire.denials] == [None, []]
