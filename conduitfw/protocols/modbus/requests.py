"""Modbus requests, as a client sends them: for measuring, demo, tests and rehearsals; nothing of the packet path."""

from __future__ import annotations

import struct


def pdu(function: int, *words: int, data: bytes = b"") -> bytes:
    """A PDU: the function code, 16-bit fields, and what stands behind them."""
    return struct.pack(f">B{len(words)}H", function, *words) + data


def adu(body: bytes, transaction: int = 1, unit: int = 1) -> bytes:
    """The ADU around a PDU (MODBUS Messaging on TCP/IP V1.0b, 3.1.3)."""
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body
