"""What a careful engineer would ask about a policy that can be read: contradictions are errors, the rest warnings."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence

from conduitfw.policy.endpoints import inside
from conduitfw.policy.limits import SubFunctions
from conduitfw.policy.model import Address, Conduit, Network, Place, Policy, Rule
from conduitfw.policy.neighbours import Neighbours
from conduitfw.policy.source import Report
from conduitfw.policy.tags import Tag

_RESPONSIBILITY = (
    ("purpose", "an auditor will ask what it is for"),
    ("owner", "an auditor will ask who answers for it"),
    ("approved_by", "an auditor will ask who approved it"),
)


def lint(policy: Policy, header: Place, report: Report) -> None:
    """Report what contradicts itself, what can never match, and what an audit would find."""
    if not policy.site or not policy.owner:
        report.warning(header, "the policy says not whose it is", "name `site` and `owner`")
    _zones(policy, report)
    for conduit in policy.conduits:
        _conduit(conduit, policy, report)
        _shadowed(conduit, report)
    _collisions(policy, report)
    _around_tags(policy, report)


def _around_tags(policy: Policy, report: Report) -> None:
    """Functions that may write a limited point, and whose requests do not say what they touch."""
    limited: dict[str, list[Tag]] = defaultdict(list)
    for tag in policy.tags:
        if tag.limited:
            limited[tag.protocol.name].append(tag)
    first = {name: _FirstTag(tags) for name, tags in limited.items()}
    for rule in policy.rules:
        if rule.allow not in first or rule.inspection is None:
            continue
        protocol = limited[rule.allow][0].protocol
        blind = rule.inspection.functions - protocol.addressed - protocol.quiet
        blind -= frozenset(  # those of which every sub-function that the rule allows changes nothing
            function
            for limit in rule.inspection.limits
            if isinstance(limit, SubFunctions)
            for function, allowed in limit.allowed.items()
            if allowed <= protocol.quiet_details.get(function, frozenset())
        )
        if not any(number <= 0xFF for number in blind):
            continue
        reached = first[rule.allow].within(rule.servers)
        if reached is not None:
            report.warning(
                rule.place, f"the limits of {reached.name} do not hold for {protocol.functions.name(min(blind))}",
                "its requests do not say what they write",
            )  # fmt: skip


class _FirstTag:
    """Which of many tags is the first whose server lies in some networks."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._tags = tags
        self._of_server: dict[Address, int] = {}
        for place, tag in enumerate(tags):
            self._of_server.setdefault(tag.server, place)
        self._known: dict[Network, int] = {}

    def within(self, networks: Iterable[Network]) -> Tag | None:
        """The first tag, or None."""
        place = min((self._within(network) for network in networks), default=len(self._tags))
        return self._tags[place] if place < len(self._tags) else None

    def _within(self, network: Network) -> int:
        if network.num_addresses == 1:
            return self._of_server.get(network.network_address, len(self._tags))
        found = self._known.get(network)
        if found is None:
            places = (place for server, place in self._of_server.items() if server in network)
            found = self._known[network] = min(places, default=len(self._tags))
        return found


def _zones(policy: Policy, report: Report) -> None:
    by_interface: dict[tuple[str, int], str] = {}
    sided = any(zone.interfaces for zone in policy.zones)
    for zone in policy.zones:
        if zone.security_level is None:
            report.warning(zone.place, f"the zone {zone.name} has no `security_level`", "its target SL-T, 1 to 4")
        if sided and not zone.interfaces:
            report.warning(
                zone.place, f"the zone {zone.name} has no `interfaces`", "its addresses may be forged from any side"
            )
        for interface in zone.interfaces:
            others = {by_interface.setdefault((interface, vlan), zone.name) for vlan in zone.vlans} - {zone.name}
            for other in sorted(others):
                report.warning(
                    zone.place, f"the zones {other} and {zone.name} share the interface {interface}",
                    "what passes between them there does not pass this firewall",
                )  # fmt: skip


def _conduit(conduit: Conduit, policy: Policy, report: Report) -> None:
    for key, why in _RESPONSIBILITY:
        if not getattr(conduit, key):
            report.warning(conduit.place, f"the conduit {conduit.name} has no `{key}`", why)
    if conduit.review_by is None:
        report.warning(conduit.place, f"the conduit {conduit.name} has no `review_by`", "the date of its next review")
    elif conduit.review_by < datetime.date.today():
        report.warning(conduit.place, f"the review of the conduit {conduit.name} was due on {conduit.review_by}")
    if not conduit.rules:
        report.warning(conduit.place, f"the conduit {conduit.name} has no rules", "nothing passes through it")
    ends = policy.zone(conduit.from_zone), policy.zone(conduit.to_zone)
    if all(zone.interfaces for zone in ends) and not set(ends[0].vlans) & set(ends[1].vlans):
        report.warning(
            conduit.place, f"the zones {ends[0].name} and {ends[1].name} have no VLAN in common",
            "a bridge changes no tags, so that nothing passes; on a router name the VLANs' own interfaces",
        )  # fmt: skip
    inspected_tcp = any(rule.inspection is not None and rule.transport == "tcp" for rule in conduit.rules)
    if conduit.on_deny == "drop" and inspected_tcp:
        report.warning(
            conduit.place, f"`on_deny: drop` on {conduit.name} leaves a denied TCP session hanging until it times out",
            "reset ends it at once for both sides",
        )  # fmt: skip
    highest = max(zone.security_level or 0 for zone in ends)
    if conduit.fail == "static" and highest == 4:
        report.warning(
            conduit.place, f"`fail: static` on {conduit.name}, which joins a zone of SL-T 4",
            "without an engine the kernel passes every function that goes to a named port",
        )  # fmt: skip


# --- rules that never decide ------------------------------------------------------------------------


def _shadowed(conduit: Conduit, report: Report) -> None:
    """A rule that allows nothing which an earlier one does not allow as well. One for single servers is named first."""
    by_kind: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in conduit.rules:
        by_kind[(rule.allow, rule.transport)].append(rule)
    for rules in by_kind.values():
        neighbours = Neighbours(rules)
        for rule in rules:
            earlier = [other for other in neighbours.around(rule) if other.index < rule.index]
            earlier.sort(key=_is_wide)
            cover = next((other for other in earlier if _covers(other, rule)), None)
            if cover is not None:
                report.warning(
                    rule.place, f"the rule {rule.name!r} allows nothing that {cover.name!r} does not", "delete it"
                )


def _is_wide(rule: Rule) -> bool:
    return any(server.num_addresses > 1 for server in rule.servers)


def _covers(wide: Rule, narrow: Rule) -> bool:
    if not _all_inside(narrow.clients, wide.clients) or not _all_inside(narrow.servers, wide.servers):
        return False
    if not all(any(low <= first and last <= high for low, high in wide.ports) for first, last in narrow.ports):
        return False
    if narrow.inspection is None or wide.inspection is None:
        return narrow.inspection is wide.inspection
    return (
        narrow.inspection.functions <= wide.inspection.functions
        and all(limit in narrow.inspection.limits for limit in wide.inspection.limits)
        and _addresses_cover(wide.inspection.client_addresses, narrow.inspection.client_addresses)
        and _addresses_cover(wide.inspection.server_addresses, narrow.inspection.server_addresses)
    )


_Entries = Sequence[tuple[Network, tuple[frozenset[int] | None, ...]]]


def _addresses_cover(wide: _Entries, narrow: _Entries) -> bool:
    """Whether unit and link addresses that `narrow` names are all in what `wide` says of the same networks."""
    for network, values in narrow:
        around = [(other, said) for other, said in wide if inside(network, other)]
        if not around or any(other != network and inside(other, network) for other, _ in wide):
            return False
        _, said = max(around, key=lambda each: each[0].prefixlen)
        for wider, narrower in zip(said, values, strict=True):
            if wider is not None and (narrower is None or not narrower <= wider):
                return False
    return True


def _all_inside(inner: Sequence[Network], outer: Sequence[Network]) -> bool:
    if inner == outer:
        return True
    listed = set(outer)
    return all(each in listed or any(inside(each, network) for network in outer) for each in inner)


# --- two readings of one packet -----------------------------------------------------------------------


def _collisions(policy: Policy, report: Report) -> None:
    """A packet that two rules would treat in different ways: another protocol, another conduit, or not at all."""
    by_zones: dict[frozenset[str], list[Conduit]] = defaultdict(list)
    for conduit in policy.conduits:
        by_zones[frozenset((conduit.from_zone, conduit.to_zone))].append(conduit)
    for conduits in by_zones.values():
        watched = next((each for each in conduits if each.mode == "monitor"), None)
        enforced = next((each for each in conduits if each.mode == "enforce"), None)
        if watched is not None and enforced is not None:
            report.warning(
                watched.place,
                f"{watched.name} is only monitored, but {enforced.name} joins the same zones and is enforced",
                "what neither of them names is dropped",
            )  # fmt: skip
        rules = [rule for conduit in conduits for rule in conduit.rules]
        for transport in ("tcp", "udp"):
            _collide([rule for rule in rules if rule.transport == transport], report)


def _collide(rules: Sequence[Rule], report: Report) -> None:
    inspected: dict[int, list[Rule]] = defaultdict(list)
    for rule in rules:
        if rule.inspection is not None:
            for low, high in rule.ports:
                for port in range(low, high + 1):
                    inspected[port].append(rule)
    uninspected = Neighbours(rule for rule in rules if rule.inspection is None)
    told: set[tuple[int, int]] = set()
    for port, named in inspected.items():
        several = len({(rule.conduit, rule.allow) for rule in named}) > 1
        neighbours = Neighbours(named if several else ())
        for rule in named:
            rivals = [each for each in neighbours.of(rule) if each.index < rule.index]
            rivals += (each for each in uninspected.of(rule) if any(low <= port <= high for low, high in each.ports))
            for rival in rivals:
                if (rival.conduit, rival.allow) == (rule.conduit, rule.allow) or not _meet(rule, rival):
                    continue
                pair = min(rule.index, rival.index), max(rule.index, rival.index)
                if pair not in told:
                    told.add(pair)
                    _tell(rule, rival, port, report)


def _meet(one: Rule, other: Rule) -> bool:
    return _overlap(one.clients, other.clients) and _overlap(one.servers, other.servers)


def _overlap(ones: Sequence[Network], others: Sequence[Network]) -> bool:
    listed = set(others)
    return any(one in listed or any(inside(one, other) or inside(other, one) for other in others) for one in ones)


def _tell(rule: Rule, rival: Rule, port: int, report: Report) -> None:
    later, earlier = (rule, rival) if rule.index > rival.index else (rival, rule)
    if rule.conduit != rival.conduit:
        hint = "the same clients, servers and port belong to one conduit"
    elif rival.inspection is None or rule.inspection is None:
        hint = "a port is either inspected or opened as it is: take it out of the one or the other"
    else:
        hint = "a port carries one protocol"
    report.error(
        later.place,
        f"{earlier.name!r} ({earlier.conduit}: {earlier.allow}) and {later.name!r} ({later.conduit}: {later.allow}) "
        f"both name port {port} between the same addresses",
        hint,
    )
