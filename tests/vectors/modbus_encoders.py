"""ADUs by two encoders that are not ours: pymodbus and scapy. Both have the same methods.

`t` is the transaction id, `u` the unit id. scapy does not mind quantities that no function allows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu import bit_message as bits_of
from pymodbus.pdu import diag_message as diagnostics_of
from pymodbus.pdu import file_message as files_of
from pymodbus.pdu import mei_message as interface_of
from pymodbus.pdu import other_message as other_of
from pymodbus.pdu import register_message as registers_of
from scapy.contrib import modbus as layer
from scapy.layers.inet import TCP
from scapy.packet import Raw, split_layers

from tests.vectors.case import Octets

# Importing the layer has every TCP packet of port 502 dissected as Modbus, here and in all other tests.
for port in ("sport", "dport"):
    split_layers(TCP, layer.ModbusADURequest, **{port: 502})
    split_layers(TCP, layer.ModbusADUResponse, **{port: 502})

File = tuple[int, int, int]  # file, record, registers
Written = tuple[int, int, Sequence[int]]  # file, record, values


class Pymodbus:
    """pymodbus' PDUs in its socket framer."""

    _framer = FramerSocket(DecodePDU(True))

    def _adu(self, pdu: Any, t: int, u: int) -> Octets:
        return Octets(self._framer.encode(bytes((pdu.function_code,)) + pdu.encode(), u, t), "pymodbus")

    def read(self, function: int, address: int, count: int, t: int = 1, u: int = 1) -> Octets:
        """1 to 4."""
        kinds = {
            1: bits_of.ReadCoilsRequest,
            2: bits_of.ReadDiscreteInputsRequest,
            3: registers_of.ReadHoldingRegistersRequest,
            4: registers_of.ReadInputRegistersRequest,
        }
        return self._adu(kinds[function](address=address, count=count), t, u)

    def bits(self, function: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 1 and 2."""
        kind = bits_of.ReadCoilsResponse if function == 1 else bits_of.ReadDiscreteInputsResponse
        return self._adu(kind(bits=[bool(value) for value in values]), t, u)

    def registers(self, function: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 3, 4 and 23."""
        kinds = {
            3: registers_of.ReadHoldingRegistersResponse,
            4: registers_of.ReadInputRegistersResponse,
            23: registers_of.ReadWriteMultipleRegistersResponse,
        }
        return self._adu(kinds[function](registers=values), t, u)

    def write_coil(self, address: int, value: bool, t: int = 1, u: int = 1) -> Octets:
        """5, and its answer."""
        return self._adu(bits_of.WriteSingleCoilRequest(address=address, bits=[value]), t, u)

    def write_register(self, address: int, value: int, t: int = 1, u: int = 1) -> Octets:
        """6, and its answer."""
        return self._adu(registers_of.WriteSingleRegisterRequest(address=address, registers=[value]), t, u)

    def write_coils(self, address: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """15."""
        bits = [bool(value) for value in values]
        return self._adu(bits_of.WriteMultipleCoilsRequest(address=address, bits=bits), t, u)

    def write_registers(self, address: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """16."""
        return self._adu(registers_of.WriteMultipleRegistersRequest(address=address, registers=values), t, u)

    def written(self, function: int, address: int, count: int, t: int = 1, u: int = 1) -> Octets:
        """The answer of 15 and 16."""
        kinds = {15: bits_of.WriteMultipleCoilsResponse, 16: registers_of.WriteMultipleRegistersResponse}
        return self._adu(kinds[function](address=address, count=count), t, u)

    def mask(self, address: int, and_mask: int, or_mask: int, t: int = 1, u: int = 1) -> Octets:
        """22, and its answer."""
        return self._adu(
            registers_of.MaskWriteRegisterRequest(address=address, and_mask=and_mask, or_mask=or_mask), t, u
        )

    def read_write(self, read: int, count: int, address: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """23."""
        pdu = registers_of.ReadWriteMultipleRegistersRequest(
            read_address=read, read_count=count, write_address=address, write_registers=values
        )
        return self._adu(pdu, t, u)

    def fifo(self, pointer: int, t: int = 1, u: int = 1) -> Octets:
        """24."""
        return self._adu(files_of.ReadFifoQueueRequest(address=pointer), t, u)

    def queue(self, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 24."""
        return self._adu(files_of.ReadFifoQueueResponse(values=list(values)), t, u)

    def read_files(self, *groups: File, t: int = 1, u: int = 1) -> Octets:
        """20."""
        records = [
            files_of.FileRecord(file_number=file, record_number=record, record_length=2 * count)
            for file, record, count in groups
        ]
        return self._adu(files_of.ReadFileRecordRequest(records=records), t, u)

    def files(self, *groups: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 20."""
        records = [files_of.FileRecord(record_data=_words(values)) for values in groups]
        return self._adu(files_of.ReadFileRecordResponse(records=records), t, u)

    def write_files(self, *groups: Written, t: int = 1, u: int = 1) -> Octets:
        """21, and its answer."""
        records = [
            files_of.FileRecord(file_number=file, record_number=record, record_data=_words(values))
            for file, record, values in groups
        ]
        return self._adu(files_of.WriteFileRecordRequest(records=records), t, u)

    def diagnostics(self, sub_function: int, value: int = 0, t: int = 1, u: int = 1) -> Octets:
        """8, and its answer."""
        kinds = {
            kind.sub_function_code: kind
            for kind in vars(diagnostics_of).values()
            if isinstance(kind, type) and issubclass(kind, diagnostics_of.DiagnosticBase)
            if kind.__name__.endswith("Request")
        }
        pdu = kinds[sub_function]()
        pdu.message = value
        return self._adu(pdu, t, u)

    def identification(self, code: int, first: int = 0, t: int = 1, u: int = 1) -> Octets:
        """43 with MEI type 14."""
        return self._adu(interface_of.ReadDeviceInformationRequest(read_code=code, object_id=first), t, u)

    def identified(self, code: int, objects: dict[int, bytes], t: int = 1, u: int = 1) -> Octets:
        """Its answer."""
        return self._adu(interface_of.ReadDeviceInformationResponse(read_code=code, information=objects), t, u)

    def exception_status(self, t: int = 1, u: int = 1) -> Octets:
        """7."""
        return self._adu(other_of.ReadExceptionStatusRequest(), t, u)

    def server_id(self, t: int = 1, u: int = 1) -> Octets:
        """17."""
        return self._adu(other_of.ReportDeviceIdRequest(), t, u)

    def refused(self, function: int, code: int, t: int = 1, u: int = 1) -> Octets:
        """An exception response."""
        return self._adu(ExceptionResponse(function, code), t, u)


class Scapy:
    """scapy's layer, which computes MBAP lengths and byte counts."""

    def _adu(self, pdu: Any, t: int, u: int) -> Octets:
        return Octets(bytes(layer.ModbusADURequest(transId=t, unitId=u) / pdu), "scapy")

    def by_hand(self, what: str, pdu: bytes, t: int = 1, u: int = 1) -> Octets:
        """scapy's MBAP header before a PDU for which there is no encoder."""
        return Octets(self._adu(Raw(pdu), t, u).data, f"scapy, changed by hand: {what}")

    def read(self, function: int, address: int, count: int, t: int = 1, u: int = 1) -> Octets:
        """1 to 4."""
        kinds = {
            1: layer.ModbusPDU01ReadCoilsRequest,
            2: layer.ModbusPDU02ReadDiscreteInputsRequest,
            3: layer.ModbusPDU03ReadHoldingRegistersRequest,
            4: layer.ModbusPDU04ReadInputRegistersRequest,
        }
        return self._adu(kinds[function](startAddr=address, quantity=count), t, u)

    def bits(self, function: int, octets: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 1 and 2, octet by octet."""
        if function == 1:
            return self._adu(layer.ModbusPDU01ReadCoilsResponse(coilStatus=octets), t, u)
        return self._adu(layer.ModbusPDU02ReadDiscreteInputsResponse(inputStatus=octets), t, u)

    def registers(self, function: int, values: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """The answer of 3, 4 and 23."""
        kinds = {
            3: layer.ModbusPDU03ReadHoldingRegistersResponse,
            4: layer.ModbusPDU04ReadInputRegistersResponse,
            23: layer.ModbusPDU17ReadWriteMultipleRegistersResponse,
        }
        return self._adu(kinds[function](registerVal=list(values)), t, u)

    def write_coil(self, address: int, value: bool, t: int = 1, u: int = 1) -> Octets:
        """5, and its answer."""
        pdu = layer.ModbusPDU05WriteSingleCoilRequest(outputAddr=address, outputValue=0xFF00 if value else 0)
        return self._adu(pdu, t, u)

    def write_register(self, address: int, value: int, t: int = 1, u: int = 1) -> Octets:
        """6, and its answer."""
        return self._adu(layer.ModbusPDU06WriteSingleRegisterRequest(registerAddr=address, registerValue=value), t, u)

    def write_coils(self, address: int, count: int, octets: Sequence[int], t: int = 1, u: int = 1) -> Octets:
        """15, octet by octet."""
        pdu = layer.ModbusPDU0FWriteMultipleCoilsRequest(
            startAddr=address, quantityOutput=count, outputsValue=list(octets)
        )
        return self._adu(pdu, t, u)

    def write_registers(self, address: int, values: Sequence[int], t: int = 1, u: int = 1, **fields: int) -> Octets:
        """16. `fields`: of scapy's, to contradict the values (quantityRegisters, byteCount)."""
        pdu = layer.ModbusPDU10WriteMultipleRegistersRequest(startAddr=address, outputsValue=list(values), **fields)
        return self._adu(pdu, t, u)

    def written(self, function: int, address: int, count: int, t: int = 1, u: int = 1) -> Octets:
        """The answer of 15 and 16."""
        if function == 15:
            return self._adu(layer.ModbusPDU0FWriteMultipleCoilsResponse(startAddr=address, quantityOutput=count), t, u)
        pdu = layer.ModbusPDU10WriteMultipleRegistersResponse(startAddr=address, quantityRegisters=count)
        return self._adu(pdu, t, u)

    def mask(self, address: int, and_mask: int, or_mask: int, t: int = 1, u: int = 1) -> Octets:
        """22, and its answer."""
        pdu = layer.ModbusPDU16MaskWriteRegisterRequest(refAddr=address, andMask=and_mask, orMask=or_mask)
        return self._adu(pdu, t, u)

    def read_write(
        self, read: int, count: int, address: int, values: Sequence[int], t: int = 1, u: int = 1, **fields: int
    ) -> Octets:
        """23. `fields`: of scapy's, to contradict the values."""
        pdu = layer.ModbusPDU17ReadWriteMultipleRegistersRequest(
            readStartingAddr=read,
            readQuantityRegisters=count,
            writeStartingAddr=address,
            writeRegistersValue=list(values),
            **fields,
        )
        return self._adu(pdu, t, u)

    def fifo(self, pointer: int, t: int = 1, u: int = 1) -> Octets:
        """24."""
        return self._adu(layer.ModbusPDU18ReadFIFOQueueRequest(FIFOPointerAddr=pointer), t, u)

    def read_files(self, *groups: File, t: int = 1, u: int = 1) -> Octets:
        """20."""
        pdu = layer.ModbusPDU14ReadFileRecordRequest()
        for file, record, count in groups:
            pdu = pdu / layer.ModbusReadFileSubRequest(fileNumber=file, recordNumber=record, recordLength=count)
        return self._adu(pdu, t, u)

    def write_files(self, *groups: Written, t: int = 1, u: int = 1) -> Octets:
        """21, and its answer."""
        pdu = layer.ModbusPDU15WriteFileRecordRequest()
        for file, record, values in groups:
            pdu = pdu / layer.ModbusWriteFileSubRequest(
                fileNumber=file, recordNumber=record, recordLength=len(values), recordData=list(values)
            )
        return self._adu(pdu, t, u)

    def diagnostics(self, sub_function: int, values: Sequence[int] = (0,), t: int = 1, u: int = 1) -> Octets:
        """8, and its answer."""
        return self._adu(layer.ModbusPDU08DiagnosticsRequest(subFunc=sub_function, data=list(values)), t, u)

    def identification(self, code: int, first: int = 0, t: int = 1, u: int = 1) -> Octets:
        """43 with MEI type 14."""
        return self._adu(layer.ModbusPDU2B0EReadDeviceIdentificationRequest(readCode=code, objectId=first), t, u)

    def refused(self, function: int, code: int, t: int = 1, u: int = 1) -> Octets:
        """An exception response."""
        pdu = layer.ModbusPDU03ReadHoldingRegistersError(funcCode=function | 0x80, exceptCode=code)
        return self._adu(pdu, t, u)


def _words(values: Sequence[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


# --- numbers in registers, and ADUs that are cut or padded ---------------------------------------------------


def long(value: int) -> list[int]:
    """A 32-bit number as two registers, most significant first."""
    return list(struct.unpack(">HH", struct.pack(">i" if value < 0 else ">I", value)))


def real(value: float) -> list[int]:
    """A float32 as two registers, most significant first."""
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def cut(octets: Octets, less: int) -> Octets:
    """Without its last octets; the MBAP length says so."""
    data = octets.data[:-less]
    return octets.changed(f"{less} octets cut off", {5: octets.data[5] - less}, data)


def longer(octets: Octets, more: bytes) -> Octets:
    """With octets behind its PDU; the MBAP length counts them."""
    return octets.changed("octets put behind, and counted", {5: octets.data[5] + len(more)}, octets.data + more)
