"""The policy as nftables text: what the kernel decides, and what it hands to the queue.

One table, `conduitfw`, of the bridge family on a bridge and of inet on a router, and nothing outside of it.
Base chains are never deleted (that would drop every packet that waits in any queue): the text makes sure
that all is there, empties it, and fills it again, in one transaction. Cost does not grow with rules: they
are elements of sets and maps.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from conduitfw.kernel import marks
from conduitfw.kernel.boxes import Box, disjoint
from conduitfw.kernel.elements import address_range, boxes_between, hex_range, indent, keys_of, listed
from conduitfw.policy.model import Conduit, Policy

TABLE = "conduitfw"
BRIDGE, INET = "bridge", "inet"

COUNTERS = {
    "wrong_side": "source addresses that do not belong on the side they arrived from",
    "forged_mac": "the MAC address of an asset from another port than its own",
    "tagged": "VLAN tags that the policy does not name",
    "ethertype": "neither IPv4, IPv6 nor ARP",
    "fragment": "IP fragments, which nobody can inspect",
    "server_opens": "connections that the servers' side tried to open",
    "unnamed": "named by no rule",
    "unjudged": "inspected traffic that no engine has decided",
    "routed": "traffic between zones that tried to pass through this machine's own addresses",
    "watched": "unnamed traffic of a conduit that is only monitored: it passed",
    "opened": "passed by tcp, udp and icmp rules",
    "resolved": "ARP and neighbour discovery that passed",
}


class Method(enum.Enum):
    """How packets reach the queue."""

    STATEMENT = "queue statement"
    MARK = "mark and iptables"  # the chain sets a mark, and an iptables rule queues what is marked


@dataclass(frozen=True)
class Shape:
    """Where the ruleset is for. `tracking`: the kernel tracks connections for the family."""

    family: str = BRIDGE
    method: Method = Method.STATEMENT
    queue_base: int = marks.DEFAULT_QUEUE_BASE
    tracking: bool = False


def render(policy: Policy, shape: Shape, *, static: bool = False) -> str:
    """The ruleset as text for `nft -f`. With `static`, no engine is needed for conduits that fail static."""
    text = _Text(policy, shape, static)
    tables = [(shape.family, text.table())]
    if shape.family == BRIDGE:
        tables.append((INET, text.routed_table()))
    head = [
        f"# conduitfw: {_comment(policy.site)} {_comment(policy.revision)}, sha256 {policy.digest[:12]}",
        f"# {len(policy.conduits)} conduits, {len(policy.rules)} rules"
        + (", without an engine for conduits that fail static" if static else ""),
        "",
    ]
    for family, (skeleton, containers, body) in tables:
        head += [
            "# What may be there already stays (base chains above all), and is emptied:",
            f"table {family} {TABLE} {{",
            *skeleton,
            "}",
            f"flush table {family} {TABLE}",
            *(f"flush {kind} {family} {TABLE} {name}" for kind, name in containers),
            "",
            f"table {family} {TABLE} {{",
            *body,
            "}",
            "",
        ]
    return "\n".join(head)


def removal(family: str) -> str:
    """The text that takes everything out again, whether it is there or not."""
    families = (BRIDGE, INET) if family == BRIDGE else (INET,)
    return "".join(f"table {each} {TABLE} {{}}\ndelete table {each} {TABLE}\n" for each in families)


def _comment(text: str) -> str:
    return " ".join(text.split())[:120]


class _Text:
    """The parts of one ruleset."""

    def __init__(self, policy: Policy, shape: Shape, static: bool) -> None:
        self._policy = policy
        self._shape = shape
        self._static = static
        self._bridge = shape.family == BRIDGE
        self._zones = {zone.name: zone for zone in policy.zones}
        self._ports = sorted({interface for zone in policy.zones for interface in zone.interfaces})

    # --- tables: skeleton, what has to be flushed, and the whole ---------------------------------------

    def table(self) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        declarations = self._containers()
        skeleton: list[str] = []
        for kind, name, spec, _, _ in declarations:
            skeleton += [f"{kind} {name} {{", *indent(spec), "}"]
        body: list[str] = []
        for name, meaning in COUNTERS.items():
            body.append(f'counter {name} {{ comment "{meaning}"; }}')
        for kind, name, spec, elements, comment in declarations:
            body += ["", f"# {comment}", f"{kind} {name} {{", *indent(spec), *indent(listed(elements)), "}"]
        for name in ("inspect_closed", "inspect_static", "from_client", "from_server"):
            skeleton.append(f"chain {name} {{}}")
        for name, hook in self._hooks():
            skeleton += [f"chain {name} {{", f"\t{hook}", "}"]
        body += self._chains()
        return indent(skeleton), [(kind, name) for kind, name, *_ in declarations], indent(body)

    def routed_table(self) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        """On a bridge: what would pass through the machine's own addresses never meets the bridge's chains."""
        hook = "type filter hook forward priority -200; policy accept;"
        skeleton: list[str] = ["counter routed {}"]
        body = ["counter routed {}"]
        for version in (4, 6):
            spec = [f"type ipv{version}_addr", "flags interval"]
            networks = [
                str(network) for zone in self._policy.zones for network in zone.networks if network.version == version
            ]
            skeleton += [f"set zones{version} {{", *indent(spec), "}"]
            body += [f"set zones{version} {{", *indent(spec), *indent(listed(networks)), "}"]
        skeleton += ["chain forward {", f"\t{hook}", "}"]
        passed = marks.INSPECT | marks.PASSED
        body += [
            "# Frames that the bridge passes carry a mark of ours; what is routed between zones does not.",
            "chain forward {",
            *indent(
                [
                    hook,
                    f"meta mark & {passed:#x} != 0 accept",
                    "ip saddr @zones4 ip daddr @zones4 counter name routed drop",
                    "ip6 saddr @zones6 ip6 daddr @zones6 counter name routed drop",
                ]
            ),
            "}",
        ]
        return indent(skeleton), [("set", "zones4"), ("set", "zones6")], indent(body)

    def _hooks(self) -> list[tuple[str, str]]:
        # On a router in front of reassembly (-400), so that fragments are seen; then in front of everybody's filter.
        first = -300 if self._bridge else -450
        forward = "accept" if self._ports else "drop"
        return [
            ("prerouting", f"type filter hook prerouting priority {first}; policy accept;"),
            ("forward", f"type filter hook forward priority -200; policy {forward};"),
            ("postrouting", "type filter hook postrouting priority 300; policy accept;"),
        ]

    # --- sets and maps -------------------------------------------------------------------------------

    def _containers(self) -> list[tuple[str, str, list[str], list[str], str]]:
        """(set or map, name, specification, elements, comment) of each."""
        found = [("set", "ports", ["type ifname"], [f'"{port}"' for port in self._ports], "The zones' interfaces")]
        if self._bridge:
            found += self._bridge_sets()
            for version in (4, 6):
                kind = f"ipv{version}_addr"
                spec = [f"type {kind} . {kind}" if version == 4 else f"type {kind}", "flags interval"]
                elements = self._resolving(version)
                found.append(
                    ("set", f"resolving{version}", spec, elements, "Who may resolve whom, of zones without interfaces")
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
            found.append(("set", "untracked", spec, sorted(ports), "Ports that are inspected"))
        for version in (4, 6):
            address = f"ipv{version}_addr"
            key = f"{address} . {address} . inet_proto . inet_service"
            found += [
                ("set", f"sides{version}", [f"type ifname . {address}", "flags interval"], self._sides(version),
                 "Which addresses belong on which interface"),
                ("map", f"inspected{version}",
                 [f"type {key} : verdict", "flags interval"],
                 self._inspected(version), "Client . server . protocol . server's port: what the engine decides"),
                ("set", f"opened{version}", [f"type {key}", "flags interval"],
                 self._opened(version), "Client . server . protocol . server's port: what passes as it is"),
                ("set", f"pinged{version}", [f"type {address} . {address}", "flags interval"],
                 self._pinged(version), "Client . server: who may ping whom"),
                ("set", f"watched{version}", [f"type {address} . {address}", "flags interval"],
                 self._watched(version), "The two sides of conduits that are only monitored"),
            ]  # fmt: skip
        return found

    def _bridge_sets(self) -> list[tuple[str, str, list[str], list[str], str]]:
        by_zone = {zone.name: zone.interfaces for zone in self._policy.zones}
        joined: set[tuple[str, str]] = set()
        for conduit in self._policy.conduits:
            for one in by_zone[conduit.from_zone]:
                for other in by_zone[conduit.to_zone]:
                    joined |= {(one, other), (other, one)}
        within = {
            (one, other)
            for zone in self._policy.zones
            for one in zone.interfaces
            for other in zone.interfaces
            if one != other and self._only_zone(one) == self._only_zone(other) == zone.name
        }
        wide = sorted({port for pair in within for port in pair})
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
            (
                "set",
                "joined",
                pair,
                [f'"{a}" . "{b}"' for a, b in sorted(joined)],
                "Interfaces of zones that share a conduit",
            ),
            ("set", "within", pair, [f'"{a}" . "{b}"' for a, b in sorted(within)], "Interfaces of one zone"),
            ("set", "wide", ["type ifname"], [f'"{port}"' for port in wide], "Interfaces of zones that have several"),
            ("set", "macs", ["type ether_addr"], known, "MAC addresses that the policy names"),
            ("set", "mac_sides", ["type ifname . ether_addr"], sides, "and where they belong"),
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

    def _only_zone(self, interface: str) -> str | None:
        zones = [zone.name for zone in self._policy.zones if interface in zone.interfaces]
        return zones[0] if len(zones) == 1 else None

    def _sides(self, version: int) -> list[str]:
        return [
            f'"{interface}" . {network}'
            for zone in self._policy.zones
            for interface in zone.interfaces
            for network in zone.networks
            if network.version == version
        ]

    def _goes_to_queue(self, conduit: Conduit) -> bool:
        return not (self._static and _fails_static(conduit))

    def _inspected(self, version: int) -> list[str]:
        elements: list[str] = []
        for conduits, verdict in (
            ([c for c in self._policy.conduits if not _fails_static(c)], "goto inspect_closed"),
            ([c for c in self._policy.conduits if _fails_static(c) and self._goes_to_queue(c)], "goto inspect_static"),
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

    # --- chains ----------------------------------------------------------------------------------------

    def _chains(self) -> list[str]:
        hooks = dict(self._hooks())
        chains = [
            ("inspect_closed", "To the engine; never on without its verdict", self._to_queue(marks.QUEUE_CLOSED)),
            (
                "inspect_static",
                "To the engine; without one, on by address and port",
                self._to_queue(marks.QUEUE_STATIC),
            ),
            ("from_client", "tcp and udp rules, on the way to the server", self._from_client()),
            ("from_server", "and back: answers only", self._from_server()),
            ("prerouting", "Who may speak on which side", [hooks["prerouting"], *self._prerouting()]),
            ("forward", "What the policy names; everything else is dropped", [hooks["forward"], *self._forward()]),
            ("postrouting", "What had to be decided and was not", [hooks["postrouting"], *self._postrouting()]),
        ]
        lines: list[str] = []
        for name, comment, rules in chains:
            lines += ["", f"# {comment}", f"chain {name} {{", *indent(rules), "}"]
        return lines

    def _to_queue(self, queue: int) -> list[str]:
        closed = queue == marks.QUEUE_CLOSED
        mark = marks.INSPECT | (marks.CLOSED if closed else 0)
        lines = [f"meta mark set {mark:#x}"]
        if self._shape.method is Method.STATEMENT:
            lines.append(f"queue num {self._shape.queue_base + queue}" + ("" if closed else " bypass"))
        else:
            lines.append("accept")
        return lines

    def _from_client(self) -> list[str]:
        passed = [f"meta mark set {marks.PASSED:#x}", "counter name opened accept"]
        if self._shape.tracking:
            return ["ct state != { new, established, untracked } counter name unnamed drop", *passed]
        return passed

    def _from_server(self) -> list[str]:
        passed = [f"meta mark set {marks.PASSED:#x}", "counter name opened accept"]
        by_flags = "tcp flags & (syn | ack) == syn counter name server_opens drop"
        if self._shape.tracking:
            return [by_flags, "ct state != { established, untracked } counter name server_opens drop", *passed]
        return [by_flags, *passed]

    def _prerouting(self) -> list[str]:
        lines: list[str] = []
        if self._ports:
            lines.append("iifname != @ports accept")
        if self._bridge:
            lines += [
                "# A tag would carry a packet around the rules for addresses. What stays in a zone may be anything.",
                "iifname != @wide ether type { 8021q, 8021ad, 0x9100 } counter name tagged drop",
                "iifname != @wide ether type != { ip, ip6, arp } counter name ethertype drop",
                "ether saddr @macs iifname . ether saddr != @mac_sides counter name forged_mac drop",
            ]
        if self._ports:
            if self._bridge:
                lines += [
                    "# 0.0.0.0, :: and fe80::/10 belong on every side: probes, and neighbour discovery.",
                    "arp saddr ip != 0.0.0.0 iifname . arp saddr ip != @sides4 counter name wrong_side drop",
                ]
            lines += [
                "ip saddr != 0.0.0.0 iifname . ip saddr != @sides4 counter name wrong_side drop",
                "ip6 saddr != { ::, fe80::/10 } iifname . ip6 saddr != @sides6 counter name wrong_side drop",
            ]
            if self._bridge:
                lines += self._neighbour_answers()
        to_own_side = ("iifname . ip daddr != @sides4 ", "iifname . ip6 daddr != @sides6 ") if self._ports else ("", "")
        lines += [
            "# Before anybody puts them together.",
            f"ip frag-off & 0x3fff != 0 {to_own_side[0]}ip saddr . ip daddr != @watched4 counter name fragment drop",
            f"exthdr frag exists {to_own_side[1]}ip6 saddr . ip6 daddr != @watched6 counter name fragment drop",
        ]
        if self._shape.tracking:
            lines += [
                "# Inspected sessions are not tracked: the engine's own answers would look invalid.",
                "meta l4proto . th dport @untracked notrack",
                "meta l4proto . th sport @untracked notrack",
            ]
        return lines

    def _neighbour_answers(self) -> list[str]:
        """A neighbour advertisement speaks for its target, which stands 8 bytes behind the ICMPv6 header's start."""
        lines = []
        for port in self._ports:
            ranges = [hex_range("fe80::", 10)]
            for zone in self._policy.zones:
                if port in zone.interfaces:
                    ranges += [
                        hex_range(str(network.network_address), network.prefixlen)
                        for network in zone.networks
                        if network.version == 6
                    ]
            lines.append(
                f'iifname "{port}" icmpv6 type nd-neighbor-advert @th,64,128 != {{ {", ".join(ranges)} }} '
                "counter name wrong_side drop"
            )
        return lines

    def _forward(self) -> list[str]:
        lines: list[str] = []
        if self._ports:
            lines.append("iifname != @ports oifname != @ports accept")
        lines.append(f"meta mark set meta mark & {~marks.MASK & 0xFFFFFFFF:#x}")
        if self._bridge:
            passed = f"meta mark set {marks.PASSED:#x}"
            lines += [
                f"iifname . oifname @within {passed} accept",
                f"ether type arp iifname . oifname @joined {passed} counter name resolved accept",
                "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 iifname . oifname @joined "
                f"{passed} counter name resolved accept",
                f"arp saddr ip . arp daddr ip @resolving4 {passed} counter name resolved accept",
                "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 ip6 saddr @resolving6 "
                f"{passed} counter name resolved accept",
            ]
        for proto, version in (("ip", 4), ("ip6", 6)):
            there = f"{proto} saddr . {proto} daddr . meta l4proto . th dport"
            back = f"{proto} daddr . {proto} saddr . meta l4proto . th sport"
            icmp = "icmp" if version == 4 else "icmpv6"
            errors = "destination-unreachable, time-exceeded, parameter-problem" if version == 4 else (
                "destination-unreachable, packet-too-big, time-exceeded, parameter-problem"
            )  # fmt: skip
            passed = f"meta mark set {marks.PASSED:#x} counter name opened accept"
            lines += [
                f"{there} vmap @inspected{version}",
                f"{back} vmap @inspected{version}",
                f"{there} @opened{version} goto from_client",
                f"{back} @opened{version} goto from_server",
                f"{icmp} type echo-request {proto} saddr . {proto} daddr @pinged{version} {passed}",
                f"{icmp} type {{ echo-reply, {errors} }} {proto} daddr . {proto} saddr @pinged{version} {passed}",
                f"{proto} saddr . {proto} daddr @watched{version} meta mark set {marks.PASSED:#x} "
                "counter name watched accept",
            ]
        lines.append("counter name unnamed drop")
        return lines

    def _postrouting(self) -> list[str]:
        ours = marks.INSPECT | marks.VERDICT | marks.CLOSED
        return [f"meta mark & {ours:#x} == {marks.INSPECT | marks.CLOSED:#x} counter name unjudged drop"]


def _sides_of(conduit: Conduit) -> frozenset[str]:
    return frozenset((conduit.from_zone, conduit.to_zone))


def _fails_static(conduit: Conduit) -> bool:
    """Watching comes before enforcing: a monitored conduit passes where no engine decides."""
    return conduit.fail == "static" or conduit.mode == "monitor"


__all__ = ["BRIDGE", "COUNTERS", "INET", "TABLE", "Method", "Shape", "removal", "render"]
