"""Servers that record all that reaches them, each session its own: pymodbus and dnp3py behind the cutter.

`python servers.py FOLDER SERVERS`, where SERVERS is JSON: a list of [name, "modbus" or "dnp3", address, port, points].
FOLDER/NAME gets a line for each request: the hex of what the server itself understood.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any, TextIO


async def modbus(address: str, port: int, points: int, record: TextIO) -> None:
    """A server with as many coils, discrete inputs, input and holding registers each."""
    from pymodbus.pdu import ModbusPDU
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    def trace(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            record.write(f"{pdu.function_code:02x}{pdu.encode().hex()}\n")
        return pdu

    bits = [[SimData(0, count=points, values=on, datatype=DataType.BITS)] for on in (True, False)]
    words = [
        [SimData(at, values=at * step % 65536, datatype=DataType.REGISTERS) for at in range(points)]
        for step in (7, 4099)
    ]
    server = ModbusTcpServer(SimDevice(1, (*bits, *words)), address=(address, port), trace_pdu=trace)
    await server.serve_forever(background=True)


async def dnp3(address: str, port: int, points: int, record: TextIO) -> asyncio.Task[None]:
    """An outstation with as many inputs of either kind, and eight breakers."""
    from dnp3.core.enums import ControlCode
    from dnp3.database import AnalogInputConfig, BinaryInputConfig, BinaryOutputConfig, Database, DatabaseConfig
    from dnp3.outstation import Outstation, OutstationConfig, OutstationTcpRunner
    from dnp3.outstation.handler import CommandResult, DefaultCommandHandler

    class Breakers(DefaultCommandHandler):
        def select_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            record.write(f"select {index} {int(code)}\n")
            return CommandResult.success()

        def operate_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            record.write(f"operate {index} {int(code)}\n")
            return CommandResult.success()

        def direct_operate_binary_output(self, index: int, code: ControlCode, *timing: int) -> CommandResult:
            record.write(f"direct operate {index} {int(code)}\n")
            return CommandResult.success()

    class Recording(Outstation):
        def process_request(self, data: bytes, **peer: Any) -> Any:
            record.write(f"{data.hex()}\n")
            return super().process_request(data, **peer)

    limits = DatabaseConfig(max_binary_inputs=points, max_analog_inputs=points)
    database = Database(config=limits)
    for index in range(points):
        database.add_binary_input(index, BinaryInputConfig())
        database.add_analog_input(index, AnalogInputConfig())
        database.update_binary_input(index, value=index % 3 == 0)
        database.update_analog_input(index, value=index * 11)
    for index in range(8):
        database.add_binary_output(index, BinaryOutputConfig())
    # Patient: on a bad line it may take some seconds until a confirmation is there.
    config = OutstationConfig(address=10, confirm_timeout=30, select_timeout=30)
    outstation = Recording(database=database, config=config, handler=Breakers())
    runner = OutstationTcpRunner(outstation=outstation, host=address, port=port)
    task = asyncio.create_task(runner.run())
    while not runner.is_running:
        await asyncio.sleep(0.01)
    return task


async def main() -> None:
    folder = Path(sys.argv[1])
    kept = []
    for name, kind, address, port, points in json.loads(sys.argv[2]):
        record = (folder / name).open("w", buffering=1)
        kept.append(await {"modbus": modbus, "dnp3": dnp3}[kind](address, port, points, record))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
