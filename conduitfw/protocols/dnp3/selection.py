"""SELECT before OPERATE (IEEE 1815-2012, 4.4.4): what was selected, and whether an OPERATE is for the same.

A station compares a checksum of 16 bits; a made-up OPERATE of another point can have the same one. Here the objects,
octet for octet and however they were cut into frames, stand as one large number modulo a prime of 127 bits that
nobody outside knows: two different strings agree for hardly any such prime, and which one it is cannot be asked. So
nothing has to be kept of a fragment of 2,048 octets.
"""

from __future__ import annotations

import secrets
from struct import Struct

DIGEST_SIZE = 16
SELECT, OPERATE = 3, 4
SEQUENCE = 0x0F
REMEMBERED = 4  # outstations behind one connection that may have something selected

PACKED = Struct(f"<IBd{DIGEST_SIZE}s")


def _is_prime(number: int) -> bool:
    """Miller and Rabin, 24 rounds: wrong once in 2^48 at the most, and no harm then."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(24):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _secret_prime() -> int:
    while not _is_prime(number := secrets.randbits(127) | 1 << 126 | 1):
        pass
    return number


# Workers are forked from the process that imports this, so they agree; after a new start nothing is selected.
_PRIME = _secret_prime()


def digest(before: bytes, octets: bytes, at: int) -> bytes:
    """Of a fragment's objects so far (b"": none yet) and those in octets[at:], the next segment's."""
    # It begins at 1, so that leading zeros count.
    number = int.from_bytes(before, "little") if before else 1
    number = ((number << 8 * (len(octets) - at)) + int.from_bytes(octets[at:], "big")) % _PRIME
    return number.to_bytes(DIGEST_SIZE, "little")


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
