"""Denied, and answered (tcp-rules.md, 7): the server sees nothing, the session stays, numbers fit on both sides."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest
from dnp3.core.crc import compute_crc
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.pdu.register_message import WriteSingleRegisterRequest

from conduitfw.flow import FlowTable
from conduitfw.packet import ACK, RST, SYN, _finish, build_udp, decode
from conduitfw.policy.compile import Tables
from conduitfw.verdict import Pipeline
from tests.pipeline.ends import Session
from tests.pipeline.modbus_units import adu, exception, read, read_answer, write, write_answer
from tests.pipeline.wire import CLIENT, Wire, tables

FORBIDDEN = 6


def rules(on_deny: str = "reject") -> Tables:
    return tables(on_deny=on_deny)


def forbidden(transaction: int) -> bytes:
    return adu(WriteSingleRegisterRequest(address=0, registers=[0xBEEF]), transaction)


REQUESTS = {"read": read, "write": lambda number: write(number, (1, 2, 3)), "forbidden": forbidden}
ANSWERS = {
    "read": lambda number: read_answer(number, 2),
    "write": write_answer,
    "forbidden": lambda number: exception(number, FORBIDDEN, 1),
}


class TestStepByStep:
    def test_the_client_is_answered_and_goes_on_in_the_same_session(self) -> None:
        wire = Wire(rules()).open()
        wire.client(read(1))
        wire.server(read_answer(1))
        outcome = wire.client(forbidden(2))
        assert outcome.verdict.value == "deny"
        answer = wire.at_client[-1]
        assert answer.payload == exception(2, FORBIDDEN, 1)
        assert (answer.sequence, answer.ack) == (wire.server_next, wire.client_next)
        assert wire.denials == ["no-rule"]
        assert not wire.reset_to_client and not wire.reset_to_server
        assert wire.reads == [read(1)]

    def test_without_reject_it_ends(self) -> None:
        wire = Wire(rules("reset")).open()
        wire.client(forbidden(2))
        assert wire.reset_to_client and wire.reset_to_server

    def test_what_is_malformed_still_ends_the_session(self) -> None:
        wire = Wire(rules()).open()
        inflated = bytearray(read(1) + b"\x00\x00")
        inflated[5] += 2
        wire.client(bytes(inflated))
        assert wire.reset_to_client and wire.reset_to_server

    def test_a_monitored_conduit_answers_nothing(self) -> None:
        wire = Wire(tables(on_deny="reject", mode="monitor")).open()
        outcome = wire.client(forbidden(2))
        assert outcome.forward and outcome.payload is None and not outcome.emissions
        assert wire.reads == [forbidden(2)]

    def test_an_answer_waits_for_those_before_it(self) -> None:
        wire = Wire(rules()).open()
        wire.client(read(1) + forbidden(2))
        assert wire.reads == [read(1)]
        before = len(wire.at_client)
        wire.server(read_answer(1))
        answers = [packet.payload for packet in wire.at_client[before:] if packet.payload]
        assert answers == [read_answer(1), exception(2, FORBIDDEN, 1)]

    def test_nothing_goes_on_until_the_client_has_the_answer_and_then_at_once(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1) + read(2))
        assert wire.reads == []
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        assert wire.reads == [read(2)]

    def test_a_repeat_of_the_request_gets_the_answer_again_and_goes_nowhere(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        for _ in range(2):
            before = len(wire.at_client)
            wire.client(forbidden(1), at=-len(forbidden(1)))
            assert [packet.payload for packet in wire.at_client[before:]] == [exception(1, FORBIDDEN, 1)]
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        before = len(wire.at_client)
        wire.client(forbidden(1), at=-len(forbidden(1)))  # spurious
        assert len(wire.at_client) == before
        assert all(not packet.payload for packet in wire.at_server)

    def test_an_answer_is_sent_again_until_it_is_acknowledged(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        before = len(wire.at_client)
        for _ in range(10):
            wire.tick(0.1)
        again = [packet.payload for packet in wire.at_client[before:]]
        assert again and set(again) == {exception(1, FORBIDDEN, 1)}
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        before = len(wire.at_client)
        for _ in range(10):
            wire.tick(0.1)
        assert len(wire.at_client) == before

    def test_as_long_as_the_answer_is_under_way_no_acknowledgement_covers_the_request(self) -> None:
        wire = Wire(rules()).open()
        begin = wire.client_next
        wire.client(forbidden(1))
        wire.server()  # for instance a window update
        assert wire.at_client[-1].ack == begin

    @pytest.mark.parametrize("garbage", [b"", b"\x00"])
    def test_a_keep_alive_is_answered_by_the_server(self, garbage: bytes) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        wire.client(garbage, at=-1)
        assert (wire.at_server[-1].sequence, wire.at_server[-1].payload) == ((wire.received - 1) & 0xFFFFFFFF, b"")
        wire.server()
        assert wire.at_client[-1].ack == wire.client_next

    def test_blocks_of_selective_acknowledgements_are_moved(self) -> None:
        """RFC 2018: what the client has beyond a gap in the server's stream, in the server's numbers."""
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        size = len(exception(1, FORBIDDEN, 1))
        wire.client_acknowledges(size)
        plain = decode(wire.packet(True, wire.client_next, wire.server_next + size, ACK))
        edges = [wire.server_next + size + place for place in (100, 200)]
        block = b"\x01\x01\x05\x0a" + b"".join(edge.to_bytes(4, "big") for edge in edges)
        header = bytearray(plain.data[20:40])
        header[12] = 8 << 4
        wire.send(_finish(bytearray(plain.data[:20]), header + block, b""), True)
        moved = wire.at_server[-1]
        options = moved.data[40 : moved.payload_at]
        assert options[4:] == b"".join((edge - size).to_bytes(4, "big") for edge in edges)

    def test_the_end_of_the_session_is_in_the_right_numbers(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        size = len(exception(1, FORBIDDEN, 1))
        wire.client_acknowledges(size)
        wire.server_next += size  # as the client counts from now on
        wire.client(b"\x00\x01\x00\x00\x00\x00")  # malformed
        assert wire.reset_to_client and wire.reset_to_server

    def test_a_new_session_with_the_same_ports_begins_in_its_own_numbers(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        wire.client_next, wire.server_next, wire.received = 7000, 9000, 7001
        wire.handshake()
        wire.client(read(2))
        assert wire.reads[-1] == read(2)
        wire.server(read_answer(2))
        assert (wire.at_client[-1].payload, wire.at_client[-1].ack) == (read_answer(2), wire.client_next)

    def test_a_server_that_knows_no_such_session_says_so_to_the_new_one(self) -> None:
        wire = Wire(rules()).open()
        wire.client(forbidden(1))
        wire.client_acknowledges(len(exception(1, FORBIDDEN, 1)))
        wire.send(wire.packet(True, 7000, 0, SYN), True)
        wire.send(wire.packet(False, 0, 7001, RST | ACK), False)
        assert (wire.at_client[-1].flags & RST, wire.at_client[-1].ack) == (RST, 7001)

    def test_a_session_without_a_beginning_is_ended_instead(self) -> None:
        """What stands in the server's stream is not known: no place for an answer of ours."""
        wire = Wire(tables(on_deny="reject", fail="static"))
        wire.client(read(1))
        wire.server(ack=wire.client_next - len(read(1)))
        wire.client(forbidden(2), at=-len(read(1)))
        assert wire.denials == ["no-rule"]
        assert any(packet.flags & RST for packet in wire.at_server) and any(p.flags & RST for p in wire.at_client)


class TestDatagrams:
    def test_a_denied_datagram_is_answered(self) -> None:
        wire = Wire(tables(on_deny="reject", dnp3="read"))
        request = bytes.fromhex("056414c40a0001008fedc0c0013c02063c03063c04063c01068a51")
        outstation = ip_address("10.20.0.9").packed
        read_it = build_udp(CLIENT, outstation, 40000, 20000, request)
        assert wire.pipeline.decide(read_it, 1.0).forward
        restart = bytes.fromhex("056408c40a000100fc42c0c00d") + struct.pack("<H", compute_crc(b"\xc0\xc0\x0d"))
        outcome = wire.pipeline.decide(build_udp(CLIENT, outstation, 40000, 20000, restart), 1.1)
        assert not outcome.forward
        answer = decode(outcome.emissions[0].packet)
        assert (answer.source_port, answer.destination_port) == (20000, 40000)
        assert answer.payload[10:15] == b"\xc0\xc0\x81\x00\x01"  # a response with IIN2.0
        assert wire.denials == ["no-rule"]


class Talk:
    """A client that asks, a server that answers, and what each has seen."""

    def __init__(self, session: Session, kinds: list[str], depth: int, cuts: random.Random) -> None:
        self.session = session
        self.kinds = kinds
        self.depth = depth
        self.cuts = cuts
        self.asked = 0
        self.answered = 0  # by the server

    def run(self, steps: int = 6000) -> None:
        """Until the client has all its answers."""
        session = self.session
        expected = b"".join(ANSWERS[kind](number) for number, kind in enumerate(self.kinds))
        for _ in range(steps):
            self._ask(len(session.client.received))
            self._serve()
            session.step()
            assert not session.client.reset and not session.server.reset
            assert expected.startswith(session.client.received), "an answer out of its place"
            if session.client.received == expected:
                break
        else:
            raise AssertionError(f"stalled at {len(session.client.received)} of {len(expected)} bytes")
        requests = [REQUESTS[kind](number) for number, kind in enumerate(self.kinds) if kind != "forbidden"]
        assert session.server.received == b"".join(requests)
        refused = [REQUESTS[kind](number) for number, kind in enumerate(self.kinds) if kind == "forbidden"]
        assert not any(unit in payload for unit in refused for payload in session.at_server)
        for piece in session.server.reads:  # whole units only, in each read of the server
            while piece:
                assert piece[:12] in {request[:12] for request in requests}
                piece = piece[6 + piece[5] :]

    def _ask(self, received: int) -> None:
        done = 0
        for number, kind in enumerate(self.kinds):
            received -= len(ANSWERS[kind](number))
            if received < 0:
                break
            done += 1
        while self.asked < len(self.kinds) and self.asked - done < self.depth:
            self.session.client.buffer += REQUESTS[self.kinds[self.asked]](self.asked)
            self.asked += 1

    def _serve(self) -> None:
        received = self.session.server.received
        count = 0
        for number, kind in enumerate(self.kinds):
            if kind == "forbidden":
                continue
            unit = REQUESTS[kind](number)
            if not received.startswith(unit):
                break
            received = received[len(unit) :]
            count += 1
            if count > self.answered:
                self.session.server.buffer += ANSWERS[kind](number)
                self.answered = count


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["read", "write", "forbidden", "forbidden"]), min_size=1, max_size=12),
    depth=st.integers(1, 6),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    doubled=st.sampled_from([0.0, 0.2]),
    delay=st.sampled_from([0, 3]),
    mss=st.sampled_from([1460, 7, 13]),
    seed=st.integers(0, 2**32),
)
def test_any_weather(
    kinds: list[str], depth: int, loss: float, doubled: float, delay: int, mss: int, seed: int
) -> None:
    """Whatever is lost, doubled, reordered or cut: every answer in its place, and nothing forbidden at the server."""
    chance = random.Random(seed)

    def weather() -> tuple[int, int]:
        copies = 0 if chance.random() < loss else 2 if chance.random() < doubled else 1
        return copies, chance.randint(0, delay)

    Talk(Session(rules(), weather, client_mss=mss), kinds, depth, chance).run()


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["read", "write", "forbidden"]), min_size=2, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_through_the_death_of_workers(kinds: list[str], seed: int) -> None:
    """Translated numbers, kept requests and an answer under way live on in the record."""
    chance = random.Random(seed)
    compiled = rules()
    session = Session(compiled, lambda: (1, chance.randint(0, 2)))
    ordinary = session.step

    def step(elapsed: float = 0.01) -> None:
        if chance.random() < 0.1:
            session.wire.flows = FlowTable(session.wire.memory)
            session.pipeline = Pipeline(compiled, session.wire.flows, session.wire.notices.append)
            session.pipeline.swap(compiled, session.now)
        ordinary(elapsed)

    session.step = step  # type: ignore[method-assign]
    Talk(session, kinds, 3, chance).run()


@pytest.mark.parametrize("count", [1, 40])
def test_many_in_a_row(count: int, tmp_path: Path) -> None:
    Talk(Session(rules(), lambda: (1, 0)), ["forbidden"] * count, 4, random.Random(0)).run()
