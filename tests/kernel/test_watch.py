"""Who changed something in nftables, and whether what stands there is ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from conduitfw.demo.network import FIREWALL, TwoZones

pytestmark = pytest.mark.system
_SCRIPT = '''
import subprocess, sys
from conduitfw.kernel import nft
from conduitfw.kernel.shape import BRIDGE, Method, Shape
from conduitfw.kernel.watch import Watch

def others(*words):
    subprocess.run(["nft", *words], check=True)

watch = Watch(Shape(BRIDGE, Method.STATEMENT))
for step in sys.argv[1:]:
    if step == "begin": watch.begin()
    if step == "load":
        nft.load("""table bridge conduitfw {
            set s { type ipv4_addr; flags dynamic,timeout; timeout 10s; }
            chain a { }
        }""")
    if step == "element": others("add", "element", "bridge", "conduitfw", "s", "{ 10.0.0.1 }")
    if step == "chain": others("add", "chain", "bridge", "conduitfw", "b")
    if step == "flush": others("flush", "ruleset")
    if step == "elsewhere": others("add", "table", "inet", "another")
    if step == "remember": print(watch.remember())
    if step == "look":
        who = watch.changed()
        print(who and who.split()[0], watch.wrong() or "well", watch.changed() is None)
'''


@pytest.fixture(scope="module")
def network() -> Iterator[TwoZones]:
    with TwoZones() as found:
        yield found


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("begin load remember look", ["True", "None well True"]),
        ("begin load remember elsewhere look look", ["True", "nft well True", "None well True"]),
        ("begin load remember chain look look", ["True", "nft the ruleset False", "nft the ruleset False"]),
        ("begin load remember flush look", ["True", "nft the ruleset False"]),
        ("begin load remember element look", ["True", "nft well True"]),
        ("chain begin load remember look", ["True", "None well True"]),
        ("begin load chain remember", ["False"]),
        ("begin load flush remember", ["False"]),
    ],
)  # fmt: skip
def test_watch(network: TwoZones, steps: str, said: list[str]) -> None:
    network.run(FIREWALL, ["nft", "flush", "ruleset"])
    network.run(FIREWALL, ["nft", "add", "table", "bridge", "conduitfw"])
    done = network.run(FIREWALL, [sys.executable, "-c", _SCRIPT, *steps.split()])
    assert done.stdout.splitlines() == said
