"""The transport function (IEEE 1815-2012, 8): segments, one a frame, put together to fragments.

A segment is one header octet (FIN, FIR, a sequence number of 6 bits) and up to 249 octets of the fragment.
"""

from __future__ import annotations

from struct import Struct

FIN, FIR, SEQUENCE = 0x80, 0x40, 0x3F
MAX_FRAGMENT = 2048  # octets of a request (IEEE 1815-2012, 4.1)


class Fragment:
    """A fragment whose first segment has passed and whose last is still to come. It never changes."""

    __slots__ = ("control", "expected", "function", "length", "pair")

    def __init__(self, pair: int, expected: int, length: int, function: int, control: int) -> None:
        self.pair = pair  # master << 16 | outstation
        self.expected = expected  # sequence number of the next segment
        self.length = length  # octets so far
        self.function = function  # application function, from the first segment
        self.control = control  # application control octet, from the first segment

    def followed_by(self, octets: int) -> Fragment:
        """The same fragment with one more segment of that many octets."""
        return Fragment(
            self.pair, (self.expected + 1) & SEQUENCE, min(self.length + octets, 0xFFFF), self.function, self.control
        )

    def pack(self) -> bytes:
        """The fragment's state (never its octets), in `PACKED.size` bytes."""
        return PACKED.pack(self.pair, self.expected, self.length, self.function, self.control)


PACKED = Struct("<IBHBB")
