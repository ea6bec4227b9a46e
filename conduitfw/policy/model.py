"""A checked policy: every name resolved, every default filled in. What the compilers read.

`load.py` makes it from YAML; `compile.py` makes the engine's tables of it, `kernel/ruleset.py` the
nftables text. It is immutable.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from conduitfw.policy.limits import Limit
    from conduitfw.policy.tags import Tag

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNTAGGED = 0  # in the place of a VLAN id, which is 1 to 4094


class Place(NamedTuple):
    """Where something stands in the policy's files. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Asset:
    """A device with a name. `units` and `link_address` are None where the policy does not say."""

    name: str
    zone: str
    address: Address
    mac: str | None  # lower case, colons
    units: frozenset[int] | None
    link_address: int | None
    place: Place
    answer_within: float | None = None  # seconds; None: the protocol's default
    goes_on_unanswered: bool = False  # a write without an answer does not end the session (`on_no_answer: go_on`)


@dataclass(frozen=True)
class Zone:
    """An IEC 62443 zone. `interfaces`: bridge ports (or router interfaces) its addresses arrive on.

    `vlans`: the VLAN ids (IEEE 802.1Q, 9.6) in whose tags they do so on a bridge; UNTAGGED: without a tag.
    """

    name: str
    description: str
    security_level: int | None  # SL-T, 1 to 4
    networks: tuple[Network, ...]
    interfaces: tuple[str, ...]
    assets: tuple[Asset, ...]
    place: Place
    vlans: tuple[int, ...] = (UNTAGGED,)


@dataclass(frozen=True)
class Inspection:
    """The part of a rule that the engine decides: `allow: modbus` or `allow: dnp3`."""

    functions: frozenset[int]  # numbers of the protocol's catalogue, exclusions already taken out
    # For each network of that side (and each asset in it that has its own): one entry for each of the
    # protocol's address_fields, None where anything goes or the field is the other side's.
    client_addresses: tuple[tuple[Network, tuple[frozenset[int] | None, ...]], ...]
    server_addresses: tuple[tuple[Network, tuple[frozenset[int] | None, ...]], ...]
    outstanding: int | None  # as the rule says it; None: the default (16 reads, writes alone)
    transaction_timeout: float | None  # seconds, as the rule says it; None: what the asset or the protocol says
    lenient_responses: bool
    limits: tuple[Limit, ...] = ()  # what a request must keep to beside its function and address


@dataclass(frozen=True)
class Rule:
    """One rule. `clients` open, towards `servers`; answers need no rule."""

    name: str
    conduit: str
    index: int  # over the whole policy: unique, dense, from 0
    allow: str  # modbus | dnp3 | tcp | udp | icmp
    clients: tuple[Network, ...]  # hosts as /32 and /128
    servers: tuple[Network, ...]
    transport: str  # tcp | udp | icmp
    ports: tuple[tuple[int, int], ...]  # inclusive ranges of the server's port; () for icmp
    inspection: Inspection | None  # None: decided in the kernel
    place: Place


@dataclass(frozen=True)
class Conduit:
    """An IEC 62443 conduit between two zones."""

    name: str
    index: int
    from_zone: str
    to_zone: str
    purpose: str
    owner: str
    approved_by: tuple[str, ...]
    review_by: datetime.date | None
    agreement: str
    mode: str  # enforce | monitor
    fail: str  # closed | static
    on_deny: str  # reject | reset | drop
    midstream: str  # reset | resync
    rules: tuple[Rule, ...]
    place: Place


@dataclass(frozen=True)
class Policy:
    """The whole policy. `digest` is the SHA-256 (hex) of what was read."""

    site: str
    owner: str
    revision: str
    digest: str
    zones: tuple[Zone, ...]
    conduits: tuple[Conduit, ...]
    tags: tuple[Tag, ...] = ()

    @property
    def assets(self) -> tuple[Asset, ...]:
        """All assets of all zones."""
        return tuple(asset for zone in self.zones for asset in zone.assets)

    def zone(self, name: str) -> Zone:
        """The zone of that name; KeyError where there is none."""
        for zone in self.zones:
            if zone.name == name:
                return zone
        raise KeyError(name)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, by their index."""
        return tuple(rule for conduit in self.conduits for rule in conduit.rules)
