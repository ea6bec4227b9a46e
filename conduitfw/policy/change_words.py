"""Regions, conduits and tags as a controls engineer says them. Used by `changes.py`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

from conduitfw.policy.limits import spelled
from conduitfw.policy.model import Conduit, Policy, Rule
from conduitfw.policy.reach import Dimensions
from conduitfw.policy.regions import Range, Region, Spans
from conduitfw.policy.tags import Tag
from conduitfw.protocols import Asked, Definition

MOST = 8  # of a list: the rest is counted


class Names:
    """Addresses by the names that a policy gives them."""

    def __init__(self, policy: Policy) -> None:
        self._assets = {
            version: {int(asset.address): asset.name for asset in policy.assets if asset.address.version == version}
            for version in (4, 6)
        }
        self._sorted = {version: sorted(names) for version, names in self._assets.items()}
        self._zones = {network: zone.name for zone in policy.zones for network in zone.networks}

    def hosts(self, ranges: Spans, version: int) -> list[str]:
        """An asset's name, a zone's, a network or an address for each part of it."""
        found: list[str] = []
        kind: Callable[[int], IPv4Address | IPv6Address] = IPv4Address if version == 4 else IPv6Address
        assets, numbers = self._assets[version], self._sorted[version]
        for low, high in ranges:
            first, last = kind(int(low)), kind(int(high))
            named = numbers[bisect_left(numbers, int(low)) : bisect_right(numbers, int(high))]
            if len(named) == int(high) - int(low) + 1 <= 256:  # every host of it has a name
                found += [assets[number] for number in named]
                continue
            for network in summarize_address_range(first, last):
                if network in self._zones:
                    found.append(self._zones[network])
                elif network.num_addresses == 1:
                    found.append(assets.get(int(network.network_address), str(network.network_address)))
                else:
                    found.append(str(network))
        return found


def few(values: Sequence[str]) -> str:
    """The first of them, and how many more."""
    rest = len(values) - MOST
    return ", ".join(values[:MOST]) + (f" and {rest} more" if rest > 0 else "")


def _numbers(ranges: Spans) -> list[str]:
    return [_span(each) for each in ranges]


def _span(ends: Range) -> str:
    low, high = ends
    if low == high:
        return spelled(low)
    if high == float("inf"):
        return f"{spelled(low)} and more"
    return f"{spelled(low)}{' to ' if low < 0 or high < 0 else '-'}{spelled(high)}"


def plainer(region: Region, dimensions: Dimensions) -> Region:
    """Without the tables that its functions name anyway, where they are whole: functions can be told together."""
    protocol = dimensions.protocol
    if protocol is None or dimensions.points not in region:
        return region
    size = protocol.last_point + 1
    first = int(region[dimensions.function][0][0])
    whole = all(int(low) % size == 0 and int(high) % size == size - 1 for low, high in region[dimensions.points])
    if not whole or not protocol.asked(first, Asked(point=0, quantity=1)):
        return region
    return {dimension: ranges for dimension, ranges in region.items() if dimension != dimensions.points}


def words(rule: Rule, region: Region, dimensions: Dimensions, names: Names) -> tuple[str, dict[str, object]]:
    """A region of requests: a sentence, and the same as plain data."""
    version = 4 if dimensions.client.highest < 1 << 32 else 6
    clients = names.hosts(region[dimensions.client], version)
    servers = names.hosts(region[dimensions.server], version)
    detail: dict[str, object] = {"allow": rule.allow, "transport": rule.transport}
    detail.update(clients=clients, servers=servers)
    text = f"{few(clients)} -> {few(servers)}: "
    protocol = dimensions.protocol
    ports = region.get(dimensions.port)
    if ports is not None:
        detail["ports"] = _numbers(ports)
    if protocol is None:
        text += rule.allow + (f" port {few(_numbers(ports))}" if ports else "")
        return text, detail
    functions = [
        number for low, high in region[dimensions.function] for number in range(int(low), int(high) + 1)
        if number in protocol.functions.by_number or high - low < MOST
    ]  # fmt: skip
    detail["functions"] = [{"code": each, "name": protocol.functions.name(each)} for each in functions]
    text += f"{protocol.title} " + few([f"{protocol.functions.name(each)} ({each})" for each in functions])
    if rule.transport != protocol.transports[0]:
        text += f" over {rule.transport}"
    if ports is not None and ports != ((protocol.port, protocol.port),):
        text += f", port {few(_numbers(ports))}"
    limits = dict(_limits(region, dimensions, protocol, functions))
    if limits:
        detail["limits"] = limits
        text += ", " + ", ".join(f"{name} {few(each)}" if name else few(each) for name, each in limits.items())
    return text, detail


def _limits(
    region: Region, dimensions: Dimensions, protocol: Definition, functions: Sequence[int]
) -> Iterator[tuple[str, list[str]]]:
    """Name and values of each dimension that limits anything."""
    for dimension, ranges in sorted(region.items()):
        if dimension.order < dimensions.addresses[0].order or dimension in (dimensions.function, dimensions.selected):
            continue
        if dimension == dimensions.points:
            yield from _points(ranges, protocol)
        elif ranges == dimension.all:
            continue
        elif dimension == dimensions.objects:
            yield "objects", _objects(ranges)
        elif dimension == dimensions.records:
            yield (
                "records",
                [
                    f"file {int(low) // 10000} record {int(low) % 10000}"
                    + (f" to file {int(high) // 10000} record {int(high) % 10000}" if high != low else "")
                    for low, high in ranges
                ],
            )
        elif dimension == dimensions.controls and protocol.controls is not None:
            yield "control codes", _by_name(ranges, protocol.controls.name)
        elif dimension == dimensions.detail:
            catalogue = protocol.details.get(functions[0]) if functions else None
            yield "sub-functions", _by_name(ranges, catalogue.name) if catalogue else _numbers(ranges)
        elif dimension in dimensions.addresses:
            default = next(each for each in protocol.address_fields if each.name == dimension.name).highest_unnamed
            if ranges != ((dimension.lowest, default),):
                yield dimension.name, _numbers(ranges)
        else:
            yield dimension.name, _numbers(ranges)
    if region.get(dimensions.selected) == ((0, 0),):
        yield "", ["without a SELECT just before"]
    elif region.get(dimensions.selected) == ((1, 1),):
        yield "", ["after a SELECT"]


def _by_name(ranges: Spans, name: Callable[[int], str]) -> list[str]:
    return [
        name(int(low)) if low == high else f"{spelled(low)}-{spelled(high)}"
        for wide in ranges
        for low, high in (((each, each) for each in range(int(wide[0]), int(wide[1]) + 1))
                          if wide[1] - wide[0] < MOST else (wide,))
    ]  # fmt: skip


def _objects(ranges: Spans) -> list[str]:
    found = []
    for low, high in ranges:
        group, last = divmod(int(low), 256)[0], divmod(int(high), 256)[0]
        if int(low) % 256 == 0 and int(high) % 256 == 255:
            found.append(f"g{group}" if group == last else f"g{group}-g{last}")
        elif low == high:
            found.append(f"g{group}v{int(low) % 256}")
        else:
            found.append(f"g{group}v{int(low) % 256} to g{last}v{int(high) % 256}")
    return found


def _points(ranges: Spans, protocol: Definition) -> Iterator[tuple[str, list[str]]]:
    """By table or object group, what lies within it."""
    size = protocol.last_point + 1
    found: dict[str, list[str]] = {}
    groups: list[str] = []
    for low, high in ranges:
        first, last = int(low) // size, int(high) // size
        if last > first and int(low) % size == 0 and int(high) % size == size - 1:
            groups.append(f"g{first}-g{last}")
            continue
        for space in range(first, last + 1):
            start, end = max(int(low), space * size) - space * size, min(int(high), space * size + size - 1) % size
            if (start, end) != (0, size - 1):
                found.setdefault(protocol.spaces.name(space), []).append(_span((start, end)))
            else:
                groups.append(protocol.spaces.name(space))
    if groups and (groups != ["g0-g255"] or found):
        yield "all points of", groups
    yield from found.items()


# --- what is no region ------------------------------------------------------------------------------------------


def conduit_words(old: Conduit, new: Conduit) -> Iterator[str]:
    """How a conduit works otherwise than before."""
    for name in ("from_zone", "to_zone", "fail", "on_deny", "midstream"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"{name.removesuffix('_zone')} {was} -> {now}"
    before = {rule.name: rule.inspection for rule in old.rules}
    for rule in new.rules:
        earlier, later = before.get(rule.name), rule.inspection
        if earlier is None or later is None:
            continue
        for name, title in (
            ("outstanding", "outstanding"),
            ("transaction_timeout", "transaction_timeout"),
            ("lenient_responses", "lenient responses"),
        ):
            was, now = getattr(earlier, name), getattr(later, name)
            if was != now:
                yield f"rule {rule.name!r}: {title} {_said(was)} -> {_said(now)}"


def _said(value: object) -> str:
    return "default" if value is None else str(value)


def tag_words(old: Sequence[Tag], new: Sequence[Tag]) -> Iterator[tuple[str, str]]:
    """(effect, sentence) for tags whose limits or places changed: they hold for every write to the point."""
    before, after = ({tag.name: tag for tag in tags} for tags in (old, new))
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        known = now or was
        assert known is not None
        unit = f" {known.engineering_unit}" if known.engineering_unit else ""
        if was is not None and now is not None and _reading(was) != _reading(now):
            yield "changed", f"tag {name} is read otherwise: {_reading(was)} -> {_reading(now)}"
        for title, field, upper in (
            ("above", "highest", True),
            ("below", "lowest", False),
            ("steps above", "max_step", True),
        ):
            first = getattr(was, field) if was is not None else None
            second = getattr(now, field) if now is not None else None
            if first == second:
                continue
            tighter = first is None or (second is not None and (second < first if upper else second > first))
            limit, other = (second, first) if tighter else (first, second)
            assert limit is not None
            until = "" if other is None else f" up to {spelled(other)}" if upper else f" down to {spelled(other)}"
            yield (
                "denied" if tighter else "allowed",
                f"writes of {name} {title} {spelled(limit)}{until}{unit}, whatever rule allows the write",
            )


def _reading(tag: Tag) -> str:
    order = "" if tag.width == 1 else " big" if tag.big else " little"
    scale = "" if (tag.scale, tag.offset) == (1.0, 0.0) else f" * {spelled(tag.scale)} + {spelled(tag.offset)}"
    unit = "" if tag.unit is None else f" unit {tag.unit}"
    where = f"{tag.protocol.spaces.name(tag.space)} {tag.point}"
    return f"{tag.asset} ({ip_address(tag.server)}){unit} {where} {tag.encoding}{order}{scale}".strip()
