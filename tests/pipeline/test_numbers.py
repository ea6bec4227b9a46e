"""Denied, and answered (tcp-rules.md, 7): what each side's numbers become, and when our answer may be said."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from conduitfw.flow import FlowTable
from conduitfw.packet import FIN, build_udp, decode
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import exception, forbidden, read, read_answer
from tests.pipeline.test_heads import with_block
from tests.pipeline.test_limits import HEAD, RTU, compiled, crobs, frame, message
from tests.pipeline.wire import Wire, tables

ANSWER = exception(1, 6, 1)
SIZE = len(ANSWER)


def answering(**more: object) -> Wire:
    return Wire(tables(on_deny="reject"), **more).open()  # type: ignore[arg-type]


def answered(**more: object) -> Wire:
    """A session in which one request was answered by us, and the client has the answer."""
    wire = answering(**more)
    wire.client(forbidden(1))
    wire.client_acknowledges(SIZE)
    return wire


def ours(wire: Wire, since: int = 0) -> list[bytes]:
    """The exception responses that the client got."""
    return [each.payload for each in wire.at_client[since:] if each.payload[7:8] == b"\x86"]


def test_what_the_server_says_next_stands_behind_our_answer() -> None:
    wire = answered()
    begin = wire.server_next
    wire.client(read(2), ack=begin + SIZE)
    at_server = wire.at_server[-1]
    assert (at_server.payload, at_server.ack) == (read(2), begin)
    assert at_server.sequence + len(read(2)) & 0xFFFFFFFF == wire.received
    wire.server(read_answer(2))
    at_client = wire.at_client[-1]
    assert (at_client.payload, at_client.sequence, at_client.ack) == (read_answer(2), begin + SIZE, wire.client_next)


def test_the_servers_blocks_are_moved() -> None:
    wire = answered(sack=True)
    wire.send(with_block(wire, wire.received + 100, wire.received + 200), False)
    moved = len(forbidden(1))
    blocks = dict(IP(wire.at_client[-1].data)[TCP].options)["SAck"]
    assert blocks == tuple(wire.received + place + moved & 0xFFFFFFFF for place in (100, 200))


def test_an_acknowledgement_within_the_answer_is_none() -> None:
    wire = answering()
    wire.client(forbidden(1) + read(2))
    for part in (1, SIZE - 1):
        wire.client_acknowledges(part)
        assert wire.at_server[-1].ack == wire.server_next, "the server knows nothing of it"
        assert wire.reads == []
        before = len(wire.at_client)
        wire.tick(0.3)
        assert ours(wire, before) == [ANSWER]
    wire.client_acknowledges(SIZE)
    assert wire.reads == [read(2)]


def test_a_successor_sends_the_answer() -> None:
    """Its predecessor may have died between the decision and the packet."""
    wire = answering()
    wire.client(forbidden(1))
    wire.flows = FlowTable(wire.memory)
    wire.pipeline = Pipeline(wire.pipeline.tables, wire.flows, wire.notices.append)
    before = len(wire.at_client)
    wire.tick(0.01)
    assert ours(wire, before) == [ANSWER]


def test_an_answer_waits_until_what_is_before_it_is_taken() -> None:
    """Else the client's numbers would stand at two places of the server's."""
    wire = answering()
    wire.client(read(1) + forbidden(2))
    start = wire.received - len(read(1)) & 0xFFFFFFFF
    wire.server(read_answer(1), ack=start)  # answered, by an acknowledgement of less
    assert ours(wire) == []
    wire.server()
    assert ours(wire) == [exception(2, 6, 1)]


def test_one_answer_at_a_time() -> None:
    wire = answering()
    wire.client(forbidden(1) + forbidden(2))
    assert ours(wire) == [ANSWER]
    wire.tick(0.05)
    assert set(ours(wire)) == {ANSWER}
    before = len(wire.at_client)
    wire.client_acknowledges(SIZE)
    assert ours(wire, before) == [exception(2, 6, 1)]
    assert wire.at_client[-1].sequence == wire.server_next + SIZE
    assert wire.denials == ["no-rule", "no-rule"]


def test_an_answer_waits_for_those_to_what_is_taken() -> None:
    wire = answering()
    wire.client(read(1) + forbidden(2))
    wire.server()
    assert ours(wire) == []
    wire.server(read_answer(1))
    assert ours(wire) == [exception(2, 6, 1)]


def late() -> Wire:
    """A poll is unanswered for so long that nobody waits for it any more; its answer may still come."""
    wire = answering()
    wire.client(read(1))
    wire.server()
    wire.tick(6)
    return wire


def test_no_answer_of_ours_within_one_of_the_servers() -> None:
    wire = late()
    wire.server(read_answer(1)[:6])
    wire.client(forbidden(2))
    assert ours(wire) == []
    wire.server(read_answer(1)[6:])
    assert ours(wire) == [exception(2, 6, 1)]


def test_no_answer_of_ours_between_bytes_that_are_late_and_behind_a_gap() -> None:
    wire = late()
    wire.server(read_answer(1)[4:], at=4)
    wire.client(forbidden(2))
    assert ours(wire) == []
    wire.server(read_answer(1))
    assert ours(wire) == [exception(2, 6, 1)]


def test_no_answer_of_ours_behind_the_end() -> None:
    wire = answering()
    wire.server(flags=FIN)
    wire.server_next += 1
    wire.client(forbidden(1))
    assert ours(wire) == []
    assert wire.reads == []


def test_a_repeat_beyond_the_place_of_our_answer_is_cut_there() -> None:
    """A server may put into one segment again what it sent in two; between them stands our answer by now."""
    wire = late()
    wire.client(read(2))
    begin = wire.server_next
    wire.server(read_answer(2))
    wire.client(forbidden(3))
    assert ours(wire) == [exception(3, 6, 1)]
    both = read_answer(2) + read_answer(1)
    wire.server(both, at=begin - wire.server_next)
    told = wire.at_client[-1]
    assert (told.sequence, told.payload) == (begin, read_answer(2))
    wire.server(both[len(read_answer(2)) :])  # the client has acknowledged no more: the server sends the rest again
    told = wire.at_client[-1]
    assert (told.sequence, told.payload) == (begin + len(read_answer(2)) + SIZE, read_answer(1))


def several_frames(tmp_path: Path) -> Wire:
    """A session in which only points 0 to 3 may be operated; what is denied is answered."""
    head = HEAD.replace("    rules:\n", "    on_deny: reject\n    rules:\n")
    rule = "allow: dnp3, clients: hmi, servers: rtu, functions: [read, direct_operate], points: {g12: 0-3}"
    return Wire(compiled(tmp_path, rule, head=head), ends=RTU, ports=(40000, 20000)).open()


@pytest.mark.parametrize("points", [(1, 5, 2), (1, 2, 5), (5, 1, 2), (1, 5, 6)])
@pytest.mark.parametrize("cut", range(5, 5 + 13 * 3, 13))
def test_a_message_of_several_frames_is_answered_with_its_last(
    tmp_path: Path, points: tuple[int, ...], cut: int
) -> None:
    """Frames before the denied one have gone on; from it on nothing does, and the session goes on behind it."""
    wire = several_frames(tmp_path)
    frames = message(5, crobs(*points), cut, sequence=4)
    for each in frames:
        before = len(wire.at_client)
        wire.client(each)
        wire.server()
        answers = [told.payload for told in wire.at_client[before:] if told.payload]
        assert len(answers) == (each is frames[-1])
    assert frames[-1] not in wire.reads
    assert answers[0][10:15] == bytes((0xC0, 0xC4, 129, 0, 0x04)), answers[0].hex()
    wire.client(ack=wire.server_next + len(answers[0]))
    poll = frame(bytes((0xC2, 0xC5, 1, 60, 2, 6)))
    wire.client(poll, ack=wire.server_next + len(answers[0]))
    assert wire.reads[-1] == poll
    assert not wire.reset_to_client and not wire.reset_to_server
    assert set(wire.denials) == {"point"}


def test_a_refused_message_lives_on_in_the_record(tmp_path: Path) -> None:
    """Another worker goes on with it: the rest of the message goes nowhere, and is answered."""
    wire = several_frames(tmp_path)
    frames = message(5, crobs(5, 1, 2), 5 + 13, sequence=4)
    wire.client(frames[0])
    wire.pipeline = Pipeline(wire.pipeline.tables, FlowTable(wire.memory), wire.notices.append)
    wire.client(frames[1])
    assert wire.reads == []
    assert [told.payload[10:15] for told in wire.at_client if told.payload] == [bytes((0xC0, 0xC4, 129, 0, 0x04))]


def test_over_udp_a_message_of_several_datagrams_is_answered_with_its_last(tmp_path: Path) -> None:
    head = HEAD.replace("    rules:\n", "    on_deny: reject\n    rules:\n")
    rule = (
        "allow: dnp3, transport: udp, clients: hmi, servers: rtu, functions: [read, direct_operate], points: {g12: 0-3}"
    )
    wire = Wire(compiled(tmp_path, rule, head=head))
    first, last = (
        wire.pipeline.decide(build_udp(*RTU, 40000, 20000, each), 1.0)
        for each in message(5, crobs(5, 1, 2), 5 + 13, sequence=4)
    )
    assert (first.forward, first.emissions, last.forward) == (False, [], False)
    assert [decode(each.packet).payload[10:15] for each in last.emissions] == [bytes((0xC0, 0xC4, 129, 0, 0x04))]


def test_a_new_message_takes_the_place_of_a_refused_one(tmp_path: Path) -> None:
    """Its rest never comes: the next first segment is a message of its own."""
    wire = several_frames(tmp_path)
    wire.client(message(5, crobs(5, 1, 2), 5 + 13)[0])
    poll = frame(bytes((0xC2, 0xC5, 1, 60, 2, 6)))
    wire.client(poll)
    assert wire.reads == [poll]


def test_a_segment_that_does_not_follow_ends_a_refused_message(tmp_path: Path) -> None:
    wire = several_frames(tmp_path)
    first, second = message(5, crobs(5, 1, 2), 5 + 13)
    wire.client(first)
    skipped = frame(bytes((0x82,)) + second[11:13])
    wire.client(skipped)
    assert wire.reads == []
    assert wire.reset_to_server and wire.reset_to_client


@pytest.mark.parametrize("count", [1, 3])
def test_the_numbers_add_up(count: int) -> None:
    wire = answering()
    for number in range(count):
        wire.client(forbidden(number), ack=wire.server_next + number * SIZE)
        wire.client(ack=wire.server_next + (number + 1) * SIZE)
    begin = wire.server_next
    wire.client(read(9), ack=begin + count * SIZE)
    assert wire.reads == [read(9)]
    wire.server(read_answer(9))
    told = wire.at_client[-1]
    assert (told.sequence, told.ack) == (begin + count * SIZE, wire.client_next)
    assert struct.unpack_from("!I", told.data, told.segment_at + 4)[0] == begin + count * SIZE
