"""One state, in shared memory (tcp-rules.md, 1): what a successor finds of the sessions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from conduitfw import record, tcp
from conduitfw.denial import Emission
from conduitfw.flow import PATIENCE, RECORD_SIZE, FlowTable, State
from conduitfw.outcome import Verdict
from conduitfw.protocols import REFUSALS
from conduitfw.protocols.dnp3 import selection, transport
from conduitfw.protocols.dnp3 import session as dnp3
from conduitfw.protocols.dnp3.objects import READING
from conduitfw.protocols.modbus import session as modbus
from conduitfw.reasons import Reason
from conduitfw.record import IN_HAND, USED
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.test_limits import compiled
from tests.pipeline.wire import CLIENT6, CLIENT_PORT_INDEX, SERVER6, SERVER_PORT_INDEX, Wire, tables


class Killed(BaseException):
    """The worker dies in the midst of a packet: nothing behind it runs."""


def succeed(wire: Wire) -> None:
    """Another worker takes the records over."""
    wire.flows = FlowTable(wire.memory)
    wire.pipeline = Pipeline(wire.pipeline.tables, wire.flows, wire.notices.append)


def mark_of(wire: Wire) -> int:
    return wire.memory[next(iter(wire.flows)).at]


def die_with(wire: Wire, packet: bytes) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tcp, "pass_client", killed)
        with pytest.raises(Killed):
            wire.send(packet, True)


def test_a_successor_knows_the_half_of_an_answer() -> None:
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1)[:7])
    succeed(wire)
    assert wire.server(read_answer(1)[7:]).reason is None
    assert wire.denials == []


def test_a_successor_compares_what_is_repeated() -> None:
    wire = Wire().open()
    wire.losing = True
    wire.client(read(1))
    wire.losing = False
    succeed(wire)
    assert wire.client(forbidden(1), at=-len(read(1))).reason is Reason.CHANGED_REPEAT
    assert wire.reads == []


def test_a_successor_translates_on() -> None:
    wire = Wire(tables(on_deny="reject")).open()
    wire.client(forbidden(1))
    wire.client(ack=wire.server_next + 9)
    succeed(wire)
    wire.client(read(2), ack=wire.server_next + 9)
    assert wire.reads == [read(2)]
    begin = wire.server_next
    wire.server(read_answer(2))
    assert (wire.at_client[-1].sequence, wire.at_client[-1].ack) == (begin + 9, wire.client_next)


@pytest.mark.parametrize("ends", [{}, {"ends": (CLIENT6, SERVER6)}], ids=["IPv4", "IPv6"])
def test_the_record_is_marked_while_its_packet_is_in_hand(ends: dict[str, tuple[bytes, bytes]]) -> None:
    wire = Wire(**ends).open()  # type: ignore[arg-type]
    die_with(wire, wire.packet(True, wire.client_next, wire.server_next, 0x18, read(1)))
    assert mark_of(wire) == IN_HAND
    succeed(wire)
    assert next(iter(wire.flows)).deaths == 1


def test_a_decided_packet_leaves_a_record_without_a_mark() -> None:
    wire = Wire().open()
    wire.client(read(1))
    assert mark_of(wire) == USED


def test_only_the_flow_whose_packet_kills_is_ended() -> None:
    wire = Wire().open()
    other = Wire(wire.pipeline.tables, flows=wire.flows, ports=(40001, 502))
    other.pipeline = wire.pipeline
    other.open()
    killing = wire.packet(True, wire.client_next, wire.server_next, 0x18, read(1))
    for _ in range(PATIENCE):
        die_with(wire, killing)
        succeed(wire)
    emissions: list[Emission] = wire.pipeline.tick(wire.now)
    wire.emit(emissions)
    assert wire.reset_to_client and wire.reset_to_server
    assert wire.denials == ["quarantined"]
    other.pipeline, other.flows = wire.pipeline, wire.flows
    assert other.client(read(2)).verdict is Verdict.ACCEPT
    assert other.reads == [read(2)]
    assert wire.client(read(1)).reason is Reason.ENDED


def test_a_memory_of_another_layout_is_not_read() -> None:
    wire = Wire().open()
    wire.memory[3] += 1
    succeed(wire)
    assert len(wire.flows) == 0
    assert wire.client(read(1)).reason is Reason.NO_SESSION
    assert wire.reads == []


def test_other_formats_are_another_layout() -> None:
    """An upgrade goes on with what an older program wrote: whoever changes what is packed raises the version, too."""
    packed = (
        record._TOUCHED_AT, record._PROMISED_AT, record._PROMISED_HALF_AT, record._PROMISE_AT,
        record._SELDOM, record._OFTEN, RECORD_SIZE, record.BLOCK_SIZE, [(each.name, int(each)) for each in State],
        modbus._HEADER.format, modbus._ENTRY.format, dnp3._HEADER.format, dnp3._REQUEST.format,
        transport._PACKED.format, READING.format, selection.PACKED.format, [each.code for each in REFUSALS],
    )  # fmt: skip
    assert (record.LAYOUT_VERSION, hashlib.sha256(repr(packed).encode()).hexdigest()[:16]) == (6, "def7aa8b61f7d69b")


class TestUnread:
    """A successor reads a record when a packet of its flow comes, or when there is time: meanwhile packets wait."""

    @staticmethod
    def sessions() -> tuple[Wire, Wire]:
        """Two sessions over one table, which a successor has glanced at."""
        one = Wire()
        other = Wire(flows=one.flows, ports=(40001, 502))
        one.twin = None
        other.pipeline = one.pipeline
        for each in (one, other):
            each.open()
            each.client(read(1))
        succeed(one)
        other.pipeline = one.pipeline
        return one, other

    def test_a_packet_has_its_own_record_read_and_no_other(self) -> None:
        one, other = self.sessions()
        assert one.flows.unread == 2
        assert other.server(read_answer(1)).reason is None
        assert one.flows.unread == 1
        assert other.client(read(2)).reason is None and other.reads == [read(1), read(2)]
        assert one.server(read_answer(1)).reason is None
        assert (one.flows.unread, len(one.flows), one.denials) == (0, 2, [])

    def test_nothing_of_a_session_is_decided_before_its_record_is_read(self) -> None:
        one, _ = self.sessions()
        assert one.client(forbidden(1), at=-len(read(1))).reason is Reason.CHANGED_REPEAT
        assert one.reads == [read(1)] and one.flows.unread == 1

    def test_what_the_new_policy_does_not_allow_ends_with_its_next_packet(self, tmp_path: Path) -> None:
        one, other = self.sessions()
        one.swap(compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: read"))
        assert one.flows.unread == 2
        assert other.client(read(2)).reason is Reason.POLICY_CHANGED
        assert other.reset_to_client and other.reset_to_server and other.reads == [read(1)]
        assert not one.reset_to_client

    def test_or_when_there_is_time(self, tmp_path: Path) -> None:
        one, _ = self.sessions()
        one.swap(compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: read"))
        emissions = one.pipeline.take_up(one.now)
        assert one.flows.unread == 0
        assert {each.ifindex for each in emissions} == {CLIENT_PORT_INDEX, SERVER_PORT_INDEX}
        assert one.denials == [Reason.POLICY_CHANGED.code] * 2
