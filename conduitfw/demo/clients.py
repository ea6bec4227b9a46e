"""The clients of the demo, each attempt in one call: pymodbus, dnp3py, mbpoll, and plain sockets for odd shapes.

`python -m conduitfw.demo.clients` reads one JSON request a line and answers each with one line:
{"answered": bool, "detail": text}. It runs in a zone, and speaks from the address it is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from conduitfw.observe.polls import Poller, Read, Server
from conduitfw.protocols.modbus.requests import adu, pdu

PATIENCE = 1.5  # seconds: what is not answered by then was stopped
_PAUSE = 0.05  # between two segments, so that they are segments

READ = pdu(3, 0, 2)
WRITE_COILS = pdu(15, 0, 8, data=b"\x01\xff")
MASK_WRITE = pdu(22, 0, 0xFFFF, 0)
WRITE_ONE = pdu(6, 0, 0xBEEF)


def hidden(transaction: int = 2) -> tuple[bytes, bytes]:
    """An allowed write whose registers are a whole forbidden request, cut in front of it."""
    inner = adu(WRITE_ONE, 7)  # twelve bytes: six registers
    outer = adu(pdu(16, 10, len(inner) // 2, data=bytes((len(inner),)) + inner), transaction)
    return outer[: -len(inner)], outer[-len(inner) :]


async def modbus(
    source: str, host: str, port: int, function: int, address: int = 0, values: Sequence[int] = (1, 2, 3), **_: Any
) -> tuple[bool, str]:
    """One request by pymodbus."""
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.exceptions import ModbusException

    client = AsyncModbusTcpClient(
        host, port=port, source_address=(source, 0), timeout=PATIENCE, retries=0, reconnect_delay=0
    )
    calls: dict[int, Callable[[], Awaitable[Any]]] = {
        1: lambda: client.read_coils(address, count=8, device_id=1),
        3: lambda: client.read_holding_registers(address, count=2, device_id=1),
        5: lambda: client.write_coil(address, True, device_id=1),
        6: lambda: client.write_register(address, values[0], device_id=1),
        8: lambda: client.diag_query_data(b"\x00\x01", device_id=1),
        16: lambda: client.write_registers(address, list(values), device_id=1),
    }
    try:
        if not await asyncio.wait_for(client.connect(), PATIENCE):
            return False, "no connection"
        answer = await asyncio.wait_for(calls[function](), PATIENCE)
    except (ModbusException, TimeoutError, OSError) as error:
        return False, type(error).__name__
    finally:
        client.close()
    if answer.isError():
        return True, f"exception {answer.exception_code}"
    return True, "answered"


def speak_from(source: str, host: str) -> None:
    """Have clients that cannot be told speak from an address, by the route's preferred source."""
    said = subprocess.run(["ip", "route", "get", host], check=True, capture_output=True, text=True).stdout.split()
    way = said[1:3] if said[1] == "via" else []
    subprocess.run(["ip", "route", "replace", f"{host}/32", *way, "dev", "eth0", "src", source], check=True)


async def dnp3(
    source: str,
    host: str,
    port: int,
    function: str,
    master: int,
    outstation: int,
    control: str = "latch_on",
    index: int = 0,
    **_: Any,
) -> tuple[bool, str]:
    """One request by dnp3py's master."""
    from dnp3.application.builder import build_cold_restart_request
    from dnp3.master import DefaultSOEHandler, Master, MasterConfig, MasterTcpRunner

    speak_from(source, host)
    handler = DefaultSOEHandler()
    station = Master(handler=handler, config=MasterConfig(address=master, outstation_address=outstation))
    runner = MasterTcpRunner(master=station, host=host, port=port, response_timeout=PATIENCE)
    command = getattr(station.command_builder(), control)(index)
    requests: dict[str, Callable[[], list[Any]]] = {
        "read": lambda: [station.build_integrity_poll()],
        "select_operate": lambda: [
            station.build_select(command.build_select()),
            station.build_operate(command.build_operate()),
        ],
        "direct_operate": lambda: [station.build_direct_operate(command.build_direct_operate())],
        "cold_restart": lambda: [build_cold_restart_request(station.next_request_sequence())],
    }
    try:
        async with runner:
            answers: list[Any] = []
            for request in requests[function]():
                answers += await runner.request(request)
    except Exception as error:  # noqa: BLE001  (the library's own, a closed channel, a time-out: it was stopped)
        return False, type(error).__name__
    return bool(answers), "answered" if answers else "no answer"


def mbpoll(source: str, host: str, function: int, **_: Any) -> tuple[bool, str]:
    """One request by Debian's mbpoll (libmodbus)."""
    speak_from(source, host)
    words = ["mbpoll", "-m", "tcp", "-a", "1", "-r", "1", "-t", "4", "-o", str(PATIENCE), "-1"]
    words += ["-c", "2", host] if function == 3 else [host, "5"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return False, "mbpoll is not installed"
    said = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, "answered" if done.returncode == 0 else (said[-1] if said else "failed")


def pieces(source: str, host: str, port: int, parts: list[str], answers: int, **_: Any) -> tuple[bool, str]:
    """Bytes in segments as given (hex), and how many Modbus answers come back."""
    received = b""
    try:
        with socket.create_connection((host, port), PATIENCE, source_address=(source, 0)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                connection.sendall(bytes.fromhex(part))
                time.sleep(_PAUSE)
            while _whole(received) < answers:
                data = connection.recv(4096)
                if not data:
                    break
                received += data
    except OSError as error:
        return _whole(received) >= answers, f"{_whole(received)} answers, {type(error).__name__}"
    return _whole(received) >= answers, f"{_whole(received)} answers"


def _whole(data: bytes) -> int:
    count = 0
    while len(data) >= 6 and len(data) >= 6 + int.from_bytes(data[4:6], "big"):
        data = data[6 + int.from_bytes(data[4:6], "big") :]
        count += 1
    return count


def tcp(source: str, host: str, port: int, **_: Any) -> tuple[bool, str]:
    """A connection that is echoed."""
    try:
        with socket.create_connection((host, port), PATIENCE, source_address=(source, 0)) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(b"hello")
            return connection.recv(16) == b"hello", "answered"
    except OSError as error:
        return False, type(error).__name__


def fragments(source: str, host: str, port: int, **_: Any) -> tuple[bool, str]:
    """A datagram that is longer than the way allows: it goes in fragments."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.settimeout(PATIENCE)
        sender.sendto(bytes(4000), (host, port))
        try:
            sender.recv(16)
        except OSError as error:
            return False, type(error).__name__
    return True, "answered"


def latency(source: str, host: str, port: int, count: int, **_: Any) -> dict[str, float]:
    """Round trips of a read, in microseconds."""
    with Poller(source, Server(host, port), Read(), patience=5) as poller:
        times = [poller.poll() / 1000 for _ in range(count)]
    ranked = statistics.quantiles(times[count // 10 :], n=100)
    return {"p50": ranked[49], "p99": ranked[98]}


_AWAITED: dict[str, Callable[..., Coroutine[Any, Any, tuple[bool, str]]]] = {"modbus": modbus, "dnp3": dnp3}
_PLAIN: dict[str, Callable[..., tuple[bool, str]]] = {
    "mbpoll": mbpoll,
    "pieces": pieces,
    "tcp": tcp,
    "fragments": fragments,
}


def attempt(request: dict[str, Any]) -> dict[str, Any]:
    """Do what one line asks."""
    kind = request.pop("kind")
    if kind == "latency":
        return dict(latency(**request))
    if kind in _AWAITED:
        found = asyncio.run(_AWAITED[kind](**request))
    else:
        found = _PLAIN[kind](**request)
    return {"answered": found[0], "detail": found[1]}


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
