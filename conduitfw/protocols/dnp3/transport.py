"""The transport function (IEEE 1815-2012, 8): segments, one a frame, put together to fragments.

A segment is one header octet (FIN, FIR, a sequence number of 6 bits) and up to 249 octets of the fragment.
"""

from __future__ import annotations

from struct import Struct

from conduitfw.protocols import REFUSALS
from conduitfw.protocols.dnp3.objects import READING, Reading
from conduitfw.protocols.dnp3.objects import unpack as unpack_reading
from conduitfw.protocols.dnp3.selection import DIGEST_SIZE
from conduitfw.reasons import Reason

FIN, FIR, SEQUENCE = 0x80, 0x40, 0x3F
MAX_FRAGMENT = 2048  # octets of a request (IEEE 1815-2012, 4.1)


class Fragment:
    """A fragment whose first segment has passed and whose last is still to come. It never changes."""

    __slots__ = ("control", "digest", "expected", "function", "length", "pair", "reading", "refused")

    def __init__(
        self,
        pair: int,
        expected: int,
        length: int,
        function: int,
        control: int,
        reading: Reading,
        digest: bytes,
        refused: Reason | None = None,
    ) -> None:
        self.pair = pair  # master << 16 | outstation
        self.expected = expected  # sequence number of the next segment
        self.length = length  # octets so far
        self.function = function  # application function, from the first segment
        self.control = control  # application control octet, from the first segment
        self.reading = reading  # where its objects stand
        self.digest = digest  # of the objects so far, where it selects or operates; else b""
        self.refused = refused  # why one of its segments was taken out, and with it all that follow

    def followed_by(self, octets: int, reading: Reading, digest: bytes) -> Fragment:
        """The same fragment with one more segment of that many octets."""
        expected, length = (self.expected + 1) & SEQUENCE, min(self.length + octets, 0xFFFF)
        return Fragment(self.pair, expected, length, self.function, self.control, reading, digest, self.refused)

    def refused_for(self, reason: Reason) -> Fragment:
        """The same fragment, of which nothing goes on any more."""
        return Fragment(
            self.pair, self.expected, self.length, self.function, self.control, self.reading, self.digest, reason
        )

    def pack(self) -> bytes:
        """The fragment's state (never its octets), in `PACKED_SIZE` bytes."""
        head = _PACKED.pack(
            self.pair,
            self.expected,
            self.length,
            self.function,
            self.control,
            0 if self.refused is None else 1 + REFUSALS.index(self.refused),
            len(self.digest),
            self.digest,
        )
        return head + self.reading.pack()


_PACKED = Struct(f"<IBHBBBB{DIGEST_SIZE}s")
PACKED_SIZE = _PACKED.size + READING.size


def unpack(data: bytes, at: int) -> Fragment:
    """The fragment from `pack`'s bytes at `at`."""
    pair, expected, length, function, control, refused, size, digest = _PACKED.unpack_from(data, at)
    reading = unpack_reading(READING.unpack_from(data, at + _PACKED.size))
    why = REFUSALS[refused - 1] if refused else None
    return Fragment(pair, expected, length, function, control, reading, digest[:size], why)
