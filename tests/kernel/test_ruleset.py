"""The ruleset in a real kernel: it loads, reloads without touching base chains, and goes without a trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduitfw.demo.network import FIREWALL, TwoZones
from conduitfw.kernel.ruleset import BRIDGE, INET, PIECE, Method, Ruleset, Shape, removal, render, without
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Policy
from tests.policy.text import GOOD, load, with_rule

pytestmark = pytest.mark.system
POLICIES = sorted((Path(__file__).parents[2] / "policies").iterdir())


@pytest.fixture(scope="module")
def network() -> Iterator[TwoZones]:
    with TwoZones() as zones:
        yield zones


@pytest.fixture(autouse=True)
def empty(network: TwoZones) -> None:
    network.run(FIREWALL, ["nft", "flush", "ruleset"])


def loaded(network: TwoZones, text: str, tmp_path: Path) -> str:
    path = tmp_path / "rules.nft"
    path.write_text(text)
    network.run(FIREWALL, ["nft", "-f", str(path)])
    return network.run(FIREWALL, ["nft", "-a", "list", "ruleset"]).stdout


def policy_of(tmp_path: Path, text: str = GOOD) -> Policy:
    found = load(tmp_path, text).policy
    assert found is not None
    return found


SHAPES = [
    Shape(BRIDGE, Method.MARK),
    Shape(INET, Method.MARK),
    Shape(INET, Method.MARK, tracking=True),
    Shape(BRIDGE, Method.NONE),
    Shape(INET, Method.NONE, tracking=True),
    Shape(BRIDGE, Method.MARK, workers=16),
    Shape(INET, Method.MARK, tracking=True, workers=2),
]
NAMES = ["bridge", "router", "router with tracking", "boot", "router's boot", "16 workers", "router with 2 workers"]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
@pytest.mark.parametrize("static", [False, True])
def test_every_example_loads(network: TwoZones, tmp_path: Path, path: Path, shape: Shape, static: bool) -> None:
    policy = load_policy([path]).policy
    assert policy is not None
    listed = loaded(network, render(policy, shape, static=static), tmp_path)
    assert f"table {shape.family} conduitfw" in listed


@pytest.mark.parametrize("family", [BRIDGE, INET])
def test_the_queue_statement_is_understood(network: TwoZones, tmp_path: Path, family: str) -> None:
    """Where this kernel lacks nft_queue, that is all that nft finds in the text."""
    text = render(policy_of(tmp_path), Shape(family, Method.STATEMENT, 77))
    assert "queue num 77\n" in text
    assert "queue num 78 bypass\n" in text
    path = tmp_path / "rules.nft"
    path.write_text(text)
    said = network.run(FIREWALL, ["nft", "-c", "-f", str(path)], check=False).stderr
    errors = [line for line in said.splitlines() if "Error" in line]
    assert all("Could not process rule: No such file or directory" in line for line in errors), said
    assert len(errors) == said.count("queue num") <= 3


@pytest.mark.parametrize(
    ("words", "chain"),
    [("fail: closed", "inspect_closed"), ("fail: static", "inspect_closed"), ("mode: monitor", "inspect_watched")],
)
def test_before_the_first_engine_only_watched_conduits_pass(tmp_path: Path, words: str, chain: str) -> None:
    policy = policy_of(tmp_path, GOOD.replace("    to: cell\n", f"    to: cell\n    {words}\n"))
    text = render(policy, Shape(BRIDGE, Method.NONE))
    assert set(re.findall(r": goto (inspect_\w+)", text)) == {chain}
    (body,) = re.findall(rf"chain {chain} \{{\n([^}}]+)\}}", text)
    assert ("drop" in body) == (chain == "inspect_closed")
    assert "queue num" not in text


def test_a_reload_keeps_base_chains_and_counters(network: TwoZones, tmp_path: Path) -> None:
    shape = SHAPES[0]
    handles = []
    before: frozenset[tuple[str, str]] = frozenset()
    for rule in (
        "allow: tcp, clients: hmi-1, servers: plc-b, port: 80",
        "allow: udp, clients: ews-a, servers: cell, port: 123",
    ):
        ruleset = Ruleset(policy_of(tmp_path, with_rule(rule)), shape)
        loaded(network, ruleset.text(), tmp_path)
        listed = loaded(network, without(shape.family, before - ruleset.sets), tmp_path)
        before = ruleset.sets
        handles.append(re.findall(r"chain (\w+) \{ # handle (\d+)", listed))
    assert len(handles[0]) == 28
    assert handles[0] == handles[1]
    assert "tcp . 80" not in listed
    assert "udp . 123" in listed


def test_nothing_is_doubled_by_loading_twice(network: TwoZones, tmp_path: Path) -> None:
    text = render(policy_of(tmp_path), SHAPES[0])
    first = loaded(network, text, tmp_path)
    second = loaded(network, text, tmp_path)
    rules = [[re.sub(r" # handle \d+", "", line) for line in listed.splitlines()] for listed in (first, second)]
    assert rules[0] == rules[1]


def test_other_tables_are_left_alone(network: TwoZones, tmp_path: Path) -> None:
    foreign = "table inet theirs {\n\tchain c {\n\t\ttcp dport 22 accept\n\t}\n}\n"
    before = loaded(network, foreign, tmp_path)
    loaded(network, render(policy_of(tmp_path), SHAPES[0]), tmp_path)
    assert loaded(network, removal(BRIDGE), tmp_path) == before


def test_a_bad_ruleset_changes_nothing(network: TwoZones, tmp_path: Path) -> None:
    before = loaded(network, render(policy_of(tmp_path), SHAPES[0]), tmp_path)
    text = render(policy_of(tmp_path, with_rule("allow: icmp, clients: hmi-1, servers: plc-b")), SHAPES[0])
    with pytest.raises(OSError, match="nft"):
        loaded(network, text + "add rule bridge conduitfw nowhere accept\n", tmp_path)
    assert network.run(FIREWALL, ["nft", "-a", "list", "ruleset"]).stdout == before


def test_cost_does_not_grow_with_rules(network: TwoZones, tmp_path: Path) -> None:
    """Rules are elements: a policy of five hundred has as many lines of rules as one of two."""
    more = "".join(
        f"      - {{name: r{n}, allow: modbus, clients: 10.10.0.{n % 200 + 20}, servers: 10.20.0.{n // 200 + 100}, "
        f"functions: {n % 100 + 1}}}\n"
        for n in range(500)
    )
    counts = []
    for text in (GOOD, GOOD + more):
        loaded(network, render(policy_of(tmp_path, text), SHAPES[0]), tmp_path)
        listed = json.loads(network.run(FIREWALL, ["nft", "-j", "list", "table", "bridge", "conduitfw"]).stdout)[
            "nftables"
        ]
        counts.append(sum("rule" in each for each in listed))
    assert counts[0] == counts[1] > 20


def _many(count: int, *, networks: bool = False, port: int = 502) -> str:
    """A policy of so many elements: of single hosts, or of networks."""
    rules = []
    for n in range(count):
        server = f"10.20.0.{n // 128 + 100}"
        client = f"10.10.0.{n % 128 * 2}/31" if networks else f"10.10.0.{n % 128 + 20}"
        rules.append(f"      - {{name: r{n}, allow: tcp, clients: {client}, servers: {server}, port: {port}}}\n")
    return GOOD + "".join(rules)


def _without_handles(listed: str) -> list[str]:
    """Blocks of a listing, and their words, sorted: sets and elements may stand in any order."""
    text = re.sub(r" # handle \d+", "", listed)
    return sorted(" ".join(sorted(re.split(r"[\s,{}]+", block))) for block in re.split(r"\n\t\}\n", text))


@pytest.mark.parametrize("shape", SHAPES[:2], ids=NAMES[:2])
@pytest.mark.parametrize("networks", [False, True], ids=["hosts", "networks"])
def test_in_pieces_it_is_the_same(network: TwoZones, tmp_path: Path, shape: Shape, networks: bool) -> None:
    """What is brought before a swap, and the swap, make the ruleset that the whole text makes."""
    small = Ruleset(policy_of(tmp_path), shape)
    large = Ruleset(policy_of(tmp_path, _many(3 * PIECE + 20, networks=networks)), shape)
    whole = loaded(network, large.text(), tmp_path)
    network.run(FIREWALL, ["nft", "flush", "ruleset"])
    loaded(network, small.text(), tmp_path)
    names = large.large()
    pieces = list(large.pieces(names))
    assert len(names) == 1 and len(pieces) == 4
    for piece in pieces:
        loaded(network, piece, tmp_path)
    swap = large.text(names)
    assert len(swap) < len(large.text()) / 2
    loaded(network, swap, tmp_path)
    left = loaded(network, without(shape.family, small.sets - large.sets), tmp_path)
    assert _without_handles(left) == _without_handles(whole)


def test_what_both_policies_have_stays(network: TwoZones, tmp_path: Path) -> None:
    """A set that a new policy has as well is not touched, also where it stood in another's text before."""
    before = Ruleset(policy_of(tmp_path, _many(20)), SHAPES[0])
    after = Ruleset(policy_of(tmp_path, _many(20).replace("functions: read}", "functions: [3]}")), SHAPES[0])
    assert before.constant == after.constant
    first = loaded(network, before.text(), tmp_path)
    second = loaded(network, after.text(held=before.constant), tmp_path)
    sets = [re.findall(r"(?:set|map) (\S+_[0-9a-f]{12}) \{ # handle (\d+)", listed) for listed in (first, second)]
    assert sets[0] == sets[1] and {name for name, _ in sets[0]} > after.constant > set()


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_nothing_is_emptied_under_a_packet(tmp_path: Path, shape: Shape) -> None:
    """A packet that has begun with the rules before a swap finds what they asked for.

    The kernel empties the map that a rule has of its own when the rule goes, and a set that is deleted, as soon as the
    new rules are in force: of 60 swaps under polls, 3 and 8 lost one (Linux 6.18).
    """
    text = render(policy_of(tmp_path), shape)
    assert "vmap @" in text and "vmap {" not in text
    assert not [line for line in text.splitlines() if re.match(r"(delete|destroy) ", line)]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_what_no_rule_asks_for_is_not_relied_on(tmp_path: Path, shape: Shape) -> None:
    """Whether somebody has changed it is not looked for."""
    ruleset = Ruleset(policy_of(tmp_path), shape)
    asked = set(re.findall(r"@(\w+)", ruleset.text()))
    empty = {name for _, name in ruleset.sets if name.startswith("opened4_")}
    assert ruleset.constant <= asked and len(empty) == 1 and not empty & ruleset.constant
    assert [name for name in ruleset.constant if name.startswith("inspected_hosts4_")]


def test_what_is_not_there_cannot_be_built_on(network: TwoZones, tmp_path: Path) -> None:
    """A set that was thought to stand is not made anew, and empty: the load is refused, and nothing is changed."""
    ruleset = Ruleset(policy_of(tmp_path, _many(3)), SHAPES[0])
    (gone,) = [name for name in ruleset.constant if name.startswith("opened_hosts4")]
    before = loaded(network, render(policy_of(tmp_path), SHAPES[0]), tmp_path)
    assert gone not in before
    with pytest.raises(OSError, match=gone):
        loaded(network, ruleset.text(held={gone}), tmp_path)
    assert network.run(FIREWALL, ["nft", "-a", "list", "ruleset"]).stdout == before


@pytest.mark.parametrize("networks", [False, True], ids=["hosts", "networks"])
def test_a_trial_finds_what_the_kernel_refuses(network: TwoZones, tmp_path: Path, networks: bool) -> None:
    """All of it is tried but for elements like those that are, no large part at once, and nothing is left."""
    ruleset = Ruleset(policy_of(tmp_path, _many(2 * PIECE, networks=networks)), SHAPES[0])
    texts = list(ruleset.trials())
    path = tmp_path / "trial.nft"

    def refused(text: str) -> bool:
        path.write_text(text)
        return bool(network.run(FIREWALL, ["nft", "-c", "-f", str(path)], check=False).returncode)

    assert len(texts) == 2 and not any(refused(text) for text in texts)
    said = {line.strip(", ") for text in texts for line in text.splitlines()}
    missing = [line.strip(", ") for line in ruleset.text().splitlines() if line.strip(", ") not in said]
    assert len([line for line in missing if not line.startswith("flush ")]) == PIECE
    assert refused(texts[0].replace(" . tcp . ", " . tpc . "))
    assert refused(texts[1].replace("counter name unnamed drop", "counter name nobody drop"))
    assert not network.run(FIREWALL, ["nft", "list", "ruleset"]).stdout


def test_overlapping_networks_load(network: TwoZones, tmp_path: Path) -> None:
    """An interval set takes no overlaps: rules that cross are cut into boxes that do not."""
    rules = [
        "allow: modbus, clients: scada, servers: 10.20.0.70, functions: read",
        "allow: modbus, clients: 10.10.0.0/28, servers: cell, functions: 6",
        "allow: modbus, clients: 10.10.0.5, servers: 10.20.0.70, functions: 16",
        "allow: tcp, clients: scada, servers: 10.20.0.70, port: 8000-8100",
        "allow: tcp, clients: 10.10.0.0/28, servers: cell, port: 8080",
    ]
    text = GOOD + "".join(f"      - {{name: r{n}, {rule}}}\n" for n, rule in enumerate(rules))
    assert "10.20.0.70" in loaded(network, render(policy_of(tmp_path, text), SHAPES[0]), tmp_path)


def test_what_is_watched_does_not_open_what_is_enforced(tmp_path: Path) -> None:
    """A monitored conduit passes what nobody names, but not between zones that an enforced one joins as well."""
    watched = GOOD.replace("    to: cell\n", "    to: cell\n    mode: monitor\n")
    pair = "10.10.0.0-10.10.0.255 . 10.20.0.0-10.20.0.255,"
    assert pair in render(policy_of(tmp_path, watched), SHAPES[0])
    enforced = GOOD[GOOD.index("  line:") : GOOD.index("    rules:")].replace("line:", "other:")
    rules = "    rules:\n      - {name: web, allow: tcp, clients: hmi-1, servers: plc-b, port: 80}\n"
    assert pair not in render(policy_of(tmp_path, watched + enforced + rules), SHAPES[0])


def test_workers_share_by_the_servers_address(tmp_path: Path) -> None:
    """One has the queues that it always had, and no share is computed for it."""
    policy = policy_of(tmp_path)
    alone = render(policy, Shape(BRIDGE, Method.STATEMENT, 77))
    assert "jhash" not in alone and alone.count("queue num 77") == 1
    three = render(policy, Shape(BRIDGE, Method.STATEMENT, 77, workers=3))
    for number in range(77, 83):
        assert f"queue num {number}" + (" bypass" if number % 2 == 0 else "\n") in three
    shares = [line.split("jhash ")[1] for line in three.splitlines() if "jhash" in line]
    assert {share.split(" mod ")[0] for share in shares} == {"ip daddr", "ip saddr", "ip6 daddr", "ip6 saddr"}
    assert {share.split(" mod ")[1] for share in shares} == {
        f"3 seed 0x636677 {worker} goto {name}_{worker}" for worker in range(2) for name in ("closed", "static")
    }
    # At boot, and without an engine, nothing goes anywhere.
    assert "jhash" not in render(policy, Shape(BRIDGE, Method.NONE, workers=3))


def test_nobody_pays_for_what_the_policy_does_not_say(tmp_path: Path) -> None:
    """A rule that asks for what is in an empty set is left out, and no other one is."""
    plain = render(policy_of(tmp_path), Shape(BRIDGE, Method.STATEMENT)).split("table inet ")[0]
    rules = [line.strip() for line in plain.splitlines() if line.startswith("\t\t") and "@" in line]
    filled = set(re.findall(r"(?:set|map) (\w+) \{(?:(?!\t\}).)*elements = ", plain, re.DOTALL))
    asked = {name for rule in rules for name in re.findall(r"(?<!!= )(?<!update )@(?!th,)(\w+)", rule)}
    assert asked <= filled
    words = {re.sub(r"_[0-9a-f]{12}$", "", name) for name in asked}
    assert {"ports", "joined", "inspected_hosts4"} <= words
    assert not {"within", "wide", "macs", "vlans", "resolving4", "inspected4"} & words
    # Still there: what wants to find a packet in none of them.
    assert [rule for rule in rules if "!= @watched4_" in rule] and [rule for rule in rules if "!= @sides6" in rule]
    by_mac = GOOD.replace("plc-b: {address: 10.20.0.5", 'plc-b: {mac: "02:00:00:00:00:05", address: 10.20.0.5')
    assert by_mac != GOOD
    assert "ether saddr @macs" in render(policy_of(tmp_path, by_mac), Shape(BRIDGE, Method.STATEMENT))
