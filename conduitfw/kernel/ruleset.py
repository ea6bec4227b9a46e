"""The policy as nftables text: what the kernel decides, and what it hands to the queue.

One table, `conduitfw`, of the bridge family on a bridge and of inet on a router, and nothing outside of it.
Base chains are never deleted (that would drop every packet that waits in any queue): the text makes sure
that all is there, empties it, and fills it again, in one transaction. Cost does not grow with rules: they
are elements of sets and maps. Those whose size goes with the policy's are constant, and their names say so
(sets.py): they can be brought in before the rules that ask for them, in pieces, and stay where the next
policy has the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from conduitfw.kernel import machine, marks
from conduitfw.kernel.elements import hex_range, indent, listed
from conduitfw.kernel.sets import Container, containers, ports_of, protocols, untagged_side, untagged_sides
from conduitfw.kernel.shape import BRIDGE, INET, Method, Shape
from conduitfw.policy.model import Network, Policy

TABLE = "conduitfw"
# What one source may send into the queue of static conduits. Polls are some hundred packets a second; the engine
# decides several thousand of the worst kind, and the queue holds 2,048.
STATIC_RATE, STATIC_BURST = 4000, 512
# Of what a source may have queued, one flow has at most a part: what floods in one session leaves room for the others.
STATIC_FLOW_RATE, STATIC_FLOW_BURST = 3000, 384

PIECE = 250  # elements at once: the kernel lets nobody else run on that core meanwhile, a third of a millisecond
_TARGET = re.compile(r"\bgoto (\w+)$")
_COMPARED = 8  # networks of a port that are compared one by one: cheaper than a look-up in ranges of several fields
_SEED = 0x636677  # of the workers' shares: always the same, so that a reload leaves each server where it is
_TAGS = "{ 8021q, 8021ad, 0x9100 }"
_ASKED = re.compile(r"@(\w+)")
_ASKS = re.compile(r"(?<!!= )(?<!update )@(\w+)")  # of a rule: the sets in which it wants to find a packet
_IPV6 = "meta protocol ip6"  # said first: what nft would say by itself does not hold for a tagged frame

COUNTERS = {
    "wrong_side": "source addresses that do not belong on the side they arrived from",
    "forged_mac": "the MAC address of an asset from another port than its own",
    "tagged": "VLAN tags that the policy does not name there, or none where it names some",
    "ethertype": "neither IPv4, IPv6 nor ARP",
    "fragment": "IP fragments, which nobody can inspect",
    "server_opens": "connections that the servers' side tried to open",
    "unnamed": "named by no rule",
    "flooded": "more than one source may have inspected: while a queue is too long, and on static conduits always",
    "flooded_flow": "more than one session may have inspected in one direction, at the same times",
    "uninspected": "traffic of a static or watched conduit that no engine has decided: it passed",
    "unjudged": "inspected traffic that no engine has decided",
    "routed": "traffic between zones that tried to pass through this machine's own addresses",
    "machine": "to or from this machine itself, by an interface where it is not managed",
    "watched": "unnamed traffic of a conduit that is only monitored: it passed",
    "opened": "passed by tcp, udp and icmp rules",
    "resolved": "ARP and neighbour discovery that passed",
}


def render(policy: Policy, shape: Shape, *, static: bool = False, per_source: int = 0) -> str:
    """The whole ruleset as text for `nft -f` (`Ruleset`)."""
    return Ruleset(policy, shape, static=static, per_source=per_source).text()


class Ruleset:
    """What a policy is to the kernel. With `static`, no engine is needed for conduits that fail static.

    `per_source`: packets per second that one source may have queued; 0: no limit.
    """

    def __init__(self, policy: Policy, shape: Shape, *, static: bool = False, per_source: int = 0) -> None:
        self._text = _Text(policy, shape, static, per_source)
        self._family = shape.family
        self._head = [
            f"# conduitfw: {_comment(policy.site)} {_comment(policy.revision)}, sha256 {policy.digest[:12]}",
            f"# {len(policy.conduits)} conduits, {len(policy.rules)} rules"
            + (", without an engine for conduits that fail static" if static else ""),
            "",
        ]
        containers = self._text.containers
        self.sets = frozenset((each.kind, each.name) for each in containers)
        # That somebody has changed a set that no rule asks for is not looked for (watch.py): it is not relied on.
        self.constant = frozenset(each.name for each in containers if each.word) & self._text.asked()

    def text(self, held: Collection[str] = ()) -> str:
        """For `nft -f`: all of it, in one transaction.

        `held`: names of constant sets that stand in the kernel with all their elements: they stay.
        """
        tables = [(self._family, self._text.table(held))]
        if self._family == BRIDGE:
            tables.append((INET, self._text.routed_table()))
        lines = [*self._head]
        for family, (skeleton, flushed, body) in tables:
            lines += [
                "# What may be there already stays (base chains above all), and is emptied:",
                f"table {family} {TABLE} {{",
                *skeleton,
                "}",
                f"flush table {family} {TABLE}",
                *(f"flush {kind} {family} {TABLE} {name}" for kind, name in flushed),
                "",
                f"table {family} {TABLE} {{",
                *body,
                "}",
                "",
            ]
        return "\n".join(lines)

    def large(self) -> frozenset[str]:
        """Names of the constant sets that are worth bringing in ahead: the others cost no packet anything."""
        return frozenset(each.name for each in self._text.containers if each.word and len(each.elements) > PIECE)

    def pieces(self, names: Collection[str]) -> Iterator[str]:
        """The constant sets of these names as texts for `nft -f`, at most PIECE elements each."""
        for each in self._text.containers:
            if each.name in names:
                for at in range(0, len(each.elements), PIECE):
                    yield self._piece(each, each.elements[at : at + PIECE])

    def trials(self) -> Iterator[str]:
        """Texts for `nft -c`: all of it but most of what large sets hold, which would keep the kernel busy."""
        large = self.large()
        for name in sorted(large):
            yield next(self.pieces((name,)))
        yield self._with_empty(large)

    def _with_empty(self, names: Collection[str]) -> str:
        declared = [line for each in self._text.containers if each.name in names for line in _declared(each, [])]
        return "\n".join([f"table {self._family} {TABLE} {{", *indent(declared), "}", self.text(held=names)])

    def _piece(self, container: Container, elements: list[str]) -> str:
        # Chains that elements go to are there first.
        targets = [f"chain {name} {{}}" for name in sorted({n for each in elements for n in _TARGET.findall(each)})]
        lines = [*targets, *_declared(container, elements)]
        return "\n".join([f"table {self._family} {TABLE} {{", *indent(lines), "}", ""])


def per_flow(per_source: int) -> int:
    """Packets per second that one flow may have queued each way while a source may have `per_source`; 0: no limit."""
    return -(-per_source // 2)


def without(family: str, sets: Iterable[tuple[str, str]]) -> str:
    """The text that takes sets out, by kind and name: those that no rule has asked for since another transaction.

    In one with the rules, a packet that has begun with the old ones would find nothing in the old sets any more.
    """
    return "".join(f"delete {kind} {family} {TABLE} {name}\n" for kind, name in sorted(sets))


def removal(family: str) -> str:
    """The text that takes everything out again, whether it is there or not."""
    families = (BRIDGE, INET) if family == BRIDGE else (INET,)
    return "".join(f"table {each} {TABLE} {{}}\ndelete table {each} {TABLE}\n" for each in families)


def _comment(text: str) -> str:
    return " ".join(text.split())[:120]


def _declared(container: Container, elements: list[str]) -> list[str]:
    return [f"{container.kind} {container.name} {{", *indent(container.spec), *indent(listed(elements)), "}"]


class _Text:
    """The parts of one ruleset."""

    def __init__(self, policy: Policy, shape: Shape, static: bool, per_source: int) -> None:
        self._policy = policy
        self._per_source = per_source
        self._shape = shape
        self.containers = containers(policy, shape, static)
        self._empty = {each.asked for each in self.containers if not each.elements}
        self._names = {each.asked: each.name for each in self.containers}
        self._bridge = shape.family == BRIDGE
        self._ports = ports_of(policy)

    # --- tables: skeleton, what has to be flushed, and the whole ---------------------------------------

    def table(self, held: Collection[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        skeleton: list[str] = []
        brought = [each for each in self.containers if each.name not in held]
        for each in brought:
            skeleton += _declared(each, [])
        body: list[str] = []
        for name, meaning in COUNTERS.items():
            body.append(f'counter {name} {{ comment "{meaning}"; }}')
        for each in brought:
            body += ["", f"# {each.comment}", *_declared(each, each.elements)]
        hooks = dict(self._hooks())
        chains = self._needed()
        skeleton += [f"chain {name} {{}}" for name, _, _ in chains if name not in hooks]
        for name, hook in hooks.items():
            skeleton += [f"chain {name} {{", f"\t{hook}", "}"]
        for name, comment, rules in chains:
            body += ["", f"# {comment}", f"chain {name} {{", *indent(rules), "}"]
        if not self._bridge:
            skeleton += machine.skeleton()
            body += machine.chains(self._shape)
        return indent(skeleton), [(each.kind, each.name) for each in brought], indent(body)

    def asked(self) -> frozenset[str]:
        """Names of the sets and maps that any rule asks for."""
        return frozenset(name for _, _, rules in self._needed() for rule in rules for name in _ASKED.findall(rule))

    def _needed(self) -> list[tuple[str, str, list[str]]]:
        """The chains, of their rules those that a packet can match, with the sets' names."""
        return [
            (name, comment, [_ASKED.sub(self._by_name, rule) for rule in rules if not self._never_matches(rule)])
            for name, comment, rules in self._chains()
        ]

    def _by_name(self, asked: re.Match[str]) -> str:
        return "@" + self._names.get(asked[1], asked[1])

    def _never_matches(self, rule: str) -> bool:
        """Whether it asks for what is in an empty set. Every packet would pay for the answer."""
        return any(name in self._empty for name in _ASKS.findall(rule))

    def routed_table(self) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        """On a bridge: what would pass through the machine's own addresses never meets the bridge's chains."""
        hook = "type filter hook forward priority -200; policy accept;"
        skeleton = ["counter routed {}", "counter machine {}"]
        body = list(skeleton)
        for version in (4, 6):
            spec = [f"type ipv{version}_addr", "flags interval"]
            networks = [
                str(network) for zone in self._policy.zones for network in zone.networks if network.version == version
            ]
            skeleton += [f"set zones{version} {{", *indent(spec), "}"]
            body += [f"set zones{version} {{", *indent(spec), *indent(listed(networks)), "}"]
        skeleton += ["chain forward {", f"\t{hook}", "}", *machine.skeleton()]
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
            *machine.chains(self._shape),
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

    # --- chains ----------------------------------------------------------------------------------------

    def _chains(self) -> list[tuple[str, str, list[str]]]:
        """Name, comment, rules; each behind those that it goes to."""
        hooks = dict(self._hooks())
        closed, static = self._to_queues(marks.QUEUE_CLOSED), self._to_queues(marks.QUEUE_STATIC)
        limit = ["jump limit_sources"] if self._per_source else []
        return [
            ("limit_sources", "While a queue is too long: nobody may fill it alone", self._limit()),
            *self._of_workers("closed", marks.QUEUE_CLOSED),
            *self._of_workers("static", marks.QUEUE_STATIC),
            ("inspect_closed", "To the engine; never on without its verdict", [*limit, *closed]),
            (
                "inspect_static",
                "To the engine; without one, on by address and port",
                [*self._static_limit(), *limit, *static],
            ),
            ("inspect_watched", "To the engine, which stops nothing", static),
            ("from_client", "tcp and udp rules, on the way to the server", self._from_client()),
            ("from_server", "and back: answers only", self._from_server()),
            *(
                [("strangers", "From an interface that the policy does not name", self._strangers())]
                if self._ports
                else []
            ),
            *self._on_a_side(),
            ("prerouting", "Who may speak on which side", [hooks["prerouting"], *self._prerouting()]),
            ("ip_addressed", "By address: what the policy names", self._addressed(4)),
            ("ip6_addressed", "The same of IPv6", self._addressed(6)),
            ("addressed", "Whatever it is; what nobody names is dropped", self._of_all()),
            *self._from_port_to_port(),
            ("forward", "What the policy names; everything else is dropped", [hooks["forward"], *self._forward()]),
            ("postrouting", "What had to be decided and was not", [hooks["postrouting"], *self._postrouting()]),
        ]

    def _static_limit(self) -> list[str]:
        """Always: where the kernel passes what finds no room in the queue, nobody may fill it alone."""
        return self._limits(
            ("queued_flows", STATIC_FLOW_RATE, STATIC_FLOW_BURST), ("queued", STATIC_RATE, STATIC_BURST)
        )

    def _limit(self) -> list[str]:
        if not self._per_source:
            return []
        of_a_flow = per_flow(self._per_source)
        return self._limits(("flows", of_a_flow, of_a_flow), ("sources", self._per_source, self._per_source))

    @staticmethod
    def _limits(of_a_flow: tuple[str, int, int], of_a_source: tuple[str, int, int]) -> list[str]:
        """Set, packets per second, burst. A flow's comes first: what it drops, its source has not sent."""
        lines = []
        for (name, rate, burst), key, counter in (
            (of_a_flow, "{0} saddr . {0} daddr . meta l4proto . th sport . th dport", "flooded_flow"),
            (of_a_source, "{0} saddr", "flooded"),
        ):
            limit = f"limit rate over {rate}/second burst {burst} packets"
            lines += [
                f"update @{name}{version} {{ {key.format(proto)} {limit} }} counter name {counter} drop"
                for proto, version in (("ip", 4), ("ip6", 6))
            ]
        return lines

    @property
    def _spread(self) -> bool:
        """Whether several workers share the packets."""
        return self._shape.workers > 1 and self._shape.method is not Method.NONE

    def _of_workers(self, name: str, queue: int) -> list[tuple[str, str, list[str]]]:
        """Where several share the packets: a chain for each, and one for each way to find it."""
        if not self._spread:
            return []
        count = self._shape.workers
        return [
            *((f"{name}_{worker}", f"To worker {worker}", self._to_queue(queue, worker)) for worker in range(count)),
            *(
                (
                    f"{name}_by_{proto}_{end}",
                    "The share of a server",
                    [
                        # No map: a rule's own is emptied when it goes, under whoever has begun with it.
                        *(
                            f"jhash {proto} {end} mod {count} seed {_SEED:#x} {worker} goto {name}_{worker}"
                            for worker in range(count - 1)
                        ),
                        f"goto {name}_{count - 1}",
                    ],
                )
                for proto in ("ip", "ip6")
                for end in ("daddr", "saddr")
            ),
        ]

    def _to_queues(self, queue: int) -> list[str]:
        """By the server's address: what is remembered of a server, whoever speaks to it, has one place."""
        if not self._spread:
            return self._to_queue(queue, 0)
        name = "closed" if queue == marks.QUEUE_CLOSED else "static"
        lines = [
            f"{said} meta mark & {marks.FROM_SERVER:#x} {test} goto {name}_by_{proto}_{end}"
            for said, proto in (("meta protocol ip", "ip"), (_IPV6, "ip6"))
            for end, test in (("daddr", "== 0"), ("saddr", "!= 0"))
        ]
        return [*lines, "counter name unjudged drop"]

    def _to_queue(self, queue: int, worker: int) -> list[str]:
        closed = queue == marks.QUEUE_CLOSED
        mark = marks.INSPECT | (marks.CLOSED if closed else 0) | worker << marks.WORKER_SHIFT
        lines = [self._marked(mark)]
        if self._shape.method is Method.NONE:
            return ["counter name unjudged drop"] if closed else [lines[0], "accept"]
        if self._shape.method is Method.STATEMENT:
            number = marks.queue_numbers(self._shape.queue_base, worker)[queue]
            lines.append(f"queue num {number}" + ("" if closed else " bypass"))
        else:
            lines.append("accept")
        return lines

    def _marked(self, bits: int) -> str:
        """On a bridge the mark holds the VLAN id as well."""
        return f"meta mark set meta mark | {bits:#x}" if self._bridge else f"meta mark set {bits:#x}"

    def _from_client(self) -> list[str]:
        passed = [self._marked(marks.PASSED), "counter name opened accept"]
        if self._shape.tracking:
            return ["ct state != { new, established, untracked } counter name unnamed drop", *passed]
        return passed

    def _from_server(self) -> list[str]:
        passed = [self._marked(marks.PASSED), "counter name opened accept"]
        by_flags = "tcp flags & (syn | ack) == syn counter name server_opens drop"
        if self._shape.tracking:
            return [by_flags, "ct state != { established, untracked } counter name server_opens drop", *passed]
        return [by_flags, *passed]

    def _prerouting(self) -> list[str]:
        lines: list[str] = []
        if self._bridge:
            lines.append("ether saddr @macs iifname . ether saddr != @mac_sides counter name forged_mac drop")
        lines.append(f"iifname . {'ether type' if self._bridge else 'meta protocol'} vmap @by_port")
        if self._ports:
            lines.append("iifname != @ports accept")
        if self._bridge:
            lines += self._tags()
        lines.append("meta protocol vmap @by_side")
        if self._bridge:
            lines += [
                f"{self._narrow}meta protocol {_TAGS} counter name tagged drop",
                f"{self._narrow}counter name ethertype drop",
            ]
        return lines

    def _on_a_side(self) -> list[tuple[str, str, list[str]]]:
        """By protocol: addresses that do not belong where they come from, and what nobody can inspect."""
        side = "iifname . meta mark" if self._bridge else "iifname"
        chains: dict[str, list[str]] = {name: [] for name in protocols(self._shape)}
        if self._ports:
            wrong = "counter name wrong_side drop"
            # 0.0.0.0, :: and fe80::/10 belong on every side: probes, and neighbour discovery.
            chains["ip"].append(f"ip saddr != 0.0.0.0 {side} . ip saddr != @sides4 {wrong}")
            chains["ip6"].append(f"ip6 saddr != {{ ::, fe80::/10 }} {side} . ip6 saddr != @sides6 {wrong}")
            if self._bridge:
                chains["ip6"] += self._neighbour_answers(self._ports)
                chains["arp"].append(
                    f"meta protocol arp arp saddr ip != 0.0.0.0 {side} . arp saddr ip != @sides4 {wrong}"
                )
        for name in ("ip", "ip6"):
            chains[name].append(f"goto {name}_whole")
        to_own_side = (f"{side} . ip daddr != @sides4 ", f"{side} . ip6 daddr != @sides6 ") if self._ports else ("", "")
        before = "# Before anybody puts them together."
        fragment = "counter name fragment drop"
        chains["ip_whole"] = [
            before, f"ip frag-off & 0x3fff != 0 {to_own_side[0]}ip saddr . ip daddr != @watched4 {fragment}"
        ]  # fmt: skip
        chains["ip6_whole"] = [
            before, f"{_IPV6} exthdr frag exists {to_own_side[1]}ip6 saddr . ip6 daddr != @watched6 {fragment}"
        ]  # fmt: skip
        if self._shape.tracking:
            for name in ("ip_whole", "ip6_whole"):
                chains[name] += [
                    "# Inspected sessions are not tracked: the engine's own answers would look invalid.",
                    "meta l4proto . th dport @untracked notrack",
                    "meta l4proto . th sport @untracked notrack",
                ]
        comment = "Addresses that do not belong where they come from"
        return [
            *((name, "Fragments, and what is not tracked", chains[name]) for name in ("ip_whole", "ip6_whole")),
            *((f"{name}_side", comment, chains[name]) for name in protocols(self._shape)),
            *(
                (untagged_side(number, proto), comment, self._on_a_port(port, proto, networks))
                for number, (port, networks) in enumerate(untagged_sides(self._policy, self._shape).items())
                for proto in ("ip", "ip6")
            ),
        ]

    def _on_a_port(self, port: str, proto: str, networks: Sequence[Network]) -> list[str]:
        """The same as on any side, of an untagged frame: compared with the port's few networks one by one."""
        own = [network for network in networks if network.version == (4 if proto == "ip" else 6)]
        lines = ["meta mark set 0"] if self._bridge else []
        if len(own) > _COMPARED:
            return [*lines, f"goto {proto}_side"]
        everywhere = "ip saddr != 0.0.0.0" if proto == "ip" else "ip6 saddr != fe80::/10 ip6 saddr != ::"
        others = "".join(f"{proto} saddr != {network} " for network in own)
        lines.append(f"{others}{everywhere} counter name wrong_side drop")
        if self._bridge and proto == "ip6":
            lines += self._neighbour_answers([port])
        return [*lines, f"goto {proto}_whole"]

    def _tags(self) -> list[str]:
        """The VLAN id into the mark, and what has no business in a VLAN that it names.

        The kernel takes the outer tag off before any chain: `ether type` still tells it, `meta protocol` what is in it.
        """
        return [
            "# From here on, all of a packet's mark is ours.",
            "meta mark set 0",
            "ether type 8021q meta mark set iifname . vlan id map @vlans",
            "# A tag that nobody named would carry a packet around the rules for addresses.",
            f"{self._narrow}ether type {_TAGS} meta mark 0 counter name tagged drop",
            *([f"{self._narrow}iifname . meta mark != @tags counter name tagged drop"] if self._ports else []),
        ]

    @property
    def _narrow(self) -> str:
        """What stays in a zone may be anything."""
        return "" if "wide" in self._empty else "iifname != @wide "

    def _neighbour_answers(self, ports: Collection[str]) -> list[str]:
        """A neighbour advertisement speaks for its target, which stands 8 bytes behind the ICMPv6 header's start."""
        lines = []
        for port in ports:
            ranges = [hex_range("fe80::", 10)]
            for zone in self._policy.zones:
                if port in zone.interfaces:
                    ranges += [
                        hex_range(str(network.network_address), network.prefixlen)
                        for network in zone.networks
                        if network.version == 6
                    ]
            lines.append(
                f'{_IPV6} iifname "{port}" icmpv6 type nd-neighbor-advert @th,64,128 != {{ {", ".join(ranges)} }} '
                "counter name wrong_side drop"
            )
        return lines

    def _strange_answers(self) -> list[str]:
        """Neighbour advertisements for addresses that have a side, from an interface that the policy does not name."""
        ranges = [
            hex_range(str(network.network_address), network.prefixlen)
            for zone in self._policy.zones
            if zone.interfaces
            for network in zone.networks
            if network.version == 6
        ]
        if not ranges:
            return []
        return [
            f"{_IPV6} icmpv6 type nd-neighbor-advert @th,64,128 {{ {', '.join(ranges)} }} counter name wrong_side drop"
        ]

    def _strangers(self) -> list[str]:
        """Addresses that have a side come from no interface that the policy does not name."""
        lines = ["ip saddr @sided4 counter name wrong_side drop", "ip6 saddr @sided6 counter name wrong_side drop"]
        if self._bridge:
            lines.append("meta protocol arp arp saddr ip @sided4 counter name wrong_side drop")
            lines += self._strange_answers()
            lines.append("meta mark set 0")
        return lines

    @property
    def _joins(self) -> bool:
        """Whether there are ports between which the policy lets anything pass."""
        return self._bridge and "joined" not in self._empty

    def _forward(self) -> list[str]:
        lines: list[str] = []
        if self._joins:
            lines += [
                f"meta mark & {marks.VLAN_MASK:#x} == 0 iifname . oifname . ether type vmap @by_ports",
                "iifname . oifname @joined goto between",
            ]
        if self._ports:
            lines += ["iifname != @ports oifname != @ports accept", "iifname != @ports jump strangers"]
        lines += self._marks_checked(("iifname @ports ", "oifname @ports "))
        lines.append("goto addressed")
        return lines

    def _from_port_to_port(self) -> list[tuple[str, str, list[str]]]:
        """Both are ports: nobody has to ask."""
        if not self._joins:
            return []
        comment = "From a port of one zone to one of another, as most are"
        return [
            *(
                (f"{name}_between", f"{comment}; untagged", ["meta mark set 0", f"goto {name}_addressed"])
                for name in ("ip", "ip6")
            ),
            ("between", comment, [*self._marks_checked(("", "")), "goto addressed"]),
        ]

    def _marks_checked(self, only: tuple[str, str]) -> list[str]:
        """What of the mark is others', and whether the VLAN in it belongs where the packet comes from and goes."""
        if not self._bridge:
            ours = marks.MASK | (marks.FROM_SERVER if self._spread else 0)
            return [f"meta mark set meta mark & {~ours & 0xFFFFFFFF:#x}"]
        ways = zip(("iifname", "oifname"), only, strict=True) if self._ports else ()
        return [
            f"meta mark set meta mark & {marks.VLAN_MASK:#x}",
            f"iifname . oifname . meta mark @within {self._marked(marks.PASSED)} accept",
            f"ether type {_TAGS} meta mark 0 counter name tagged drop",
            *(f"{which}{way} . meta mark != @tags counter name tagged drop" for way, which in ways),
        ]

    def _of_all(self) -> list[str]:
        lines = ["meta protocol vmap @by_address"]
        if self._bridge:
            passed = f"{self._marked(marks.PASSED)} counter name resolved accept"
            lines += [
                f"meta protocol arp iifname . oifname @joined {passed}",
                f"meta protocol arp arp saddr ip . arp daddr ip @resolving4 {passed}",
            ]
        return [*lines, "counter name unnamed drop"]

    def _addressed(self, version: int) -> list[str]:
        proto = "ip" if version == 4 else "ip6"
        there = f"{proto} daddr . {proto} saddr . meta l4proto . th dport"
        back = f"{proto} saddr . {proto} daddr . meta l4proto . th sport"
        icmp = "icmp" if version == 4 else "icmpv6"
        errors = "destination-unreachable, time-exceeded, parameter-problem" if version == 4 else (
            "destination-unreachable, packet-too-big, time-exceeded, parameter-problem"
        )  # fmt: skip
        too_big = "destination-unreachable icmp code frag-needed" if version == 4 else "packet-too-big"
        protocol = "meta protocol ip" if version == 4 else _IPV6
        passed = f"{self._marked(marks.PASSED)} counter name opened accept"
        lines = []
        if self._bridge and version == 6:
            discovery = f"{_IPV6} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255"
            resolved = f"{self._marked(marks.PASSED)} counter name resolved accept"
            lines += [
                f"{discovery} iifname . oifname @joined {resolved}",
                f"{discovery} ip6 saddr @resolving6 {resolved}",
            ]
        return [
            *lines,
            f"{there} vmap @inspected_hosts{version}",
            f"{there} vmap @inspected{version}",
            *([f"{protocol} meta mark set meta mark | {marks.FROM_SERVER:#x}"] if self._spread else []),
            f"{back} vmap @inspected_hosts{version}",
            f"{back} vmap @inspected{version}",
            f"{there} @opened_hosts{version} goto from_client",
            f"{there} @opened{version} goto from_client",
            f"{back} @opened_hosts{version} goto from_server",
            f"{back} @opened{version} goto from_server",
            f"{protocol} {icmp} type echo-request {proto} saddr . {proto} daddr @pinged{version} {passed}",
            f"{protocol} {icmp} type {{ echo-reply, {errors} }} "
            f"{proto} daddr . {proto} saddr @pinged{version} {passed}",
            f"{protocol} {icmp} type {too_big} {proto} daddr @reached{version} {passed}",
            f"{proto} saddr . {proto} daddr @watched{version} {self._marked(marks.PASSED)} counter name watched accept",
            "counter name unnamed drop",
        ]

    def _postrouting(self) -> list[str]:
        ours = marks.INSPECT | marks.VERDICT | marks.CLOSED
        return [
            f"meta mark & {ours:#x} == {marks.INSPECT | marks.CLOSED:#x} counter name unjudged drop",
            f"meta mark & {ours:#x} == {marks.INSPECT:#x} counter name uninspected",
        ]


__all__ = [
    "BRIDGE",
    "COUNTERS",
    "INET",
    "TABLE",
    "Method",
    "Ruleset",
    "Shape",
    "per_flow",
    "removal",
    "render",
    "without",
]
