"""Two TCP ends that send again what is lost, and the pipeline between them: what a session is through any weather.

Plain, but right in what counts here: cumulative acknowledgements, out-of-order segments kept, everything that is not
acknowledged sent again (from the oldest byte, in segments cut anew), and a packet is lost or doubled as the test says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from conduitfw.packet import ACK, PSH, RST, SYN, Packet, build, decode
from conduitfw.policy.compile import Tables
from conduitfw.verdict import Pipeline
from tests.pipeline.wire import CLIENT_MAC, CLIENT_PORT_INDEX, SERVER_MAC, SERVER_PORT_INDEX, Wire

MASK = 0xFFFF_FFFF
AGAIN = 0.25  # seconds until something is sent again
# Fate of a packet: how many times it arrives (0: it is lost), and how long it takes in steps.
Weather = Callable[[], tuple[int, int]]


def ahead(later: int, earlier: int) -> int:
    return ((later - earlier + 0x8000_0000) & MASK) - 0x8000_0000


class End:
    """One end of a session."""

    def __init__(self, number: int, expected: int, mss: int) -> None:
        self.unacknowledged = number
        self.buffer = b""  # from `unacknowledged` on
        self.sent = 0  # how much of it was sent once
        self.expected = expected
        self.early: dict[int, bytes] = {}
        self.reads: list[bytes] = []  # what each arriving segment gave to the application
        self.reset = False
        self.mss = mss
        self.waited = 0.0

    @property
    def received(self) -> bytes:
        return b"".join(self.reads)

    def take(self, packet: Packet) -> bool:
        """A packet has arrived. Gives whether it has to be acknowledged at once."""
        if packet.flags & RST:
            self.reset = self.reset or packet.sequence == self.expected
            return False
        moved = ahead(packet.ack, self.unacknowledged)
        assert moved <= self.sent, "an acknowledgement of what was never sent"
        if moved > 0:
            self.buffer = self.buffer[moved:]
            self.sent -= moved
            self.unacknowledged = packet.ack
            self.waited = 0.0
        payload = packet.payload
        if payload:
            self.early.setdefault(packet.sequence, payload)
        while True:
            found = next((number for number in self.early if ahead(number, self.expected) <= 0), None)
            if found is None:
                break
            piece = self.early.pop(found)
            fresh = piece[-ahead(found, self.expected) :] if found != self.expected else piece
            if ahead((found + len(piece)) & MASK, self.expected) > 0:
                self.reads.append(fresh)
                self.expected = (self.expected + len(fresh)) & MASK
        return bool(payload) or ahead(packet.sequence, self.expected) < 0

    def due(self, elapsed: float) -> list[tuple[int, bytes]]:
        """What has to be sent now: what is new, or everything again."""
        self.waited += elapsed
        first = self.sent
        if self.sent and self.waited > AGAIN:
            first, self.waited = 0, 0.0
        segments = []
        for at in range(first, len(self.buffer), self.mss):
            segments.append(((self.unacknowledged + at) & MASK, self.buffer[at : at + self.mss]))
        self.sent = len(self.buffer)
        return segments


class Session:
    """Both ends, what is under way between them, and the firewall."""

    def __init__(self, tables: Tables, weather: Weather, *, client_mss: int = 1460, server_mss: int = 1460) -> None:
        self.wire = Wire(tables).open()
        self.pipeline: Pipeline = self.wire.pipeline
        self.client = End(self.wire.client_next, self.wire.server_next, client_mss)
        self.server = End(self.wire.server_next, self.wire.client_next, server_mss)
        self.now = self.wire.now
        self.weather = weather
        self.under_way: deque[tuple[int, bytes, bool, bool]] = deque()  # step, packet, to the server, past the firewall
        self.step_number = 0
        self.at_server: list[bytes] = []  # every payload that arrived there, whatever became of it

    def _send(self, packet: bytes, to_server: bool, *, past: bool) -> None:
        copies, delay = self.weather()
        for _ in range(copies):
            self.under_way.append((self.step_number + delay, packet, to_server, past))

    def _segment(self, end: End, number: int, payload: bytes, *, from_client: bool) -> bytes:
        ends = self.wire.ends if from_client else self.wire.ends[::-1]
        ports = self.wire.ports if from_client else self.wire.ports[::-1]
        return build(
            *ends, *ports, sequence=number, ack=end.expected, flags=ACK | (PSH if payload else 0), window=64000,
            timestamps=None, payload=payload,
        )  # fmt: skip

    def step(self, elapsed: float = 0.01) -> None:
        """Time passes: packets arrive, are decided, are sent again."""
        self.step_number += 1
        self.now += elapsed
        for end, from_client in ((self.client, True), (self.server, False)):
            for number, payload in end.due(elapsed):
                self._send(self._segment(end, number, payload, from_client=from_client), from_client, past=False)
        arrived = [each for each in self.under_way if each[0] <= self.step_number]
        self.under_way = deque(each for each in self.under_way if each[0] > self.step_number)
        for _, packet, to_server, past in arrived:
            if past:
                self._arrive(packet, to_server)
                continue
            index, mac = (CLIENT_PORT_INDEX, CLIENT_MAC) if to_server else (SERVER_PORT_INDEX, SERVER_MAC)
            outcome = self.pipeline.decide(packet, self.now, index, mac)
            if outcome.forward:
                self._send(packet if outcome.payload is None else outcome.payload, to_server, past=True)
            self._emit(outcome.emissions)
        self._emit(self.pipeline.tick(self.now))

    def _emit(self, emissions: list) -> None:  # type: ignore[type-arg]
        for emission in emissions:
            self._send(emission.packet, emission.ifindex == SERVER_PORT_INDEX, past=True)

    def _arrive(self, packet: bytes, to_server: bool) -> None:
        decoded = decode(packet)
        assert not decoded.flags & SYN
        if to_server:
            self.at_server.append(decoded.payload)
        end = self.server if to_server else self.client
        if end.take(decoded):
            number = (end.unacknowledged + end.sent) & MASK
            self._send(self._segment(end, number, b"", from_client=not to_server), not to_server, past=False)
