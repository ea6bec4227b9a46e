"""What has killed workers, and is shut out, before anything looks into it.

A packet that kills when its flow's record is marked is counted in the record (flow.py). One that kills earlier, or
begins a flow and so has no record, is counted here, in memory that outlives the worker: by what the successor finds
in the dead one's hand. What begins a flow is shut out by its two ends, whatever its own port.

Workers also die by accident, with anything in hand. So deaths count only where they come close together, and in a TCP
flow only where they have the same place in the stream: who sends on what killed sends it again. Whoever sends something
else in between, or kills each time on a new flow, is told by the two ends alone, by more deaths in a quicker row.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

PATIENCE = 3  # deaths from which on it is no accident
CLOSE = 10.0  # seconds from one to the next, at most
# The same, whatever kills between two ends. Less than what is hopeless (pool.py): nobody is to bring that about.
PATIENCE_WITH_ENDS, CLOSE_WITH_ENDS = 6, 0.5
QUARANTINE_SECONDS = 60.0  # from the last one on
_TCP = 6
_TRANSPORTS = frozenset((6, 17))
_ENTRY = struct.Struct("=d B B 40s")  # last death, deaths, length of the name, name
_ENTRIES = 64
_ENDS = b"ends"  # in front of a name that is only counted


class Place(NamedTuple):
    """Where a packet goes. `key`: the flow table's (addresses and ports); `name`: without the source port."""

    key: bytes
    transport: int
    name: bytes
    sequence: bytes  # TCP's sequence number; b"" for UDP

    @property
    def source(self) -> str:
        """The address it comes from."""
        return str(ip_address(self.name[: (len(self.name) - 2) // 2]))

    @property
    def destination(self) -> str:
        """The address it goes to."""
        return str(ip_address(self.name[(len(self.name) - 2) // 2 : -2]))

    @property
    def destination_port(self) -> int:
        """The port it goes to."""
        return int.from_bytes(self.name[-2:], "big")


def place_of(packet: bytes) -> Place | None:
    """Where a packet goes, by its headers alone; None for one that has no such place. Looks at nothing else in it."""
    if len(packet) < 24:
        return None
    version = packet[0] >> 4
    if version == 4:
        at, transport, addresses = (packet[0] & 15) * 4, packet[9], packet[12:20]
    elif version == 6 and len(packet) >= 44:
        at, transport, addresses = 40, packet[6], packet[8:40]
    else:
        return None
    ports = packet[at : at + 4]
    if len(ports) < 4 or transport not in _TRANSPORTS:
        return None
    return Place(addresses + ports, transport, addresses + ports[2:], packet[at + 4 : at + 8] * (transport == _TCP))


class Quarantine:
    """Who is shut out. One worker writes at a time; bounded: the one that killed longest ago makes room."""

    def __init__(self, memory: memoryview, now: float) -> None:
        """`memory` of a slot: zeros, or what predecessors left in it."""
        self._memory = memory
        self._known: dict[bytes, tuple[int, float, int]] = {}  # name -> entry, last death, deaths
        self._free = []
        for entry in range(_ENTRIES):
            last, deaths, length, name = _ENTRY.unpack_from(memory, entry * _ENTRY.size)
            if deaths and now - last <= QUARANTINE_SECONDS:
                self._known[name[:length]] = (entry, last, deaths)
            else:
                self._free.append(entry)
        # Whether there is anything to ask `holds` about: the packet path looks at this first.
        self.active = bool(self._known)

    def blame_ends(self, place: Place, now: float) -> bool:
        """A worker died of something between two ends; gives whether that was once too often."""
        return self.blame(_ENDS + place.name, now, CLOSE_WITH_ENDS) >= PATIENCE_WITH_ENDS

    def blame(self, name: bytes, now: float, within: float = CLOSE) -> int:
        """A worker died of it; gives how many have by now. `name`: of the parts of a Place.

        `within`: seconds from one to the next; after more it is the first one again.
        """
        known = self._known.pop(name, None)
        if known is None and not self._free:
            oldest = min(self._known, key=lambda each: self._known[each][1])
            self._free.append(self._known.pop(oldest)[0])
        entry = known[0] if known is not None else self._free.pop()
        close = known is not None and now - known[1] <= within
        deaths = min(255, known[2] + 1) if known is not None and close else 1
        self._set(name, entry, now, deaths)
        return deaths

    def shut_out(self, name: bytes, now: float) -> None:
        """What has this name is to be dropped from now on."""
        while self.blame(name, now) < PATIENCE:
            pass

    def _set(self, name: bytes, entry: int, now: float, deaths: int) -> None:
        self._known[name] = (entry, now, deaths)
        _ENTRY.pack_into(self._memory, entry * _ENTRY.size, now, deaths, len(name), name)
        self.active = True

    def holds(self, name: bytes, now: float) -> bool:
        """Whether it is shut out."""
        known = self._known.get(name)
        return known is not None and known[2] >= PATIENCE and now - known[1] <= QUARANTINE_SECONDS

    def expire(self, now: float) -> None:
        """Forget what is over; called now and then."""
        for name, (entry, last, _) in list(self._known.items()):
            if now - last > QUARANTINE_SECONDS:
                del self._known[name]
                self._free.append(entry)
        self.active = bool(self._known)
