"""From the policy's files to the checked model: every name resolved, all problems reported at once."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from conduitfw.policy import schema
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.endpoints import NAME, Endpoints, parse_address, parse_network
from conduitfw.policy.explain import run_tests
from conduitfw.policy.functions import numbers
from conduitfw.policy.lint import lint
from conduitfw.policy.model import UNTAGGED, Asset, Conduit, Network, Place, Policy, Rule, Zone
from conduitfw.policy.rules import Surroundings, read_rule
from conduitfw.policy.source import Problem, Report, Section, Text, nearest, place_of, policy_files, read_yaml
from conduitfw.policy.tag_maps import read_tags
from conduitfw.policy.tags import Tag

_INTERFACE = re.compile(r"[^\s/\"\\]{1,15}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Loaded:
    """What came of it: `policy` is None where any problem is an error."""

    policy: Policy | None
    problems: tuple[Problem, ...]
    sources: tuple[tuple[str, bytes], ...] = ()  # name and content of each file, as it was read


def load_policy(paths: Sequence[Path]) -> Loaded:
    """Read and check a policy: files, folders of .yaml files, or both, taken together.

    Raises nothing for what stands in the files, or for files that cannot be read: those are problems.
    """
    with no_collections():
        return _load_policy(paths)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """What is read is all kept to the end: going through it again and again took three quarters of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load_policy(paths: Sequence[Path]) -> Loaded:
    report = Report()
    digest = hashlib.sha256()
    tops: list[Section] = []
    sources: list[tuple[str, bytes]] = []
    for file in policy_files(paths, report):
        try:
            data = file.read_bytes()
        except OSError as error:
            report.error(Place(str(file), 1, 1), f"cannot be read: {error.strerror}")
            continue
        sources.append((file.name, data))
        digest.update(len(data).to_bytes(8, "big") + data)
        node = read_yaml(file, data, report)
        if node is not None:
            tops.append(Section(node, str(file), "the policy", schema.TOP, report, place_of(node, str(file))))
    policy = None
    if tops:
        policy = _Loader(tops, report).load(digest.hexdigest())
    problems = sorted(report.problems, key=lambda each: (each.place.file, each.place.line, each.place.column))
    return Loaded(None if report.failed else policy, tuple(problems), tuple(sources))


class _Loader:
    """The sections of all files, read in the order in which names are needed."""

    def __init__(self, tops: Sequence[Section], report: Report) -> None:
        self._tops = tops
        self._report = report
        self._names: dict[str, tuple[str, Place]] = {}  # of zones, assets and groups: what it is, where

    def load(self, digest: str) -> Policy | None:
        """The policy; None where it was not worth going on."""
        report = self._report
        header = self._header()
        header.number("version")
        zones = [self._zone(name, section) for name, section in self._sections("zones", "zone", schema.ZONE)]
        self._check_networks(zones)
        self._check_assets(zones)
        endpoints = Endpoints(zones, dict(self._groups()), report)
        sections = self._sections("tags", "tag", schema.TAG)
        tags = read_tags(sections, endpoints.assets, report)
        conduits = self._conduits(endpoints, tags)
        policy = Policy(
            header.text("site"),
            header.text("owner"),
            header.text("revision"),
            digest,
            tuple(zones),
            tuple(conduits),
            tuple(tags.values()),
        )
        tests = [test for top in self._tops for test in top.items("tests", "a test", schema.TEST)]
        if not report.failed:
            lint(policy, header.place, report)
        if tests and not report.failed:
            run_tests(tests, compile_policy(policy), endpoints, tags, report)
        return policy

    def _header(self) -> Section:
        found = [(top, top.nodes["policy"]) for top in self._tops if "policy" in top]
        for top, node in found[1:]:
            place = place_of(found[0][1], found[0][0].file)
            self._report.error(place_of(node, top.file), "`policy` stands twice", f"first at {place}")
        if not found:
            place = self._tops[0].place
            self._report.error(
                place, "the policy has no header", 'begin with policy: {version: 1, site: "name of the plant"}'
            )
            return Section(None, self._tops[0].file, "`policy`", None, self._report, place)
        top, node = found[0]
        return Section(node, top.file, "`policy`", schema.HEADER, self._report, top.at("policy"))

    def _sections(self, key: str, what: str, fields: dict[str, schema.Field]) -> Iterator[tuple[str, Section]]:
        """The named sections under a key of all files; names are checked and given once."""
        seen: dict[str, Place] = {}
        for top in self._tops:
            for name, section in top.sections(key, what, fields):
                if name in seen:
                    self._report.error(section.place, f"the {what} {name} stands twice", f"first at {seen[name]}")
                    continue
                seen[name] = section.place
                self._check_name(name, what, section.place)
                yield name, section

    def _check_name(self, name: str, what: str, place: Place) -> None:
        if not NAME.fullmatch(name) or re.fullmatch(r"[0-9.]+", name):
            self._report.error(
                place,
                f"{name!r} cannot be the name of a {what}",
                "letters, digits, - _ and ., beginning with a letter or digit",
            )
        if what in ("conduit", "tag"):
            return
        if name in self._names:
            other, first = self._names[name]
            twice = f"the {what} {name} stands twice" if other == what else f"{name} names one {other} and one {what}"
            self._report.error(place, twice, f"first at {first}")
        else:
            self._names[name] = (what, place)

    # --- zones and assets -------------------------------------------------------------------------

    def _zone(self, name: str, section: Section) -> Zone:
        networks = [parse_network(text, self._report) for text in section.texts("networks")]
        known = tuple(network for network in networks if network is not None)
        if "networks" in section and not section.texts("networks"):
            self._report.error(
                section.at("networks"), f"the zone {name} has no networks", "for instance [10.20.0.0/24]"
            )
        for text in section.texts("interfaces"):
            if not _INTERFACE.fullmatch(text.value):
                self._report.error(
                    text.place, f"{text.value!r} cannot be the name of an interface", "1 to 15 characters"
                )
        return Zone(
            name,
            section.text("description"),
            section.number("security_level"),
            known,
            tuple(dict.fromkeys(text.value for text in section.texts("interfaces"))),
            tuple(self._assets(name, section, known)),
            section.place,
            self._vlans(name, section),
        )

    def _vlans(self, zone: str, section: Section) -> tuple[int, ...]:
        if "vlans" not in section:
            return (UNTAGGED,)
        texts = section.texts("vlans")
        if not texts:
            self._report.error(
                section.at("vlans"), f"the zone {zone} is in no VLAN", "for instance [10], or [untagged]"
            )
        elif "interfaces" not in section:
            self._report.error(
                section.at("vlans"),
                f"the zone {zone} has `vlans` and no `interfaces`",
                "the ports where the tags arrive",
            )
        named = [text for text in texts if text.value.strip() != "untagged"]
        ids = numbers(named, "a VLAN id (or `untagged`)", 1, 4094, self._report)
        return tuple(sorted(ids if len(named) == len(texts) else {*ids, UNTAGGED}))

    def _assets(self, zone: str, section: Section, networks: Sequence[Network]) -> Iterator[Asset]:
        names = section.names("assets")
        for name, place in names.keys.items():
            self._check_name(name, "asset", place)
            short = names.nodes[name]
            if isinstance(short, yaml.ScalarNode):
                asset = Section(None, section.file, f"the asset {name}", None, self._report, place)
                text = names.scalar(name)
            else:
                asset = Section(short, section.file, f"the asset {name}", schema.ASSET, self._report, place)
                text = asset.scalar("address")
            address = parse_address(text, self._report) if text is not None else None
            if text is None or address is None:
                continue
            if networks and not any(address in network for network in networks):
                listed = ", ".join(str(network) for network in networks)
                self._report.error(
                    text.place, f"{address} is not in the networks of the zone {zone}", f"these are {listed}"
                )
            units = numbers(asset.texts("units"), "a unit id", 0, 255, self._report) if "units" in asset else None
            yield Asset(
                name, zone, address, self._mac(asset), units, asset.number("link_address"), text.place,
                asset.seconds("answer_within", 0.0) or None, asset.choice("on_no_answer", "end") == "go_on",
            )  # fmt: skip

    def _mac(self, asset: Section) -> str | None:
        text = asset.scalar("mac")
        if text is None:
            return None
        mac = text.value.lower().replace("-", ":")
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
            self._report.error(text.place, f"{text.value!r} is not the MAC address of a device", '"00:1b:1b:aa:00:20"')
            return None
        return mac

    def _check_networks(self, zones: Sequence[Zone]) -> None:
        """No address belongs to two zones, nor is it said twice. By sorted ranges: neighbours tell."""
        for version in (4, 6):
            ranges = sorted(
                (
                    (int(network.network_address), int(network.broadcast_address), network, zone)
                    for zone in zones
                    for network in zone.networks
                    if network.version == version
                ),
                key=lambda each: (each[0], -each[1]),
            )
            for (_, last, wide, first), (begin, _, narrow, second) in itertools.pairwise(ranges):
                if begin > last:
                    continue
                if first is second:
                    self._report.warning(second.place, f"{narrow} lies within {wide} of the same zone", "leave it out")
                else:
                    self._report.error(
                        second.place,
                        f"the zones {first.name} and {second.name} overlap: {wide} and {narrow}",
                        "an address belongs to one zone",
                    )

    def _check_assets(self, zones: Sequence[Zone]) -> None:
        by_address: dict[object, Asset] = {}
        by_mac: dict[str, Asset] = {}
        for asset in (asset for zone in zones for asset in zone.assets):
            other = by_address.setdefault(asset.address, asset)
            if other is not asset:
                self._report.error(
                    asset.place, f"{asset.name} and {other.name} have the same address", str(asset.address)
                )
            twin = by_mac.setdefault(asset.mac, asset) if asset.mac is not None else asset
            if twin.zone != asset.zone:
                self._report.error(asset.place, f"{asset.name} and {twin.name} have the same MAC address in two zones")

    def _groups(self) -> Iterator[tuple[str, list[Text]]]:
        for top in self._tops:
            names = top.names("groups")
            for name, place in names.keys.items():
                self._check_name(name, "group", place)
                members = names.texts(name)
                if not members:
                    self._report.error(place, f"the group {name} is empty", "name its assets: [hmi-1, hmi-2]")
                yield name, members

    # --- conduits ---------------------------------------------------------------------------------

    def _conduits(self, endpoints: Endpoints, tags: dict[str, Tag]) -> list[Conduit]:
        zones = {name for name, (what, _) in self._names.items() if what == "zone"}
        conduits: list[Conduit] = []
        rules = 0
        for name, section in self._sections("conduits", "conduit", schema.CONDUIT):
            sides = tuple(self._side(section, key, zones) for key in ("from", "to"))
            if sides[0] and sides[0] == sides[1]:
                self._report.error(
                    section.at("to"), f"the conduit {name} joins the zone {sides[0]} with itself",
                    "what stays within a zone does not pass here",
                )  # fmt: skip
            around = Surroundings(name, (sides[0], sides[1]), endpoints, tags)
            read = self._rules(section, around, rules) if all(sides) else []
            rules += len(read)
            conduits.append(self._conduit(name, len(conduits), section, around.zones, read))
        if not conduits:
            self._report.warning(self._tops[0].place, "the policy has no conduits", "everything is dropped")
        return conduits

    def _side(self, section: Section, key: str, zones: set[str]) -> str:
        text = section.scalar(key)
        if text is None:
            return ""
        if text.value in zones:
            return text.value
        hint = nearest(text.value, zones) or (
            "zones are " + ", ".join(sorted(zones)) if zones else "name it under `zones:`"
        )
        self._report.error(text.place, f"unknown zone {text.value!r}", hint)
        return ""

    def _rules(self, section: Section, around: Surroundings, first: int) -> list[Rule]:
        rules: list[Rule] = []
        names: dict[str, Place] = {}
        for position, item in enumerate(section.items("rules", "a rule", schema.RULE), 1):
            name = item.text("name") or f"rule {position}"
            if name in names:
                self._report.warning(item.at("name"), f"the rule name {name!r} stands twice", f"first at {names[name]}")
            names.setdefault(name, item.at("name"))
            rule = read_rule(item, name, first + len(rules), around, self._report)
            if rule is not None:
                rules.append(rule)
        return rules

    def _conduit(
        self, name: str, index: int, section: Section, sides: tuple[str, str], rules: Sequence[Rule]
    ) -> Conduit:
        fail = section.choice("fail", "closed")
        return Conduit(
            name,
            index,
            *sides,
            section.text("purpose"),
            section.text("owner"),
            tuple(text.value for text in section.texts("approved_by")),
            section.date("review_by"),
            section.text("agreement"),
            section.choice("mode", "enforce"),
            fail,
            section.choice("on_deny", "reset"),
            section.choice("midstream", "reset" if fail == "closed" else "resync"),
            tuple(rules),
            section.place,
        )
