"""The servers of the demo: pymodbus and dnp3py, each with its own record of what reached it.

`python -m conduitfw.demo.servers modbus|dnp3 ADDRESS PORT RECORD` serves until it is told to end. RECORD
gets a line for every request: its function code. "ready" on standard output says that it listens.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Any

MODBUS_UNIT = 1
SETPOINT = 120  # address of the tag's first register
DNP3_OUTSTATION = 10


class Record:
    """One line for each request, as the server itself took it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def add(self, function: int) -> None:
        self._file.write(f"{function}\n")


async def modbus(address: str, port: int, record: Record) -> None:
    """A Modbus/TCP server with 1,000 registers and coils each; a set point of 42.0 stands in two of them."""
    from pymodbus.pdu import ModbusPDU
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    def trace(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            record.add(pdu.function_code)
        return pdu

    registers = [
        SimData(0, count=SETPOINT, values=17, datatype=DataType.REGISTERS),
        SimData(SETPOINT, values=42.0, datatype=DataType.FLOAT32),
        SimData(SETPOINT + 2, count=998 - SETPOINT, values=17, datatype=DataType.REGISTERS),
    ]
    bits = SimData(0, count=1000, values=True, datatype=DataType.BITS)
    device = SimDevice(MODBUS_UNIT, ([bits], [bits], registers, registers))
    server = ModbusTcpServer(device, address=(address, port), trace_pdu=trace)
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def dnp3(address: str, port: int, record: Record) -> None:
    """A DNP3 outstation with a few points, and a breaker that can be operated."""
    from dnp3.core.enums import ControlCode
    from dnp3.database import AnalogInputConfig, BinaryInputConfig, BinaryOutputConfig, Database
    from dnp3.outstation import Outstation, OutstationConfig, OutstationTcpRunner
    from dnp3.outstation.handler import CommandResult, DefaultCommandHandler

    class Breaker(DefaultCommandHandler):
        def select_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            return CommandResult.success()

        def operate_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            return CommandResult.success()

        def direct_operate_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            return CommandResult.success()

    class Recording(Outstation):
        def process_request(self, data: bytes, **peer: Any) -> Any:
            record.add(data[1])
            return super().process_request(data, **peer)

    database = Database()
    for index in range(8):
        database.add_binary_input(index, BinaryInputConfig())
        database.add_analog_input(index, AnalogInputConfig())
        database.add_binary_output(index, BinaryOutputConfig())
    outstation = Recording(database=database, config=OutstationConfig(address=DNP3_OUTSTATION), handler=Breaker())
    runner = OutstationTcpRunner(outstation=outstation, host=address, port=port)
    task = asyncio.create_task(runner.run())
    while not runner.is_running:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await task


async def tcp(address: str, port: int, record: Record) -> None:
    """Something else that listens: it answers what it is told, and records 0."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := await reader.read(4096):
            record.add(0)
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, address, port)
    print("ready", flush=True)
    await server.serve_forever()


KINDS = {"modbus": modbus, "dnp3": dnp3, "tcp": tcp}


def main() -> None:
    kind, address, port, path = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    asyncio.run(KINDS[kind](address, int(port), Record(Path(path))))


if __name__ == "__main__":
    main()
