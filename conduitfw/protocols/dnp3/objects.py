"""Object headers (IEEE 1815-2012, 4.2.2.7): group, variation, qualifier, and a range or count.

So far only what tells a plain read: one that names objects and brings none of its own.
"""

from __future__ import annotations

# By qualifier: octets of the range or count behind it, where no object data and no indexes follow in a
# read (prefix code 0 and a range code that is a start-stop pair, "all", or a count); else -1.
_PLAIN_QUALIFIERS = {0x00: 2, 0x01: 4, 0x02: 8, 0x06: 0, 0x07: 1, 0x08: 2, 0x09: 4}
_RANGE_OCTETS = tuple(_PLAIN_QUALIFIERS.get(qualifier, -1) for qualifier in range(256))
_HEADER_OCTETS = 3


def only_names_objects(data: bytes, at: int, end: int) -> bool:
    """Whether data[at:end] is whole object headers with nothing chosen freely behind them.

    Index lists (0x17, 0x28) and free format (0x5B) are well formed in a read, but they carry octets of
    the master's choice; such a read goes on alone (tcp-rules.md, 6).
    """
    while at < end:
        if end - at < _HEADER_OCTETS:
            return False
        octets = _RANGE_OCTETS[data[at + 2]]
        if octets < 0:
            return False
        at += _HEADER_OCTETS + octets
    return at == end
