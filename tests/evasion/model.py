"""Level 1: a server's TCP and its application as a model, behind the pipeline or behind nothing.

The model takes what Linux takes. Its applications are as gullible as any product: the Modbus ones read a stream of
ADUs, or take what one read returns as one request; the DNP3 one searches for frames byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable

from dnp3.core.crc import compute_crc

from conduitfw.denial import Emission
from conduitfw.flow import FlowTable
from conduitfw.packet import ACK, FIN, PSH, RST, SYN, URG, Packet, build, decode
from conduitfw.policy.compile import Tables
from conduitfw.reasons import Malformed
from conduitfw.verdict import Pipeline
from tests.evasion.actor import MASK
from tests.evasion.steps import Send, packets
from tests.pipeline.ends import ahead
from tests.pipeline.wire import CLIENT_MAC, CLIENT_PORT_INDEX, SERVER_MAC, SERVER_PORT_INDEX

Application = Callable[[bytes], bytes]


class ModbusStream:
    """A server that finds requests in the stream by the MBAP header's length, and executes each."""

    buffer = 65536

    def __init__(self) -> None:
        self.executed: list[int] = []
        self._held = b""

    def __call__(self, data: bytes) -> bytes:
        self._held += data
        answers = b""
        while len(self._held) >= 8:
            size = 6 + int.from_bytes(self._held[4:6], "big")
            if len(self._held) < size:
                break
            unit, self._held = self._held[:size], self._held[size:]
            if len(unit) >= 8:
                self.executed.append(unit[7])
                answers += refusal(unit)
        return answers


class ModbusReads:
    """A server that takes what one read returns as one request, whatever stands behind it."""

    def __init__(self, buffer: int) -> None:
        self.buffer = buffer
        self.executed: list[int] = []

    def __call__(self, data: bytes) -> bytes:
        if len(data) < 8:
            return b""
        self.executed.append(data[7])
        return refusal(data)


def refusal(unit: bytes) -> bytes:
    """Exception 2: an answer that fits every request."""
    return unit[:4] + b"\x00\x03" + unit[6:7] + bytes((unit[7] | 0x80, 2))


class Dnp3:
    """An outstation's link, transport and application layers (dnp3-facts.md)."""

    buffer = 65536

    def __init__(self) -> None:
        self.executed: list[int] = []
        self._held = self._fragment = b""
        self._sequence = -1

    def __call__(self, data: bytes) -> bytes:
        self._held += data
        answers = b""
        while True:
            at = self._held.find(b"\x05\x64")
            if at < 0 or len(self._held) < at + 10:
                return answers
            self._held = self._held[at:]
            octets = self._held[2] - 5
            size = 10 + octets + (octets + 15) // 16 * 2
            if octets < 0 or not good(self._held[:10]):
                self._held = self._held[1:]
                continue
            if len(self._held) < size:
                return answers
            blocks = [self._held[first : min(first + 18, size)] for first in range(10, size, 18)]
            if not all(map(good, blocks)):
                self._held = self._held[1:]
                continue
            header, self._held = self._held[:10], self._held[size:]
            if header[3] & 0x4F == 0x44 and int.from_bytes(header[4:6], "little") in (10, 0xFFFD, 0xFFFE, 0xFFFF):
                answers += self._segment(b"".join(block[:-2] for block in blocks), header[6:8])

    def _segment(self, segment: bytes, master: bytes) -> bytes:
        if not segment:
            return b""
        head = segment[0]
        if head & 0x40:
            self._fragment, self._sequence = b"", head & 63
        elif self._sequence < 0 or head & 63 != self._sequence:
            return b""
        self._fragment += segment[1:]
        self._sequence = (head + 1) & 63
        if not head & 0x80:
            return b""
        fragment, self._sequence = self._fragment, -1
        if len(fragment) < 2 or fragment[0] & 0xE0 != 0xC0:
            return b""
        self.executed.append(fragment[1])
        return b"" if fragment[1] in (0, 6, 8, 10) else frame(bytes((0xC0, 0xC0 | fragment[0] & 15, 129, 0, 0)), master)


def good(block: bytes) -> bool:
    return compute_crc(block[:-2]) == int.from_bytes(block[-2:], "little")


def frame(user: bytes, master: bytes) -> bytes:
    """A frame of the outstation's to its master."""
    header = bytes((5, 0x64, 5 + len(user), 0x44)) + master + b"\x0a\x00"
    blocks = [header, *(user[at : at + 16] for at in range(0, len(user), 16))]
    return b"".join(block + compute_crc(block).to_bytes(2, "little") for block in blocks)


class ModelNetwork:
    """The pipeline (or nothing, where `tables` is None) with one server behind it that serves each client."""

    def __init__(self, tables: Tables | None, application: Callable[[], ModbusStream | ModbusReads | Dnp3]) -> None:
        self._pipeline = None if tables is None else Pipeline(tables, FlowTable(bytearray(FlowTable.memory_size(64))),
                                                              lambda notice: None)  # fmt: skip
        self._application = application
        self._servers: dict[bytes, Server] = {}
        self._inbox: list[Packet] = []
        self.now = 100.0
        self._losing = self._frozen = False
        self._window = 64000

    @property
    def executed(self) -> list[int]:
        return [code for server in self._servers.values() for code in server.executed]

    def engine_errors(self) -> int:
        return 0 if self._pipeline is None else self._pipeline.counters["engine_errors"]

    def send(self, packet: bytes, step: Send) -> None:
        self._travel(packet, not step.by_server)

    def receive(self, seconds: float) -> list[Packet]:
        if not self._inbox and seconds:
            self.pause(seconds)
        found, self._inbox = self._inbox, []
        return found

    def pause(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.25, end)
            self._tick()

    def _tick(self) -> None:
        if self._pipeline is not None:
            self._emit(self._pipeline.tick(self.now))
        for server in list(self._servers.values()):
            for packet in server.again(self.now):
                self._travel(packet, False)

    def lose(self, on: bool) -> None:
        self._losing = on

    def freeze(self, on: bool) -> None:
        self._frozen = on
        if not on:
            for server in list(self._servers.values()):
                for packet in server.read():
                    self._travel(packet, False)

    def window(self, size: int) -> None:
        self._window = size
        for server in list(self._servers.values()):
            server.window = size
            self._travel(server.segment(b""), False)

    def _travel(self, packet: bytes, to_server: bool) -> None:
        self.now += 0.001
        if self._pipeline is None:
            self._arrive(packet, to_server)
            return
        index, mac = (CLIENT_PORT_INDEX, CLIENT_MAC) if to_server else (SERVER_PORT_INDEX, SERVER_MAC)
        outcome = self._pipeline.decide(packet, self.now, index, mac)
        if outcome.forward:
            self._arrive(packet if outcome.payload is None else outcome.payload, to_server)
        self._emit(outcome.emissions)

    def _emit(self, emissions: list[Emission]) -> None:
        for emission in emissions:
            if emission.ifindex:
                self._arrive(emission.packet, emission.ifindex == SERVER_PORT_INDEX)

    def _arrive(self, data: bytes, to_server: bool) -> None:
        try:
            packet = decode(data)
        except Malformed:
            return
        if not to_server:
            self._inbox.append(packet)
            return
        if self._losing:
            return
        server = self._servers.get(packet.key)
        if server is None:
            server = self._servers[packet.key] = Server(packet, self._application())
        server.window, server.now = self._window, self.now
        for answer in server.take(packet, data):
            self._travel(answer, False)
        if not self._frozen:
            for answer in server.read():
                self._travel(answer, False)


class Server:
    """One connection of the server's, from LISTEN on."""

    def __init__(self, first: Packet, application: ModbusStream | ModbusReads | Dnp3) -> None:
        self.application = application
        self.executed = application.executed
        self._source, self._destination = first.destination, first.source
        self._ports = first.destination_port, first.source_port
        self._state = "listen"
        self._expected = self._next = self._begun = 0
        self._early: dict[int, bytes] = {}
        self._arrived: list[bytes] = []  # in order, not yet read
        self._unacknowledged: list[tuple[int, bytes]] = []
        self._sent_at = 0.0
        self.window, self.now = 64000, 0.0
        self._stamp = -1  # the client's newest timestamp, where both sides agreed on them

    def segment(self, payload: bytes, flags: int = ACK, sequence: int | None = None) -> bytes:
        return build(self._source, self._destination, *self._ports,
                     sequence=self._next if sequence is None else sequence, ack=self._expected,
                     flags=flags | (PSH if payload else 0), window=min(self.window, 65535),
                     timestamps=(77, self._stamp) if self._stamp >= 0 else None,
                     payload=payload)  # fmt: skip

    def again(self, now: float) -> list[bytes]:
        """What was not acknowledged, once more."""
        if not self._unacknowledged or now - self._sent_at < 0.3 or self._state != "open":
            return []
        self._sent_at = now
        return [self.segment(payload, sequence=number) for number, payload in self._unacknowledged]

    def take(self, packet: Packet, data: bytes) -> list[bytes]:
        flags = packet.flags
        if flags & RST:
            if packet.sequence == self._expected and self._state != "listen":
                self._state = "listen"
            return []
        if self._state == "listen":
            if flags & SYN and not flags & ACK:
                self._state, self._expected = "answered", (packet.sequence + 1) & MASK
                self._next, self._early, self._arrived = (5000 + packet.sequence) & MASK, {}, []
                self._unacknowledged = []
                if type(self.application) is not ModbusReads:
                    self.application = type(self.application)()  # a new connection begins with nothing
                    self.application.executed = self.executed
                self._next += 1
                self._stamp = packet.ts_value
                stamps = (
                    b"\x08\x0a" + (77).to_bytes(4, "big") + self._stamp.to_bytes(4, "big") if self._stamp >= 0 else b""
                )
                return [packets(Send(flags=SYN | ACK, options=b"\x02\x04\x05\xb4" + stamps, window=self.window), self._source,
                                self._destination, self._ports, self._next - 1, self._expected)[0]]  # fmt: skip
            return []
        if flags & SYN:
            return [self.segment(b"")]
        if not flags & ACK or ahead(packet.ack, self._next) > 0:
            return []
        if self._stamp >= 0 and packet.ts_value >= 0:
            if packet.ts_value < self._stamp:  # RFC 7323, 5.3
                return [self.segment(b"")]
            self._stamp = packet.ts_value
        if self._state == "answered":
            if packet.ack != self._next:
                return []
            self._state = "open"
        self._unacknowledged = [each for each in self._unacknowledged
                                if ahead((each[0] + len(each[1])) & MASK, packet.ack) > 0]  # fmt: skip
        if self._state == "closed" or (not packet.payload_length and not flags & FIN):
            return [self.segment(b"")] if ahead(packet.sequence, self._expected) < 0 else []
        payload, behind = packet.payload, ahead(packet.sequence, self._expected)
        if flags & URG:
            pointer = int.from_bytes(data[packet.segment_at + 18 : packet.segment_at + 20], "big")
            if 0 < pointer <= len(payload):  # the octet leaves the stream; a filler keeps the numbers
                self._arrived.append(payload[: pointer - 1] + payload[pointer:])
                self._expected = (self._expected + len(payload)) & MASK
                return [self.segment(b"")]
        if behind > self.window or behind + len(payload) <= -self.window:
            return [self.segment(b"")]
        if behind > 0:
            self._early.setdefault(packet.sequence, payload)
        elif behind + len(payload) > 0:
            self._append(payload[-behind:])
        if flags & FIN and (packet.sequence + len(payload)) & MASK == self._expected:
            self._expected, self._state = (self._expected + 1) & MASK, "closed"
        return [self.segment(b"")]

    def _append(self, fresh: bytes) -> None:
        self._arrived.append(fresh)
        self._expected = (self._expected + len(fresh)) & MASK
        for number in sorted(self._early, key=lambda each: ahead(each, self._expected)):
            known = ahead(self._expected, number)
            if known >= 0:
                piece = self._early.pop(number)[known:]
                if piece:
                    self._arrived.append(piece)
                    self._expected = (self._expected + len(piece)) & MASK

    def read(self) -> list[bytes]:
        """The application reads all that is there, a buffer at a time, and answers."""
        size = self.application.buffer
        waiting, self._arrived = b"".join(self._arrived), []
        answers = []
        for at in range(0, len(waiting), size):
            said = self.application(waiting[at : at + size])
            if said and self._state in ("open", "closed"):
                answers.append(self.segment(said))
                self._unacknowledged.append((self._next, said))
                self._next, self._sent_at = (self._next + len(said)) & MASK, self.now
        return answers
