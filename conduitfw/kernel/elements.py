"""Addresses, ports and rules as elements of nftables sets and maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from conduitfw.kernel.boxes import Box, disjoint
from conduitfw.policy.model import Network, Rule


def indent(lines: Iterable[str], by: int = 1) -> list[str]:
    """The lines, further in; empty ones stay empty."""
    return ["\t" * by + line if line else "" for line in lines]


def listed(keys: Sequence[str]) -> list[str]:
    """The lines that give a set or map its elements."""
    if not keys:
        return []
    return ["elements = {", *indent(f"{each}," for each in keys), "}"]


def _range(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def boxes_between(clients: Iterable[Network], servers: Iterable[Network], version: int) -> list[Box]:
    """Every pair of a client and a server of one IP version."""
    right = [_range(server) for server in servers if server.version == version]
    return [(_range(client), server) for client in clients if client.version == version for server in right]


def keys_of(rules: Iterable[Rule], version: int) -> list[str]:
    """The rules' servers, clients and ports as elements of a set.

    The server first: such a set is looked up field by field, and each field costs as much as there are elements that
    still fit. One client has many servers (an HMI's); one server has few clients.
    """
    boxes: dict[str, list[Box]] = {}
    for rule in rules:
        for pair in boxes_between(rule.clients, rule.servers, version):
            boxes.setdefault(rule.transport, []).extend((*pair, ports) for ports in rule.ports)
    keys: list[str] = []
    for transport, found in sorted(boxes.items()):
        for client, server, (low, high) in disjoint(found):
            ends = f"{address_range(server, version)} . {address_range(client, version)}"
            keys.append(f"{ends} . {transport} . {low if low == high else f'{low}-{high}'}")
    return keys


def address_range(numbers: tuple[int, int], version: int) -> str:
    """A range of addresses as nft reads it."""
    low, high = (str(ip_address(number.to_bytes(4 if version == 4 else 16, "big"))) for number in numbers)
    return low if low == high else f"{low}-{high}"


def hex_range(address: str, length: int) -> str:
    """An IPv6 network as a range of numbers, for raw payload expressions."""
    first = int(ip_address(address))
    return f"{first:#034x}-{first | ((1 << (128 - length)) - 1):#034x}"
