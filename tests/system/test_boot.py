"""Before the service runs: the last good policy's closed ruleset, or nothing passes at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, SCADA, TwoZones
from conduitfw.demo.show import Stage
from tests.system.test_reload import history, until
from tests.system.test_sessions import HMI, MODBUS_READ, PLC, WITHOUT_TESTS, Start, answered

pytestmark = pytest.mark.system
SHUT = Path(__file__).parents[2] / "systemd" / "shut.nft"
PING = """
import socket, struct, sys
ping = struct.pack("!BBHHH", 8, 0, 0xF7FE, 1, 0)  # its checksum: 0x0800 + 1 + 0xF7FE = 0xFFFF
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as end:
    end.bind((sys.argv[1], 0))
    end.settimeout(1)
    for _ in range(2):  # the first may wait for ARP
        end.sendto(ping, (sys.argv[2], 0))
        try:
            while end.recv(200)[20] != 0:
                pass
        except TimeoutError:
            continue
        sys.exit(0)
sys.exit(1)
"""


def boot(network: TwoZones, state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "conduitfw", "boot", "--state", str(state), *options]
    return network.run(FIREWALL, words, check=False)


def tables(network: TwoZones) -> set[str]:
    listed = json.loads(network.run(FIREWALL, ["nft", "-j", "list", "tables"]).stdout)
    found = {f"{t['table']['family']} {t['table']['name']}" for t in listed["nftables"] if "table" in t}
    return {name for name in found if "conduitfw" in name}


def pings(network: TwoZones, zone: str, source: str, address: str) -> bool:
    return network.run(zone, [sys.executable, "-c", PING, source, address], check=False).returncode == 0


@pytest.fixture
def state(stage: Stage, start: Start, tmp_path: Path) -> Iterator[Path]:
    """Kept by a firewall that ran; nothing is loaded any more, as after a boot."""
    firewall = start(WITHOUT_TESTS, "--state", str(tmp_path / "state"))
    until(lambda: history(firewall, tmp_path))
    firewall.command("stop")
    firewall.process.wait(10)
    assert "bridge conduitfw" not in tables(stage.network)
    yield tmp_path / "state"
    stage.network.run(FIREWALL, ["nft", "flush", "ruleset"])


def test_what_needs_inspection_is_dropped_until_the_service_decides(
    stage: Stage, start: Start, state: Path, tmp_path: Path
) -> None:
    network = stage.network
    assert answered(stage, MODBUS_READ), "a bare bridge"
    assert pings(network, SCADA, HMI, PLC)
    network.run(FIREWALL, ["nft", "-f", str(SHUT)])
    assert not pings(network, SCADA, HMI, PLC)
    done = boot(network, state)
    assert done.returncode == 0 and done.stdout.startswith("closed, by the policy"), done.stderr
    assert tables(network) == {"bridge conduitfw", "inet conduitfw"}
    assert not answered(stage, MODBUS_READ)
    assert pings(network, SCADA, HMI, PLC), "what the kernel alone decides is as the policy says"
    assert not pings(network, SCADA, "10.10.0.66", PLC)
    # Again, as an upgrade of the package may: what is loaded stays.
    assert "stays" in boot(network, state).stdout
    start(WITHOUT_TESTS, "--state", str(state))
    assert answered(stage, MODBUS_READ)


def test_boot_does_not_touch_a_running_firewall(stage: Stage, start: Start, tmp_path: Path) -> None:
    firewall = start(WITHOUT_TESTS, "--state", str(tmp_path / "state"))
    until(lambda: history(firewall, tmp_path))
    assert "stays" in boot(stage.network, tmp_path / "state").stdout
    assert answered(stage, MODBUS_READ)


@pytest.mark.parametrize("damage", ["gone", "unreadable", "of another kernel"])
def test_without_a_usable_policy_nothing_passes(
    stage: Stage, start: Start, state: Path, tmp_path: Path, damage: str
) -> None:
    network = stage.network
    folder = next((state / "policies").iterdir())
    if damage == "gone":
        shutil.rmtree(state)
    elif damage == "unreadable":
        (folder / "closed.nft").write_text("")
    else:  # whole, but nft refuses it
        text = (folder / "closed.nft").read_text().replace("table bridge", "table brdige")
        (folder / "closed.nft").write_text(text)
        head = json.loads((folder / "policy.json").read_text())
        head["files"]["closed.nft"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "policy.json").write_text(json.dumps(head))
    done = boot(network, state)
    assert done.returncode == 0 and done.stdout.startswith("shut: "), done.stderr
    assert "no policy is kept" in done.stderr
    assert tables(network) == {"bridge conduitfw_boot", "inet conduitfw_boot"}
    assert not answered(stage, MODBUS_READ)
    assert not pings(network, SCADA, HMI, PLC)
    # The service starts with a policy of its own, and what was shut is gone.
    start(WITHOUT_TESTS)
    assert answered(stage, MODBUS_READ)
    assert "bridge conduitfw_boot" not in tables(network)


def test_an_older_policy_is_better_than_none(stage: Stage, state: Path) -> None:
    newest = next((state / "policies").iterdir())
    copy = state / "policies" / ("0" + newest.name)
    shutil.copytree(newest, copy)
    (newest / "policy.json").write_text("{")
    assert boot(stage.network, state).stdout.startswith("closed, by the policy")


def test_interfaces_need_not_exist_yet_and_management_is_heard(tmp_path: Path) -> None:
    """Loaded before any interface is made; the bridge comes later, and is shut."""
    with TwoZones() as network:
        firewall = network.namespace(FIREWALL)

        def ip(*words: str) -> None:
            subprocess.run(["ip", "-n", firewall, *words], check=True)

        for port in ("scada0", "cell0"):
            network.run(FIREWALL, ["ip", "link", "set", port, "nomaster"])
        ip("link", "delete", BRIDGE)
        done = boot(network, tmp_path / "nothing", "--management", "mgmt0", "--management", "mgmt1")
        assert done.stdout.startswith("shut: all but mgmt0, mgmt1")
        ip("link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt-far", "netns", network.namespace(SCADA))
        ip("link", "add", "other0", "type", "veth", "peer", "name", "other-far", "netns", network.namespace(CELL))
        for zone, far, near, net in (
            (SCADA, "mgmt-far", "mgmt0", "192.0.2"),
            (CELL, "other-far", "other0", "198.51.100"),
        ):
            ip("address", "add", f"{net}.1/24", "dev", near)
            ip("link", "set", near, "up")
            network.run(zone, ["ip", "address", "add", f"{net}.2/24", "dev", far])
            network.run(zone, ["ip", "link", "set", far, "up"])
        ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        for port in ("scada0", "cell0"):
            ip("link", "set", port, "master", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        until(lambda: pings(network, SCADA, "192.0.2.2", "192.0.2.1"))
        assert not pings(network, CELL, "198.51.100.2", "198.51.100.1"), "no management interface"
        assert not pings(network, SCADA, HMI, PLC)
        network.run(FIREWALL, ["nft", "flush", "ruleset"])
        assert pings(network, SCADA, HMI, PLC), "the bridge works: it was shut"
        assert pings(network, CELL, "198.51.100.2", "198.51.100.1")
