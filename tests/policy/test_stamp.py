"""An open fragment goes on under a new policy that has its rules unchanged, and under no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduitfw.policy.compile import compile_policy
from conduitfw.policy.load import load_policy
from tests.chaos.bench import POLICY

MASTER, OUTSTATION = bytes((10, 10, 0, 11)), bytes((10, 20, 0, 9))


def stamp(text: str, folder: Path) -> int:
    path = folder / "policy.yaml"
    path.write_text(text)
    policy = load_policy([path]).policy
    assert policy is not None
    channel = compile_policy(policy).channel(6, MASTER, OUTSTATION, 20000)
    assert channel is not None
    return channel.stamp


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("site: Chaos", "site: Elsewhere", True),
        ("functions: 16,", "functions: 6,", True),
        ("{name: writes,", "{name: x, allow: modbus, clients: ews, servers: plc, functions: 8}, {name: writes,", True),
        ("master: 1,\n       functions: read}", "master: 1,\n       functions: [read, write]}", False),
        ("master: 1,\n       functions: read}", "master: 2,\n       functions: read}", False),
    ],
    ids=["another site", "another conduit's rule", "a rule before it", "more functions", "another master"],
)  # fmt: skip
def test_stamp(old: str, new: str, same: bool, tmp_path: Path) -> None:
    assert old in POLICY
    assert (stamp(POLICY, tmp_path) == stamp(POLICY.replace(old, new), tmp_path)) is same
