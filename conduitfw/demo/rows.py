"""What the demo tries, and what has to come of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conduitfw.demo.clients import MASK_WRITE, READ, WRITE_COILS, hidden
from conduitfw.demo.servers import SETPOINT
from conduitfw.protocols.modbus.requests import adu

HMI, ENGINEERING, STRANGER = "10.10.0.11", "10.10.0.20", "10.10.0.66"
PLC, RTU = "10.20.0.5", "10.20.0.9"
MODBUS_PORT, DNP3_PORT, WEB_PORT = 502, 20000, 8080


@dataclass(frozen=True)
class Row:
    """One attempt. `executed`: the function codes that the server's own record has to show, no more and no less."""

    tried: str
    by: str
    request: dict[str, Any]
    server: str  # whose record: plc, rtu, web
    executed: tuple[int, ...]
    answered: bool | None  # None: either way (a session is ended behind an answer)
    counter: str = ""  # of the kernel, that has to have grown
    denial: str = ""  # the reason that an event has to give

    @property
    def expected(self) -> str:
        """In one word, for people."""
        if self.answered and self.executed:
            return "passes"
        return "stopped behind it" if self.executed else "stopped"


def _modbus(source: str, function: int, address: int = 0, values: Sequence[int] = (1, 2, 3)) -> dict[str, Any]:
    return {"kind": "modbus", "source": source, "host": PLC, "port": MODBUS_PORT, "function": function,
            "address": address, "values": values}  # fmt: skip


def _setpoint(celsius: float) -> dict[str, Any]:
    return _modbus(HMI, 16, SETPOINT, struct.unpack(">HH", struct.pack(">f", celsius)))


def _pieces(source: str, answers: int, *parts: bytes) -> dict[str, Any]:
    return {"kind": "pieces", "source": source, "host": PLC, "port": MODBUS_PORT, "answers": answers,
            "parts": [part.hex() for part in parts]}  # fmt: skip


def _dnp3(source: str, master: int, function: str, control: str = "latch_on", index: int = 0) -> dict[str, Any]:
    return {"kind": "dnp3", "source": source, "host": RTU, "port": DNP3_PORT, "function": function,
            "master": master, "outstation": 10, "control": control, "index": index}  # fmt: skip


def _socket(kind: str, source: str, host: str, port: int) -> dict[str, Any]:
    return {"kind": kind, "source": source, "host": host, "port": port}


def _mbpoll(function: int) -> dict[str, Any]:
    return {"kind": "mbpoll", "source": HMI, "host": PLC, "function": function}


_READ, _WRITE, _MASK = adu(READ), adu(WRITE_COILS, 2), adu(MASK_WRITE, 3)

ROWS: tuple[Row, ...] = (
    Row("Modbus read (3)", "HMI, pymodbus", _modbus(HMI, 3), "plc", (3,), True),
    Row("Modbus read (3)", "HMI, mbpoll", _mbpoll(3), "plc", (3,), True),
    Row("speed, in register 0", "HMI, mbpoll", _mbpoll(6), "plc", (), False, denial="point"),
    Row("Modbus write (16)", "HMI, pymodbus", _modbus(HMI, 16), "plc", (), False, denial="point"),
    Row("speed of 500 (6, register 40)", "HMI, pymodbus", _modbus(HMI, 6, 40, (500,)), "plc", (6,), True),
    Row("speed of 5000", "HMI, pymodbus", _modbus(HMI, 6, 40, (5000,)), "plc", (), False, denial="value"),
    Row("set point TIC-101 is read", "HMI, pymodbus", _modbus(HMI, 3, SETPOINT), "plc", (3,), True),
    Row("set point 42 -> 95 C", "HMI, pymodbus", _setpoint(95), "plc", (), False, denial="tag-limit"),
    Row("set point 42 -> 60 C", "HMI, pymodbus", _setpoint(60), "plc", (), False, denial="tag-step"),
    Row("set point 42 -> 45 C", "HMI, pymodbus", _setpoint(45), "plc", (16,), True),
    Row("Modbus write (16)", "engineering, pymodbus", _modbus(ENGINEERING, 16), "plc", (16,), True),
    Row("Modbus diagnostics (8)", "engineering, pymodbus", _modbus(ENGINEERING, 8), "plc", (), False, denial="no-rule"),
    Row("read in three segments", "HMI", _pieces(HMI, 1, _READ[:3], _READ[3:9], _READ[9:]), "plc", (3,), True),
    Row(
        "write (15) in two segments", "HMI", _pieces(HMI, 1, _WRITE[:7], _WRITE[7:]), "plc", (), False, denial="no-rule"
    ),
    Row(
        "read and write (22) in one segment",
        "HMI",
        _pieces(HMI, 2, _READ + _MASK),
        "plc",
        (3,),
        False,
        denial="no-rule",
    ),
    Row("two reads, one behind the other", "HMI", _pieces(HMI, 2, _READ, adu(READ, 5)), "plc", (3, 3), True),
    Row("write that hides a forbidden one, cut", "engineering", _pieces(ENGINEERING, 1, *hidden()), "plc", (16,), True),
    Row("Modbus read (3)", "stranger, pymodbus", _modbus(STRANGER, 3), "plc", (), False, counter="unnamed"),
    Row("DNP3 integrity poll", "HMI, dnp3py", _dnp3(HMI, 1, "read"), "rtu", (1,), True),
    Row("DNP3 direct operate (5)", "HMI, dnp3py", _dnp3(HMI, 1, "direct_operate"), "rtu", (), False, denial="no-rule"),
    Row("DNP3 read as master 7", "HMI, dnp3py", _dnp3(HMI, 7, "read"), "rtu", (), False, denial="no-rule-address"),
    Row("DNP3 select and operate", "engineering, dnp3py", _dnp3(ENGINEERING, 2, "select_operate"), "rtu", (3, 4), True),
    Row(
        "DNP3 pulse instead of latch",
        "engineering, dnp3py",
        _dnp3(ENGINEERING, 2, "select_operate", "pulse_on"),
        "rtu",
        (),
        False,
        denial="control",
    ),
    Row(
        "DNP3 select of point 5",
        "engineering, dnp3py",
        _dnp3(ENGINEERING, 2, "select_operate", index=5),
        "rtu",
        (),
        False,
        denial="point",
    ),
    Row(
        "DNP3 restart (13)",
        "engineering, dnp3py",
        _dnp3(ENGINEERING, 2, "cold_restart"),
        "rtu",
        (),
        False,
        denial="no-rule",
    ),
    Row("web page, tcp 8080", "engineering", _socket("tcp", ENGINEERING, PLC, WEB_PORT), "web", (0,), True),
    Row("web page, tcp 8080", "HMI", _socket("tcp", HMI, PLC, WEB_PORT), "web", (), False, counter="unnamed"),
    Row("IP fragments", "HMI", _socket("fragments", HMI, RTU, DNP3_PORT), "rtu", (), False, counter="fragment"),
)
