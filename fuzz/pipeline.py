"""The whole pipeline between a client that does what it likes and a server that keeps to TCP.

An input is a small program: two octets that choose the policy, then steps. What reaches the server is put together as
a server does it, cut into units, and each is tried against the policy by a reader of its own (policies.py). A step that
makes the server lie (`_lies`) ends these checks for its session; that nothing raises is looked at to the end.
"""

from __future__ import annotations

import copy
import struct
import sys
from collections.abc import Callable
from ipaddress import ip_address

from conduitfw import packet
from conduitfw.denial import Emission
from conduitfw.flow import _FIELDS, HELD_ROOM, PARTIAL_ROOM, Flow, FlowTable, Memory, State
from conduitfw.outcome import Notice, Outcome
from conduitfw.packet import ACK, FIN, PSH, RST, SYN, Packet, build, build_udp, decode
from conduitfw.policy.ledger import SIZE as LEDGER_SIZE
from conduitfw.policy.ledger import Ledger
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Malformed
from conduitfw.verdict import Pipeline
from fuzz import octets
from fuzz.octets import Input, must
from fuzz.policies import Dnp3Server, modbus_request_allowed, pipeline_tables

MASK = 0xFFFF_FFFF
STEPS = 60  # of one program, at most
CLIENT_MAC, SERVER_MAC = b"\x02\x00\x00\x00\x00\x0a", b"\x02\x00\x00\x00\x00\x14"
CLIENT_PORT, SERVER_PORT = 11, 12  # of the bridge


def ahead(later: int, earlier: int) -> int:
    return ((later - earlier + 0x8000_0000) & MASK) - 0x8000_0000


# One for all inputs: to look through an empty one takes longer than all else.
_LEDGER_MEMORY = bytearray(LEDGER_SIZE)
_ledgers = [Ledger(_LEDGER_MEMORY)]


def _empty_ledger() -> Ledger:
    """The ledger, without what an earlier input put into it."""
    ledger = _ledgers[0]
    ledger._values_before = dict.fromkeys(ledger._values)
    ledger._uses_before = dict.fromkeys(ledger._uses)
    ledger.undo()
    return ledger


def _remembered(memory: Memory) -> dict[bytes, tuple[object, ...]]:
    """What is in the records, wherever they lie."""
    flows = FlowTable(bytearray(memory))
    names = ("held", "partial", "session_bytes", *(name for name, _ in _FIELDS))
    return {flow.key: tuple(getattr(flow, name) for name in names) for flow in flows}


class BarePipeline(Pipeline):
    """One that lets a defect of its own be seen, instead of ending the flow that met it."""

    def _end_broken(self, flow: Flow, now: float) -> list[Emission]:
        defect = sys.exception()
        if defect is None:
            return super()._end_broken(flow, now)
        raise defect


class Server:
    """The server's end of a TCP session: what of what was sent on it reads, and what that may be."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.begin(0, 0, scale=0, scaled=False)
        self.alive = False  # a session stands
        self.syn: int | None = None  # number of the last SYN that has arrived

    def begin(self, expected: int, number: int, *, scale: int, scaled: bool) -> None:
        """A session begins: the client's next number, and our own."""
        self.expected, self.next, self.scale = expected, number, scale
        self.scaled = scaled
        self.edge = (expected + 0xFFFF) & MASK
        self.said = b""  # what we have sent since `said_from`
        self.said_from = number
        self.stream: dict[int, int] = {}  # every octet that was ever sent on, by its number
        self.read = b""  # in order, of a unit that is not complete
        self.unanswered: list[bytes] = []
        self.ears = Dnp3Server()
        self.alive = True
        self.ended = False
        self.truthful = True  # no step has made us lie

    def window(self, said: int) -> None:
        """We say that we have so much room."""
        self.edge = (self.expected + (said << self.scale)) & MASK

    def take(self, arrived: Packet, *, lost: bool) -> None:
        """A packet has left the firewall for us."""
        if arrived.flags & SYN:
            must(not arrived.flags & ACK, "a client's SYN-ACK went on")
            must(not arrived.payload_length, "a SYN with data went on")
            if not lost:
                self.syn = arrived.sequence
            return
        if not self.alive or not self.truthful:
            return
        if arrived.flags & RST:
            must(not arrived.payload_length, "a RST with data went on")
            if not lost and arrived.sequence == self.expected:
                self.alive = False
            return
        payload = arrived.payload
        begin, end = arrived.sequence, (arrived.sequence + len(payload)) & MASK
        fresh = bool(payload) and ahead(end, self.expected) > 0
        for offset, octet in enumerate(payload) if fresh else ():
            number = (begin + offset) & MASK
            if ahead(number, self.expected) >= 0:
                before = self.stream.setdefault(number, octet)
                must(before == octet, "an octet went on that is not the one sent on before", payload)
        if lost:
            return
        if fresh and ahead(begin, self.expected) <= 0:
            room = ahead(self.edge, begin) if self.scaled else len(payload)
            piece = payload[ahead(self.expected, begin) : max(room, 0)]
            self.expected = (self.expected + len(piece)) & MASK
            self._read(piece)
            if self.line.whole:
                must(not self.read, "the server has read a part of a unit", self.read)
        if arrived.flags & FIN and ahead(end, self.expected) == 0 and not self.ended:
            must(not self.read, "a FIN went on behind a part of a unit", self.read)
            self.expected, self.ended = (self.expected + 1) & MASK, True

    def _read(self, piece: bytes) -> None:
        self.read += piece
        while self.read:
            size = self.line.size_of(self.read)
            if size == 0 or size > len(self.read):
                return
            unit, self.read = self.read[:size], self.read[size:]
            self.line.check(unit, self.ears)
            self.unanswered = [*self.unanswered[-15:], unit]


class Line:
    """One client, one server, one pair of ports."""

    def __init__(self, world: World, protocol: str, ends: tuple[str, str], port: int, *, udp: bool = False) -> None:
        self.world = world
        self.protocol = PROTOCOLS[protocol]
        self.ends = ip_address(ends[0]).packed, ip_address(ends[1]).packed
        self.ports = port, self.protocol.port
        self.udp = udp
        self.key = b"".join((*self.ends, *(each.to_bytes(2, "big") for each in self.ports)))
        self.whole = True  # whether every read has to end with a unit
        self.stamps = False
        self.window = 0xFFFF
        # The client's side, in its own numbers.
        self.next, self.expected = 1000, 0
        self.sent, self.sent_from = b"", 1000
        self.server = Server(self)

    def size_of(self, data: bytes) -> int:
        try:
            return self.protocol.frame(data, 0, len(data))
        except Malformed as malformed:
            must(False, f"the server has read what is no unit ({malformed.reason.code})", data)
        return 0

    def check(self, unit: bytes, ears: Dnp3Server) -> None:
        """A unit has reached the server: the policy of now allows it."""
        if self.world.monitored:
            return
        which = self.world.which
        if self.protocol.name == "modbus":
            must(modbus_request_allowed(which, unit), f"policy {which} does not allow", unit)
        else:
            why = ears.takes(which, unit)
            must(not why, f"policy {which} does not allow {why}:", unit)

    def packet(
        self, from_client: bool, sequence: int, ack: int, flags: int, payload: bytes = b"", window: int = -1
    ) -> bytes:
        ends, ports = (self.ends, self.ports) if from_client else (self.ends[::-1], self.ports[::-1])
        stamps = (1000 + self.world.steps, 2000) if self.stamps else None
        return build(
            *ends, *ports, sequence=sequence & MASK, ack=ack & MASK, flags=flags,
            window=self.window if window < 0 else window, timestamps=stamps, payload=payload,
        )  # fmt: skip

    def with_options(self, plain: bytes, options: bytes) -> bytes:
        """The packet with these TCP options."""
        at = 20 if len(self.ends[0]) == 4 else 40
        options = options[:40].ljust((len(options[:40]) + 3) // 4 * 4, b"\0")
        header = bytearray(plain[at : at + 20] + options)
        header[12] = (len(header) // 4) << 4
        return packet._finish(bytearray(plain[:at]), header, plain[at + (plain[at + 12] >> 4) * 4 :])


class World:
    """Everything of one program."""

    def __init__(self, source: Input) -> None:
        self.source = source
        chosen, more = source.octet(), source.octet()
        self.on_deny = ("reject", "reset", "drop", "reject")[chosen & 3]
        self.fail = ("closed", "static")[chosen >> 2 & 1]
        self.monitored = chosen >> 3 & 7 == 7
        self.which = chosen >> 6 & 1
        self.now = self.ticked = 100.0
        self.steps = 0
        self.memory = bytearray(FlowTable.memory_size(8))
        self.ledger = _empty_ledger()
        self.successions = 0
        self.lossy = self.shadowed = False
        self.engine_errors = 0
        self.pipeline = self._worker()
        self.lines = [
            Line(self, "modbus", ("10.10.0.11", "10.20.0.5"), 40000),
            Line(self, "dnp3", ("10.10.0.11", "10.20.0.9"), 40001),
            Line(self, "dnp3", ("10.10.0.11", "10.20.0.9"), 40002, udp=True),
            Line(self, "modbus", ("fd00:10::11", "fd00:20::5"), 40003),
        ]
        self.by_key = {(packet.UDP if line.udp else packet.TCP, line.key): line for line in self.lines}
        self.line = self.lines[more & 3]
        self.mss = (1460, 536, 1220, 60)[more >> 2 & 3]
        self.scale = (0, 2, 7, 14)[more >> 4 & 3]
        for line in self.lines:
            line.stamps = bool(more >> 6 & 1)
            line.whole = self.mss >= 536
        if more >> 7:  # every session was there before the engine
            for line in self.lines:
                line.server.begin(line.next, 7000, scale=0, scaled=False)
                line.expected = 7000

    def _tables(self) -> object:
        return pipeline_tables(self.which, self.on_deny, "monitor" if self.monitored else "enforce", self.fail)

    def _worker(self) -> Pipeline:
        return BarePipeline(self._tables(), FlowTable(self.memory), self.noticed, self.ledger)  # type: ignore[arg-type]

    def noticed(self, notice: Notice) -> None:
        """What is told can be read."""
        must(notice.reason is None or bool(notice.action), "a denial without an action")

    def flow_of(self, line: Line) -> Flow | None:
        return self.pipeline.flows.find(packet.UDP if line.udp else packet.TCP, line.key)

    # --- through the firewall ---------------------------------------------------------------------

    def send(self, data: bytes, from_client: bool) -> None:
        """A packet arrives at the firewall, and what leaves it at whom it is for."""
        self.now += 0.001
        index, mac = (CLIENT_PORT, CLIENT_MAC) if from_client else (SERVER_PORT, SERVER_MAC)
        shadow = self._shadow() if self.shadowed else None
        watched = self._watched(data)
        outcome = self.pipeline.decide(data, self.now, index, mac)
        if shadow is not None:
            self._compare(outcome, shadow.decide(data, self.now, index, mac), shadow)
        if watched and self._watched(data):  # else it was with this packet that enforcing began
            must(outcome.forward and outcome.payload is None and not outcome.emissions, "a watched packet was touched")
        if outcome.forward:
            self.deliver(data if outcome.payload is None else outcome.payload, from_client)
        self.emit(outcome.emissions)
        self.look()

    def _watched(self, data: bytes) -> bool:
        try:
            read = decode(data)
        except Malformed:
            return False
        flow = self.pipeline.flows.find(read.transport, read.key)
        return flow is not None and flow.observed and not flow.answered_size  # whose numbers are translated for ever

    def _shadow(self) -> Pipeline | None:
        """A successor of now, to which the next packet is shown as well."""
        self.shadowed = False
        flows = list(self.pipeline.flows)
        if any(flow.observed or flow.answer_length or any(flow.early or ()) for flow in flows):
            return None  # what waits behind a gap is not in the record; an answer is sent at once again
        shadow = BarePipeline(
            self.pipeline.tables, FlowTable(bytearray(self.memory)), lambda notice: None, copy.deepcopy(self.ledger)
        )
        shadow.tick(self.ticked)  # as a worker begins: what has been given up since is not written
        shadow._counters = dict(self.pipeline.counters)
        return shadow

    def _compare(self, one: Outcome, other: Outcome, shadow: Pipeline) -> None:
        said, again = (
            (each.verdict, each.forward, each.payload, each.reason, each.detail, [e.packet for e in each.emissions])
            for each in (one, other)
        )
        must(said == again, "a successor decides otherwise", said, again)
        must(_remembered(self.memory) == _remembered(shadow.flows._memory), "a successor remembers otherwise")

    def emit(self, emissions: list[Emission]) -> None:
        for emission in emissions:
            if not emission.ifindex:
                must(not emission.destination_mac, "a packet to nowhere")
                continue
            must(emission.ifindex in (CLIENT_PORT, SERVER_PORT), "a packet to an unknown port")
            self.deliver(emission.packet, emission.ifindex == SERVER_PORT)

    def deliver(self, data: bytes, to_server: bool) -> None:
        arrived = decode(data)  # raises where we made a packet that nobody could read
        key = arrived.key
        if not to_server:
            half = (len(key) - 4) // 2
            key = key[half:-4] + key[:half] + key[-2:] + key[-4:-2]
        line = self.by_key.get((arrived.transport, key))
        if line is None:
            return
        if line.udp:
            if to_server:
                self._datagram(line, arrived.payload)
            return
        if to_server:
            flow = self.flow_of(line)
            if not self.monitored and (flow is None or not flow.observed):
                line.server.take(arrived, lost=self.lossy)
                return
            line.server.truthful = False
            if arrived.flags & SYN and not arrived.flags & ACK:
                line.server.syn = arrived.sequence
        elif arrived.flags & SYN:
            line.expected = (arrived.sequence + 1) & MASK
        elif arrived.sequence == line.expected:
            line.expected = (line.expected + arrived.payload_length + bool(arrived.flags & FIN)) & MASK

    def _datagram(self, line: Line, payload: bytes) -> None:
        if self.monitored or not line.server.truthful:
            return
        must(bool(payload), "an empty datagram went on")
        while payload:
            size = line.size_of(payload)
            must(0 < size <= len(payload), "a datagram with a part of a unit went on", payload)
            line.check(payload[:size], line.server.ears)
            line.server.unanswered = [*line.server.unanswered[-15:], payload[:size]]
            payload = payload[size:]

    def look(self) -> None:
        """What holds between two packets."""
        pipeline = self.pipeline
        must(pipeline.counters["engine_errors"] == 0, "the engine failed inside")
        must(len(pipeline.flows) <= pipeline.flows.capacity, "more flows than room")
        for flow in pipeline.flows:
            must(len(flow.held) <= HELD_ROOM and len(flow.partial) <= PARTIAL_ROOM, "more kept than a record holds")
            must(flow.kept >= 0 and ahead(flow.sent, flow.base) >= 0, "numbers out of order", flow.base, flow.sent)
            must(flow.state != State.TOMBSTONE or not flow.held, "a tombstone keeps bytes")
            if flow.session is None or flow.channel is None:
                continue
            must(
                flow.observed == flow.channel.monitor or flow.turning,
                "a session is watched that the policy does not watch, or not watched that it does",
            )
            state, protocol = flow.session.pack(), flow.channel.protocol
            must(len(state) <= protocol.session_size, "a session that is larger than it may be", len(state))
            again = protocol.session(flow.channel.lenient)
            again.restore(state)
            must(again.pack() == state, "a session that is not read as it was written", state)

    # --- steps ------------------------------------------------------------------------------------

    def run(self) -> None:
        while not self.source.ended and self.steps < STEPS:
            self.steps += 1
            STEP_KINDS[self.source.octet() & 0x1F](self)

    def unit(self) -> bytes:
        if self.line.protocol.name == "modbus":
            return octets.modbus_request(self.source)
        return octets.dnp3_request(self.source)

    def client(self, payload: bytes, offset: int = 0, flags: int = 0, ack: int = 0) -> None:
        """The client says something: from where it is, or `offset` from there."""
        line = self.line
        payload = payload[:1460]
        if line.udp:
            self.send(build_udp(*line.ends, *line.ports, payload), True)
            return
        sequence = line.next + offset
        if offset == 0:
            line.sent += payload
            line.next = (line.next + len(payload) + bool(flags & FIN)) & MASK
        flags |= ACK | (PSH if payload and not flags & RST else 0)
        self.send(line.packet(True, sequence, line.expected + ack, flags, payload), True)

    def serve(self, payload: bytes, offset: int = 0, ack: int = 0, flags: int = 0, window: int = -1) -> None:
        """The server says something. It never acknowledges what it has not got."""
        line, server = self.line, self.line.server
        payload = payload[:1460]
        if line.udp:
            self.send(build_udp(*line.ends[::-1], *line.ports[::-1], payload), False)
            return
        if not server.alive:
            return
        number = server.next + offset
        if offset == 0:
            server.said += payload
            server.next = (server.next + len(payload) + bool(flags & FIN)) & MASK
        ack = min(ack, 0)
        window = line.window if window < 0 else window
        if ack == 0:
            server.window(window)
        flags |= ACK | (PSH if payload else 0)
        self.send(line.packet(False, number, server.expected + ack, flags, payload, window), False)

    def _unit(self) -> None:
        self.client(self.unit())

    def _cut_unit(self) -> None:
        unit = self.unit()
        at = self.source.octet() % (len(unit) + 1)
        self.client(unit[:at])
        self.client(unit[at:])

    def _head(self) -> None:
        unit = self.unit()
        self.client(unit[: self.source.octet() % (len(unit) + 1)])

    def _units(self) -> None:
        self.client(b"".join(self.unit() for _ in range(1 + self.source.octet() % 5)))

    def _client_says(self) -> None:
        self.client(self.source.piece())

    def _client_says_elsewhere(self) -> None:
        offset, ack = self.source.signed(), self.source.signed()
        self.client(self.source.piece(), offset=offset, ack=ack)

    def _again(self) -> None:
        """The client repeats what it has said."""
        line = self.line
        first = len(line.sent) - (self.source.word() % (len(line.sent) + 1))
        last = min(first + self.source.word() % 1460, len(line.sent))
        self.client(line.sent[first:last], offset=ahead((line.sent_from + first) & MASK, line.next) or MASK + 1)

    def _client_acknowledges(self) -> None:
        line, how, ack = self.line, self.source.octet(), self.source.signed() // 4
        if not how & 1 or line.udp:
            self.client(b"", offset=how // 32 - 4, ack=ack)
            return
        edges = (line.expected + ack + how) & MASK, (line.expected + ack + 2 * how) & MASK
        plain = line.packet(True, line.next, line.expected + ack, ACK)
        self.send(line.with_options(plain, b"\x01\x01\x05\x0a" + struct.pack("!II", *edges)), True)

    def _client_ends(self) -> None:
        self.client(self.source.piece(), flags=FIN)

    def _client_resets(self) -> None:
        self.client(b"", offset=self.source.signed() // 8, flags=RST)

    def _opens(self) -> None:
        """The client's SYN, with or without the answer and the end of the handshake."""
        line, how = self.line, self.source.octet()
        if line.udp:
            return
        number = (0xFFFF_FF00, 1000, 5000, 0x7FFF_FFF0)[how & 3] + (how >> 2 & 3)
        line.next, line.sent, line.sent_from = (number + 1) & MASK, b"", (number + 1) & MASK
        self.send(self._syn(True, number, 0, SYN), True)
        if how & 0x10:
            return
        self._answers_syn(how)
        if not how & 0x20:
            self.client(b"")

    def _syn(self, from_client: bool, number: int, ack: int, flags: int) -> bytes:
        line = self.line
        options = b"\x02\x04" + self.mss.to_bytes(2, "big") + b"\x03\x03" + bytes((self.scale,)) + b"\x01"
        if line.stamps:
            options += b"\x01\x01\x08\x0a" + bytes(8)
        return line.with_options(line.packet(from_client, number, ack, flags), options)

    def _accepts(self) -> None:
        self._answers_syn(self.source.octet())

    def _answers_syn(self, how: int) -> None:
        line, server = self.line, self.line.server
        if line.udp or server.syn is None:
            return
        number = (5000, 0xFFFF_FFF0)[how >> 6 & 1]
        ack = (server.syn + 1) & MASK
        server.begin(ack, (number + 1) & MASK, scale=self.scale, scaled=True)
        server.syn = None
        self.send(self._syn(False, number, ack, SYN | ACK), False)

    def _answer(self) -> None:
        """The server answers the oldest request."""
        server, how = self.line.server, self.source.octet()
        if not server.unanswered:
            self.serve(b"")
            return
        request = server.unanswered.pop(0)
        make = octets.modbus_answer if self.line.protocol.name == "modbus" else octets.dnp3_answer
        answer = make(request, how & 3)
        if how & 4:
            at = (how >> 3) % len(answer)
            self.serve(answer[:at])
            answer = answer[at:]
        self.serve(answer)

    def _server_acknowledges(self) -> None:
        ack, window = -(self.source.octet() // 8), self.source.word()
        self.serve(b"", ack=ack, window=window)

    def _server_says(self) -> None:
        self.serve(self.source.piece())

    def _server_reports(self) -> None:
        if self.line.protocol.name == "dnp3":
            self.serve(octets.dnp3_report(self.source))
        else:
            self.serve(octets.adu(self.source.octet(), 1, self.source.piece()[:253]))

    def _server_repeats(self) -> None:
        server = self.line.server
        first = len(server.said) - self.source.word() % (len(server.said) + 1)
        offset = ahead((server.said_from + first) & MASK, server.next)
        self.serve(server.said[first:], offset=offset or MASK + 1)

    def _server_ends(self) -> None:
        self.serve(self.source.piece(), flags=FIN)

    def _server_resets(self) -> None:
        line, server = self.line, self.line.server
        if not line.udp and server.alive:
            server.alive = False
            self.send(line.packet(False, server.next, server.expected, RST | ACK), False)

    def _lies(self) -> None:
        """The server acknowledges what it likes, from where it likes."""
        line, server = self.line, self.line.server
        server.truthful = False
        if line.udp:
            return
        number, ack = server.next + self.source.signed(), server.expected + self.source.signed() * 8
        flags = self._flags()
        self.send(line.packet(False, number, ack, flags, self.source.piece(), self.source.word()), False)

    def _flags(self) -> int:
        return (ACK, ACK | PSH, ACK | FIN, SYN | ACK, RST, SYN, RST | ACK, ACK)[self.source.octet() & 7]

    def _odd(self) -> None:
        """A client's packet with any flags, options and window, check sums right."""
        line = self.line
        if line.udp:
            return
        offset, flags, window = self.source.signed(), self._flags(), self.source.word()
        options, payload = self.source.piece()[:40], self.source.piece()
        plain = line.packet(True, line.next + offset, line.expected + self.source.signed(), flags, payload, window)
        self.send(line.with_options(plain, options), True)

    def _mutated(self) -> None:
        """A packet with some octets changed; the check sums may be made to fit."""
        line, how = self.line, self.source.octet()
        from_client = bool(how & 1)
        payload = self.source.piece()
        if line.udp:
            ends = (line.ends, line.ports) if from_client else (line.ends[::-1], line.ports[::-1])
            plain = bytearray(build_udp(*ends[0], *ends[1], payload))
        elif from_client:
            plain = bytearray(line.packet(True, line.next, line.expected, ACK, payload))
        else:
            plain = bytearray(line.packet(False, line.server.next, line.server.expected, ACK, payload))
        if not from_client:
            line.server.truthful = False
        for _ in range(how >> 2 & 7):
            plain[self.source.octet() % len(plain)] ^= self.source.octet()
        at = 20 if len(line.ends[0]) == 4 else 40
        data = bytes(plain)
        if how & 2 and not line.udp and len(plain) >= at + 20:
            data = packet._finish(bytearray(plain[:at]), bytearray(plain[at : at + 20]), bytes(plain[at + 20 :]))
        self.send(data, from_client)

    def _raw(self) -> None:
        """Any bytes for a packet. Whoever they are from may be the server."""
        for line in self.lines:
            line.server.truthful = False
        self.send(self.source.piece(), bool(self.source.octet() & 1))

    def _past(self) -> None:
        """The kernel passes a client's bytes by itself."""
        line = self.line
        line.server.truthful = False
        payload = self.source.piece()
        if not line.udp:
            line.next = (line.next + len(payload)) & MASK
            line.server.expected = (line.server.expected + len(payload)) & MASK

    def _tick(self) -> None:
        how = self.source.octet()
        self.now += (0.05, 0.3, 2.0, 6.0, 16.0, 40.0, 200.0, 90000.0)[how & 7]
        self.ticked = self.now
        self.emit(self.pipeline.tick(self.now))
        self.look()

    def _succeed(self) -> None:
        """Another worker goes on with the same memory."""
        self.successions += 1
        if self.successions == 1:  # reading it takes longer than all else: once in an input
            self.ledger = _ledgers[0] = Ledger(_LEDGER_MEMORY)
        self.pipeline = self._worker()
        self.emit(self.pipeline.tick(self.ticked))  # as a worker begins: what killed its predecessors is ended

    def _die(self) -> None:
        """The worker dies with a packet of this flow in hand."""
        flow = self.flow_of(self.line)
        if flow is not None:
            self.pipeline.flows.mark(flow)
        self._succeed()

    def _swap(self) -> None:
        self.which = 1 - self.which
        self.emit(self.pipeline.swap(self._tables(), self.now))  # type: ignore[arg-type]
        self.look()

    def _watch(self) -> None:
        """The policy of now, but that it only watches; or no longer does."""
        self.monitored = not self.monitored
        for line in self.lines:
            line.server.truthful = False
        self.emit(self.pipeline.swap(self._tables(), self.now))  # type: ignore[arg-type]
        self.look()

    def _select(self) -> None:
        self.line = self.lines[self.source.octet() & 3]

    def _lose(self) -> None:
        """From now on what is sent on is lost, or no longer."""
        self.lossy = not self.lossy

    def _show_successor(self) -> None:
        self.shadowed = True


# By the lowest five bits of a step's first octet. Inputs that failed once are written in these numbers: change none.
STEP_KINDS: tuple[Callable[[World], None], ...] = (
    World._opens, World._unit, World._cut_unit, World._head, World._units, World._client_says,
    World._client_says_elsewhere, World._again, World._client_acknowledges, World._client_ends, World._client_resets,
    World._accepts, World._answer, World._server_acknowledges, World._server_says, World._server_reports,
    World._server_repeats, World._server_ends, World._server_resets, World._lies, World._odd, World._mutated,
    World._raw, World._past, World._tick, World._succeed, World._die, World._swap, World._select, World._lose,
    World._show_successor, World._watch,
)  # fmt: skip


def number_of(step: str) -> int:
    """The octet that says this step."""
    return next(number for number, kind in enumerate(STEP_KINDS) if kind.__name__ == step)


def run(data: bytes) -> None:
    """One input. Raises Violation, or whatever the pipeline did."""
    World(Input(data)).run()


def program(line: int, conversation: list[tuple[bool, bytes]], *, on_deny: int = 0) -> bytes:
    """An input: a session on the line of that number in which these octets are said (True: by the client)."""
    steps = [bytes((on_deny & 0xFF, line, number_of("_opens"), 0))]
    for from_client, said in conversation:
        kind = "_client_says" if from_client else "_server_says"
        steps.append(bytes((number_of(kind),)) + octets.piece(said[:1460]))
    return b"".join(steps)
