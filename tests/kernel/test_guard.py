"""The guard's table is a socket's: who has it may change it, nobody else, and it goes with the last descriptor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduitfw.demo.network import BRIDGE, FIREWALL, TwoZones
from conduitfw.kernel import libnftables
from tests.policy.text import GOOD

pytestmark = pytest.mark.system
_SCRIPT = """
import os, subprocess, sys
from dataclasses import replace
from pathlib import Path
from conduitfw.kernel import libnftables, nft
from conduitfw.kernel.guard import Guard
from conduitfw.kernel.shape import Method, Shape
from conduitfw.policy.load import load_policy
from conduitfw.runtime import child

def handle():
    listed = nft.run(["nft", "-a", "list", "table", "bridge", guard.name]).splitlines()
    chain = next(line.split()[-1] for line in listed if "chain forward" in line)
    return chain, sum("meta mark" in line for line in listed)

policy = load_policy([Path(sys.argv[1])]).policy
watched = replace(policy, conduits=tuple(replace(each, mode="monitor") for each in policy.conduits))
shape = Shape("bridge", Method.MARK, 6200)
guard = Guard(child.ask)
guard.stand(policy, shape)
print("stands", *handle())
print("author", nft.own[-1] not in (0, os.getpid()))
delete = ["nft", "delete", "table", "bridge", guard.name]
print("stranger", subprocess.run(delete, stderr=subprocess.DEVNULL).returncode)
successor = Guard(child.ask)
owned = guard.hand_over()
successor.adopt(type(owned)(owned.family, owned.name, os.dup(owned.descriptor)))
guard.end()
successor.stand(watched, shape)
print("watched", *handle())
successor.stand(policy, shape)
print("again", *handle())
libnftables._LIBRARY += ".none"
try:
    successor.stand(watched, shape)
except OSError as error:
    print("missing", error)
libnftables._LIBRARY = libnftables._LIBRARY.removesuffix(".none")
print("still", *handle())
try:
    successor.stand(policy, Shape("nonsense", Method.MARK, 6200))
except OSError as error:
    print("refused", error)
print("gone", "conduitfw_guard" not in nft.run(["nft", "list", "tables"]))
"""


@pytest.fixture(scope="module")
def network() -> Iterator[TwoZones]:
    with TwoZones() as found:
        yield found


def test_who_has_the_socket_has_the_table(network: TwoZones, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(GOOD)
    said = network.run(FIREWALL, [sys.executable, "-c", _SCRIPT, str(policy), BRIDGE]).stdout.splitlines()
    found = {line.split()[0]: line.split()[1:] for line in said}
    chain = found["stands"][0]
    assert (
        found["stands"] == found["again"] == [chain, "2"]
    )  # the chain is never taken out: what waits would go with it
    assert found["watched"] == [chain, "0"]  # rules are, where nothing is enforced
    assert "is not installed" in " ".join(found["missing"])
    assert found["still"] == found["again"]
    assert found["author"] == ["True"]  # a process that is known to be ours
    assert found["stranger"] == ["1"]
    assert " ".join(found["refused"]).startswith("the guard's table is refused: Error: syntax error")
    assert found["gone"] == ["True"]  # of another family: the old one is of no use


def test_a_machine_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libnftables, "_LIBRARY", "libnftables.so.0")
    with libnftables.open_owner() as owner, pytest.raises(OSError, match=r"libnftables\.so\.0 is not installed"):
        libnftables.run(owner, "list tables")


def test_another_kind_of_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would speak over a socket of its own, and the table would go with the process."""
    monkeypatch.setattr(libnftables, "_is_netlink", lambda descriptor: False)
    with libnftables.open_owner() as owner, pytest.raises(OSError, match="cannot be used"):
        libnftables.run(owner, "list tables")
