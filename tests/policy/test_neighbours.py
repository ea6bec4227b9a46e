"""Rules found by their addresses are those that a comparison of all with all would find."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from conduitfw.policy.endpoints import inside
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Network, Place, Rule
from conduitfw.policy.neighbours import Neighbours

NETWORKS: list[Network] = [
    ip_network(text)
    for text in (
        "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1", "10.1.1.2", "10.2.0.0/16", "10.2.3.4", "0.0.0.0/0",
        "fd00::/16", "fd00::1", "fd01::1", "::/0",
    )
]  # fmt: skip
ENDS = st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3).map(tuple)


def rule(index: int, clients: tuple[Network, ...], servers: tuple[Network, ...]) -> Rule:
    return Rule(f"rule {index}", "c", index, "tcp", clients, servers, "tcp", (), None, Place("", 1, 1))


def meet(one: Network, other: Network) -> bool:
    return inside(one, other) or inside(other, one)


@given(st.lists(st.tuples(ENDS, ENDS), max_size=8), ENDS, ENDS)
def test_neighbours(
    others: list[tuple[tuple[Network, ...], tuple[Network, ...]]],
    clients: tuple[Network, ...],
    servers: tuple[Network, ...],
) -> None:
    rules = [rule(index, *ends) for index, ends in enumerate(others)]
    neighbours = Neighbours(rules)
    asked = rule(99, clients, servers)
    assert neighbours.of(asked) == [
        other
        for other in rules
        if any(meet(one, another) for one in clients for another in other.clients)
        and any(meet(one, another) for one in servers for another in other.servers)
    ]
    assert neighbours.around(asked) == [
        other
        for other in rules
        if any(inside(clients[0], another) for another in other.clients)
        and any(inside(servers[0], another) for another in other.servers)
    ]


def test_a_rule_of_very_many_addresses_is_everybodys_neighbour() -> None:
    many: tuple[Network, ...] = tuple(ip_network(f"10.1.2.{last}") for last in range(200))
    neighbours = Neighbours([rule(0, many, many), rule(1, many[:1], many[1:2])])
    asked = rule(2, (ip_network("10.2.3.4"),), many[:1])
    assert [each.index for each in neighbours.of(asked)] == [each.index for each in neighbours.around(asked)] == [0]


def test_deep_nesting_beside_a_star_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("policy: " + "[" * 900 + "]" * 900 + "  # *\n")
    assert "nested too deeply" in str(load_policy([path]).problems[0])
