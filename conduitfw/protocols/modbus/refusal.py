"""What we say in a server's name to a request that the policy denies (MODBUS Application Protocol V1.1b3, 7)."""

from __future__ import annotations

import struct

from conduitfw.protocols import Unit
from conduitfw.reasons import Reason

ILLEGAL_FUNCTION, ILLEGAL_DATA_ADDRESS, ILLEGAL_DATA_VALUE = 1, 2, 3
_CODES = {
    Reason.POINT: ILLEGAL_DATA_ADDRESS,
    Reason.OBJECT: ILLEGAL_DATA_ADDRESS,
    Reason.QUANTITY: ILLEGAL_DATA_VALUE,
    Reason.VALUE: ILLEGAL_DATA_VALUE,
    Reason.TAG_PART: ILLEGAL_DATA_VALUE,
    Reason.TAG_LIMIT: ILLEGAL_DATA_VALUE,
    Reason.TAG_STEP: ILLEGAL_DATA_VALUE,
    Reason.TAG_UNSEEN: ILLEGAL_DATA_VALUE,
}
_ADU = struct.Struct("!HHHBBB")


def refusal(data: bytes, start: int, end: int, unit: Unit, reason: Reason) -> bytes | None:
    """The exception response: 02 for an address, 03 for a value, else 01."""
    transaction_id = int.from_bytes(data[start : start + 2], "big")
    code = _CODES.get(reason, ILLEGAL_FUNCTION)
    return _ADU.pack(transaction_id, 0, 3, unit.address[0], unit.function | 0x80, code)
