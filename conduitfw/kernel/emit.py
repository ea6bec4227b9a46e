"""Packets of our own, onto the wire: acknowledgements, resets, what had to wait.

On a bridge they leave by a packet socket on the port, as a frame in the other side's name, and meet no
chain. On a router they leave by a raw IP socket, marked as decided. Nothing here blocks.
"""

from __future__ import annotations

import socket
from typing import Protocol

from conduitfw.denial import Emission
from conduitfw.kernel import marks

_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_VLAN = b"\x81\x00"
_SO_MARK = 36


class Emitter(Protocol):
    """Sends one emission. False where it could not be sent: the caller counts it."""

    def send(self, emission: Emission) -> bool: ...


class BridgeEmitter:
    """Sends frames on the bridge's ports."""

    def __init__(self) -> None:
        """Open the packet socket; it receives nothing. Raises OSError without CAP_NET_RAW."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._names: dict[int, str] = {}

    def send(self, emission: Emission) -> bool:
        """Send it where both MAC addresses and the port are known."""
        if not emission.ifindex or len(emission.destination_mac) != 6 or len(emission.source_mac) != 6:
            return False
        tag = _VLAN + emission.vlan.to_bytes(2, "big") if emission.vlan else b""
        ethertype = _ETHERTYPES[emission.packet[0] >> 4]
        frame = b"".join((emission.destination_mac, emission.source_mac, tag, ethertype, emission.packet))
        try:
            name = self._names.get(emission.ifindex)
            if name is None:
                name = self._names[emission.ifindex] = socket.if_indextoname(emission.ifindex)
            self._socket.sendto(frame, (name, 0))
        except OSError:
            self._names.pop(emission.ifindex, None)  # the port may have come back under another name
            return False
        return True


class RouterEmitter:
    """Sends IP packets, which the machine routes."""

    def __init__(self) -> None:
        """Open the raw sockets. Raises OSError without CAP_NET_RAW."""
        self._sockets = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }
        for each in self._sockets.values():
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, _SO_MARK, marks.VERDICT)

    def send(self, emission: Emission) -> bool:
        """Send it to its IP destination."""
        packet = emission.packet
        version = packet[0] >> 4
        address = packet[16:20] if version == 4 else packet[24:40]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        try:
            self._sockets[version].sendto(packet, (socket.inet_ntop(family, address), 0))
        except OSError:
            return False
        return True
