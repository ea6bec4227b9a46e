"""What the kernel's part of a policy says of a packet: for captures and for `explain`.

The live kernel gets its rules from kernel/ruleset.py; this is the same policy asked about one packet.
"""

from __future__ import annotations

from conduitfw.policy.model import Address, Policy, Rule


class KernelView:
    """The rules that need no inspection: `allow: tcp | udp | icmp`, and who may resolve whose address."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rules = [rule for rule in policy.rules if rule.inspection is None]
        self._pairs: dict[tuple[str, Address, Address], list[Rule]] = {}
        self._joined = {frozenset((conduit.from_zone, conduit.to_zone)) for conduit in policy.conduits}
        self._zones: dict[Address, str | None] = {}

    def rule(
        self, transport: str, source: Address, destination: Address, source_port: int, destination_port: int
    ) -> Rule | None:
        """The rule that lets this packet pass: from a client to a server's port, or an answer from there.

        `transport` is tcp, udp or icmp; ports are 0 for icmp.
        """
        opening = self.opens(transport, source, destination, destination_port)
        if opening is not None:
            return opening
        for rule in self._candidates(transport, destination, source):
            if not rule.ports or any(low <= source_port <= high for low, high in rule.ports):
                return rule
        return None

    def opens(self, transport: str, client: Address, server: Address, port: int) -> Rule | None:
        """The rule that lets this client open this server's port."""
        for rule in self._candidates(transport, client, server):
            if not rule.ports or any(low <= port <= high for low, high in rule.ports):
                return rule
        return None

    def may_resolve(self, source: Address, target: Address) -> bool:
        """Whether ARP and neighbour discovery pass between these two: their zones share a conduit."""
        zones = self._zone_of(source), self._zone_of(target)
        return None not in zones and (zones[0] == zones[1] or frozenset(zones) in self._joined)

    def _candidates(self, transport: str, client: Address, server: Address) -> list[Rule]:
        pair = (transport, client, server)
        found = self._pairs.get(pair)
        if found is None:
            found = self._pairs[pair] = [
                rule
                for rule in self._rules
                if rule.transport == transport
                and any(client in network for network in rule.clients)
                and any(server in network for network in rule.servers)
            ]
        return found

    def _zone_of(self, address: Address) -> str | None:
        if address not in self._zones:
            self._zones[address] = next(
                (zone.name for zone in self._policy.zones if any(address in network for network in zone.networks)), None
            )
        return self._zones[address]
