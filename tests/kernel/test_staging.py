"""What a ruleset needs is brought before it; what somebody touches meanwhile is brought anew."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduitfw.demo.network import BRIDGE, FIREWALL, TwoZones
from tests.policy.text import GOOD

pytestmark = pytest.mark.system
_SCRIPT = """
import subprocess, sys
from pathlib import Path
from conduitfw.kernel import nft
from conduitfw.kernel.ruleset import Ruleset
from conduitfw.policy.load import load_policy
from conduitfw.runtime.host import KernelHost

def others(*words):
    subprocess.run(["nft", *words], check=True)

def name(policy):
    return next(each for each in Ruleset(policy, host.shape).constant if each.startswith("opened_hosts4"))

host = KernelHost(sys.argv[1], 6400)
small, large = (load_policy([Path(path)]).policy for path in sys.argv[2:4])
staging = None
table = ("bridge", "conduitfw")
for step in sys.argv[4:]:
    if step == "small": host.install(small, static=False)
    if step == "large": host.install(large, static=False)
    if step == "flooded": host.install(large, static=False, per_source=100)
    if step == "stage": staging = host.stage(large, static=False)
    if step == "one": staging.step()
    if step == "begun":
        while f"set {name(large)} " not in nft.run(["nft", "-t", "list", "table", *table]): pass
    if step == "all":
        while not staging.step(): pass
    if step == "cancel": staging.cancel()
    if step == "element": others("add", "element", *table, name(large), "{ 10.20.0.5 . 10.10.0.11 . tcp . 81 }")
    if step == "gone": others("delete", "set", *table, name(large))
    if step == "look": print(host.disturbance())
    if step == "done": print(staging.done, len(staging.pids))
    if step == "handle":
        listed = nft.run(["nft", "-a", "-t", "list", "table", *table]).splitlines()
        print(next((line.split()[-1] for line in listed if f"set {name(large)} " in line), "none"))
    if step == "rest": print(len(nft.sets("bridge")))
print(nft.listing("bridge"))
host.close()
"""


@pytest.fixture(scope="module")
def network() -> Iterator[TwoZones]:
    with TwoZones() as found:
        yield found


def run(network: TwoZones, tmp_path: Path, steps: str, *, onto_nothing: bool = True) -> tuple[list[str], str]:
    """What the steps say, and the ruleset at the end, its words sorted."""
    small, large = tmp_path / "small.yaml", tmp_path / "large.yaml"
    small.write_text(GOOD)
    pairs = ((n, f"10.10.0.{n % 200 + 20}", f"10.20.0.{n // 200 + 100}") for n in range(620))
    rules = (
        f"      - {{name: r{n}, allow: tcp, clients: {client}, servers: {server}, port: 80}}\n"
        for n, client, server in pairs
    )
    large.write_text(GOOD + "".join(rules))
    if onto_nothing:
        network.run(FIREWALL, ["nft", "flush", "ruleset"])
    done = network.run(FIREWALL, [sys.executable, "-c", _SCRIPT, BRIDGE, str(small), str(large), *steps.split()])
    said, _, listed = done.stdout.partition("table bridge conduitfw {\n")
    return said.splitlines(), " ".join(sorted(re.split(r"[\s,{}]+", listed)))


@pytest.fixture(scope="module")
def aimed_at(network: TwoZones, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The large ruleset, loaded at once."""
    return run(network, tmp_path_factory.mktemp("whole"), "large")[1]


def test_what_is_staged_is_built_upon(network: TwoZones, tmp_path: Path, aimed_at: str) -> None:
    """The set is not made anew by the swap, nor by what else is loaded later, and what nobody asks for goes."""
    said, ruleset = run(
        network, tmp_path, "small rest stage all done handle look large handle look flooded handle rest"
    )
    assert said[1] == "True 3"
    assert said[2] == said[4] == said[6] != "none"
    assert said[3] == said[5] == "None"  # no disturbance
    assert said[0] == said[7]  # as many sets as before
    said, ruleset = run(network, tmp_path, "small stage all large")
    assert ruleset == aimed_at


@pytest.mark.parametrize(
    "steps",
    [
        "small stage all element large",  # somebody adds to what is staged
        "small stage one begun element all large",
        "small stage all element look large",  # and it has been seen that nothing is wrong with what is in force
        "small stage one begun element look all large",
        "small stage all gone large",  # or takes it out
        "small stage one large",  # not all of it is there yet
        "small stage one one cancel large",  # and will not be
        "small stage cancel large",  # nothing of it
        "small stage one one small all large",  # something else is loaded meanwhile
        "small stage all small large",
        "large element look large",
    ],
)
def test_what_is_not_as_it_was_staged_is_brought_anew(
    network: TwoZones, tmp_path: Path, aimed_at: str, steps: str
) -> None:
    assert run(network, tmp_path, steps)[1] == aimed_at


def test_what_a_predecessor_has_left_goes(network: TwoZones, tmp_path: Path, aimed_at: str) -> None:
    run(network, tmp_path, "small stage one one")
    assert run(network, tmp_path, "large", onto_nothing=False)[1] == aimed_at


def test_while_pieces_come_in_there_is_no_disturbance_but_others(network: TwoZones, tmp_path: Path) -> None:
    said, _ = run(network, tmp_path, "small look stage one look one look all look element look")
    assert said == ["None"] * 5  # nothing asks that set yet: whatever is in it decides nothing
    said, _ = run(network, tmp_path, "small stage all large look element look")
    assert said[0] == "None" and said[1].startswith("('the ruleset', 'nft (process ")
