"""A policy as regions: for each rule, which requests it allows. What `changes.py` subtracts.

Limits that depend on what happened before (a tag's step, what was selected) become numbers where they can (writes a
minute; selected or not), so that a tighter limit shows as less that is allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from conduitfw.policy.limits import Controls, Files, Objects, Points, Quantity, Rate, Selected, SubFunctions, Values
from conduitfw.policy.model import Inspection, Network, Rule
from conduitfw.policy.regions import Dimension, Range, Region, Spans, common, spans, without
from conduitfw.policy.tags import Named
from conduitfw.protocols import Asked, Definition, Item
from conduitfw.protocols.registry import PROTOCOLS

_MOST_USES = float("inf")
_ORDER = attrgetter("order")

# Which regions can be compared: what is allowed, its transport, its IP version.
Kind = tuple[str, str, int]


@dataclass(frozen=True)
class Reach:
    """Requests that one rule allows."""

    rule: Rule
    region: Region
    key: frozenset[tuple[Dimension, Spans]] = field(repr=False)


class Dimensions:
    """The dimensions of one kind of rule."""

    def __init__(self, kind: Kind) -> None:
        allow, _, version = kind
        highest = (1 << (32 if version == 4 else 128)) - 1  # a float would not hold it: whole numbers stay int
        self.protocol = PROTOCOLS.get(allow)
        self.client = Dimension(0, "client", 0, highest)
        self.server = Dimension(1, "server", 0, highest)
        self.port = Dimension(2, "port", 1, 65535)
        self.addresses: tuple[Dimension, ...] = ()
        self.unlimited: dict[frozenset[int], list[Region]] = {}  # found already, of rules without limits
        if self.protocol is None:
            return
        self.addresses = tuple(
            Dimension(3 + place, each.name, each.lowest, each.highest)
            for place, each in enumerate(self.protocol.address_fields)
        )
        self.function = Dimension(10, "function", 0, self.protocol.functions.highest)
        self.detail = Dimension(11, "sub-function", 0, 65535)
        self.objects = Dimension(12, "object", 0, 65535)
        self.points = Dimension(13, "point", 0, 256 * (self.protocol.last_point + 1) - 1)
        self.records = Dimension(14, "record", 0, 65536 * 10000 - 1)
        self.quantity = Dimension(15, "quantity", 1, 65535)
        self.controls = Dimension(16, "control", 0, 255)
        self.selected = Dimension(20, "selected", 0, 1)

    def values(self, encoding: str) -> Dimension:
        """What is written, as numbers of this type."""
        assert self.protocol is not None
        found = self.protocol.encodings[encoding]
        broken = "float" in encoding or encoding == "number"
        return Dimension(17, f"values ({encoding})", found.lowest, found.highest, not broken)

    def rate(self, period: float) -> Dimension:
        """How many writes in such a time (seconds)."""
        return Dimension(19, f"writes in {period:g} s", 1, _MOST_USES)


@functools.cache
def dimensions_of(kind: Kind) -> Dimensions:
    """The same ones each time: they are found in dictionaries very often, and quickly where they are the same."""
    return Dimensions(kind)


def reaches(rules: Iterable[Rule]) -> dict[Kind, list[Reach]]:
    """Every rule's regions, by what they can be compared with."""
    found: dict[Kind, list[Reach]] = {}
    for rule in rules:
        versions = {network.version for network in rule.clients} & {network.version for network in rule.servers}
        for version in sorted(versions):
            kind = (rule.allow, rule.transport, version)
            dimensions = dimensions_of(kind)
            for region in _regions(rule, dimensions, version):
                found.setdefault(kind, []).append(Reach(rule, region, frozenset(region.items())))
    return found


def _regions(rule: Rule, dimensions: Dimensions, version: int) -> Iterator[Region]:
    ports: Region = {dimensions.port: spans(dimensions.port, rule.ports)} if rule.ports else {}
    if rule.inspection is None or dimensions.protocol is None:
        clients, servers = (
            _networks(dimension, networks, version)
            for dimension, networks in ((dimensions.client, rule.clients), (dimensions.server, rule.servers))
        )
        if clients and servers:
            yield {dimensions.client: clients, dimensions.server: servers, **ports}
        return
    functions = dimensions.unlimited.get(rule.inspection.functions) if not rule.inspection.limits else None
    if functions is None:
        functions = list(_by_functions(rule.inspection, dimensions))
        if not rule.inspection.limits:
            dimensions.unlimited[rule.inspection.functions] = functions
    for client in _sides(rule.inspection.client_addresses, dimensions, dimensions.client, version):
        for server in _sides(rule.inspection.server_addresses, dimensions, dimensions.server, version):
            for part in functions:
                region = {**client, **ports}
                for dimension, allowed in (*server.items(), *part.items()):
                    region[dimension] = common(region.get(dimension, dimension.all), allowed)
                if all(region.values()):
                    yield {dimension: region[dimension] for dimension in sorted(region, key=_ORDER)}


def _networks(dimension: Dimension, networks: Iterable[Network], version: int) -> Spans:
    ends = [(int(n.network_address), int(n.broadcast_address)) for n in networks if n.version == version]
    return spans(dimension, ends)


def _sides(
    entries: tuple[tuple[Network, tuple[frozenset[int] | None, ...]], ...],
    dimensions: Dimensions,
    side: Dimension,
    version: int,
) -> Iterator[dict[Dimension, Spans]]:
    """One side's hosts, those together that have the same unit or link addresses. The most specific entry counts."""
    assert dimensions.protocol is not None
    fields = dimensions.protocol.address_fields
    grouped: dict[tuple[Spans, ...], list[Range]] = {}
    taken: Spans = ()
    for network, values in sorted(entries, key=lambda each: -each[0].prefixlen):
        if network.version != version:
            continue
        hosts = without(side, _networks(side, (network,), version), taken)
        taken = spans(side, (*taken, *hosts))
        key = tuple(
            spans(dimension, ((each, each) for each in named))
            if named is not None
            else ((each.lowest, each.highest if each.highest_unnamed is None else each.highest_unnamed),)
            for each, dimension, named in zip(fields, dimensions.addresses, values, strict=True)
        )
        grouped.setdefault(key, []).extend(hosts)
    for key, hosts_of in grouped.items():
        found = {side: spans(side, hosts_of)}
        for each, dimension, allowed in zip(fields, dimensions.addresses, key, strict=True):
            if each.asset_side == side.name:
                found[dimension] = allowed
        if found[side]:
            yield found


# --- functions and their limits -------------------------------------------------------------------------------


def _items(protocol: Definition, function: int) -> list[Item]:
    """What such a request touches, as far as the function itself says it."""
    found = list(protocol.asked(function, Asked(point=0, quantity=1)))
    if not found and protocol.controls_at:
        found = list(protocol.asked(function, Asked(space=protocol.controls_at >> 8, point=0, quantity=1)))
    return found


def _by_functions(inspection: Inspection, dimensions: Dimensions) -> Iterator[Region]:
    """The rule's functions, those together that its limits treat alike."""
    assert dimensions.protocol is not None
    grouped: dict[frozenset[tuple[Dimension, Spans]], list[int]] = {}
    for function in sorted(inspection.functions):
        for region in _limited(function, inspection, dimensions):
            grouped.setdefault(frozenset(region.items()), []).append(function)
    for key, functions in grouped.items():
        yield {dimensions.function: spans(dimensions.function, ((each, each) for each in functions)), **dict(key)}


def _limited(function: int, inspection: Inspection, dimensions: Dimensions) -> Iterator[dict[Dimension, Spans]]:
    """What the limits leave of one function: usually one region, with tags one for each of their servers."""
    protocol = dimensions.protocol
    assert protocol is not None
    items = _items(protocol, function)
    writes = any(item.writes for item in items)
    region: dict[Dimension, Spans] = {}
    if protocol.asked(function, Asked(point=0, quantity=1)):
        # The function says which table it touches: ranges of other tables are nothing to it.
        size = protocol.last_point + 1
        spaces = {item.space for item in items}
        region[dimensions.points] = spans(dimensions.points, ((s * size, s * size + size - 1) for s in spaces))
    named: Named | None = None
    for limit in inspection.limits:
        if isinstance(limit, Named):
            named = limit
            continue
        for dimension, allowed in _of_limit(limit, function, items, writes, dimensions):
            region[dimension] = common(region.get(dimension, dimension.all), allowed)
    if named is None:
        yield region
        return
    for part in _of_tags(named, writes, dimensions):
        whole = dict(region)
        for dimension, allowed in part.items():
            whole[dimension] = common(whole.get(dimension, dimension.all), allowed)
        if all(whole.values()):
            yield whole


def _of_limit(
    limit: object, function: int, items: list[Item], writes: bool, dimensions: Dimensions
) -> Iterator[tuple[Dimension, Spans]]:
    protocol = dimensions.protocol
    assert protocol is not None
    size = protocol.last_point + 1
    if isinstance(limit, SubFunctions) and function in limit.allowed:
        yield dimensions.detail, spans(dimensions.detail, ((each, each) for each in limit.allowed[function]))
    elif isinstance(limit, Objects):
        yield dimensions.objects, spans(dimensions.objects, ((each, each) for each in limit.allowed))
    elif isinstance(limit, Points) and items:
        ranges = [(s * size + low, s * size + high) for s, found in limit.ranges.items() for low, high in found]
        whole = limit.elsewhere if limit.closed else frozenset(range(256)) - limit.ranges.keys()
        ranges += [(space * size, space * size + size - 1) for space in whole]
        yield dimensions.points, spans(dimensions.points, ranges)
    elif isinstance(limit, Files) and any(item.space == limit.space for item in items):
        records = [
            (file * 10000 + low, file * 10000 + high)
            for (first, last), found in limit.records
            for file in range(first, last + 1)
            for low, high in found
        ]
        yield dimensions.records, spans(dimensions.records, records)
    elif isinstance(limit, Quantity) and items:
        yield dimensions.quantity, spans(dimensions.quantity, limit.ranges)
    elif isinstance(limit, Controls) and writes:
        yield dimensions.controls, spans(dimensions.controls, ((each, each) for each in limit.allowed))
    elif isinstance(limit, Values) and writes:
        dimension = dimensions.values(limit.encoding)
        yield dimension, spans(dimension, limit.ranges)
    elif isinstance(limit, Selected) and function in limit.functions:
        yield dimensions.selected, ((1, 1),)
    elif isinstance(limit, Rate) and function not in protocol.quiet:
        yield dimensions.rate(limit.period), ((1, limit.count),)


def _of_tags(named: Named, writes: bool, dimensions: Dimensions) -> Iterator[dict[Dimension, Spans]]:
    """The points of the tags that a rule names, for each server and unit of theirs."""
    protocol = dimensions.protocol
    assert protocol is not None
    size = protocol.last_point + 1
    grouped: dict[tuple[int, int | None], list[Range]] = {}
    highest = dimensions.server.highest
    for tag in named.write if writes else named.read:
        if (tag.server.version == 4) != (highest < 1 << 32):
            continue
        spaces = (tag.space,) if writes else {tag.space, *protocol.shown_in.get(tag.space, ())}
        ranges = grouped.setdefault((int(tag.server), tag.unit), [])
        ranges += [(space * size + tag.point, space * size + tag.last) for space in spaces]
    unit = dimensions.addresses[protocol.server_field]
    for (server, number), found in grouped.items():
        region = {dimensions.server: ((server, server),), dimensions.points: spans(dimensions.points, found)}
        if number is not None:
            region[unit] = ((number, number),)
        yield region
