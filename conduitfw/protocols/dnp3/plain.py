"""Objects of the usual kinds, of which an answer is made: read at once, without saying what they are (objects.py does).

Every header has to be followed by all of its objects, of a size that the variation says, and the last by nothing:
such an answer conforms, whatever it tells. Of all else nothing is said here, and objects.py reads it.
"""

from __future__ import annotations

from array import array

from conduitfw.protocols.dnp3.catalogue import LAYOUTS

_VARIATIONS = 16  # from here on a variation is looked at by objects.py
_PACKED = 0x8000
# By group and variation: octets of each object, or _PACKED and its bits; 0: nothing is said of it here, as of all whose
# size stands in front of them.
_LAYOUT = array("H", bytes(2 * 256 * _VARIATIONS))
for _key, _layout in LAYOUTS.items():
    if _key & 0xFF < _VARIATIONS and not _layout.string:
        _LAYOUT[(_key >> 8) * _VARIATIONS + (_key & 0xFF)] = _PACKED | _layout.bits if _layout.bits else _layout.octets


def are_whole(octets: bytes, at: int) -> bool:
    """Whether octets[at:], the objects of a response that is whole, are as said above. False: nobody knows yet."""
    end = len(octets)
    while at < end:
        if end - at < 5:  # no header with an object is shorter
            return False
        variation, qualifier = octets[at + 1], octets[at + 2]
        if variation >= _VARIATIONS:
            return False
        size = _LAYOUT[octets[at] * _VARIATIONS + variation]
        prefix = 0
        if qualifier == 0x00:  # a range of two octets
            count = octets[at + 4] - octets[at + 3] + 1
            at += 5
        elif qualifier == 0x01:  # of four
            if end - at < 7:
                return False
            count = (octets[at + 5] | octets[at + 6] << 8) - (octets[at + 3] | octets[at + 4] << 8) + 1
            at += 7
        elif qualifier == 0x07 or qualifier == 0x17:  # a count of one octet, then indexes of as many
            count, prefix = octets[at + 3], qualifier >> 4
            at += 4
        elif qualifier == 0x08 or qualifier == 0x28:  # of two
            count, prefix = octets[at + 3] | octets[at + 4] << 8, qualifier >> 4
            at += 5
        else:
            return False
        if size == 0 or count < 1:
            return False
        if size < _PACKED:
            at += count * (size + prefix)
        elif prefix:
            return False
        else:
            at += (count * (size - _PACKED) + 7) >> 3
    return at == end
