"""SELECT before OPERATE (IEEE 1815-2012, 4.4.4): what was selected, and whether an OPERATE is for the same.

A station compares a checksum of 16 bits; a made-up OPERATE of another point can have the same one. Here a keyed-
length cryptographic digest stands for the octets, so that nothing has to be kept of a fragment of 2,048.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

DIGEST_SIZE = 16
SELECT, OPERATE = 3, 4
SEQUENCE = 0x0F
REMEMBERED = 4  # outstations behind one connection that may have something selected

PACKED = Struct(f"<IBd{DIGEST_SIZE}s")


def digest(before: bytes, octets: bytes, at: int) -> bytes:
    """Of a fragment's objects so far (b"": none yet) and those in octets[at:], the next segment's."""
    return blake2b(before + octets[at:], digest_size=DIGEST_SIZE).digest()


class Selection:
    """The last SELECT that was sent on to an outstation. An OPERATE uses it up."""

    __slots__ = ("digest", "pair", "sent", "sequence")

    def __init__(self, pair: int, sequence: int, sent: float, digest: bytes) -> None:
        self.pair = pair  # master << 16 | outstation
        self.sequence = sequence  # of the application control octet
        self.sent = sent  # seconds
        self.digest = digest

    def fits(self, sequence: int, digest: bytes) -> bool:
        """Whether an OPERATE with this sequence number is for the same objects, octet by octet."""
        return sequence == (self.sequence + 1) & SEQUENCE and digest == self.digest

    def pack(self) -> bytes:
        """In `PACKED.size` bytes."""
        return PACKED.pack(self.pair, self.sequence, self.sent, self.digest)
