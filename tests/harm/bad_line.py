"""The demo's two zones, with a relay in the wire between the SCADA zone and the bridge.

    [scada: eth0 -- inner ~ relay ~ outer] --- scada0 [fw: bridge br0] cell0 --- eth0  [cell]

`inner` and `outer` stand in the SCADA zone's own namespace, without addresses, ARP and IPv6: its IP stack takes nothing
from them, and what belongs to the zone goes away with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from conduitfw.demo.network import CELL, SCADA, ZONES, TwoZones
from tests.system.tagged import TaggedZones

HERE = Path(__file__).parent
# The kernel leaves checksums to the card, and so unfinished in what a raw socket reads: SIOCETHTOOL, ETHTOOL_STXCSUM.
# Without them there is no segmentation offload either. It says what ETHTOOL_GTXCSUM gives afterwards.
_OFFLOADS_OFF = """
import array, fcntl, socket, struct
for command in (0x17, 0x16):
    value = array.array("B", struct.pack("II", command, 0))
    request = struct.pack("16sP", b"eth0", value.buffer_info()[0])
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
print(struct.unpack("II", value)[1])
"""


class BadLine(TwoZones):
    """Two zones, and a line between them that loses, repeats and delays what it is told to."""

    def _build(self) -> None:
        super()._build()
        self._ip(SCADA, "link", "set", "eth0", "down")
        self._ip(SCADA, "link", "set", "eth0", "name", "outer")
        self._ip(SCADA, "address", "flush", "dev", "outer")
        self._ip(SCADA, "link", "add", "eth0", "type", "veth", "peer", "name", "inner")
        for name in ("inner", "outer"):
            self.sysctl(SCADA, f"net.ipv6.conf.{name}.disable_ipv6", "1")
            self._ip(SCADA, "link", "set", name, "arp", "off", "up")
        _, _, addresses = ZONES[SCADA]
        for address in addresses:
            self._ip(SCADA, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        self._ip(SCADA, "link", "set", "eth0", "up")
        networks, _, _ = ZONES[CELL]
        for network in networks:
            first = next(each for each in addresses if (":" in each) == (":" in network)).split("/")[0]
            self._ip(SCADA, "route", "add", network, "dev", "eth0", "src", first)
        for zone in (SCADA, CELL):
            said = self.run(zone, [sys.executable, "-c", _OFFLOADS_OFF]).stdout.strip()
            if said != "0":
                raise OSError(f"checksum offload stays on in {zone}")
        self._relay = self.begin(SCADA, "relay.py", "inner", "outer")

    def begin(self, zone: str, program: str, *words: str) -> Any:
        """Start a program, or a script beside this file, in a zone; it is ready when this returns."""
        command = [sys.executable, str(HERE / program)] if program.endswith(".py") else [program]
        process = self.start(zone, [*command, *words], stderr=None)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise OSError(f"{program} did not start")
        return process

    def be_bad(self, seed: int, *, loss: float = 0.0, twice: float = 0.0, delay: float = 0.0) -> dict[str, int]:
        """From now on; gives what the relay has done up to now."""
        self._relay.stdin.write(json.dumps({"seed": seed, "loss": loss, "twice": twice, "delay": delay}) + "\n")
        self._relay.stdin.flush()
        found = json.loads(self._relay.stdout.readline())
        assert isinstance(found, dict)
        return found


class TaggedBadLine(BadLine, TaggedZones):
    """The same with both zones behind access ports of a VLAN: the tag is put on between the bad line and the bridge."""
