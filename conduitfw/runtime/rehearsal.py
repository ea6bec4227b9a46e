"""What whoever waits to serve practises with: sessions of the policy, as the kernel would hand their packets over.

Code that has run once is in memory, and the first time costs more than a packet for each page of it. Nothing of this
leaves the process.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

from conduitfw.denial import Emission
from conduitfw.kernel.netlink_queue import NetlinkQueue, message_of
from conduitfw.packet import ACK, PSH, SYN, build
from conduitfw.policy.compile import addresses_of
from conduitfw.policy.model import Policy, Rule
from conduitfw.protocols.registry import PROTOCOLS

_CLIENT_PORT, _WINDOW = 49152, 64240
_MOST = 1 << 16  # octets of one verdict or more


class Nobody:
    """Sends nothing (hand.Transmitter)."""

    def send(self, emission: Emission) -> bool:
        """It could not."""
        return False


class Stage:
    """A queue without a kernel: what is shown stands in it, and verdicts go nowhere."""

    def __init__(self) -> None:
        self._kernel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._kernel.setblocking(False)
        self.queue = NetlinkQueue(0, fail_open=False, descriptor=theirs.detach())
        self._number = 0
        self.clear()

    def show(self, packet: bytes, port: int = 1) -> None:
        """Put a packet into the queue, as from a port of the bridge."""
        self._number += 1
        self._kernel.send(message_of(self._number, packet, port))

    def perform(self, packets: Sequence[bytes]) -> None:
        """Have them decided, one by one."""
        for packet in packets:
            self.show(packet)
            self.queue.service()
            self.clear()

    def clear(self) -> None:
        """Throw the verdicts away."""
        try:
            while self._kernel.recv(_MOST):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give its sockets back."""
        self._kernel.close()
        self.queue.let_go()


def sessions(policy: Policy) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """For each protocol inspected over TCP, of its first rule, IP packets: of a request under way, and what follows."""
    seen = set()
    for rule in policy.rules:
        ends = _ends(rule)
        if rule.inspection is None or rule.transport != "tcp" or rule.allow in seen or ends is None:
            continue
        seen.add(rule.allow)
        protocol = PROTOCOLS[rule.allow]
        said = addresses_of(protocol, rule.inspection, *ends)
        exchanges = protocol.exchanges(tuple(min(values) if values else 1 for values in said))
        packets = _Wire(*ends, rule.ports[0][0]).packets(exchanges)
        yield packets[:4], packets[4:]


def _ends(rule: Rule) -> tuple[bytes, bytes] | None:
    """A client and a server of the rule, packed."""
    for client in rule.clients:
        for server in rule.servers:
            if client.version == server.version:
                return client.network_address.packed, server.network_address.packed
    return None


class _Wire:
    """Both ends of a TCP session."""

    def __init__(self, client: bytes, server: bytes, port: int) -> None:
        self._client, self._server, self._port = client, server, port
        self._sent = [0, 0]  # octets of the server's, of the client's

    def packets(self, exchanges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Three that open it; then of each exchange the request, the answer, and the client's acknowledgement."""
        found = [self._packet(True, SYN), self._packet(False, SYN | ACK), self._packet(True, ACK)]
        for request, answer in exchanges:
            found += (self._packet(True, ACK | PSH, request), self._packet(False, ACK | PSH, answer))
            found.append(self._packet(True, ACK))
        return found

    def _packet(self, from_client: bool, flags: int, payload: bytes = b"") -> bytes:
        ends = (self._client, self._server, _CLIENT_PORT, self._port)
        if not from_client:
            ends = (self._server, self._client, self._port, _CLIENT_PORT)
        sequence, ack = self._sent[from_client], self._sent[not from_client]
        self._sent[from_client] += len(payload) + bool(flags & SYN)
        return build(
            *ends, sequence=sequence, ack=ack if flags & ACK else 0, flags=flags, window=_WINDOW, timestamps=None,
            payload=payload,
        )  # fmt: skip
