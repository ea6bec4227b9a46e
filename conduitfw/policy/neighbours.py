"""Rules by the addresses that they name, so that ten thousand rules need not be compared with each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from conduitfw.policy.model import Network, Rule

# Clients times servers of a rule beyond which it is compared with every other one.
_MOST_PAIRS = 256

_Shape = tuple[int, int, int, int]  # version and prefix length of a client, and of a server
_Table = dict[tuple[int, int], list[Rule]]


def _front(network: Network, length: int) -> int:
    """The first `length` bits."""
    return int(network.network_address) >> (network.max_prefixlen - length)


def _shape(client: Network, server: Network) -> _Shape:
    return client.version, client.prefixlen, server.version, server.prefixlen


class Neighbours:
    """Some rules, and which of them have clients and servers in common with another one."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._large: list[Rule] = []
        self._by_shape: dict[_Shape, list[tuple[Network, Network, Rule]]] = {}
        self._tables: dict[tuple[_Shape, int, int], _Table] = {}  # cut to these lengths; made when first asked for
        for rule in rules:
            if len(rule.clients) * len(rule.servers) > _MOST_PAIRS:
                self._large.append(rule)
                continue
            for client, server in product(rule.clients, rule.servers):
                self._by_shape.setdefault(_shape(client, server), []).append((client, server, rule))

    def _table(self, shape: _Shape, client_length: int, server_length: int) -> _Table:
        key = shape, client_length, server_length
        found = self._tables.get(key)
        if found is None:
            found = self._tables[key] = {}
            for client, server, rule in self._by_shape[shape]:
                found.setdefault((_front(client, client_length), _front(server, server_length)), []).append(rule)
        return found

    def _at(self, client: Network, server: Network, *, around: bool) -> Iterator[list[Rule]]:
        """Those that meet this client and server; `around`: only those that name them whole."""
        for shape in self._by_shape:
            if (shape[0], shape[2]) != (client.version, server.version):
                continue
            lengths = min(shape[1], client.prefixlen), min(shape[3], server.prefixlen)
            if around and lengths != (shape[1], shape[3]):
                continue
            table = self._table(shape, *lengths)
            yield table.get((_front(client, lengths[0]), _front(server, lengths[1])), [])

    def around(self, rule: Rule) -> list[Rule]:
        """Those that may name all of its clients and servers: they name the first of each. By their index."""
        found = [self._large, *self._at(rule.clients[0], rule.servers[0], around=True)]
        return _by_index(found)

    def of(self, rule: Rule) -> list[Rule]:
        """Those that may have a client and a server in common with it. By their index."""
        found = [self._large]
        for client, server in product(rule.clients, rule.servers):
            found += self._at(client, server, around=False)
        return _by_index(found)


def _by_index(found: Sequence[Sequence[Rule]]) -> list[Rule]:
    by_index = {rule.index: rule for rules in found for rule in rules}
    return [by_index[index] for index in sorted(by_index)]
