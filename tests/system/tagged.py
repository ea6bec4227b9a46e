"""The two zones on trunks: each host behind an access port of a VLAN, and the cable itself beside it as `wire0`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conduitfw.demo.network import FIREWALL, TwoZones
from conduitfw.demo.show import Stage


class TaggedZones(TwoZones):
    """Zones whose hosts speak in a VLAN. Entering raises OSError where the kernel has neither VLAN nor TAP devices."""

    def __init__(self, vlan: int) -> None:
        super().__init__()
        self._vlan = str(vlan)

    def _plug(self, zone: str, port: str) -> None:
        here, there = self.namespace(zone), self.namespace(FIREWALL)
        try:
            self.run(zone, ["ip", "link", "add", "wire0", "type", "veth", "peer", "name", port, "netns", there])
            self.run(zone, ["ip", "link", "add", "link", "wire0", "name", "eth0", "type", "vlan", "id", self._vlan])
            self.run(zone, ["ip", "link", "set", "wire0", "up"])
        except OSError:
            self.run(zone, ["ip", "link", "delete", "wire0"], check=False)
            switch = self.start(zone, [sys.executable, "-m", "tests.peers.access_port", there, port, self._vlan])
            assert switch.stdout is not None
            if switch.stdout.readline().strip() != "ready":
                raise OSError(f"neither VLAN nor TAP devices in {here}") from None
            self.run(zone, ["ip", "link", "set", "wire0", "up"])


def in_vlan(policy: str, vlan: int) -> str:
    """The example policy with both zones in a VLAN."""
    for port in ("scada0", "cell0"):
        policy = policy.replace(f"    interfaces: [{port}]\n", f"    interfaces: [{port}]\n    vlans: [{vlan}]\n")
    return policy


@contextmanager
def staged(folder: Path, vlan: int) -> Iterator[Stage]:
    """Zones with peers in them, in a VLAN, and nothing but a bridge between."""
    with TaggedZones(vlan) as network:
        stage = Stage(network, folder)
        stage.start()
        yield stage
