"""Sessions of pymodbus and dnp3py: what they ask follows from a seed alone, what they are told is written down.

`python clients.py SESSIONS DENIED`, where SESSIONS is JSON: a list of [name, "modbus", "plain" or "dnp3", port, seed,
requests, points, share of requests that the policy denies], all at once, through the cutter on the loopback.
DENIED: `skip` leaves those requests out, `answered` expects an exception or IIN2 bit, `reset` a reset. All three note
"denied" for it where it comes as expected, so that notes can be compared. The output is JSON by session:
{"answers": a line for each request, "seconds": [in all, the longest], "connections": how many it took}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

HOST = "127.0.0.1"
PATIENCE = 25.0  # seconds; TCP repeats what was lost, these never do
DENIED = "denied"


class Notes:
    """What came of a session."""

    def __init__(self, forbidden: str) -> None:
        self.forbidden = forbidden
        self.answers: list[str] = []
        self.began = time.monotonic()
        self.longest = self.whole = 0.0
        self.connections = 0

    async def take(self, asked: Awaitable[str]) -> str:
        """An answer, or the name of what happened instead."""
        began = time.monotonic()
        try:
            said = await asyncio.wait_for(asked, PATIENCE)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is noted)
            said = f"{type(error).__name__}: {error}"[:100]
        self.longest = max(self.longest, time.monotonic() - began)
        self.whole = time.monotonic() - self.began
        return said


def modbus_request(dice: random.Random, points: int, denied: bool) -> tuple[str, dict[str, Any]]:
    """The name of a method of pymodbus, and what it is called with."""

    def span(most: int) -> tuple[int, int]:
        count = dice.randint(1, most)
        return dice.randint(0, points - count), count

    def words(count: int) -> list[int]:
        # Now and then data that look like a request: a write of register 0, as the policy would deny it or not.
        if count >= 6 and dice.random() < 0.3:
            return [0x0001, 0x0000, 0x0006, 0x0106, 0x0000, 0xBEEF][:count] + [7] * (count - 6)
        return [dice.randrange(65536) for _ in range(count)]

    if denied:
        return dice.choice([("diag_query_data", {"msg": b"\x12\x34"}), ("read_exception_status", {})])
    kind = dice.randrange(10)
    if kind < 4:
        address, count = span(125 if kind > 1 else 300)
        name = ("read_coils", "read_discrete_inputs", "read_holding_registers", "read_input_registers")[kind]
        return name, {"address": address, "count": count}
    if kind == 4:
        return "write_coil", {"address": span(1)[0], "value": dice.random() < 0.5}
    if kind == 5:
        return "write_register", {"address": span(1)[0], "value": dice.randrange(65536)}
    if kind == 6:
        address, count = span(300)
        return "write_coils", {"address": address, "values": [dice.random() < 0.5 for _ in range(count)]}
    if kind == 7:
        address, count = span(123)
        return "write_registers", {"address": address, "values": words(count)}
    if kind == 8:
        masks = {"and_mask": dice.randrange(65536), "or_mask": dice.randrange(65536)}
        return "mask_write_register", {"address": span(1)[0], **masks}
    (read, read_count), (write, count) = span(125), span(121)
    values = {"write_address": write, "values": words(count)}
    return "readwrite_registers", {"read_address": read, "read_count": read_count, **values}


async def modbus(port: int, seed: int, requests: int, points: int, share: float, notes: Notes) -> None:
    """One client of pymodbus, which connects anew where it has been cut off."""
    from pymodbus.client import AsyncModbusTcpClient

    lost = asyncio.Event()
    client = AsyncModbusTcpClient(
        HOST, port=port, timeout=PATIENCE, retries=0, reconnect_delay=0,
        trace_connect=lambda connected: None if connected else lost.set(),
    )  # fmt: skip

    async def ask(name: str, words: dict[str, Any]) -> str:
        """pymodbus itself would wait until its time is over where the connection goes."""
        answer = asyncio.create_task(getattr(client, name)(device_id=1, **words))
        gone = asyncio.create_task(lost.wait())
        done, waiting = await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        if answer not in done:
            return "reset"
        pdu = answer.result()
        return f"exception {pdu.exception_code}" if pdu.isError() else f"{pdu.function_code} {pdu.encode().hex()}"

    dice = random.Random(seed)
    for number in range(requests):
        denied = dice.random() < share
        name, words = modbus_request(dice, points, denied)
        if denied and notes.forbidden == "skip":
            notes.answers.append(DENIED)
            continue
        if not client.connected:
            lost.clear()
            notes.connections += 1
            if not await client.connect():
                notes.answers.append(f"{number}: no connection")
                continue
        said = await notes.take(ask(name, words))
        expected = {"answered": "exception 1", "reset": "reset"}.get(notes.forbidden)
        notes.answers.append(DENIED if denied and said == expected else f"{name}: {said}")
    client.close()


async def plain(port: int, seed: int, requests: int, points: int, share: float, notes: Notes) -> None:
    """Requests by pymodbus's encoder, several at once on one connection; answers are noted in the order they come."""
    from pymodbus.framer import FramerSocket
    from pymodbus.pdu import DecodePDU, ModbusPDU
    from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, WriteMultipleRegistersRequest

    framer = FramerSocket(DecodePDU(is_server=False))
    dice = random.Random(seed)
    reader, writer = await asyncio.open_connection(HOST, port)
    notes.connections += 1
    most = asyncio.Semaphore(dice.choice((2, 4, 8)))

    async def answer() -> str:
        head = await reader.readexactly(6)
        body = await reader.readexactly(int.from_bytes(head[4:], "big"))
        most.release()
        return (head[:2] + body).hex()

    async def send() -> None:
        for number in range(requests):
            await most.acquire()
            address = dice.randint(0, points - 125)
            pdu: ModbusPDU
            if dice.random() < 0.5:
                pdu = ReadHoldingRegistersRequest(address=address, count=dice.randint(1, 125))
            else:
                values = [dice.randrange(65536) for _ in range(dice.randint(1, 123))]
                pdu = WriteMultipleRegistersRequest(address=address, registers=values)
            pdu.dev_id, pdu.transaction_id = 1, number
            writer.write(framer.buildFrame(pdu))

    sending = asyncio.create_task(send())
    for _ in range(requests):
        notes.answers.append(await notes.take(answer()))
    await sending
    writer.close()


def dnp3_notes() -> Any:
    from dnp3.master import DefaultSOEHandler

    class Values(DefaultSOEHandler):
        """All values in the order they came, without their times."""

        def __init__(self) -> None:
            super().__init__()
            self.came: list[str] = []

        def on_binary_input(self, values: list[Any], info: Any) -> None:
            self.came += [f"b{each.index}={each.value}/{each.quality}" for each in values]

        def on_binary_output(self, values: list[Any], info: Any) -> None:
            self.came += [f"o{each.index}={each.value}/{each.quality}" for each in values]

        def on_analog_input(self, values: list[Any], info: Any) -> None:
            self.came += [f"a{each.index}={each.value}/{each.quality}" for each in values]

    return Values()


def dnp3_requests(station: Any, dice: random.Random, points: int, denied: bool) -> list[Callable[[], Any]]:
    """What is to be sent, one after the other: an OPERATE follows its SELECT."""
    from dnp3.application.builder import build_cold_restart_request

    if denied:
        return [lambda: build_cold_restart_request(station.next_request_sequence())]
    kind = dice.randrange(6)
    if kind == 0:
        return [station.build_integrity_poll]
    if kind == 1:
        classes = {f"class_{number}": dice.random() < 0.7 for number in (2, 3)}
        return [lambda: station.build_class_poll(class_1=True, **classes)]
    if kind < 4:
        first, last = sorted(dice.randrange(points) for _ in range(2))
        group, variation = dice.choice(((1, 2), (30, 1)))
        return [lambda: station.build_range_poll(group, variation, first, last)]
    builder = station.command_builder()
    for index in dice.sample(range(8), dice.randint(1, 3)):
        builder = dice.choice((builder.latch_on, builder.latch_off))(index)
    if kind == 4:
        return [lambda: station.build_direct_operate(builder.build_direct_operate())]
    return [
        lambda: station.build_select(builder.build_select()),
        lambda: station.build_operate(builder.build_operate()),
    ]


async def dnp3(port: int, seed: int, requests: int, points: int, share: float, notes: Notes) -> None:
    """One master of dnp3py."""
    from dnp3.master import Master, MasterConfig, MasterTcpRunner

    values = dnp3_notes()
    station = Master(handler=values, config=MasterConfig(address=1, outstation_address=10))
    runner = MasterTcpRunner(master=station, host=HOST, port=port, response_timeout=PATIENCE)
    dice = random.Random(seed)

    async def ask(request: Any) -> str:
        values.came.clear()
        infos = await runner.request(request)
        said = [f"{int(each.function)} {each.sequence} {int(each.iin):04x} {each.fin}" for each in infos]
        return f"{'; '.join(said)}: {' '.join(values.came)}"

    for _ in range(requests):
        denied = dice.random() < share
        for build in dnp3_requests(station, dice, points, denied):
            request = build()
            if denied and notes.forbidden == "skip":
                notes.answers.append(DENIED)
                continue
            if not runner.is_open:
                await runner.close()
                notes.connections += 1
                await runner.open()
            said = await notes.take(ask(request))
            if denied:
                refused = notes.forbidden == "answered" and said.startswith("129 ") and said.split()[2][:2] == "01"
                cut_off = notes.forbidden == "reset" and said.startswith("LinkError")
                if cut_off:
                    await runner.close()
                said = DENIED if refused or cut_off else said
            notes.answers.append(said)
    await runner.close()


async def main() -> None:
    kinds = {"modbus": modbus, "plain": plain, "dnp3": dnp3}
    notes: dict[str, Notes] = {}
    async with asyncio.TaskGroup() as group:
        for name, kind, *words in json.loads(sys.argv[1]):
            notes[name] = Notes(sys.argv[2])
            group.create_task(kinds[kind](*words, notes[name]))
    shown = {
        name: {
            "answers": each.answers,
            "seconds": [round(each.whole, 2), round(each.longest, 2)],
            "connections": each.connections,
        }
        for name, each in notes.items()
    }
    print(json.dumps(shown))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
