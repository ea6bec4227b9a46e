"""Sends raw frames in one zone and watches in another: what reaches the other side of the bridge."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from scapy.packet import Packet

from conduitfw.demo.network import CELL, PACE, SCADA, TwoZones

_SEND = """
import socket, sys, time
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line))
    time.sleep(0.01)
"""
_WATCH = """
import socket, sys
ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ear.bind((sys.argv[1], 3))
print("ready", flush=True)
while True:
    data, address = ear.recvfrom(65536)
    if address[2] != socket.PACKET_OUTGOING:
        print(data.hex(), flush=True)
"""


def mac(network: TwoZones, zone: str, interface: str = "eth0") -> str:
    """The MAC address of a zone's interface."""
    return network.run(zone, ["cat", f"/sys/class/net/{interface}/address"]).stdout.strip()


def send(network: TwoZones, zone: str, frames: Iterable[Packet], interface: str = "eth0") -> None:
    """Send frames as they are."""
    process = network.start(zone, [sys.executable, "-c", _SEND, interface])
    process.communicate("".join(f"{bytes(frame).hex()}\n" for frame in frames), timeout=20)


def arriving(
    network: TwoZones,
    frames: Iterable[Packet],
    marker: bytes,
    *,
    sender: str = SCADA,
    interface: str = "eth0",
    seen_at: str = "eth0",
) -> int:
    """How many of these frames, known by `marker`, come out on the other side."""
    other = CELL if sender == SCADA else SCADA
    watch = network.start(other, [sys.executable, "-c", _WATCH, seen_at])
    assert watch.stdout is not None
    assert watch.stdout.readline().strip() == "ready"
    send(network, sender, frames, interface)
    time.sleep(0.3 * PACE)
    watch.terminate()
    seen, _ = watch.communicate(timeout=10)
    return sum(marker.hex() in line for line in seen.splitlines())
