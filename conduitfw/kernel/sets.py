"""The policy as sets and maps of nftables: what grows with rules, so that chains do not."""

from __future__ import annotations

import hashlib
from ipaddress import collapse_addresses
from typing import Any, NamedTuple

from conduitfw.kernel import marks
from conduitfw.kernel.boxes import Box, disjoint
from conduitfw.kernel.elements import address_range, boxes_between, keys_of
from conduitfw.kernel.shape import BRIDGE, Method, Shape
from conduitfw.policy.model import UNTAGGED, Conduit, Network, Policy


class Container(NamedTuple):
    """One set or map."""

    kind: str  # set or map
    name: str
    spec: list[str]  # the lines that say what is in it
    elements: list[str]
    comment: str
    word: str = ""  # of a constant one: by which rules ask for it; what its name adds says what is in it

    @property
    def asked(self) -> str:
        """By which rules ask for it."""
        return self.word or self.name


def _constant(kind: str, word: str, spec: list[str], elements: list[str], comment: str) -> Container:
    """One whose name stands for its elements, whatever the policy: it can be there before any rule asks for it."""
    said = "\n".join((kind, *spec, *sorted(elements)))
    return Container(kind, f"{word}_{hashlib.sha256(said.encode()).hexdigest()[:12]}", spec, elements, comment, word)


def containers(policy: Policy, shape: Shape, static: bool) -> list[Container]:
    """All sets and maps of a ruleset. `static`: conduits that fail static go without an engine."""
    return _Sets(policy, shape, static).all()


def ports_of(policy: Policy) -> list[str]:
    """The interfaces of all zones."""
    return sorted({interface for zone in policy.zones for interface in zone.interfaces})


def protocols(shape: Shape) -> tuple[str, ...]:
    """What may pass at all."""
    return ("ip", "ip6", "arp") if shape.family == BRIDGE else ("ip", "ip6")


def untagged_sides(policy: Policy, shape: Shape) -> dict[str, list[Network]]:
    """Interfaces on which untagged frames belong, and the networks that may send there; a router sees no others."""
    sides: dict[str, list[Network]] = {}
    for zone in policy.zones:
        if shape.family != BRIDGE or UNTAGGED in zone.vlans:
            for port in zone.interfaces:
                sides.setdefault(port, []).extend(zone.networks)
    return dict(sorted(sides.items()))


def untagged_side(number: int, protocol: str) -> str:
    """The chain of what comes untagged from the interface of that number in `untagged_sides`."""
    return f"{protocol}_from_{number}"


class _Sets:
    """The sets of one ruleset."""

    def __init__(self, policy: Policy, shape: Shape, static: bool) -> None:
        self._policy = policy
        self._shape = shape
        self._static = static
        self._bridge = shape.family == BRIDGE
        self._zones = {zone.name: zone for zone in policy.zones}
        self._ports = ports_of(policy)

    def all(self) -> list[Container]:
        found = [
            Container("set", "ports", ["type ifname"], [f'"{port}"' for port in self._ports], "The zones' interfaces")
        ]
        # Not in the rules themselves: what a rule has of its own is emptied when it goes, and a packet that has begun
        # with it finds nothing there.
        for word, chain, names in (
            ("by_side", "side", protocols(self._shape)),
            ("by_address", "addressed", ("ip", "ip6")),
        ):
            elements = [f"{name} : goto {name}_{chain}" for name in names]
            found.append(_constant("map", word, ["type ether_type : verdict"], elements, "Where each protocol goes on"))
        found.append(self._by_port())
        if self._bridge:
            found += self._bridge_sets()
            for version in (4, 6):
                kind = f"ipv{version}_addr"
                spec = [f"type {kind} . {kind}" if version == 4 else f"type {kind}", "flags interval"]
                elements = self._resolving(version)
                found.append(
                    Container(
                        "set",
                        f"resolving{version}",
                        spec,
                        elements,
                        "Who may resolve whom, of zones without interfaces",
                    )
                )
        if self._shape.tracking:
            ports = {
                f"{rule.transport} . {port}"
                for rule in self._policy.rules
                if rule.inspection is not None
                for low, high in rule.ports
                for port in range(low, high + 1)
            }
            spec = ["type inet_proto . inet_service"]
            found.append(Container("set", "untracked", spec, sorted(ports), "Ports that are inspected"))
        for version in (4, 6):
            address = f"ipv{version}_addr"
            spec = [f"type {address}", "size 65535", "flags dynamic,timeout", "timeout 10s"]
            found.append(Container("set", f"sources{version}", spec, [], "What each source sends while it is limited"))
            found.append(Container("set", f"queued{version}", spec, [], "What each sends into static conduits"))
            flow = f"type {address} . {address} . inet_proto . inet_service . inet_service"
            for name, comment in (
                ("flows", "What each flow sends one way while sources are limited"),
                ("queued_flows", "What each flow sends one way into static conduits"),
            ):
                found.append(Container("set", f"{name}{version}", [flow, *spec[1:]], [], comment))
            key = f"{address} . {address} . inet_proto . inet_service"
            # Most rules name single hosts and ports. Those stand in tables of their own, which are hashed: of ranges of
            # four fields the kernel takes out ten thousand in two seconds, and lets nobody else run on that core.
            interval = ["flags interval"]
            pair, quad = [f"type {address} . {address}", *interval], [f"type {key}", *interval]
            port = "ifname . mark" if self._bridge else "ifname"
            sides, inspected = [f"type {port} . {address}", *interval], [f"type {key} : verdict", *interval]
            single = [f"type {address}", *interval]
            inspected_hosts, inspected_ranges = _by_kind(self._inspected(version))
            opened_hosts, opened_ranges = _by_kind(self._opened(version))
            for kind, name, spec, elements, comment in (
                ("set", "sided", single, self._sided(version), "Addresses of zones that name their interfaces"),
                ("set", "sides", sides, self._sides(version), "Which addresses belong on which interface, and VLAN"),
                ("map", "inspected_hosts", inspected[:1], inspected_hosts,
                 "Server . client . protocol . server's port: what the engine decides"),
                ("map", "inspected", inspected, inspected_ranges, "The same, of networks and ranges of ports"),
                ("set", "opened_hosts", quad[:1], opened_hosts,
                 "Server . client . protocol . server's port: what passes as it is"),
                ("set", "opened", quad, opened_ranges, "The same, of networks and ranges of ports"),
                ("set", "reached", single, self._reached(version),
                 "Ends of inspected sessions: they are told of packets that are too big"),
                ("set", "pinged", pair, self._pinged(version), "Client . server: who may ping whom"),
                ("set", "watched", pair, self._watched(version), "The two sides of conduits that are only monitored"),
            ):  # fmt: skip
                found.append(_constant(kind, f"{name}{version}", spec, elements, comment))
        return found

    def _by_port(self) -> Container:
        """One look-up for most packets: a port, untagged, IP."""
        return _constant(
            "map",
            "by_port",
            [f"typeof iifname . {'ether type' if self._bridge else 'meta protocol'} : verdict"],
            [
                f'"{port}" . {protocol} : goto {untagged_side(number, protocol)}'
                for number, port in enumerate(untagged_sides(self._policy, self._shape))
                for protocol in ("ip", "ip6")
            ],
            "Where an untagged frame goes on, by its port",
        )

    def _bridge_sets(self) -> list[Container]:
        by_zone = {zone.name: zone.interfaces for zone in self._policy.zones}
        joined: set[tuple[str, str]] = set()
        for conduit in self._policy.conduits:
            for one in by_zone[conduit.from_zone]:
                for other in by_zone[conduit.to_zone]:
                    joined |= {(one, other), (other, one)}
        within = {
            (one, other, vlan)
            for zone in self._policy.zones
            for one in zone.interfaces
            for other in zone.interfaces
            for vlan in zone.vlans
            if one != other and self._only_zone(one, vlan) == self._only_zone(other, vlan) == zone.name
        }
        wide = sorted({one for one, _, _ in within})
        ports = untagged_sides(self._policy, self._shape).keys()
        untagged = sorted((a, b) for a, b in joined if {a, b} <= ports and (a, b, UNTAGGED) not in within)
        tags = sorted({(port, vlan) for zone in self._policy.zones for port in zone.interfaces for vlan in zone.vlans})
        pair = ["type ifname . ifname"]
        known = sorted({asset.mac for asset in self._policy.assets if asset.mac is not None})
        sides = sorted(
            {
                f'"{interface}" . {asset.mac}'
                for zone in self._policy.zones
                for asset in zone.assets
                if asset.mac is not None
                for interface in zone.interfaces
            }
        )
        return [
            Container(
                "set",
                "joined",
                pair,
                [f'"{a}" . "{b}"' for a, b in sorted(joined)],
                "Interfaces of zones that share a conduit",
            ),
            _constant(
                "map",
                "by_ports",
                ["typeof iifname . oifname . ether type : verdict"],
                [
                    f'"{a}" . "{b}" . {protocol} : goto {protocol}_between'
                    for a, b in untagged
                    for protocol in ("ip", "ip6")
                ],
                "The same, of ports between which it may pass",
            ),
            Container(
                "set",
                "within",
                ["type ifname . ifname . mark"],
                [f'"{a}" . "{b}" . {vlan}' for a, b, vlan in sorted(within)],
                "Interfaces of one zone, and a VLAN (0: none)",
            ),
            Container(
                "map",
                "vlans",
                ["typeof iifname . vlan id : meta mark"],
                [f'"{port}" . {vlan} : {vlan}' for port, vlan in tags if vlan != UNTAGGED],
                "The VLAN ids that the policy names, as the engine is told them: the lowest 12 bits of the mark",
            ),
            Container(
                "set",
                "tags",
                ["type ifname . mark"],
                [f'"{port}" . {vlan}' for port, vlan in tags],
                "Which VLANs belong on which interface (0: frames without a tag)",
            ),
            Container(
                "set", "wide", ["type ifname"], [f'"{port}"' for port in wide], "Interfaces of zones that have several"
            ),
            Container("set", "macs", ["type ether_addr"], known, "MAC addresses that the policy names"),
            Container("set", "mac_sides", ["type ifname . ether_addr"], sides, "and where they belong"),
        ]

    def _resolving(self, version: int) -> list[str]:
        """Where a zone names no interfaces, its addresses say which ARP (pairs) and neighbour discovery passes."""
        pairs: list[Box] = []
        for conduit in self._policy.conduits:
            ends = self._zones[conduit.from_zone], self._zones[conduit.to_zone]
            if all(zone.interfaces for zone in ends):
                continue
            for one, other in ((ends[0], ends[1]), (ends[1], ends[0]), (ends[0], ends[0]), (ends[1], ends[1])):
                pairs += boxes_between(one.networks, other.networks, version)
        if version == 4:
            return [" . ".join(address_range(each, version) for each in box) for box in disjoint(pairs)]
        sources = disjoint([(source,) for source, _ in pairs])
        return [address_range(box[0], version) for box in sources]

    def _only_zone(self, interface: str, vlan: int) -> str | None:
        zones = [zone.name for zone in self._policy.zones if interface in zone.interfaces and vlan in zone.vlans]
        return zones[0] if len(zones) == 1 else None

    def _sides(self, version: int) -> list[str]:
        return [
            f'"{interface}" . {f"{vlan} . " if self._bridge else ""}{network}'
            for zone in self._policy.zones
            for interface in zone.interfaces
            for vlan in (zone.vlans if self._bridge else (UNTAGGED,))
            for network in zone.networks
            if network.version == version
        ]

    def _sided(self, version: int) -> list[str]:
        networks = [network for zone in self._policy.zones if zone.interfaces for network in zone.networks]
        pairs = boxes_between(networks, networks, version)
        return [address_range(box[0], version) for box in disjoint((source,) for source, _ in pairs)]

    def _fails_static(self, conduit: Conduit) -> bool:
        """Watching comes before enforcing: a monitored conduit passes where no engine decides.

        Before the first engine there is no static either: nothing was inspected yet (DESIGN.md, 4).
        """
        static = marks.queue_of(conduit.mode, conduit.fail) == marks.QUEUE_STATIC
        return static and (conduit.mode == "monitor" or self._shape.method is not Method.NONE)

    def _goes_to_queue(self, conduit: Conduit) -> bool:
        return not (self._static and self._fails_static(conduit))

    def _reached(self, version: int) -> list[str]:
        networks: set[Any] = {  # of one version: typing cannot tell
            network
            for rule in self._policy.rules
            if rule.inspection is not None
            for network in (*rule.clients, *rule.servers)
            if network.version == version
        }
        return sorted(str(each) for each in collapse_addresses(networks))

    def _inspected(self, version: int) -> list[str]:
        elements: list[str] = []
        queued = [conduit for conduit in self._policy.conduits if self._goes_to_queue(conduit)]
        for conduits, verdict in (
            ([c for c in queued if not self._fails_static(c)], "goto inspect_closed"),
            ([c for c in queued if self._fails_static(c) and c.mode != "monitor"], "goto inspect_static"),
            ([c for c in queued if c.mode == "monitor"], "goto inspect_watched"),
        ):
            rules = [rule for conduit in conduits for rule in conduit.rules if rule.inspection is not None]
            elements += [f"{key} : {verdict}" for key in keys_of(rules, version)]
        return elements

    def _opened(self, version: int) -> list[str]:
        rules = [rule for rule in self._policy.rules if rule.inspection is None and rule.ports]
        for conduit in self._policy.conduits:
            if not self._goes_to_queue(conduit):
                rules += [rule for rule in conduit.rules if rule.inspection is not None]
        return keys_of(rules, version)

    def _pinged(self, version: int) -> list[str]:
        boxes = [
            box
            for rule in self._policy.rules
            if rule.transport == "icmp"
            for box in boxes_between(rule.clients, rule.servers, version)
        ]
        return [" . ".join(address_range(each, version) for each in box) for box in disjoint(boxes)]

    def _watched(self, version: int) -> list[str]:
        boxes: list[Box] = []
        enforced = {_sides_of(conduit) for conduit in self._policy.conduits if conduit.mode == "enforce"}
        for conduit in self._policy.conduits:
            # Where an enforced conduit joins the same zones, what neither names stays dropped.
            if conduit.mode == "monitor" and _sides_of(conduit) not in enforced:
                ends = self._zones[conduit.from_zone].networks, self._zones[conduit.to_zone].networks
                boxes += [*boxes_between(ends[0], ends[1], version), *boxes_between(ends[1], ends[0], version)]
        return [" . ".join(address_range(each, version) for each in box) for box in disjoint(boxes)]


def _by_kind(keys: list[str]) -> tuple[list[str], list[str]]:
    """Those that say one number for each field, and those with a range in it."""
    return [key for key in keys if "-" not in key], [key for key in keys if "-" in key]


def _sides_of(conduit: Conduit) -> frozenset[str]:
    return frozenset((conduit.from_zone, conduit.to_zone))
