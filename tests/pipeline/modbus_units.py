"""Modbus ADUs for the stream tests, made by pymodbus's framer: an encoder of another project."""

from __future__ import annotations

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.diag_message import ReturnQueryDataRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
)

_FRAMER = FramerSocket(DecodePDU(False))


def adu(pdu: ModbusPDU, transaction: int = 1, unit: int = 1) -> bytes:
    pdu.transaction_id, pdu.dev_id = transaction, unit
    return _FRAMER.buildFrame(pdu)


def read(transaction: int = 1, count: int = 2, address: int = 0) -> bytes:
    return adu(ReadHoldingRegistersRequest(address=address, count=count), transaction)


def read_answer(transaction: int = 1, count: int = 2) -> bytes:
    return adu(ReadHoldingRegistersResponse(registers=[7] * count), transaction)


def write(transaction: int = 1, registers: tuple[int, ...] = (1, 2, 3), address: int = 0) -> bytes:
    return adu(WriteMultipleRegistersRequest(address=address, registers=list(registers)), transaction)


def write_answer(transaction: int = 1, count: int = 3) -> bytes:
    return adu(WriteMultipleRegistersResponse(address=0, count=count), transaction)


def forbidden(transaction: int = 9) -> bytes:
    """Function 6, which the tests' policy does not name."""
    return adu(WriteSingleRegisterRequest(address=0, registers=[0xBEEF]), transaction)


def diagnostics(transaction: int = 8) -> bytes:
    return adu(ReturnQueryDataRequest(b"\x00\x01"), transaction)


def exception(transaction: int = 1, function: int = 3, code: int = 2) -> bytes:
    return adu(ExceptionResponse(function, code), transaction)


def carrying(inner: bytes, transaction: int = 2) -> bytes:
    """An allowed write whose data are a whole forbidden request (padded to registers)."""
    data = inner + b"\x00" * (len(inner) % 2)
    return write(transaction, tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)))
