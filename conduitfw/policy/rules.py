"""One rule of a conduit, from YAML to the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conduitfw.policy.endpoints import Endpoint, Endpoints, host
from conduitfw.policy.functions import functions_of, numbers, ranges
from conduitfw.policy.model import Asset, Inspection, Network, Rule
from conduitfw.policy.rule_limits import RuleLimits
from conduitfw.policy.schema import INSPECTED_ONLY
from conduitfw.policy.source import Report, Section
from conduitfw.policy.tags import Tag
from conduitfw.protocols import AddressField, Definition
from conduitfw.protocols.registry import PROTOCOLS

# Every port of an inspected rule has its place in the engine's tables.
MAX_INSPECTED_PORTS = 64

Values = tuple[frozenset[int] | None, ...]


@dataclass(frozen=True)
class Surroundings:
    """What a rule's text refers to: its conduit, the conduit's two zones, all names."""

    conduit: str
    zones: tuple[str, str]
    endpoints: Endpoints
    tags: Mapping[str, Tag]
    # What was found of a whole zone is found once: by protocol, side, ends, and what the rule says of addresses.
    addresses: dict[object, tuple[tuple[Network, Values], ...]] = dataclasses.field(default_factory=dict)


def read_rule(section: Section, name: str, index: int, around: Surroundings, report: Report) -> Rule | None:
    """The rule, or None where it cannot be used; every problem is reported."""
    allow = section.choice("allow", "")
    if not allow:
        return None
    protocol = PROTOCOLS.get(allow)
    _refuse_strangers(section, allow, protocol, report)
    clients = _ends(section, "clients", around, report)
    servers = _ends(section, "servers", around, report)
    _check_sides(section, clients, servers, around, report)
    transport = _transport(section, allow, protocol, report)
    ports = _ports(section, allow, protocol, report)
    inspection = None
    if protocol is not None:
        limits = RuleLimits(section, f"{around.conduit}/{name}", protocol, around.tags, report)
        inspection = _inspection(section, protocol, limits, clients, servers, around, report)
    if not clients or not servers:
        return None
    return Rule(
        name,
        around.conduit,
        index,
        allow,
        tuple(dict.fromkeys(each.network for each in clients)),
        tuple(dict.fromkeys(each.network for each in servers)),
        transport,
        ports,
        inspection,
        section.place,
    )


def _refuse_strangers(section: Section, allow: str, protocol: Definition | None, report: Report) -> None:
    """Keys that mean nothing in this kind of rule would make it wider than it reads."""
    own = {field.rule_field for field in protocol.address_fields} if protocol is not None else set()
    for key in section.nodes:
        of = INSPECTED_ONLY.get(key)
        if of is None or (protocol is not None and (not of or protocol.name in of or key in own)):
            continue
        belongs = " or ".join(of or PROTOCOLS)
        report.error(
            section.keys[key], f"`{key}` means nothing in a rule that allows {allow}", f"it belongs to {belongs}"
        )


def _ends(section: Section, key: str, around: Surroundings, report: Report) -> list[Endpoint]:
    texts = section.texts(key)
    if key in section and not texts:
        report.error(section.at(key), f"`{key}` is empty", "name at least one asset")
    found: list[Endpoint] = []
    for text in texts:
        for endpoint in around.endpoints.resolve(text):
            if endpoint.zone.name in around.zones:
                found.append(endpoint)
            else:
                report.error(
                    text.place,
                    f"{text.value} is in the zone {endpoint.zone.name}, which this conduit does not join",
                    f"{around.conduit} joins {around.zones[0]} and {around.zones[1]}",
                )
    return found


def _check_sides(
    section: Section, clients: Sequence[Endpoint], servers: Sequence[Endpoint], around: Surroundings, report: Report
) -> None:
    """All clients in one zone of the conduit, all servers in the other."""
    sides = {each.zone.name for each in clients}, {each.zone.name for each in servers}
    for key, zones in zip(("clients", "servers"), sides, strict=True):
        if len(zones) > 1:
            report.error(
                section.at(key), f"the {key} are in both zones of the conduit", "write a rule for each direction"
            )
            return
    if sides[0] and sides[0] == sides[1]:
        zone = next(iter(sides[0]))
        report.error(
            section.at("servers"), f"clients and servers are both in the zone {zone}",
            "what stays within a zone does not pass here",
        )  # fmt: skip
    elif clients and servers and not {e.network.version for e in clients} & {e.network.version for e in servers}:
        report.error(section.at("servers"), "one side has only IPv4 addresses and the other only IPv6")


def _transport(section: Section, allow: str, protocol: Definition | None, report: Report) -> str:
    if protocol is None:
        if "transport" in section:
            report.error(
                section.keys["transport"], f"`allow: {allow}` already says the transport", "leave `transport` out"
            )
        return allow
    transport = section.choice("transport", protocol.transports[0])
    if transport not in protocol.transports:
        hint = f"leave it out: it is {protocol.transports[0]}"
        report.error(section.at("transport"), f"{protocol.title} is not carried over {transport}", hint)
    return transport


def _ports(section: Section, allow: str, protocol: Definition | None, report: Report) -> tuple[tuple[int, int], ...]:
    texts = section.texts("port")
    if allow == "icmp":
        if texts:
            report.error(section.keys["port"], "ICMP has no ports", "leave `port` out")
        return ()
    if not texts:
        if protocol is not None and "port" not in section:
            return ((protocol.port, protocol.port),)
        report.error(
            section.place, f"a rule that allows {allow} needs `port`", "the servers' port, for instance port: 443"
        )
        return ()
    found = ranges(texts, "a port", 1, 65535, report)
    if protocol is not None and sum(high - low + 1 for low, high in found) > MAX_INSPECTED_PORTS:
        report.error(
            section.at("port"), f"an inspected rule names at most {MAX_INSPECTED_PORTS} ports", str(protocol.port)
        )
        return ()
    return found


def _inspection(
    section: Section,
    protocol: Definition,
    limits: RuleLimits,
    clients: Sequence[Endpoint],
    servers: Sequence[Endpoint],
    around: Surroundings,
    report: Report,
) -> Inspection:
    named = {
        field.rule_field: numbers(
            section.texts(field.rule_field), f"`{field.rule_field}`", field.lowest, field.highest, report
        )
        if field.rule_field in section
        else None
        for field in protocol.address_fields
    }
    for key, values in named.items():
        if values is not None and not section.texts(key):
            report.error(section.at(key), f"`{key}` is empty", "leave it out to mean any")
    _check_values(section, protocol, named, clients, servers, report)
    functions = _functions(section, protocol, limits, report)
    limits.check_servers(
        asset.name
        for server in servers
        for asset in ((server.asset,) if server.asset is not None else server.zone.assets)
        if asset.address in server.network
    )
    return Inspection(
        functions,
        _addresses(protocol, "client", named, clients, around),
        _addresses(protocol, "server", named, servers, around),
        section.number("outstanding"),
        section.seconds("transaction_timeout", 0.0) or None,
        section.choice("responses", "strict") == "lenient",
        limits.read(functions),
    )


def _functions(section: Section, protocol: Definition, limits: RuleLimits, report: Report) -> frozenset[int]:
    texts = section.texts("functions")
    if limits.names_tags:
        if "functions" in section:
            report.error(
                section.keys["functions"], "`functions` beside `read` or `write`: they follow from the tags",
                "leave `functions` out, or take some out with `except`",
            )  # fmt: skip
    elif not texts:
        hint = f"for instance functions: read; groups are {', '.join(protocol.functions.groups)}"
        report.error(section.at("functions"), f"a rule that allows {protocol.name} needs `functions`", hint)
        return frozenset()
    named = limits.tag_functions() if limits.names_tags else functions_of(texts, protocol, report)
    for text in section.texts("except"):
        out = functions_of([text], protocol, report)
        if out and not out & named:
            report.warning(text.place, f"`except: {text.value}` takes nothing out", "`functions` does not name it")
        named -= out
    if section.flag("unsolicited"):
        named |= {protocol.functions.by_name["unsolicited_response"].number}
    if not named and "except" in section:
        report.error(section.at("except"), "`except` takes everything out", "delete the rule")
    return named


def _own_values(asset: Asset, field: AddressField) -> frozenset[int] | None:
    """What the asset says of this part of its units' addresses; None where it says nothing."""
    value = getattr(asset, field.asset_field) if field.asset_field else None
    return frozenset((value,)) if isinstance(value, int) else value


def _addresses(
    protocol: Definition,
    side: str,
    named: dict[str, frozenset[int] | None],
    ends: Sequence[Endpoint],
    around: Surroundings,
) -> tuple[tuple[Network, Values], ...]:
    """For each network of that side its unit or link addresses: the rule's word, else the asset's own."""
    key = protocol.name, side, tuple(ends), tuple(named.values())
    known = around.addresses.get(key)
    if known is not None:
        return known
    fields = [field if field.asset_side == side else None for field in protocol.address_fields]

    def values(asset: Asset | None) -> Values:
        return tuple(
            None if field is None
            else named[field.rule_field] if named[field.rule_field] is not None
            else _own_values(asset, field) if asset is not None
            else None
            for field in fields
        )  # fmt: skip

    found: dict[Network, Values] = {}
    for end in ends:
        found[end.network] = values(end.asset)
        if end.asset is None:  # a network: the assets within it keep what they say of themselves
            for asset in end.zone.assets:
                if asset.address in end.network:
                    found[host(asset.address)] = values(asset)
    around.addresses[key] = tuple(found.items())
    return around.addresses[key]


def _check_values(
    section: Section,
    protocol: Definition,
    named: dict[str, frozenset[int] | None],
    clients: Sequence[Endpoint],
    servers: Sequence[Endpoint],
    report: Report,
) -> None:
    """A rule that names a unit which the asset does not have was probably meant for another asset."""
    for field in protocol.address_fields:
        wanted = named[field.rule_field]
        if wanted is None:
            continue
        for end in clients if field.asset_side == "client" else servers:
            own = _own_values(end.asset, field) if end.asset is not None else None
            if own is not None and end.asset is not None and not wanted & own:
                said = ", ".join(str(value) for value in sorted(own)[:8])
                report.warning(
                    section.at(field.rule_field),
                    f"the rule names no {field.name} of {end.asset.name}",
                    f"the asset says {field.asset_field}: {said}",
                )
