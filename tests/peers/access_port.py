"""An access port of a switch: what its host sends goes into the trunk with a tag, what comes with that tag goes to it.

    [zone]  eth0 (untagged) ---+
                               +--- trunk port [firewall]
    [zone]  wire0 (as it is) --+

For kernels without VLAN devices: TAP devices in two network namespaces, both held by this process. `wire0` is the cable
itself, by which a test sends frames with whatever tags it likes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import sys

from tests.system.hands import enter

_SET_INTERFACE = 0x400454CA  # TUNSETIFF (linux/if_tun.h)
_TAP, _NO_HEADER = 0x0002, 0x1000  # IFF_TAP, IFF_NO_PI
_ADDRESSES = 12  # octets of a frame in front of its tag or EtherType
_ID = 0x0FFF  # of a tag's second half; the rest is priority (IEEE 802.1Q, 9.6)


def tap(name: str) -> int:
    """Make a TAP device in the namespace that this thread is in; gives its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _TAP | _NO_HEADER))
    return descriptor


def main(firewall: str, port: str, vlan: str) -> None:
    """Run in the zone's namespace. `firewall`: the namespace of the trunk's `port`; `vlan`: the id."""
    tag = b"\x81\x00" + int(vlan).to_bytes(2, "big")
    host, wire = tap("eth0"), tap("wire0")
    enter(firewall)
    trunk = tap(port)
    print("ready", flush=True)
    while True:
        for ready in select.select([host, wire, trunk], [], [])[0]:
            frame = os.read(ready, 65536)
            if ready == host:
                _write(trunk, frame[:_ADDRESSES] + tag + frame[_ADDRESSES:])
            elif ready == wire:
                _write(trunk, frame)
            else:
                _write(wire, frame)
                if frame[12:14] == tag[:2] and int.from_bytes(frame[14:16], "big") & _ID == int(vlan):
                    _write(host, frame[:_ADDRESSES] + frame[_ADDRESSES + 4 :])


def _write(descriptor: int, frame: bytes) -> None:
    with contextlib.suppress(OSError):  # the device is not up yet, as a cable may not be
        os.write(descriptor, frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
