"""The policy as the engine's tables: a look-up costs the same for one rule and for ten thousand.

Two steps: `Tables.channel` finds, once a flow, what its two addresses may say to each other;
`Channel.decide` finds, for every unit, the rule that allows it.

A pair of addresses is found by tuple space search: for each pair of prefix lengths that some rule uses
(few, in any plant) one dictionary of masked addresses. What is found is combined once and remembered.
"""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from conduitfw.policy.ledger import Ledger
from conduitfw.policy.limits import Limit, Refusal
from conduitfw.policy.model import Asset, Conduit, Inspection, Network, Place, Policy, Rule
from conduitfw.policy.tags import Tag, TagLimits
from conduitfw.protocols import Definition, Kind, Unit
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Reason

TCP, UDP = 6, 17
_NUMBERS = {"tcp": TCP, "udp": UDP}
REMEMBERED_PAIRS = 65536

# Of a message in several parts, as many rules are followed through all of its parts.
FOLLOWED = 64
EVERY_RULE = (1 << FOLLOWED) - 1

_NO_ADDRESS = Refusal(Reason.NO_RULE_ADDRESS)
_NO_RULE = Refusal(Reason.NO_RULE)


class Grant:
    """What one rule allows between two addresses, for one function. Limits of one rule hold together."""

    __slots__ = ("functions", "limits", "rule")

    def __init__(self, rule: Rule, functions: frozenset[int], limits: tuple[Limit, ...]) -> None:
        self.rule = rule
        self.functions = functions  # all that the rule allows, the implied ones included
        self.limits = limits

    def refuses(self, unit: Unit, ledger: Ledger | None, now: float) -> Refusal | None:
        """Why this rule does not allow a unit whose function and address it names, or None."""
        if unit.also >= 0 and unit.also not in self.functions:
            return _NO_RULE
        if unit.kind is Kind.REQUEST:  # what a station says by itself is allowed by its function alone
            for limit in self.limits:
                refusal = limit.refuses(unit, ledger, now)
                if refusal is not None:
                    return refusal
        return None


# A row: by function number, what allows it, in the policy's order.
Row = tuple[tuple[Grant, ...], ...]


class Channel:
    """What one client may say to one server on one port: shared by every flow between them."""

    __slots__ = (
        "_classes", "_rows", "_tags", "conduit", "goes_on_unanswered", "lenient", "monitor", "on_deny", "ordinary",
        "outstanding", "protocol", "resync", "stamp", "transaction_timeout", "unanswered",
    )  # fmt: skip

    def __init__(
        self,
        conduit: Conduit,
        protocol: Definition,
        rules: tuple[tuple[Rule, Inspection], ...],
        client: bytes,
        server: bytes,
        tags: TagLimits | None = None,
        stamp: int = 0,
        asset: Asset | None = None,
    ) -> None:
        """`rules` of one conduit and one protocol, in the policy's order; packed addresses.

        `tags`: of the server; `stamp`: tells these rules from others; `asset`: the server, where it has a name.
        """
        self.conduit = conduit
        self.stamp = stamp
        self._tags = tags
        self.protocol = protocol
        self.monitor = conduit.mode == "monitor"
        self.on_deny = conduit.on_deny
        self.resync = conduit.midstream == "resync"
        limits = [inspection.outstanding for _, inspection in rules if inspection.outstanding is not None]
        self.outstanding = min(limits, default=16)
        usual = (asset.answer_within if asset is not None else None) or protocol.transaction_timeout
        self.transaction_timeout = max(inspection.transaction_timeout or usual for _, inspection in rules)
        self.goes_on_unanswered = asset is not None and asset.goes_on_unanswered
        # The server's address that is a broadcast here: behind a gateway, which has units of other numbers.
        behind = asset is not None and asset.units is not None and any(asset.units)
        self.unanswered = protocol.gateway_broadcast if behind else -1
        self.lenient = any(inspection.lenient_responses for _, inspection in rules)
        self._classes, self._rows = _address_classes(protocol, rules, client, server)
        self.ordinary: object = None  # what the engine remembers of this channel (ordinary.py)

    @property
    def learns(self) -> bool:
        """Whether what passes is remembered for tags."""
        return self._tags is not None

    def unlimited(self, address: tuple[int, ...], function: int) -> Rule | None:
        """The rule that allows every request of this address and function, whatever it says, or None: `decide` knows.

        Only where the first rule that names the function sets no limits, and no tags are watched.
        """
        if self._tags is not None or self.unanswered in address:
            return None
        row = self._rows.get(tuple(each.get(value, 0) for each, value in zip(self._classes, address, strict=True)))
        grants = row[function] if row is not None and 0 <= function < len(row) else ()
        return grants[0].rule if grants and not grants[0].limits else None

    def decide(self, unit: Unit, ledger: Ledger | None, now: float, among: int = EVERY_RULE) -> Rule | Refusal:
        """The rule that allows this unit (the first by its place in the policy), or why none does.

        `ledger` None: a question. `among`: of a later part of a message, the rules that allowed the parts before it
        (their `Unit.among`): one rule has to allow all of them. Sets the unit's `grant` and `among`.
        """
        unit.grant, unit.among = None, 0
        row = self._row(unit)
        if row is None:
            return _NO_ADDRESS
        grants = row[unit.function] if 0 <= unit.function < len(row) else ()
        whole = unit.begins and unit.complete
        worst = _NO_RULE
        for place, grant in enumerate(grants):
            if not whole and not among >> place & 1:
                continue
            refusal = grant.refuses(unit, ledger, now)
            if refusal is not None:
                if refusal.rank > worst.rank:
                    worst = refusal
                continue
            unit.grant = unit.grant or grant
            if whole:
                break
            unit.among |= 1 << place & EVERY_RULE
        if not isinstance(unit.grant, Grant):
            return worst
        if self._tags is not None and unit.kind is Kind.REQUEST:
            refusal = self._tags.refuses(unit, ledger)
            if refusal is not None:
                unit.grant, unit.among = None, 0
                return refusal
        return unit.grant.rule

    def names_address(self, unit: Unit) -> bool:
        """Whether any rule names the unit's address."""
        return self._row(unit) is not None

    def sent(self, unit: Unit, ledger: Ledger, now: float) -> None:
        """A unit was sent on: remember what later decisions depend on."""
        if isinstance(unit.grant, Grant):
            for limit in unit.grant.limits:
                limit.sent(unit, ledger, now)
        if self._tags is not None:
            self._tags.sent(unit, ledger, now)

    def representatives(self) -> tuple[tuple[int, ...], ...]:
        """For each of the protocol's address fields, one value of every class that rules treat alike."""
        found = []
        for field, table in zip(self.protocol.address_fields, self._classes, strict=True):
            values = (1, *range(field.lowest, field.highest + 1))  # 1 is what most devices answer to
            unnamed = next((value for value in values if value not in table), None)
            by_class = {number: value for value, number in reversed(table.items())}
            if unnamed is not None:
                by_class.setdefault(0, unnamed)
            found.append(tuple(by_class.values()))
        return tuple(found)

    def _row(self, unit: Unit) -> Row | None:
        classes = self._classes
        if len(classes) == 1:
            return self._rows.get((classes[0].get(unit.address[0], 0),))
        return self._rows.get(tuple(each.get(value, 0) for each, value in zip(classes, unit.address, strict=True)))


def _address_classes(
    protocol: Definition, rules: tuple[tuple[Rule, Inspection], ...], client: bytes, server: bytes
) -> tuple[tuple[dict[int, int], ...], dict[tuple[int, ...], Row]]:
    """Values of each address field that all rules treat alike become one class; a row for each combination.

    Class 0 is every value that no rule names. A combination that no rule allows has no row.
    """
    wanted = [(rule, inspection, addresses_of(protocol, inspection, client, server)) for rule, inspection in rules]
    grants = [(_grant(protocol, rule, inspection, client, server), inspection.functions) for rule, inspection in rules]
    classes: list[dict[int, int]] = []
    members: list[list[frozenset[int]]] = []  # by field and class: the rules (by position) that include it
    for index, field in enumerate(protocol.address_fields):
        by_value: dict[int, set[int]] = {}
        anywhere = {position for position, (_, _, values) in enumerate(wanted) if values[index] is None}
        for position, (_, _, values) in enumerate(wanted):
            for value in values[index] or ():
                by_value.setdefault(value, set()).add(position)
        numbers: dict[frozenset[int], int] = {frozenset(anywhere): 0}
        table: dict[int, int] = {}
        if field.highest_unnamed is not None:
            # What has to be named is in no rule that names nothing.
            for value in range(field.highest_unnamed + 1, field.highest + 1):
                by_value.setdefault(value, set())
        for value, named in by_value.items():
            named_only = field.highest_unnamed is not None and value > field.highest_unnamed
            group = frozenset(named if named_only else named | anywhere)
            table[value] = numbers.setdefault(group, len(numbers))
        classes.append(table)
        members.append(list(numbers))
    rows: dict[tuple[int, ...], Row] = {}
    for combination in _combinations([len(groups) for groups in members]):
        positions = frozenset.intersection(*(members[field][number] for field, number in enumerate(combination)))
        if positions:
            rows[combination] = _row(protocol, [grants[position] for position in sorted(positions)])
    return tuple(classes), rows


def _combinations(sizes: list[int]) -> list[tuple[int, ...]]:
    result: list[tuple[int, ...]] = [()]
    for size in sizes:
        result = [(*each, number) for each in result for number in range(size)]
    return result


def _grant(protocol: Definition, rule: Rule, inspection: Inspection, client: bytes, server: bytes) -> Grant:
    implied = (protocol.implied.get(function, frozenset()) for function in inspection.functions)
    limits = tuple(limit.between(client, server) for limit in inspection.limits)
    return Grant(rule, inspection.functions.union(*implied), limits)


def _row(protocol: Definition, grants: list[tuple[Grant, frozenset[int]]]) -> Row:
    row: list[tuple[Grant, ...]] = [()] * (protocol.functions.highest + 1)
    for grant, named in grants:
        for function in named:
            row[function] += (grant,)
    for grant, named in grants:  # what is only implied stands behind what is named
        for function in grant.functions - named:
            row[function] += (grant,)
    return tuple(row)


def addresses_of(
    protocol: Definition, inspection: Inspection, client: bytes, server: bytes
) -> tuple[frozenset[int] | None, ...]:
    """What a rule says of the unit or link addresses between these two."""
    sides = {
        "client": _most_specific(inspection.client_addresses, client),
        "server": _most_specific(inspection.server_addresses, server),
    }
    return tuple(sides[field.asset_side][index] for index, field in enumerate(protocol.address_fields))


def _most_specific(
    entries: tuple[tuple[Network, tuple[frozenset[int] | None, ...]], ...], address: bytes
) -> tuple[frozenset[int] | None, ...]:
    best: tuple[int, tuple[frozenset[int] | None, ...]] | None = None
    for network, values in entries:
        if network.prefixlen > (best[0] if best else -1) and _contains(network, address):
            best = (network.prefixlen, values)
    assert best is not None  # the loader gives every client and server of the rule an entry
    return best[1]


def _contains(network: Network, address: bytes) -> bool:
    shift = network.max_prefixlen - network.prefixlen
    return (
        len(address) * 8 == network.max_prefixlen
        and int.from_bytes(address, "big") >> shift == int(network.network_address) >> shift
    )


# Client's and server's prefix length and address length: one dictionary each.
_Shape = tuple[int, int, int]
_Place = tuple[int, int, int, int]  # transport, port, masked client, masked server


class Tables:
    """The compiled policy. Addresses are packed (4 or 16 bytes), transports IP protocol numbers."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._shapes: dict[_Shape, dict[_Place, list[int]]] = {}
        self._rules = policy.rules
        self._channels: dict[tuple[int, bytes, bytes, int], Channel | None] = {}
        self._stamps: dict[tuple[int, ...], int] = {}
        tags: dict[tuple[bytes, str], list[Tag]] = {}
        for tag in policy.tags:
            tags.setdefault((tag.server.packed, tag.protocol.name), []).append(tag)
        self._assets = {asset.address.packed: asset for asset in policy.assets}
        self._tags = {place: TagLimits(found, PROTOCOLS[place[1]]) for place, found in tags.items()}
        for rule in self._rules:
            if rule.inspection is not None:
                self._add(rule)

    def _add(self, rule: Rule) -> None:
        transport = _NUMBERS[rule.transport]
        for client in rule.clients:
            for server in rule.servers:
                if client.version != server.version:
                    continue
                bits = client.max_prefixlen
                places = self._shapes.setdefault((bits // 8, client.prefixlen, server.prefixlen), {})
                ends = (
                    int(client.network_address) >> (bits - client.prefixlen),
                    int(server.network_address) >> (bits - server.prefixlen),
                )
                for low, high in rule.ports:
                    for port in range(low, high + 1):
                        places.setdefault((transport, port, *ends), []).append(rule.index)

    def channel(self, transport: int, client: bytes, server: bytes, server_port: int) -> Channel | None:
        """What these two may say to each other, or None where no inspected rule names them."""
        pair = (transport, client, server, server_port)
        try:
            return self._channels[pair]
        except KeyError:
            pass
        if len(self._channels) >= REMEMBERED_PAIRS:
            self._channels.clear()
        channel = self._channels[pair] = self._find(transport, client, server, server_port)
        return channel

    def _find(self, transport: int, client: bytes, server: bytes, port: int) -> Channel | None:
        found: set[int] = set()
        bits = len(client) * 8
        ends = int.from_bytes(client, "big"), int.from_bytes(server, "big")
        for (size, client_prefix, server_prefix), places in self._shapes.items():
            if size == len(client):
                place = (transport, port, ends[0] >> (bits - client_prefix), ends[1] >> (bits - server_prefix))
                found.update(places.get(place, ()))
        if not found:
            return None
        rules = [self._rules[index] for index in sorted(found)]
        first = rules[0]
        conduit = next(each for each in self.policy.conduits if each.name == first.conduit)
        alike = tuple(
            (rule, rule.inspection)
            for rule in rules
            if rule.inspection is not None and rule.conduit == first.conduit and rule.allow == first.allow
        )
        tags = self._tags.get((server, first.allow))
        asset = self._assets.get(server)
        return Channel(conduit, PROTOCOLS[first.allow], alike, client, server, tags, self._stamp(alike), asset)

    def _stamp(self, rules: tuple[tuple[Rule, Inspection], ...]) -> int:
        """What tells these rules from others: the same in every policy that has them unchanged, 32 bits."""
        names = tuple(rule.index for rule, _ in rules)
        stamp = self._stamps.get(names)
        if stamp is None:
            said = [(rule.name, rule.clients, rule.servers, rule.transport, rule.ports, each) for rule, each in rules]
            stamp = self._stamps[names] = zlib.crc32(repr(said).encode())
        return stamp


def compile_policy(policy: Policy) -> Tables:
    """Compile a checked policy. Its errors were found before: this does not fail."""
    return Tables(policy)


def allow_everything(ports: Mapping[str, Iterable[int]]) -> Tables:
    """Tables that inspect the given ports of each protocol between any two addresses, and allow all.

    For `replay --any`; there is no such policy in YAML.
    """
    nowhere = Place("", 0, 0)
    networks: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    rules: list[Rule] = []
    for name, numbers in ports.items():
        protocol = PROTOCOLS[name]
        anywhere = tuple((network, tuple(_every_value(protocol))) for network in networks)
        everything = Inspection(
            frozenset(range(protocol.functions.highest + 1)),
            anywhere,
            anywhere,
            None,
            None,
            True,
        )
        for transport in protocol.transports:
            rules.append(
                Rule(
                    f"any {name}",
                    "any",
                    len(rules),
                    name,
                    networks,
                    networks,
                    transport,
                    tuple((number, number) for number in sorted(numbers)),
                    everything,
                    nowhere,
                )
            )
    conduit = Conduit(
        "any", 0, "", "", "", "", (), None, "", "monitor", "static", "reset", "resync", tuple(rules), nowhere
    )
    today = datetime.date.today().isoformat()
    return Tables(Policy("", "", today, "", (), (conduit,)))


def _every_value(protocol: Definition) -> Iterable[frozenset[int] | None]:
    for field in protocol.address_fields:
        yield None if field.highest_unnamed is None else frozenset(range(field.lowest, field.highest + 1))
