"""The attacker: a small TCP client in user space that takes a case's steps, over whichever network it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from conduitfw.packet import ACK, FIN, RST, SYN, Packet
from tests.evasion.steps import Await, Case, Freeze, Fresh, Lose, Pause, Send, Step, Use, Window, packets

MASK = 0xFFFF_FFFF
ADDRESSES = {
    ("hmi", 4): bytes((10, 10, 0, 11)), ("ews", 4): bytes((10, 10, 0, 20)),
    ("plc", 4): bytes((10, 20, 0, 5)), ("rtu", 4): bytes((10, 20, 0, 9)),
    ("hmi", 6): bytes.fromhex("fd000010000000000000000000000011"),
    ("plc", 6): bytes.fromhex("fd000020000000000000000000000005"),
}  # fmt: skip


class Network(Protocol):
    """What lies between the attacker and a server."""

    def send(self, packet: bytes, step: Send) -> None: ...
    def receive(self, seconds: float) -> list[Packet]:
        """What has come for the attacker, waiting for the first of it so long."""
        ...

    def pause(self, seconds: float) -> None: ...
    def lose(self, on: bool) -> None: ...
    def freeze(self, on: bool) -> None: ...
    def window(self, size: int) -> None: ...


@dataclass
class Connection:
    """The numbers of one connection."""

    port: int
    start: int  # of the client's first byte
    sent: int = 0  # offset of the next
    server: int = 0  # the server's next number
    acknowledged: int = 0  # what the server has acknowledged last
    known: bool = False
    reset: bool = False


class Actor:
    """Runs the steps of a case."""

    def __init__(self, network: Network, case: Case, port: int, server_port: int, isn: int, gap: float) -> None:
        self._network = network
        self._case = case
        self._gap = gap
        self._first, self._isn, self._server_port = port, isn if case.isn is None else case.isn, server_port
        self._source = ADDRESSES[case.client, case.version]
        self._destination = ADDRESSES["rtu" if case.protocol == "dnp3" else "plc", case.version]
        self._connections: dict[int, Connection] = {}
        self._opening: Send | None = None  # the last SYN
        self._now = self._connection(0)

    def _connection(self, index: int) -> Connection:
        if index not in self._connections:
            start = (self._isn + 1 + index * 100_000) & MASK
            self._connections[index] = Connection(self._first + index, start, acknowledged=start)
        return self._connections[index]

    def run(self, steps: list[Step]) -> None:
        """Take the steps, acknowledging what the server sends."""
        for step in steps:
            match step:
                case Send():
                    self._send(step)
                    if not step.quiet:
                        self._hear(self._gap)
                case Await():
                    self._await(step)
                case Pause():
                    self._network.pause(step.seconds)
                    self._hear(0)
                case Lose():
                    self._network.lose(step.on)
                case Freeze():
                    self._network.freeze(step.on)
                case Window():
                    self._network.window(step.size)
                case Use():
                    self._now = self._connection(step.connection)
                case Fresh():
                    old = self._now
                    old.start = (old.start + (7_000_000 if step.number is None else step.number)) & MASK
                    old.sent, old.known, old.reset = 0, False, False

    def settle(self, seconds: float = 0.0) -> None:
        """Acknowledge what comes for so long."""
        self._hear(seconds)

    def close(self) -> None:
        """Leave nothing at the server: a RST where it expects the next byte."""
        for connection in self._connections.values():
            self._now = connection
            self._send(Send(flags=RST | ACK, at=(connection.acknowledged - connection.start) & MASK))

    def _send(self, step: Send) -> None:
        connection = self._now
        if step.flags == SYN:
            self._opening = step
        at = connection.sent if step.at is None else step.at
        sequence, ack = connection.start + at, (connection.server + step.ack if step.flags & ACK else 0)
        source, destination, ports = self._source, self._destination, (connection.port, self._server_port)
        if step.by_server:
            source, destination, ports = destination, source, ports[::-1]
            sequence, ack = connection.server + (step.at or 0), connection.acknowledged + step.ack
        for packet in packets(step, source, destination, ports, sequence, ack):
            self._network.send(packet, step)
        if step.at is None and not step.by_server:
            connection.sent += len(step.payload)

    def _await(self, step: Await) -> None:
        for number in range(40 if step.required else 2):
            if self._now.known or self._hear(0.1, step.flags):  # it may have come at once
                return
            if number % 10 == 9 and self._opening is not None:
                self._send(self._opening)  # as a TCP would: the server may still be busy with the row before
        assert not step.required, f"the server did not answer {self._case.name}"

    def _hear(self, seconds: float, wanted: int = 0) -> bool:
        found = False
        while arrived := self._network.receive(seconds):
            for packet in arrived:
                found = self._take(packet) & wanted == wanted or found
            if found and wanted:
                break
        return found

    def _take(self, packet: Packet) -> int:
        connection = next((each for each in self._connections.values() if each.port == packet.destination_port), None)
        if connection is None or packet.source_port != self._server_port:
            return 0
        if packet.flags & RST:
            connection.reset = True
            return packet.flags
        if packet.flags & SYN:
            connection.server, connection.known = (packet.sequence + 1) & MASK, True
        if packet.flags & ACK:
            connection.acknowledged = packet.ack
        size = packet.payload_length + bool(packet.flags & FIN)
        if size and packet.sequence == connection.server and not packet.flags & SYN:
            connection.server = (connection.server + size) & MASK
            before, self._now = self._now, connection
            self._send(Send(flags=ACK))
            self._now = before
        return packet.flags
