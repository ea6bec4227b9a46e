"""The client's side: tcp-rules.md, 3 to 6, one test a rule and more where an attacker has a choice."""

from __future__ import annotations

import pytest

from conduitfw.outcome import Verdict
from conduitfw.packet import ACK, FIN, RST
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import carrying, forbidden, read, read_answer, write, write_answer
from tests.pipeline.wire import CLIENT6, SERVER6, Wire, tables

ENDS = pytest.mark.parametrize(
    "ends",
    [{}, {"ends": (CLIENT6, SERVER6)}, {"stamps": True}, {"scale": 7, "window": 502}],
    ids=["IPv4", "IPv6", "timestamps", "window scale"],
)


def cuts(unit: bytes) -> list[tuple[bytes, bytes]]:
    return [(unit[:at], unit[at:]) for at in range(1, len(unit))]


@ENDS
def test_an_allowed_poll_passes_as_it_came(ends: dict[str, object]) -> None:
    wire = Wire(**ends).open()
    outcome = wire.client(read())
    assert (outcome.verdict, outcome.payload, outcome.emissions) == (Verdict.ACCEPT, None, [])
    assert outcome.rule is not None and outcome.rule.name.startswith("polls")
    answer = wire.server(read_answer())
    assert (answer.verdict, answer.payload) == (Verdict.ACCEPT, None)
    assert wire.reads == [read()]


@ENDS
def test_a_forbidden_request_ends_the_session_on_both_sides(ends: dict[str, object]) -> None:
    wire = Wire(**ends).open()
    outcome = wire.client(forbidden())
    assert (outcome.verdict, outcome.reason) == (Verdict.DENY, Reason.NO_RULE)
    assert wire.reads == []
    assert wire.reset_to_server and wire.reset_to_client
    assert wire.denials == ["no-rule"]


@ENDS
@pytest.mark.parametrize("unit", [read(), write()], ids=["read", "write"])
def test_a_cut_unit_reaches_the_server_whole(unit: bytes, ends: dict[str, object]) -> None:
    for head, tail in cuts(unit):
        wire = Wire(**ends).open()
        assert wire.client(head).verdict is Verdict.HOLD
        assert wire.reads == []
        assert wire.client_acknowledged == wire.client_next, "the head is acknowledged at once"
        assert wire.client(tail).verdict is Verdict.ACCEPT
        assert wire.reads == [unit]


def test_a_unit_a_byte_at_a_time() -> None:
    wire = Wire().open()
    for value in write():
        wire.client(bytes((value,)))
    assert wire.reads == [write()]


@ENDS
def test_a_forbidden_request_cut_anywhere_never_arrives(ends: dict[str, object]) -> None:
    for head, tail in cuts(forbidden()):
        wire = Wire(**ends).open()
        wire.client(head)
        assert wire.client(tail).verdict is Verdict.DENY
        assert wire.reads == []


def test_allowed_units_in_front_of_a_forbidden_one_go_on() -> None:
    wire = Wire().open()
    outcome = wire.client(read(1) + read(2) + forbidden() + read(3))
    assert outcome.verdict is Verdict.DENY
    assert wire.reads == [read(1) + read(2)]
    assert any(each.flags & RST and each.sequence == wire.received for each in wire.at_server)


def test_pipelined_and_cut_anywhere() -> None:
    stream = read(1) + forbidden() + read(2)
    for first in range(1, len(stream) - 1):
        for second in range(first + 1, len(stream), 5):
            wire = Wire().open()
            for piece in (stream[:first], stream[first:second], stream[second:]):
                wire.client(piece)
            assert b"".join(wire.reads) == read(1), (first, second)


def test_the_window_stays_the_servers_while_a_head_is_kept() -> None:
    wire = Wire(window=1000).open()
    wire.client(write()[:9])
    own = wire.at_client[-1]
    assert own.ack + own.window == wire.received + 1000
    wire.server(window=900)
    raised = wire.at_client[-1]
    assert (raised.ack, raised.ack + raised.window) == (wire.client_next, wire.received + 900)


def test_a_head_behind_unacknowledged_bytes_is_not_acknowledged_before_them() -> None:
    wire = Wire().open()
    wire.client(read(1) + read(2)[:5])
    assert wire.reads == [read(1)]
    assert wire.client_acknowledged == wire.received - len(read(1))
    wire.server()
    assert wire.client_acknowledged == wire.client_next


def test_a_lost_enlarged_packet_is_sent_whole_again() -> None:
    wire = Wire().open()
    unit = write()
    wire.client(unit[:9])
    wire.losing = True
    wire.client(unit[9:])
    wire.losing = False
    wire.client(unit[9:], at=9 - len(unit))
    assert wire.reads == [unit]


def test_a_lost_write_repeated_cut_is_sent_whole() -> None:
    unit = carrying(forbidden())
    inside = unit.index(forbidden())
    wire = Wire().open()
    wire.losing = True
    wire.client(unit)
    wire.losing = False
    wire.client(unit[inside:], at=inside - len(unit))
    assert wire.reads == [unit]
    wire.client(unit[:inside], at=-len(unit))
    assert wire.reads == [unit]


def test_a_repeat_with_other_content_is_denied() -> None:
    wire = Wire().open()
    wire.losing = True
    wire.client(read())
    wire.losing = False
    outcome = wire.client(forbidden(1), at=-len(read()))
    assert outcome.reason is Reason.CHANGED_REPEAT
    assert wire.reads == []


def test_a_kept_head_repeated_with_other_content_is_denied() -> None:
    wire = Wire().open()
    wire.client(read()[:8])
    assert wire.client(forbidden(1), at=-8).reason is Reason.CHANGED_REPEAT
    assert wire.reads == []


def test_what_the_server_has_taken_may_be_repeated() -> None:
    wire = Wire().open()
    wire.client(read())
    wire.server(read_answer())
    assert wire.client(b"\x00", at=-1).verdict is Verdict.ACCEPT
    assert wire.client(read(), at=-len(read())).verdict is Verdict.ACCEPT
    assert wire.reads == [read()]


def test_a_repeat_that_runs_into_new_bytes_is_cut_at_what_is_taken() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client_next += len(read(2))
    wire.client(read(1) + read(2), at=-len(read(1) + read(2)))
    assert wire.reads == [read(1), read(2)]


def test_a_gap_is_not_sent_on() -> None:
    wire = Wire().open()
    outcome = wire.client(forbidden(), at=len(read()))
    assert (outcome.verdict, wire.reads) == (Verdict.HOLD, [])
    assert not any(each.payload for each in wire.at_server)
    wire.client(read())
    assert wire.reads == [read()]


def test_a_request_with_data_goes_alone() -> None:
    wire = Wire().open()
    wire.client(read(1) + write(2) + read(3))
    assert wire.reads == [read(1)]
    wire.server(read_answer(1))
    assert wire.reads == [read(1), write(2)]
    wire.server(write_answer(2))
    assert wire.reads == [read(1), write(2), read(3)]
    wire.server(read_answer(3))
    assert wire.client_acknowledged == wire.client_next


def test_reads_go_up_to_the_number_outstanding() -> None:
    wire = Wire().open()
    stream = b"".join(read(number) for number in range(20))
    wire.client(stream)
    assert b"".join(wire.reads) == stream[: 16 * len(read())]
    for number in range(4):
        wire.server(read_answer(number))
    assert b"".join(wire.reads) == stream


def test_nothing_is_sent_beyond_the_servers_window() -> None:
    wire = Wire(window=len(write()) - 1).open()
    wire.client(write())
    assert wire.reads == []
    wire.server(window=500)
    assert wire.reads == [write()]


def test_long_units_leave_in_packets_that_fit() -> None:
    wire = Wire(mss=300).open()
    unit = write(1, tuple(range(100)))
    wire.client(unit[:150])
    wire.client(unit[150:])
    assert wire.reads == [unit]
    stream = b"".join(read(number) for number in range(16)) * 4
    wire = Wire(mss=300).open()
    wire.client(stream[:7])
    wire.client(stream[7:])
    assert all(each.payload_length <= 300 for each in wire.at_server)
    assert all(len(each) % len(read()) == 0 for each in wire.reads)


@pytest.mark.parametrize("flag", [FIN, RST], ids=["FIN", "RST"])
def test_the_end_of_the_stream_within_a_unit_ends_the_flow(flag: int) -> None:
    wire = Wire().open()
    wire.client(read()[:5])
    outcome = wire.client(flags=flag | ACK)
    assert outcome.reason is Reason.UNFINISHED
    assert wire.reset_to_server and wire.reads == []


def test_fin_passes_and_data_behind_it_does_not() -> None:
    wire = Wire().open()
    assert wire.client(read(), flags=ACK | FIN).verdict is Verdict.ACCEPT
    assert wire.client(forbidden(), at=1).reason is Reason.AFTER_END
    assert wire.reads == [read()]
    assert wire.server(read_answer()).verdict is Verdict.ACCEPT


def test_a_reset_outside_of_the_session_ends_nothing() -> None:
    wire = Wire().open()
    assert wire.client(flags=RST, at=5000).reason is Reason.OUT_OF_WINDOW
    assert wire.client(forbidden()).verdict is Verdict.DENY
    assert wire.reads == []


def test_a_head_without_its_rest_ends_the_flow_in_time() -> None:
    wire = Wire().open()
    wire.client(read()[:5])
    wire.tick(4.9)
    assert not wire.reset_to_server
    wire.tick(20)
    assert wire.reset_to_server and wire.reset_to_client and wire.denials == ["head-timeout"]


def test_a_write_without_an_answer_ends_the_flow_and_a_read_does_not() -> None:
    wire = Wire().open()
    wire.client(read())
    wire.server()
    wire.tick(30)
    assert wire.denials == []
    wire = Wire().open()
    wire.client(write())
    wire.server()
    wire.tick(30)
    assert wire.denials == ["no-answer"]


def test_unanswered_reads_do_not_block_for_ever() -> None:
    wire = Wire().open()
    for number in range(16):
        wire.client(read(number))
    wire.server()
    wire.client(read(99))
    assert len(b"".join(wire.reads)) == 16 * len(read())
    wire.tick(30)
    assert b"".join(wire.reads).endswith(read(99))


def test_an_acknowledgement_of_bytes_that_nobody_inspected_ends_the_flow() -> None:
    wire = Wire().open()
    assert wire.server(ack=wire.received + 12).reason is Reason.UNINSPECTED_BYTES
    assert wire.reset_to_client


def test_drop_cuts_silently_and_the_session_stalls() -> None:
    wire = Wire(tables(on_deny="drop")).open()
    assert wire.client(read(1) + forbidden()).verdict is Verdict.DENY
    wire.client(forbidden(), at=-len(forbidden()))
    assert wire.reads == [read(1)]
    assert not wire.reset_to_server and not wire.reset_to_client


def test_a_tombstone_answers_with_the_exact_number() -> None:
    wire = Wire().open()
    wire.client(forbidden())
    wire.at_client.clear()
    outcome = wire.client(read())
    assert outcome.reason is Reason.ENDED and wire.reads == []
    assert wire.reset_to_client
    wire.at_server.clear()
    wire.server(read_answer())
    assert wire.reset_to_server


def test_monitor_keeps_enlarges_and_ends_nothing() -> None:
    wire = Wire(tables(mode="monitor")).open()
    for head, tail in ((read(1)[:5], read(1)[5:]), (forbidden()[:8], forbidden()[8:])):
        for piece in (head, tail):
            outcome = wire.client(piece)
            assert outcome.forward and outcome.payload is None and not outcome.emissions
            wire.server()
    assert outcome.verdict is Verdict.DENY
    assert b"".join(wire.reads) == read(1) + forbidden()
    assert [notice.action for notice in wire.notices if notice.reason] == ["monitor"]


def test_a_successor_goes_on_with_kept_heads_and_outstanding_requests() -> None:
    from conduitfw.flow import FlowTable

    wire = Wire().open()
    wire.client(read(1))
    wire.client(read(2)[:5])
    again = Wire(flows=FlowTable(wire.memory))
    for name in ("client_next", "server_next", "received", "now"):
        setattr(again, name, getattr(wire, name))
    again.client(read(2)[5:])
    assert again.reads == [read(2)]
    assert again.server(read_answer(1)).verdict is Verdict.ACCEPT
    assert again.server(read_answer(2)).verdict is Verdict.ACCEPT


def successor(wire: Wire) -> Wire:
    """Another worker over the same records, and the two ends as they stand."""
    from conduitfw.flow import FlowTable

    again = Wire(flows=FlowTable(wire.memory))
    again.memory = wire.memory
    for name in ("client_next", "server_next", "received", "now"):
        setattr(again, name, getattr(wire, name))
    return again


def test_a_worker_that_died_with_a_packet_in_hand_costs_no_session() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.flows.mark(next(iter(wire.flows)))  # the next request is in hand, and was not decided
    again = successor(wire)
    again.tick(0.1)
    assert again.denials == []
    assert again.client(read(2)).verdict is Verdict.ACCEPT
    assert again.reads == [read(2)]
    again.flows.mark(next(iter(again.flows)))  # another death, after one that was decided in between
    once_more = successor(again)
    once_more.tick(0.1)
    assert once_more.server(read_answer(2)).verdict is Verdict.ACCEPT


def test_a_flow_whose_packet_kills_workers_is_ended() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.flows.mark(next(iter(wire.flows)))
    again = successor(wire)
    again.tick(0.1)
    assert again.denials == []
    again.flows.mark(next(iter(again.flows)))
    once_more = successor(again)
    once_more.tick(0.1)
    assert once_more.denials == ["quarantined"] and once_more.reset_to_server


def test_a_torn_record_is_not_relied_upon() -> None:
    from conduitfw.flow import _WRITING, RECORD_SIZE

    wire = Wire().open()
    wire.client(read(1))
    wire.memory[RECORD_SIZE * (1 + next(iter(wire.flows)).slot)] = _WRITING
    again = successor(wire)
    again.tick(0.1)
    assert again.denials == ["quarantined"] and again.reset_to_server


def test_a_new_flow_in_hand_leaves_nothing_of_the_one_before_it() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.flows.remove(next(iter(wire.flows)))
    new = wire.flows.create(b"\x0a\x0a\x00\x0c\x0a\x14\x00\x05\x9c\x41\x01\xf6", 6, wire.now)
    assert new is not None
    wire.flows.mark(new)
    assert len(successor(wire).flows) == 0


def test_a_repeat_of_taken_bytes_with_a_fin_ends_the_clients_stream() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client(read(1), at=-len(read(1)), flags=ACK | FIN)
    last = wire.at_server[-1]
    assert (last.flags & FIN, last.payload, last.sequence) == (FIN, b"", wire.client_next)
    wire.server(flags=FIN)
    assert wire.denials == []


def test_a_repeat_of_taken_bytes_never_carries_them() -> None:
    """They can be compared with nothing: whoever says them again may say something else."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client(forbidden(1), at=-len(read(1)))
    wire.client(forbidden(1), at=-1000)
    assert [each.payload for each in wire.at_server[-2:]] == [b"", b""]
    assert [each.sequence for each in wire.at_server[-2:]] == [wire.client_next - 1 & 0xFFFFFFFF] * 2
