"""Somebody takes the ruleset away: it is put right and told; and meanwhile nothing passes that no engine decided."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conduitfw.demo.network import FIREWALL
from conduitfw.demo.show import Firewall, Stage
from tests.system.test_sessions import MODBUS_READ, MODBUS_WRITE, WITHOUT_TESTS, answered, changed

pytestmark = pytest.mark.system
Start = Callable[..., Firewall]


def told(firewall: Firewall) -> list[dict[str, str]]:
    return [
        event["conduitfw"]["engine"] for event in firewall.events() if event["event"]["action"] == "ruleset-restored"
    ]


def nft(stage: Stage, command: str) -> str:
    return stage.network.run(FIREWALL, ["nft", *command.split()]).stdout


def test_what_somebody_changes_is_put_right_and_told(stage: Stage, start: Start) -> None:
    firewall = start(WITHOUT_TESTS)
    before = nft(stage, "-s list table bridge conduitfw")
    (name,) = set(re.findall(r"@(inspected_hosts4_\w+)", before))
    element = f"add element bridge conduitfw {name} {{ 10.20.0.5 . 10.10.0.11 . tcp . 80 : accept }}"
    for number, command in enumerate(("flush ruleset", element)):
        nft(stage, command)
        began = time.monotonic()
        while len(told(firewall)) <= number:
            assert time.monotonic() - began < 10, "nobody noticed"
            time.sleep(0.05)
        assert nft(stage, "-s list table bridge conduitfw").split() == before.split()
    assert [each["what"] for each in told(firewall)] == ["the ruleset"] * 2
    assert all(each["who"].startswith("nft (process ") for each in told(firewall))
    assert answered(stage, MODBUS_READ)
    assert not answered(stage, MODBUS_WRITE)


def test_changes_of_others_and_our_own_are_no_disturbance(stage: Stage, start: Start, tmp_path: Path) -> None:
    firewall = start(WITHOUT_TESTS)
    policy = tmp_path / "policy.yaml"
    for text in (changed("functions: read\n", "functions: [read, 16]\n"), WITHOUT_TESTS):
        policy.write_text(text)
        assert firewall.command("reload", str(policy)).returncode == 0
        nft(stage, "add table inet another")
        nft(stage, "delete table inet another")
        time.sleep(0.5)
    assert told(firewall) == []


def test_without_a_ruleset_nothing_passes_though_nobody_puts_it_right(stage: Stage, start: Start) -> None:
    """The supervisor is stopped. That the guard holds is shown by what happens without it."""
    firewall = start(WITHOUT_TESTS)
    status = firewall.status()
    refused = stage.network.run(
        FIREWALL, ["nft", "flush", "table", "bridge", f"conduitfw_guard_{status['pid']}"], check=False
    )
    assert refused.returncode == 1 and "not permitted" in refused.stderr
    os.kill(status["pid"], signal.SIGSTOP)
    try:
        nft(stage, "flush ruleset")
        written = len(stage.executed("plc"))
        for _ in range(3):
            assert not answered(stage, MODBUS_WRITE)
        assert stage.executed("plc")[written:] == []
        counted = json.loads(nft(stage, "-j list counters"))["nftables"]
        unmarked = [each["counter"]["packets"] for each in counted if each.get("counter", {}).get("name") == "unmarked"]
        assert len(unmarked) == 1 and unmarked[0] > 0
    finally:
        os.kill(status["pid"], signal.SIGCONT)
    began = time.monotonic()
    while not told(firewall):
        assert time.monotonic() - began < 10, "nobody put it right"
        time.sleep(0.05)
    assert not answered(stage, MODBUS_WRITE)
    assert answered(stage, MODBUS_READ)
    # And without it:
    os.kill(status["pid"], signal.SIGSTOP)
    nft(stage, "flush ruleset")
    os.kill(status["pid"], signal.SIGKILL)  # who owns it
    firewall.process.wait(10)
    began = time.monotonic()
    while "conduitfw_guard" in nft(stage, "list tables"):
        assert time.monotonic() - began < 5
        time.sleep(0.02)
    assert answered(stage, MODBUS_WRITE)


def test_a_flushed_rule_lets_nothing_slip_past(stage: Stage, start: Start) -> None:
    """Where the queue is reached by mark, somebody may flush the rule that queues, or turn a sysctl."""
    firewall = start(WITHOUT_TESTS)
    status = firewall.status()
    if status["method"] == "queue statement":
        pytest.skip("this kernel has nft_queue: the chain queues by itself")
    os.kill(status["pid"], signal.SIGSTOP)
    try:
        for command in (
            ["iptables-nft", "-t", "mangle", "-F", "CONDUITFW"],
            ["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"],
        ):
            stage.network.run(FIREWALL, command)
            assert not answered(stage, MODBUS_READ)
    finally:
        os.kill(status["pid"], signal.SIGCONT)
    began = time.monotonic()
    while len(told(firewall)) < 1:
        assert time.monotonic() - began < 10, "nobody put it right"
        time.sleep(0.05)
    assert answered(stage, MODBUS_READ)


def test_where_nothing_is_enforced_the_guard_stops_nothing(stage: Stage, start: Start) -> None:
    firewall = start(changed("    fail: closed\n", "    fail: closed\n    mode: monitor\n"))
    os.kill(firewall.status()["pid"], signal.SIGSTOP)
    try:
        nft(stage, "flush ruleset")
        assert answered(stage, MODBUS_READ)
    finally:
        os.kill(int(firewall.process.pid), signal.SIGCONT)


def netfilter_sockets(pid: int) -> set[str]:
    """Those that a process holds, by what the kernel calls them."""
    lines = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
    all_of_them = {f"socket:[{line.split()[9]}]" for line in lines if line.split()[1] == "12"}  # NETLINK_NETFILTER
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(os.readlink(each))
    return held & all_of_them


def test_whoever_parses_hostile_bytes_has_nothing_of_the_guard(stage: Stage, start: Start) -> None:
    firewall = start(WITHOUT_TESTS)
    began = time.monotonic()
    while not (status := firewall.status())["spare"]:
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    others = [status["workers"][0]["pid"], status["spare"], status["control"]["pid"]]
    held = [netfilter_sockets(pid) for pid in others]
    assert all(held[:2])  # the queues'
    assert len(netfilter_sockets(status["pid"]) - set().union(*held)) == 1
