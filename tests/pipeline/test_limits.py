"""Rules that limit what a request does, through the whole pipeline: what is learnt, messages in several frames."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path

import pytest
from dnp3.core.crc import compute_crc
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)
from scapy.layers.inet import IP, UDP

from conduitfw.outcome import Verdict
from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.ledger import SIZE, Ledger
from conduitfw.policy.load import load_policy
from conduitfw.reasons import Reason
from conduitfw.verdict import Pipeline
from tests.pipeline.modbus_units import adu, exception, read, read_answer, write, write_answer
from tests.pipeline.wire import Wire

HEAD = """
policy: {version: 1, site: test, owner: test, revision: "1"}
zones:
  scada: {security_level: 2, networks: [10.10.0.0/24], interfaces: [scada0], assets: {hmi: 10.10.0.11}}
  cell:
    security_level: 2
    networks: [10.20.0.0/24]
    interfaces: [cell0]
    assets: {plc: {address: 10.20.0.5, units: 1}, rtu: {address: 10.20.0.9, link_address: 10}}
tags:
  TIC-101.setpoint: {asset: plc, table: holding_registers, address: 120, type: float32, min: 20, max: 80, max_step: 5,
                     unit: C}
conduits:
  line:
    from: scada
    to: cell
    purpose: tests
    owner: tests
    approved_by: tests
    review_by: 2099-01-01
    rules:
"""
READS = "name: reads, allow: modbus, clients: hmi, servers: plc, functions: read"
SETS = "name: sets, allow: modbus, clients: hmi, servers: plc, write: TIC-101.setpoint"


def compiled(folder: Path, *rules: str, tags: str = "", head: str = HEAD) -> Tables:
    path = folder / "policy.yaml"
    text = head.replace("conduits:\n", tags + "conduits:\n")
    path.write_text(text + "".join(f"      - {{{rule}}}\n" for rule in rules))
    loaded = load_policy([path])
    assert loaded.policy is not None, [str(problem) for problem in loaded.problems]
    return compile_policy(loaded.policy)


def words(number: float) -> list[int]:
    return list(struct.unpack(">HH", struct.pack(">f", number)))


def setpoint(number: float, transaction: int = 1) -> bytes:
    return adu(WriteMultipleRegistersRequest(address=120, registers=words(number)), transaction)


def written(transaction: int = 1) -> bytes:
    return adu(WriteMultipleRegistersResponse(address=120, count=2), transaction)


class Plant:
    """A session with a PLC whose set point is 42.0, and has been read."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire.open()
        self.port = 40000
        self.learn(42.0)

    def learn(self, number: float) -> None:
        assert self.wire.client(read(7, 2, 120)).verdict is Verdict.ACCEPT
        answer = adu(ReadHoldingRegistersResponse(registers=words(number)), 7)
        assert self.wire.server(answer).verdict is Verdict.ACCEPT

    def refused(self, number: float) -> tuple[Reason | None, str]:
        """What a denied write is told; the session is ended by it, so it is tried in another."""
        self.port += 1
        other = Wire(self.wire.pipeline.tables, ports=(self.port, 502))
        other.pipeline = self.wire.pipeline
        self.wire.twin = None  # it knows nothing of the other
        other.open()
        outcome = other.client(setpoint(number))
        assert outcome.verdict is Verdict.DENY
        assert other.reads == []
        return outcome.reason, outcome.detail

    def sets(self, number: float, answer: bytes | None = None) -> None:
        assert self.wire.client(setpoint(number)).verdict is Verdict.ACCEPT
        assert self.wire.server(answer or written()).verdict is Verdict.ACCEPT


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(Wire(compiled(tmp_path, READS, SETS)))


class TestTags:
    def test_a_denial_reads_like_the_plant(self, plant: Plant) -> None:
        assert plant.refused(95.0) == (Reason.TAG_LIMIT, "setpoint TIC-101 42.0 -> 95.0 C is above 80")
        assert plant.refused(19.5) == (Reason.TAG_LIMIT, "setpoint TIC-101 42.0 -> 19.5 C is below 20")
        assert plant.refused(48.0) == (Reason.TAG_STEP, "setpoint TIC-101 42.0 -> 48.0 C is a step of 6, above 5")

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
    def test_no_number_is_no_way_around(self, plant: Plant, number: float) -> None:
        assert plant.refused(number)[0] is Reason.TAG_LIMIT

    def test_steps_are_measured_from_what_the_device_confirmed(self, plant: Plant) -> None:
        plant.sets(47.0)
        assert plant.refused(53.0)[0] is Reason.TAG_STEP
        plant.sets(52.0)

    def test_a_refused_write_moves_nothing(self, plant: Plant) -> None:
        plant.sets(47.0, exception(1, 16, 4))
        assert plant.refused(52.0) == (Reason.TAG_STEP, "setpoint TIC-101 42.0 -> 52.0 C is a step of 10, above 5")
        plant.sets(46.0)

    def test_a_write_without_an_answer_counts_with_what_was_before(self, plant: Plant) -> None:
        assert plant.wire.client(setpoint(47.0)).verdict is Verdict.ACCEPT
        assert plant.refused(51.0)[0] is Reason.TAG_STEP  # from 42, which it may still have
        assert plant.refused(40.0)[0] is Reason.TAG_STEP  # from 47, which it may have by now

    def test_answers_of_writes_that_overtake_each_other(self, tmp_path: Path) -> None:
        """Function 6 goes up to sixteen at a time: the answer to the first says nothing of the second."""
        tag = "  level: {asset: plc, table: holding_registers, address: 7, max_step: 5}\n"
        rule = "name: wide, allow: modbus, clients: hmi, servers: plc, functions: [read, 6]"
        wire = Wire(compiled(tmp_path, rule, tags=tag)).open()

        def one(value: int, transaction: int) -> bytes:
            return adu(WriteSingleRegisterRequest(address=7, registers=[value]), transaction)

        wire.client(read(1, 1, 7))
        wire.server(read_answer(1, 1))  # it is 7
        assert wire.client(one(9, 2) + one(11, 3)).verdict is Verdict.ACCEPT
        wire.server(adu(WriteSingleRegisterResponse(address=7, registers=[9]), 2))
        assert wire.client(one(5, 4)).detail == "level 9 -> 5 is a step of 6, above 5"  # it may be 11 by now

    def test_what_nobody_has_seen_is_not_moved(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, READS, SETS)).open()
        outcome = wire.client(setpoint(42.0))
        assert (outcome.reason, outcome.detail) == (Reason.TAG_UNSEEN, "setpoint TIC-101 ? -> 42.0 C")

    def test_another_reading_teaches_nothing_of_it(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, READS, SETS)).open()
        wire.client(read(1, 2, 119))  # half of it
        wire.server(read_answer(1, 2))
        assert wire.client(setpoint(42.0)).reason is Reason.TAG_UNSEEN

    def test_half_of_a_point_is_not_written(self, tmp_path: Path) -> None:
        wide = "name: wide, allow: modbus, clients: hmi, servers: plc, functions: [read, write]"
        plant = Plant(Wire(compiled(tmp_path, wide)))
        half = adu(WriteSingleRegisterRequest(address=121, registers=[1]), 3)
        assert plant.wire.client(half).reason is Reason.TAG_PART

    def test_its_limits_hold_whatever_rule_allows_the_write(self, tmp_path: Path) -> None:
        wide = "name: wide, allow: modbus, clients: hmi, servers: plc, functions: [read, write]"
        plant = Plant(Wire(compiled(tmp_path, wide)))
        assert plant.refused(95.0)[0] is Reason.TAG_LIMIT

    def test_a_successor_remembers_what_was_seen(self, tmp_path: Path) -> None:
        tables = compiled(tmp_path, READS, SETS)
        memory = bytearray(SIZE)
        wire = Wire(tables)
        wire.pipeline = Pipeline(tables, wire.flows, wire.notices.append, Ledger(memory))
        plant = Plant(wire)
        wire.pipeline = Pipeline(tables, wire.flows, wire.notices.append, Ledger(memory))
        plant.sets(44.0)

    def test_a_late_look_does_not_take_the_place_of_what_is_known(self, tmp_path: Path) -> None:
        """Another session asked before the writes, and is answered behind them: what it was told is old."""
        plant = Plant(Wire(compiled(tmp_path, READS, SETS)))
        other = Wire(plant.wire.pipeline.tables, ports=(50000, 502))
        other.pipeline, other.now = plant.wire.pipeline, plant.wire.now
        plant.wire.twin = None  # it knows nothing of the other
        other.open()
        other.client(read(1, 2, 120))
        for number in (47.0, 52.0):
            plant.wire.now += 1
            plant.sets(number)
        other.now = plant.wire.now + 1
        other.server(adu(ReadHoldingRegistersResponse(registers=words(42.0)), 1))
        assert plant.refused(40.0) == (Reason.TAG_STEP, "setpoint TIC-101 52.0 -> 40.0 C is a step of 12, above 5")

    def test_an_answer_that_may_be_anothers_teaches_nothing(self, plant: Plant) -> None:
        """Two reads with one transaction id: nobody can say whose answer comes."""
        plant.wire.client(read(7, 2, 120))
        plant.wire.client(read(7, 2, 500))
        for number in (70.0, 42.0):
            plant.wire.server(adu(ReadHoldingRegistersResponse(registers=words(number)), 7))
        assert plant.refused(71.0) == (Reason.TAG_STEP, "setpoint TIC-101 42.0 -> 71.0 C is a step of 29, above 5")

    @pytest.mark.parametrize("answer", [written(), exception(1, 16, 2), exception(1, 6, 2)])
    def test_who_only_watches_stops_nothing(self, tmp_path: Path, answer: bytes) -> None:
        """A watched session that was there before: an answer to a write that nobody saw passes."""
        text = HEAD.replace("    review_by", "    mode: monitor\n    review_by")
        wire = Wire(compiled(tmp_path, READS, SETS, head=text))
        outcome = wire.server(answer, ack=1000)
        assert (outcome.forward, outcome.emissions, wire.denials) == (True, [], [])
        assert wire.pipeline.counters["engine_errors"] == 0


class TestRates:
    RULE = "name: sets, allow: modbus, clients: hmi, servers: plc, functions: [3, 6, 16], at_most: 2/min"

    def write(self, transaction: int) -> bytes:
        return adu(WriteSingleRegisterRequest(address=1, registers=[5]), transaction)

    def test_reads_do_not_count_and_writes_do(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, self.RULE)).open()
        for number in range(2):
            wire.client(read(number, 2))
            wire.server(read_answer(number, 2))
            assert wire.client(self.write(10)).verdict is Verdict.ACCEPT
            wire.server(adu(WriteSingleRegisterResponse(address=1, registers=[5]), 10))
        outcome = wire.client(self.write(10))
        assert (outcome.reason, outcome.detail) == (Reason.RATE, "2 in 60 s")

    def test_a_request_that_waits_counts_once(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, self.RULE)).open()
        wire.client(read(1, 2))
        assert wire.client(write(2)).verdict is Verdict.HOLD  # behind a read that is unanswered
        for _ in range(20):
            wire.tick(0.1)  # judged anew each time
        wire.server(read_answer(1, 2))
        assert wire.reads[-1] == write(2)
        wire.server(write_answer(2))
        assert wire.client(self.write(3)).verdict is Verdict.ACCEPT
        wire.server(adu(WriteSingleRegisterResponse(address=1, registers=[5]), 3))
        assert wire.client(self.write(4)).reason is Reason.RATE

    def test_a_new_policy_goes_on_counting(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, self.RULE)).open()
        for number in (1, 2):
            wire.client(self.write(number))
            wire.server(adu(WriteSingleRegisterResponse(address=1, registers=[5]), number))
        wire.pipeline.swap(compiled(tmp_path, READS, self.RULE), wire.now)
        assert wire.client(self.write(3)).reason is Reason.RATE


# --- a DNP3 message in several frames -------------------------------------------------------------------


def frame(user: bytes, *, master: int = 1, outstation: int = 10, control: int = 0xC4) -> bytes:
    """A link frame of unconfirmed user data; its CRCs are dnp3py's."""
    header = struct.pack("<BBBBHH", 5, 0x64, 5 + len(user), control, outstation, master)
    blocks = [header, *(user[at : at + 16] for at in range(0, len(user), 16))]
    return b"".join(block + struct.pack("<H", compute_crc(block)) for block in blocks)


def crobs(*indexes: int) -> bytes:
    """CROBs behind one header of g12v1: latch on."""
    body = b"".join(struct.pack("<HBBIIB", index, 3, 1, 0, 0, 0) for index in indexes)
    return struct.pack("<BBBH", 12, 1, 0x28, len(indexes)) + body


def message(function: int, octets: bytes, cut: int, sequence: int = 0, master: int = 1) -> list[bytes]:
    """A request in two frames; the first ends `cut` octets into its objects."""
    fragment = bytes((0xC0 | sequence, function)) + octets
    parts = fragment[: 2 + cut], fragment[2 + cut :]
    return [frame(bytes((0x40,)) + parts[0], master=master), frame(bytes((0x81,)) + parts[1], master=master)]


LOW = (
    "name: low, allow: dnp3, clients: hmi, servers: rtu, functions: [read, direct_operate, operate], points: {g12: 0-3}"
)
HIGH = "name: high, allow: dnp3, clients: hmi, servers: rtu, functions: [direct_operate, operate], points: {g12: 4-7}"
BOTH = "name: both, allow: dnp3, clients: hmi, servers: rtu, functions: direct_operate, points: {g12: 2-5}"
RTU = (ip_address("10.10.0.11").packed, ip_address("10.20.0.9").packed)


def session(tables: Tables) -> Wire:
    return Wire(tables, ends=RTU, ports=(40000, 20000)).open()


class TestSeveralFrames:
    @pytest.mark.parametrize("cut", range(1, len(crobs(1, 2, 3))))
    def test_what_one_rule_allows_passes_wherever_it_is_cut(self, tmp_path: Path, cut: int) -> None:
        wire = session(compiled(tmp_path, LOW))
        frames = message(5, crobs(1, 2, 3), cut)
        for each in frames:
            assert wire.client(each).verdict is Verdict.ACCEPT
            wire.server()
        assert wire.reads == frames

    @pytest.mark.parametrize("cut", range(1, len(crobs(1, 2, 5))))
    def test_a_forbidden_point_in_a_later_frame_ends_it(self, tmp_path: Path, cut: int) -> None:
        wire = session(compiled(tmp_path, LOW))
        frames = message(5, crobs(1, 2, 5), cut)
        outcomes = [wire.client(each) for each in frames]
        denied = [outcome.reason for outcome in outcomes if outcome.verdict is Verdict.DENY]
        assert denied[0] is Reason.POINT
        assert frames[1] not in wire.reads
        assert wire.reset_to_server

    @pytest.mark.parametrize("cut", range(1, len(crobs(1, 5))))
    def test_two_rules_do_not_add_up_within_one_message(self, tmp_path: Path, cut: int) -> None:
        """`low` allows the one point and `high` the other: no rule allows to operate both at once."""
        wire = session(compiled(tmp_path, LOW, HIGH))
        frames = message(5, crobs(1, 5), cut)
        for each in frames:
            wire.client(each)
        assert frames[1] not in wire.reads
        assert wire.denials == ["point"]

    def test_a_later_rule_that_allows_all_of_it_is_found(self, tmp_path: Path) -> None:
        wire = session(compiled(tmp_path, LOW, HIGH, BOTH))
        frames = message(5, crobs(2, 3, 4, 5), 5 + 13 * 2)
        for each in frames:
            assert wire.client(each).verdict is Verdict.ACCEPT
            wire.server()

    def test_a_successor_goes_on_with_the_same_rules(self, tmp_path: Path) -> None:
        tables = compiled(tmp_path, LOW, HIGH)
        for last, verdict in ((2, Verdict.ACCEPT), (5, Verdict.DENY)):
            wire = session(tables)
            frames = message(5, crobs(1, last), 5 + 13)
            assert wire.client(frames[0]).verdict is Verdict.ACCEPT
            wire.server()
            wire.flows = type(wire.flows)(wire.memory)
            wire.pipeline = Pipeline(tables, wire.flows, wire.notices.append)
            wire.pipeline.swap(tables, wire.now)
            assert wire.client(frames[1]).verdict is verdict

    def test_a_new_policy_in_the_midst_of_a_message_ends_it(self, tmp_path: Path) -> None:
        wire = session(compiled(tmp_path, LOW))
        frames = message(5, crobs(1, 2), 5 + 13)
        assert wire.client(frames[0]).verdict is Verdict.ACCEPT
        wire.server()
        wire.swap(compiled(tmp_path, HIGH, LOW))
        assert wire.client(frames[1]).verdict is Verdict.DENY
        assert frames[1] not in wire.reads

    def test_an_operate_of_several_frames_is_for_what_was_selected(self, tmp_path: Path) -> None:
        """However either was cut."""
        rule = "name: sbo, allow: dnp3, clients: hmi, servers: rtu, functions: [select, operate], "
        tables = compiled(tmp_path, rule + "select_before_operate: required")
        for selected, verdict in (((1, 2, 3), Verdict.ACCEPT), ((1, 2, 4), Verdict.DENY)):
            wire = session(tables)
            for each in message(3, crobs(*selected), 20, sequence=5):
                wire.client(each)
                wire.server()
            wire.server(frame(b"\xc0\xc5\x81\x00\x00", master=10, outstation=1, control=0x44))
            outcomes = []
            for each in message(4, crobs(1, 2, 3), 9, sequence=6):
                outcomes.append(wire.client(each))
                wire.server()
            assert outcomes[-1].verdict is verdict
            if verdict is Verdict.DENY:
                assert outcomes[-1].reason is Reason.NOT_SELECTED


QUALIFIERS = (0x47, 0x48, 0x49, 0x4B, 0x57, 0x58, 0x59, 0x5B, 0x67, 0x68, 0x69, 0x6B)
CONTENTS = {(12, 1): b"\x03\x01" + bytes(9), (41, 3): struct.pack("<fB", 1e6, 0), (34, 3): struct.pack("<f", 1e6)}


class TestHiding:
    @pytest.mark.parametrize("qualifier", QUALIFIERS)
    @pytest.mark.parametrize(("kind", "octets"), CONTENTS.items())
    def test_nothing_that_is_limited_hides_in_a_free_format(
        self, tmp_path: Path, qualifier: int, kind: tuple[int, int], octets: bytes
    ) -> None:
        count = {7: 1, 8: 2, 9: 4, 0xB: 1}[qualifier & 0x0F]
        size = {4: 1, 5: 2, 6: 4}[qualifier >> 4]
        body = bytes((*kind, qualifier)) + (1).to_bytes(count, "little") + len(octets).to_bytes(size, "little") + octets
        wire = session(compiled(tmp_path, LOW.replace("direct_operate", "direct_operate, write")))
        outcome = wire.client(frame(b"\xc0\xc0" + bytes((2 if kind[0] == 34 else 5,)) + body))
        assert outcome.reason is Reason.DNP3_QUALIFIER
        assert wire.reads == []


class TestUdp:
    RULE = LOW.replace("allow: dnp3", "allow: dnp3, transport: udp") + ", at_most: 2/min"

    def datagram(self, payload: bytes) -> bytes:
        packet = IP(src="10.10.0.11", dst="10.20.0.9") / UDP(sport=40000, dport=20000) / payload
        return bytes(packet)

    def test_a_datagram_that_is_dropped_counts_for_nothing(self, tmp_path: Path) -> None:
        wire = Wire(compiled(tmp_path, self.RULE))
        good = frame(b"\xc0\xc0\x05" + crobs(1))
        for _ in range(3):
            assert wire.pipeline.decide(self.datagram(good + b"junk"), wire.now).verdict is Verdict.DENY
        assert wire.pipeline.decide(self.datagram(good), wire.now).verdict is Verdict.ACCEPT
        assert wire.pipeline.decide(self.datagram(good + good), wire.now).reason is Reason.RATE
        assert wire.pipeline.decide(self.datagram(good), wire.now).verdict is Verdict.ACCEPT

    def test_a_select_that_nobody_answers_is_not_remembered(self, tmp_path: Path) -> None:
        rule = "allow: dnp3, transport: udp, clients: hmi, servers: rtu, functions: [read, select], outstation: 65535"
        wire = Wire(compiled(tmp_path, rule))
        select = frame(b"\xc0\xc3\x03" + crobs(1), outstation=0xFFFF)
        for _ in range(2):
            assert wire.pipeline.decide(self.datagram(select), wire.now).verdict is Verdict.ACCEPT
        assert wire.pipeline.counters["engine_errors"] == 0
