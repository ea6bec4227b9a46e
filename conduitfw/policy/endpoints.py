"""Names and addresses of a policy: which networks an asset, a group, a zone or an address stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from conduitfw.policy.model import Address, Asset, Network, Zone
from conduitfw.policy.source import Report, Text, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One network that a rule names, the zone it lies in, and the asset, where it is one. Each is itself alone."""

    network: Network
    zone: Zone
    asset: Asset | None


def host(address: Address) -> Network:
    """An address as the network of that one address."""
    return ip_network(address)


def inside(inner: Network, outer: Network) -> bool:
    """Whether every address of `inner` is one of `outer`."""
    if inner.version != outer.version:
        return False
    shift = outer.max_prefixlen - outer.prefixlen
    return (
        inner.prefixlen >= outer.prefixlen
        and int(inner.network_address) >> shift == int(outer.network_address) >> shift
    )


def parse_address(text: Text, report: Report) -> Address | None:
    """A host's address, or None with the problem reported."""
    try:
        address = ip_address(text.value)
    except ValueError:
        report.error(text.place, f"{text.value!r} is not an IP address", "for instance 10.20.0.5 or fd00:20::5")
        return None
    if "%" in text.value or address.is_multicast or address.is_unspecified or address.is_loopback:
        report.error(text.place, f"{text.value} is not the address of a device", "give the one it has on the network")
        return None
    return address


def parse_network(text: Text, report: Report) -> Network | None:
    """A network without host bits, or None with the problem reported."""
    try:
        return ip_network(text.value)
    except ValueError:
        pass
    try:
        meant = ip_network(text.value, strict=False)
        report.error(text.place, f"{text.value} is an address within a network", f"did you mean {meant}?")
    except ValueError:
        report.error(text.place, f"{text.value!r} is not a network", "for instance 10.20.0.0/24 or fd00:20::/64")
    return None


class Endpoints:
    """All names of a policy, and what they stand for."""

    def __init__(self, zones: Sequence[Zone], groups: Mapping[str, Sequence[Text]], report: Report) -> None:
        self._report = report
        self._zones = {zone.name: zone for zone in zones}
        self.assets = {asset.name: asset for zone in zones for asset in zone.assets}
        self._by_address = {asset.address: asset for asset in self.assets.values()}
        self._groups = groups
        self._resolved: dict[str, tuple[Endpoint, ...]] = {}
        self._of_assets: dict[str, Endpoint] = {}
        # Ranges of one version never overlap between zones, so a network is looked for by its prefixes.
        self._networks: dict[tuple[int, int], dict[int, Zone]] = {}
        for zone in zones:
            for network in zone.networks:
                shift = network.max_prefixlen - network.prefixlen
                by_number = self._networks.setdefault((network.version, network.prefixlen), {})
                by_number[int(network.network_address) >> shift] = zone

    def zone_of(self, network: Network) -> Zone | None:
        """The zone that the whole of this network lies in."""
        for (version, length), by_number in self._networks.items():
            if version == network.version and length <= network.prefixlen:
                zone = by_number.get(int(network.network_address) >> (network.max_prefixlen - length))
                if zone is not None:
                    return zone
        return None

    def resolve(self, text: Text, within: tuple[str, ...] = ()) -> tuple[Endpoint, ...]:
        """What a word stands for; () with the problem reported. `within`: groups being resolved."""
        word = text.value
        found = self._resolved.get(word)
        if found is None:
            found = self._find(text, within)
            if found:
                self._resolved[word] = found
        return found

    def _find(self, text: Text, within: tuple[str, ...]) -> tuple[Endpoint, ...]:
        word = text.value
        if word in self.assets:
            return (self._of_asset(self.assets[word]),)
        if word in self._zones:
            zone = self._zones[word]
            return tuple(Endpoint(network, zone, None) for network in zone.networks)
        if word in self._groups:
            if word in within:
                self._report.error(text.place, f"the group {word} contains itself")
                return ()
            members = [self.resolve(each, (*within, word)) for each in self._groups[word]]
            return tuple(dict.fromkeys(endpoint for member in members for endpoint in member))
        try:
            network = ip_network(word)
        except ValueError:
            self._report.error(text.place, *self._unknown(word))
            return ()
        asset = self._by_address.get(network.network_address) if network.num_addresses == 1 else None
        if asset is not None:
            return (self._of_asset(asset),)
        zone_of = self.zone_of(network)
        if zone_of is None:
            self._report.error(text.place, f"{word} is in no zone", "add it to the networks of its zone")
            return ()
        return (Endpoint(network, zone_of, None),)

    def _of_asset(self, asset: Asset) -> Endpoint:
        found = self._of_assets.get(asset.name)
        if found is None:
            found = self._of_assets[asset.name] = Endpoint(host(asset.address), self._zones[asset.zone], asset)
        return found

    def _unknown(self, word: str) -> tuple[str, str]:
        if re.fullmatch(r"[0-9a-fA-F.:]+(/[0-9]+)?", word) and not word.isalpha() and ("." in word or ":" in word):
            try:
                return f"{word} is an address within a network", f"did you mean {ip_network(word, strict=False)}?"
            except ValueError:
                pass
        names = [*self.assets, *self._groups, *self._zones]
        return f"unknown asset, group or zone {word!r}", nearest(word, names) or "name it under `assets:` of its zone"

    def address(self, text: Text) -> tuple[Address, Asset | None] | None:
        """One address: an asset, or an IP address that lies in a zone. None with the problem reported."""
        asset = self.assets.get(text.value)
        if asset is not None:
            return asset.address, asset
        try:
            address = ip_address(text.value)
        except ValueError:
            hint = nearest(text.value, self.assets) or "give an asset's name or an IP address"
            self._report.error(text.place, f"unknown asset {text.value!r}", hint)
            return None
        return address, self._by_address.get(address)

    def assets_in(self, network: Network) -> list[Asset]:
        """The assets whose address lies in this network."""
        return [asset for asset in self.assets.values() if inside(host(asset.address), network)]
