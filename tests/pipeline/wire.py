"""Both ends of a TCP session around the pipeline, so that a test reads like a script.

The ends are as plain as a test needs: the server takes in-order segments, one read each, and
acknowledges; the client's segments are whatever the test cuts. Nothing here retransmits by itself.
"""

from __future__ import annotations

import tempfile
from ipaddress import ip_address
from pathlib import Path

from conduitfw import packet
from conduitfw.denial import Emission
from conduitfw.flow import FlowTable
from conduitfw.outcome import Notice, Outcome, Verdict
from conduitfw.packet import ACK, PSH, SYN, Packet, build, decode
from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.load import load_policy
from conduitfw.verdict import Pipeline
from tests.pipeline.twin import Twin

CLIENT, SERVER = ip_address("10.10.0.11").packed, ip_address("10.20.0.5").packed
CLIENT6, SERVER6 = ip_address("fd00:10::11").packed, ip_address("fd00:20::5").packed
CLIENT_MAC, SERVER_MAC = b"\x02\x00\x00\x00\x00\x0a", b"\x02\x00\x00\x00\x00\x14"
CLIENT_PORT_INDEX, SERVER_PORT_INDEX = 11, 12

POLICY = """
policy: {{version: 1, site: test, owner: test, revision: "1"}}
zones:
  scada:
    description: clients
    security_level: 2
    networks: [10.10.0.0/24, "fd00:10::/64"]
    interfaces: [scada0]
    assets: {{hmi: 10.10.0.11, hmi6: "fd00:10::11"}}
  cell:
    description: servers
    security_level: 2
    networks: [10.20.0.0/24, "fd00:20::/64"]
    interfaces: [cell0]
    assets:
      plc: 10.20.0.5
      plc6: "fd00:20::5"
      rtu: {{address: 10.20.0.9, link_address: 10}}
conduits:
  line:
    from: scada
    to: cell
    purpose: tests
    owner: tests
    approved_by: tests
    mode: {mode}
    fail: {fail}
    on_deny: {on_deny}
    rules:
      - {{name: polls, allow: modbus, clients: hmi, servers: plc, functions: [{functions}]}}
      - {{name: polls6, allow: modbus, clients: hmi6, servers: plc6, functions: [{functions}]}}
      - {{name: rtu, allow: dnp3, clients: hmi, servers: rtu, master: 1, functions: [{dnp3}]}}
      - {{name: rtu over udp, allow: dnp3, clients: hmi, servers: rtu, transport: udp, master: 1, functions: [{dnp3}]}}
"""


def tables(
    *,
    mode: str = "enforce",
    fail: str = "closed",
    on_deny: str = "reset",
    functions: str = "read, write_multiple_registers",
    dnp3: str = "read",
) -> Tables:
    """A small policy: the HMI may read and use function 16 on the PLC."""
    text = POLICY.format(mode=mode, fail=fail, on_deny=on_deny, functions=functions, dnp3=dnp3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        loaded = load_policy([path])
    assert loaded.policy is not None, [str(problem) for problem in loaded.problems]
    return compile_policy(loaded.policy)


class Wire:
    """A client and a server with the pipeline between them."""

    def __init__(
        self,
        rules: Tables | None = None,
        *,
        flows: FlowTable | None = None,
        capture: bool = False,
        ends: tuple[bytes, bytes] = (CLIENT, SERVER),
        ports: tuple[int, int] = (40000, 502),
        window: int = 64000,
        scale: int = 0,
        stamps: bool = False,
        sack: bool = False,
        mss: int = 1460,
        client_isn: int = 0xFFFF_FF00,
        server_isn: int = 5000,
    ) -> None:
        self.memory = bytearray(FlowTable.memory_size(64))
        self.flows = flows or FlowTable(self.memory)
        self.notices: list[Notice] = []
        rules = rules or tables()
        self.pipeline = Pipeline(rules, self.flows, self.notices.append, capture=capture)
        # Every packet goes through the stages alone, too, as long as a test does not change what is remembered.
        self.twin = Twin(rules, 64) if flows is None and not capture else None
        self._twins_other = self.pipeline
        self.ends, self.ports, self.mss = ends, ports, mss
        self.window, self.scale, self.stamps, self.sack = window, scale, stamps, sack
        self.client_next, self.server_next = client_isn, server_isn
        self.now = 100.0
        self.reads: list[bytes] = []  # what each read of the server returned
        self.at_server: list[Packet] = []
        self.at_client: list[Packet] = []
        self.received = client_isn + 1 & 0xFFFFFFFF  # the server's next expected number
        self.client_acknowledged = 0  # the highest acknowledgement that the client got
        self.server_window: int | None = None
        self.losing = False  # whether what goes to the server is lost behind the firewall
        self.open_flag = True
        self.vlan = 0  # in whose tag the packets come, 0: in none

    # --- packets ----------------------------------------------------------------------------------

    def packet(
        self,
        from_client: bool,
        sequence: int,
        ack: int,
        flags: int,
        payload: bytes = b"",
        *,
        window: int | None = None,
    ) -> bytes:
        source, destination = self.ends if from_client else self.ends[::-1]
        ports = self.ports if from_client else self.ports[::-1]
        return build(
            source,
            destination,
            *ports,
            sequence=sequence,
            ack=ack,
            flags=flags,
            window=self.window if window is None else window,
            timestamps=(1000, 2000) if self.stamps else None,
            payload=payload,
        )

    def send(self, data: bytes, from_client: bool) -> Outcome:
        """Put a packet through the pipeline and deliver what leaves."""
        self.now += 0.001
        index, mac = (CLIENT_PORT_INDEX, CLIENT_MAC) if from_client else (SERVER_PORT_INDEX, SERVER_MAC)
        outcome = self.pipeline.decide(data, self.now, index, mac, self.vlan)
        if self.twin is not None and self.pipeline is self._twins_other:
            self.twin.compare(outcome, self.memory, data, self.now, index, mac, self.vlan)
            self.twin.compare_told(self.notices)
        if outcome.forward:
            self._deliver(data if outcome.payload is None else outcome.payload, from_client)
        self.emit(outcome.emissions)
        return outcome

    def emit(self, emissions: list[Emission]) -> None:
        for emission in emissions:
            if not emission.ifindex:  # a side that has not been heard yet: kernel/emit.py sends nothing
                assert not emission.destination_mac
                continue
            assert emission.ifindex in (CLIENT_PORT_INDEX, SERVER_PORT_INDEX)
            to_client = emission.ifindex == CLIENT_PORT_INDEX
            assert emission.destination_mac == (CLIENT_MAC if to_client else SERVER_MAC)
            assert emission.vlan == self.vlan
            self._deliver(emission.packet, not to_client)

    def _deliver(self, data: bytes, to_server: bool) -> None:
        arrived = decode(data)
        if to_server:
            if self.losing:
                return
            self.at_server.append(arrived)
            if arrived.sequence == self.received and arrived.payload:
                self.reads.append(arrived.payload)
                self.received = (self.received + len(arrived.payload)) & 0xFFFFFFFF
            if arrived.flags & packet.FIN and arrived.sequence + arrived.payload_length & 0xFFFFFFFF == self.received:
                self.received = self.received + 1 & 0xFFFFFFFF
        else:
            self.at_client.append(arrived)
            self.client_acknowledged = arrived.ack

    # --- a session --------------------------------------------------------------------------------

    def open(self) -> Wire:
        """The three packets of a handshake."""
        self.handshake()
        return self

    def handshake(self) -> list[Outcome]:
        options_syn = self._syn(True, self.client_next, 0, SYN)
        options_ack = self._syn(False, self.server_next, self.client_next + 1, SYN | ACK)
        outcomes = [self.send(options_syn, True), self.send(options_ack, False)]
        self.client_next = self.client_next + 1 & 0xFFFFFFFF
        self.server_next = self.server_next + 1 & 0xFFFFFFFF
        outcomes.append(self.client())
        return outcomes

    def _syn(self, from_client: bool, sequence: int, ack: int, flags: int) -> bytes:
        """A SYN with options, as packet.build makes none."""
        options = b"\x02\x04" + self.mss.to_bytes(2, "big") + b"\x03\x03" + bytes((self.scale,)) + b"\x01"
        if self.stamps:
            options += b"\x01\x01\x08\x0a" + (900 if from_client else 1900).to_bytes(4, "big") + bytes(4)
        if self.sack:
            options += b"\x01\x01\x04\x02"
        plain = bytearray(self.packet(from_client, sequence, ack, flags))
        read = decode(bytes(plain))
        read.options = None
        header = plain[read.segment_at : read.segment_at + 20] + options
        header[12] = (len(header) // 4) << 4
        return packet._finish(plain[: read.segment_at], header, b"")

    def client(
        self,
        payload: bytes = b"",
        *,
        at: int | None = None,
        flags: int | None = None,
        ack: int | None = None,
        advance: bool = True,
    ) -> Outcome:
        """A segment of the client: `at` is its offset to the next new byte (0), negative for repeats."""
        sequence = self.client_next + (at or 0)
        if flags is None:
            flags = ACK | (PSH if payload else 0)
        outcome = self.send(self.packet(True, sequence, self.server_next if ack is None else ack, flags, payload), True)
        if at is None and advance:
            self.client_next = self.client_next + len(payload) & 0xFFFFFFFF
        return outcome

    def server(
        self,
        payload: bytes = b"",
        *,
        at: int | None = None,
        ack: int | None = None,
        window: int | None = None,
        flags: int = 0,
    ) -> Outcome:
        """A segment of the server, which acknowledges what it has got; `at` as for the client."""
        sequence = self.server_next + (at or 0)
        if at is None:
            self.server_next = self.server_next + len(payload) & 0xFFFFFFFF
        flags |= ACK | (PSH if payload else 0)
        return self.send(
            self.packet(False, sequence, self.received if ack is None else ack, flags, payload, window=window), False
        )

    def client_acknowledges(self, beyond: int) -> Outcome:
        """A bare acknowledgement of so many bytes beyond what the server itself has sent."""
        return self.client(ack=self.server_next + beyond)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        emissions = self.pipeline.tick(self.now)
        if self.twin is not None and self.pipeline is self._twins_other:
            self.twin.compare_tick(emissions, self.memory, self.now)
        self.emit(emissions)

    def swap(self, rules: Tables) -> None:
        """A new policy."""
        emissions = self.pipeline.swap(rules, self.now)
        if self.twin is not None and self.pipeline is self._twins_other:
            self.twin.compare_swap(emissions, self.memory, rules, self.now)
        self.emit(emissions)

    @property
    def reset_to_server(self) -> bool:
        """Whether a RST that the server believes has arrived."""
        return any(each.flags & packet.RST and each.sequence == self.received for each in self.at_server)

    @property
    def reset_to_client(self) -> bool:
        return any(each.flags & packet.RST and each.sequence == self.server_next for each in self.at_client)

    @property
    def denials(self) -> list[str]:
        return [notice.reason.code for notice in self.notices if notice.reason is not None]


__all__ = ["ACK", "CLIENT6", "SERVER6", "Verdict", "Wire", "tables"]
