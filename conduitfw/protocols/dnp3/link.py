"""The data link layer (IEEE 1815-2012, 9.2): frames, their CRCs, and what a control octet means.

    05 64 | LENGTH | CONTROL | DESTINATION | SOURCE | CRC | up to 16 octets of user data | CRC | ...

LENGTH counts control, addresses and user data, but no CRC. Everything of two octets is little-endian.
"""

from __future__ import annotations

from array import array
from struct import Struct

from conduitfw.reasons import Malformed, Reason

HEADER_SIZE = 10
MAX_FRAME = 292
BLOCK = 16

DIR, PRM, FCB, FCV = 0x80, 0x40, 0x20, 0x10  # DIR: set in frames of a master. FCV is DFC where PRM is clear

# Functions as the catalogue numbers them: application functions are 0 to 255.
PRIMARY, SECONDARY = 0x100, 0x110
RESET_LINK_STATES = PRIMARY | 0
TEST_LINK_STATES = PRIMARY | 2
CONFIRMED_USER_DATA = PRIMARY | 3
UNCONFIRMED_USER_DATA = PRIMARY | 4
REQUEST_LINK_STATUS = PRIMARY | 9
ACK = SECONDARY | 0
NACK = SECONDARY | 1
LINK_STATUS = SECONDARY | 11
NOT_SUPPORTED = SECONDARY | 15

# Addresses (IEEE 1815-2012, 9.2.4.1.3 and .4): nobody's from here on.
FIRST_RESERVED_ADDRESS = 0xFFF0
SELF_ADDRESS = 0xFFFC
FIRST_BROADCAST_ADDRESS = 0xFFFD

_WITH_FCV = frozenset((TEST_LINK_STATES, CONFIRMED_USER_DATA))
_PRIMARIES = frozenset(
    (RESET_LINK_STATES, TEST_LINK_STATES, CONFIRMED_USER_DATA, UNCONFIRMED_USER_DATA, REQUEST_LINK_STATUS)
)
_SECONDARIES = frozenset((ACK, NACK, LINK_STATUS, NOT_SUPPORTED))


def _reading(control: int) -> int | Reason:
    """What a control octet (DIR aside) says: its function, or what is wrong with it."""
    code = control & 0x0F
    if not control & PRM:
        if SECONDARY | code not in _SECONDARIES:
            return Reason.DNP3_LINK_FUNCTION
        return Reason.DNP3_LINK_CONTROL if control & FCB else SECONDARY | code
    if PRIMARY | code not in _PRIMARIES:
        return Reason.DNP3_LINK_FUNCTION
    counted = PRIMARY | code in _WITH_FCV
    return PRIMARY | code if bool(control & FCV) is counted else Reason.DNP3_LINK_CONTROL


_READINGS = tuple(_reading(control) for control in range(128))
# By control octet without DIR: the function, or -1; and then why.
FUNCTIONS = tuple(reading if isinstance(reading, int) else -1 for reading in _READINGS)
REFUSALS = tuple(None if isinstance(reading, int) else reading for reading in _READINGS)

# By LENGTH: octets of the whole frame on the wire; 0 where LENGTH is too small.
_SIZES = array(
    "H",
    (
        0 if length < 5 else HEADER_SIZE + (length - 5) + 2 * ((length - 5 + BLOCK - 1) // BLOCK)
        for length in range(256)
    ),
)


def _octet_table() -> array[int]:
    """CRC-16/DNP: polynomial 0x3D65, reflected (IEEE 1815-2012, 9.2.5)."""
    table = array("H")
    for octet in range(256):
        register = octet
        for _ in range(8):
            register = (register >> 1) ^ 0xA6BC if register & 1 else register >> 1
        table.append(register)
    return table


_OCTETS = _octet_table()
# The register is 16 bits wide, so two octets replace all of it: one look-up takes both. The CRC
# goes on the wire inverted and low octet first: register ^ CRC is 0xFFFF exactly where it is right.
# Packed: as numbers of Python's the table would be 2.4 MB, and each look-up a miss in the caches.
_WORDS = array(
    "H", (_OCTETS[(_OCTETS[word & 0xFF] ^ (word >> 8)) & 0xFF] ^ (_OCTETS[word & 0xFF] >> 8) for word in range(65536))
)

_HEADER = Struct("<5H")
_FIXED = Struct("<BBBBHH")  # the same without its CRC
_FULL_BLOCK = Struct("<9H")
_LAST_BLOCKS = tuple(Struct(f"<{size // 2}H{size % 2}BH") for size in range(BLOCK))
_COMPILED = not __file__.endswith(".py")
_HEADER_SIZE, _BLOCK = HEADER_SIZE, BLOCK
_START = 0x6405
_AFTER_START = _WORDS[_START]


def crc(data: bytes) -> int:
    """The CRC of any octets, as it stands on the wire when written low octet first."""
    register = 0
    for octet in data:
        register = (register >> 8) ^ _OCTETS[(register ^ octet) & 0xFF]
    return register ^ 0xFFFF


def build(control: int, destination: int, source: int, user: bytes) -> bytes:
    """A frame with its CRCs."""
    header = _FIXED.pack(0x05, 0x64, 5 + len(user), control, destination, source)
    blocks = [header, *(user[at : at + BLOCK] for at in range(0, len(user), BLOCK))]
    return b"".join(block + crc(block).to_bytes(2, "little") for block in blocks)


def frame(data: bytes, start: int, end: int) -> int:
    """The size in octets of the frame that begins at `start`; 0 where more octets are needed to tell.

    Raises Malformed as soon as the octets present cannot begin a frame: start octets, a LENGTH under 5,
    or the header's CRC.
    """
    if end - start < _HEADER_SIZE:
        return _beginning(data, start, end)
    if _COMPILED:
        first, second = u16_low(data, start), u16_low(data, start + 2)  # type: ignore # noqa: F821
        right = has_crc(_WORDS, _OCTETS, data, start, 8)  # type: ignore # noqa: F821
    else:
        words = _WORDS
        first, second, destination, source, check = _HEADER.unpack_from(data, start)
        right = words[words[words[_AFTER_START ^ second] ^ destination] ^ source] ^ check == 0xFFFF
    if first != _START:
        raise Malformed(Reason.DNP3_START)
    size: int = _SIZES[second & 0xFF]
    if size == 0:
        raise Malformed(Reason.DNP3_LENGTH)
    if not right:
        raise Malformed(Reason.DNP3_HEADER_CRC)
    return size


def _beginning(data: bytes, start: int, end: int) -> int:
    if (end > start and data[start] != 0x05) or (end > start + 1 and data[start + 1] != 0x64):
        raise Malformed(Reason.DNP3_START)
    if end > start + 2 and data[start + 2] < 5:
        raise Malformed(Reason.DNP3_LENGTH)
    return 0


def blocks_are_right(data: bytes, at: int, user: int) -> bool:
    """Whether every CRC of `user` octets of user data, in blocks from `at` on, is right."""
    if _COMPILED:
        while user > 0:
            size = user if user < _BLOCK else _BLOCK
            if not has_crc(_WORDS, _OCTETS, data, at, size):  # type: ignore # noqa: F821
                return False
            at += _BLOCK + 2
            user -= _BLOCK
        return True
    words = _WORDS
    while user >= BLOCK:
        a, b, c, d, e, f, g, h, check = _FULL_BLOCK.unpack_from(data, at)
        register = words[words[words[words[words[words[words[words[a] ^ b] ^ c] ^ d] ^ e] ^ f] ^ g] ^ h]
        if register ^ check != 0xFFFF:
            return False
        at += BLOCK + 2
        user -= BLOCK
    if user == 0:
        return True
    *whole, check = _LAST_BLOCKS[user].unpack_from(data, at)
    register = 0
    if user & 1:
        octet = whole.pop()
        for word in whole:
            register = words[register ^ word]
        register = (register >> 8) ^ _OCTETS[(register ^ octet) & 0xFF]
    else:
        for word in whole:
            register = words[register ^ word]
    return bool(register ^ check == 0xFFFF)


def user_data(data: bytes, start: int, user: int) -> bytes:
    """The `user` octets of user data of the frame at `start`, without the CRCs between them."""
    if _COMPILED:
        return without_crcs(data, start + _HEADER_SIZE, user)  # type: ignore # noqa: F821
    at = start + HEADER_SIZE
    if user <= BLOCK:
        return data[at : at + user]
    pieces = []
    while user > 0:
        pieces.append(data[at : at + min(user, BLOCK)])
        at += BLOCK + 2
        user -= BLOCK
    return b"".join(pieces)
