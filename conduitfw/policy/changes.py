"""What a new policy allows that the old one did not, and what it no longer allows. In words of the policy.

Computed from the two compiled policies, not from their texts: a rule that is renamed, moved or split in two changes
nothing, and a request that another rule still allows is not told as denied. Each line says which rule it is about.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from conduitfw.policy.change_words import Names, conduit_words, plainer, tag_words, words
from conduitfw.policy.model import UNTAGGED, Asset, Conduit, Inspection, Policy, Rule, Zone
from conduitfw.policy.neighbours import Neighbours
from conduitfw.policy.reach import Dimensions, Kind, Reach, dimensions_of, reaches
from conduitfw.policy.regions import Region, common, joined, subtract_all

# Comparisons of two regions (some microseconds each) after which rules that are left are only named.
BUDGET = 500_000


class Effect(enum.Enum):
    """What a change does."""

    ALLOWED = "allowed"  # was denied, is allowed now
    DENIED = "denied"  # was allowed, is denied now
    CHANGED = "changed"  # how something is done, not what is allowed


@dataclass(frozen=True)
class Change:
    """One line. `detail`: the same as plain data, by dimension."""

    effect: Effect
    conduit: str
    rule: str
    text: str
    detail: dict[str, object] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        where = f"{self.conduit}: " if self.conduit else ""
        by = f" (rule {self.rule!r})" if self.rule else ""
        return f"{self.effect.value:<8} {where}{self.text}{by}"

    def plain(self) -> dict[str, object]:
        """As plain data, for `--json` and the control socket."""
        return {
            "effect": self.effect.value,
            "conduit": self.conduit,
            "rule": self.rule,
            "text": self.text,
            "line": str(self),
            **({"detail": self.detail} if self.detail else {}),
        }


def changes(old: Policy, new: Policy, budget: int = BUDGET) -> list[Change]:
    """All changes: what became denied first, then what became allowed, then what is only done otherwise.

    Costs about as much as rules that changed, times those that name the same clients and servers. Beyond `budget`
    comparisons, rules that changed are named without saying how much of them another rule still allows.
    """
    gone, come = _without(old.rules, new.rules), _without(new.rules, old.rules)
    found = [
        *_conduits(old, new),
        *_missing(Effect.DENIED, old, difference(reaches(gone), reaches(_near(new.rules, gone)), budget)),
        *_missing(Effect.ALLOWED, new, difference(reaches(come), reaches(_near(old.rules, come)), budget)),
        *(Change(Effect(effect), "", "", text) for effect, text in tag_words(old.tags, new.tags)),
        *_sides(old, new),
    ]
    order = [Effect.DENIED, Effect.ALLOWED, Effect.CHANGED]
    return sorted(found, key=lambda each: order.index(each.effect))


def _without(ours: Sequence[Rule], theirs: Sequence[Rule]) -> list[Rule]:
    """Those that are not among theirs, under whatever name."""
    known: dict[object, list[Inspection | None]] = {}
    for rule in theirs:
        known.setdefault(_ends(rule), []).append(rule.inspection)
    return [rule for rule in ours if rule.inspection not in known.get(_ends(rule), ())]


def _ends(rule: Rule) -> tuple[object, ...]:
    return rule.allow, rule.transport, rule.clients, rule.servers, rule.ports


def _near(theirs: Sequence[Rule], ours: Sequence[Rule]) -> list[Rule]:
    """Those of theirs that can allow what one of ours allows."""
    neighbours = Neighbours(theirs)
    found = {other.index for rule in ours for other in neighbours.of(rule)}
    return [rule for rule in theirs if rule.index in found]


@dataclass
class Left:
    """What a rule allows and no rule of the other policy does. `whole`: it was looked whether another does."""

    rule: Rule
    kind: Kind
    regions: list[Region]
    whole: bool = True


_Placed = tuple[int, Region]  # its place among all
_FEW = 8  # hosts


class _Index:
    """Regions by servers and clients: few of them are anywhere near another one."""

    def __init__(self, found: Iterable[Reach], dimensions: Dimensions) -> None:
        self._ends = dimensions.server, dimensions.client
        self._all: list[_Placed] = []
        self._by_host: dict[float, list[_Placed]] = {}
        self._wide: list[_Placed] = []  # whose servers are more than a few hosts
        for place, each in enumerate(found):
            self._all.append(placed := (place, each.region))
            server = each.region[dimensions.server]
            if len(server) <= _FEW and all(low == high for low, high in server):
                for host, _ in server:
                    self._by_host.setdefault(host, []).append(placed)
            else:
                self._wide.append(placed)

    def near(self, region: Region) -> list[Region]:
        """Those that have a server and a client in common with it."""
        server = region[self._ends[0]]
        maybe = self._all
        if len(server) <= _FEW and all(low == high for low, high in server):
            by_place = dict(self._wide)
            for host, _ in server:
                by_place.update(self._by_host.get(host, ()))
            maybe = sorted(by_place.items(), key=lambda placed: placed[0])
        return [each for _, each in maybe if all(common(each[end], region[end]) for end in self._ends)]


def difference(ours: dict[Kind, list[Reach]], theirs: dict[Kind, list[Reach]], budget: int = BUDGET) -> list[Left]:
    """Requests that `ours` allows and `theirs` does not, by rule. Regions of one rule may overlap."""
    found: dict[tuple[Kind, int], Left] = {}
    for kind, mine in ours.items():
        others = theirs.get(kind, [])
        same = {other.key for other in others}
        index = _Index(others, dimensions_of(kind))
        for each in mine:
            if each.key in same:
                continue
            left: list[Region] = [each.region]
            if budget > 0:
                near = index.near(each.region)
                budget -= len(near)
                left = subtract_all(each.region, near)
            if left:
                entry = found.setdefault((kind, each.rule.index), Left(each.rule, kind, []))
                entry.regions += left
                entry.whole = entry.whole and budget > 0
    return list(found.values())


def _missing(effect: Effect, policy: Policy, found: list[Left]) -> Iterator[Change]:
    """In words: `policy` is the one that allows them."""
    names = Names(policy)
    watched = {conduit.name for conduit in policy.conduits if conduit.mode == "monitor"}
    for left in found:
        only = " (the conduit is only monitored)" if left.rule.conduit in watched else ""
        unsure = "" if left.whole else "; too many changes to say whether another rule allows it as well"
        dimensions = dimensions_of(left.kind)
        for region in joined([plainer(each, dimensions) for each in left.regions]):
            text, detail = words(left.rule, region, dimensions, names)
            yield Change(effect, left.rule.conduit, left.rule.name, text + only + unsure, detail)


# --- conduits and zones -------------------------------------------------------------------------------------------


def _conduits(old: Policy, new: Policy) -> Iterator[Change]:
    before = {conduit.name: conduit for conduit in old.conduits}
    after = {conduit.name: conduit for conduit in new.conduits}
    for name, conduit in before.items():
        if name not in after:
            if conduit.mode == "monitor":
                yield _unnamed(Effect.DENIED, conduit, "the conduit is gone")
            else:
                yield Change(Effect.CHANGED, name, "", "the conduit is gone")
    for name, conduit in after.items():
        was = before.get(name)
        if was is None:
            yield Change(Effect.CHANGED, name, "", f"a new conduit from {conduit.from_zone} to {conduit.to_zone}")
            if conduit.mode == "monitor":
                yield _unnamed(Effect.ALLOWED, conduit, "it is only monitored")
            continue
        if was.mode != conduit.mode:
            effect = Effect.ALLOWED if conduit.mode == "monitor" else Effect.DENIED
            yield _unnamed(effect, conduit, f"mode {was.mode} -> {conduit.mode}")
        yield from (Change(Effect.CHANGED, name, "", text) for text in conduit_words(was, conduit))


def _unnamed(effect: Effect, conduit: Conduit, why: str) -> Change:
    text = f"everything between {conduit.from_zone} and {conduit.to_zone} that no rule names ({why})"
    return Change(effect, conduit.name, "", text)


def _sides(old: Policy, new: Policy) -> Iterator[Change]:
    """Where addresses belong."""
    before, after = ({zone.name: zone for zone in policy.zones} for policy in (old, new))
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            yield Change(Effect.CHANGED, "", "", f"zone {name}: {'a new zone' if was is None else 'the zone is gone'}")
            continue
        for what, earlier, later in (
            ("networks", was.networks, now.networks),
            ("interfaces", was.interfaces, now.interfaces),
            ("VLANs", _vlans(was), _vlans(now)),
            ("MAC addresses", _macs(was.assets), _macs(now.assets)),
        ):
            if set(earlier) != set(later):
                text = f"zone {name}: {what} {_listed(earlier)} -> {_listed(later)}"
                yield Change(Effect.CHANGED, "", "", text)


def _macs(assets: Iterable[Asset]) -> list[str]:
    return [f"{asset.name} {asset.mac}" for asset in assets if asset.mac is not None]


def _vlans(zone: Zone) -> list[str]:
    return ["untagged" if vlan == UNTAGGED else str(vlan) for vlan in zone.vlans]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(each) for each in values) or "none"
