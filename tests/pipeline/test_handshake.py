"""How sessions begin, are replaced, and are found in the middle."""

from __future__ import annotations

import pytest

from conduitfw.outcome import Verdict
from conduitfw.packet import ACK, FIN, RST, SYN
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.wire import Wire, tables


def test_the_handshake_passes() -> None:
    assert [outcome.verdict for outcome in Wire().handshake()] == [Verdict.ACCEPT] * 3


def test_multipath_and_fast_open_options_do_not_pass() -> None:
    wire = Wire()
    syn = wire._syn(True, wire.client_next, 0, SYN)
    assert wire.send(syn, True).payload is None
    assert all(each.options is None for each in wire.at_server)


def test_data_on_a_syn_is_denied() -> None:
    wire = Wire()
    assert wire.client(read(), flags=SYN).reason is Reason.SYN_DATA
    assert wire.at_server == []


def test_data_before_the_answer_is_denied() -> None:
    wire = Wire()
    wire.send(wire._syn(True, wire.client_next, 0, SYN), True)
    assert wire.client(read(), at=1).reason is Reason.NOT_ESTABLISHED
    assert wire.reads == []


@pytest.mark.parametrize("flags", [SYN, SYN | ACK], ids=["SYN", "SYN-ACK"])
def test_a_server_does_not_open(flags: int) -> None:
    wire = Wire()
    outcome = wire.server(flags=flags) if flags & ACK else wire.send(wire.packet(False, 1, 0, SYN), False)
    assert outcome.verdict is Verdict.DENY
    assert wire.at_client == [] or wire.reset_to_client


def test_a_client_does_not_answer_a_handshake() -> None:
    wire = Wire()
    wire.send(wire._syn(True, wire.client_next, 0, SYN), True)
    assert wire.send(wire._syn(True, wire.client_next, 7, SYN | ACK), True).reason is Reason.SERVER_OPENS


def test_a_new_syn_replaces_a_session_only_when_the_server_agrees() -> None:
    wire = Wire().open()
    wire.client(read(1))
    assert wire.send(wire._syn(True, 77, 0, SYN), True).verdict is Verdict.ACCEPT
    assert wire.server(read_answer(1)).verdict is Verdict.ACCEPT, "the old session lives"
    wire.client_next, wire.server_next, wire.received = 77, 9000, 78
    wire.handshake()
    wire.client(read(5))
    assert wire.reads[-1] == read(5)
    assert wire.client(forbidden()).verdict is Verdict.DENY


def test_a_syn_ack_that_answers_no_pending_syn_is_denied() -> None:
    wire = Wire().open()
    assert wire.send(wire._syn(False, 4242, 99, SYN | ACK), False).reason is Reason.NO_SESSION
    assert wire.client(read()).verdict is Verdict.ACCEPT


def test_an_ended_four_tuple_can_be_used_again() -> None:
    wire = Wire().open()
    wire.client(forbidden())
    wire.client_next, wire.server_next = 1000, 9000
    wire.received = 1001
    assert [outcome.verdict for outcome in wire.handshake()] == [Verdict.ACCEPT] * 3
    wire.client(read())
    assert wire.reads == [read()]


def test_refused_connections_tell_the_client() -> None:
    wire = Wire()
    wire.send(wire._syn(True, wire.client_next, 0, SYN), True)
    assert wire.server(flags=RST).forward
    assert wire.at_client[-1].flags & RST


class TestMidstream:
    def midstream(self, fail: str) -> Wire:
        wire = Wire(tables(fail=fail))
        wire.client_next = wire.received
        return wire

    def test_reset_ends_what_it_does_not_know(self) -> None:
        wire = self.midstream("closed")
        outcome = wire.client(read())
        assert (outcome.verdict, outcome.reason) == (Verdict.DENY, Reason.NO_SESSION)
        assert wire.reset_to_client
        asked = wire.at_server[-1]
        assert (asked.payload, asked.sequence) == (b"", wire.received - 1), "only its answer tells where the server is"
        wire.server()
        assert wire.reset_to_server and wire.reads == []

    def test_reset_from_the_servers_side(self) -> None:
        wire = self.midstream("closed")
        begin = wire.server_next
        wire.server(read_answer())
        assert wire.reset_to_server
        asked = wire.at_client[-1]
        assert (asked.payload, asked.sequence) == (b"", begin - 1)
        wire.server_next = begin
        assert wire.client(read()).reason is Reason.ENDED
        assert wire.reset_to_client and wire.reads == []

    def test_resync_asks_the_server_and_goes_on(self) -> None:
        wire = self.midstream("static")
        wire.client(read())
        asked = wire.at_server[-1]
        assert (asked.payload, asked.sequence) == (b"", wire.received - 1)
        wire.server()
        wire.client(read(), at=-len(read()))
        assert wire.reads == [read()]
        assert wire.server(read_answer()).verdict is Verdict.ACCEPT
        assert wire.client(forbidden()).verdict is Verdict.DENY

    def test_resync_lets_a_late_answer_pass(self) -> None:
        wire = self.midstream("static")
        wire.client()
        wire.server()
        assert wire.server(read_answer(77)).verdict is Verdict.ACCEPT

    def test_resync_keeps_no_head(self) -> None:
        wire = self.midstream("static")
        wire.client(read())
        wire.server()
        outcome = wire.client(read()[:8], at=-len(read()))
        assert outcome.reason is Reason.NO_WINDOW_SCALE and wire.reads == []

    def test_resync_resets_where_bytes_were_lost(self) -> None:
        wire = self.midstream("static")
        wire.client_next += 12
        wire.client(read())
        assert wire.server().reason is Reason.BYTES_LOST
        assert wire.reads == []


class TestClosing:
    """After its FIN a side still acknowledges; the FIN counts as one byte."""

    def test_the_client_closes_first(self) -> None:
        wire = Wire().open()
        wire.client(flags=FIN | ACK)
        wire.client_next += 1
        wire.server(flags=FIN, ack=wire.client_next)
        wire.server_next += 1
        last = wire.client()
        assert (last.verdict, last.forward) == (Verdict.ACCEPT, True)
        assert wire.denials == []

    def test_the_server_closes_first(self) -> None:
        wire = Wire().open()
        wire.server(flags=FIN)
        wire.server_next += 1
        wire.client(flags=FIN | ACK)
        wire.client_next += 1
        last = wire.server(ack=wire.client_next)
        assert (last.verdict, last.forward) == (Verdict.ACCEPT, True)
        assert wire.denials == []

    def test_nothing_new_comes_behind_a_fin(self) -> None:
        wire = Wire().open()
        wire.client(flags=FIN | ACK)
        wire.client_next += 1
        assert wire.client(read()).reason is Reason.AFTER_END
        assert wire.reads == []

    def test_a_reset_behind_a_fin_goes_on(self) -> None:
        wire = Wire().open()
        wire.client(flags=FIN | ACK)
        wire.client_next += 1
        assert wire.client(flags=RST).forward
