"""Sizes below the engine (tcp-rules.md, 5): what `doctor` refuses, and what tells a sender to make shorter packets."""

from __future__ import annotations

import json
import sys

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from conduitfw.demo.network import CELL, FIREWALL
from conduitfw.demo.show import Firewall, Stage
from tests.system.frames import arriving

pytestmark = pytest.mark.system
MARKER = b"conduitfw-was-here"
HMI, RTU = "10.10.0.11", "10.20.0.9"


def states(stage: Stage) -> dict[str, str]:
    """What `doctor` finds of each MTU."""
    command = [sys.executable, "-m", "conduitfw", "doctor", "--bridge", "br0", "--json"]
    found = json.loads(stage.network.run(FIREWALL, command, check=False).stdout)
    return {each["what"]: each["state"] for each in found["findings"] if each["what"].startswith("MTU")}


def test_doctor_refuses_an_mtu_above_what_the_queue_copies(stage: Stage) -> None:
    assert "bad" not in states(stage).values()
    stage.network.run(FIREWALL, ["ip", "link", "set", "cell0", "mtu", "9217"])
    try:
        assert states(stage).get("MTU of cell0") == "bad"
        stage.network.run(FIREWALL, ["ip", "link", "set", "cell0", "mtu", "9216"])
        assert "bad" not in states(stage).values()
    finally:
        stage.network.run(FIREWALL, ["ip", "link", "set", "cell0", "mtu", "1500"])


def test_fragmentation_needed_passes_to_the_sender_of_an_inspected_flow(stage: Stage, firewall: Firewall) -> None:
    quoted = IP(src=HMI, dst=RTU, flags="DF") / TCP(sport=4444, dport=20000, seq=7) / Raw(MARKER)
    frame = Ether(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff") / IP(src=RTU, dst=HMI)
    frame = frame / ICMP(type=3, code=4, nexthopmtu=1280) / quoted
    assert arriving(stage.network, [frame] * 3, MARKER, sender=CELL) == 3
