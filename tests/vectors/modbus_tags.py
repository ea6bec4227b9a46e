"""Modbus cases: tags, their limits and what is remembered of their values, and rules that name them."""

from __future__ import annotations

from tests.vectors.case import Cases, client, server
from tests.vectors.modbus_encoders import Pymodbus, Scapy, cut, long, longer, real
from tests.vectors.modbus_functions import GATEWAY
from tests.vectors.modbus_responses import DIFFERS, UNMATCHED

P, S = Pymodbus(), Scapy()

WHOLE = "functions: [read, write]"


def tag(name: str, fields: str, asset: str = "plc-b") -> str:
    """One tag of the policy."""
    return f"{name}: {{asset: {asset}, {fields}}}\n"


REGISTER = "table: holding_registers, address: 120"
BOUNDED = tag("TIC-101.setpoint", f"{REGISTER}, type: float32, word_order: big, unit: C, min: 20, max: 80")
STEPPED = tag("TIC-101.setpoint", f"{REGISTER}, type: float32, word_order: big, unit: C, min: 20, max: 80, max_step: 5")
LEVEL = tag("LIC-7.setpoint", f"{REGISTER}, min: 10, max: 90, max_step: 5")
SCALED = tag("PIC-3.setpoint", f"{REGISTER}, type: int16, scale: 0.1, offset: -10, unit: bar, min: -5, max: 30")
PUMP = tag("pump-3.run", "table: coils, address: 7")


def add_to(cases: Cases) -> None:
    """All of them."""
    _bounds(cases)
    _parts(cases)
    _steps(cases)
    _lenient(cases)
    _refused(cases)
    _pending(cases)
    _read(cases)
    _write(cases)


def _bounds(cases: Cases) -> None:
    for value in (20, 42, 80):
        cases.add("min", f"{value} C", WHOLE, client(P.write_registers(120, real(value))), tags=BOUNDED)
    cases.add(
        "min",
        "below, for whatever rule",
        WHOLE,
        client(P.write_registers(120, real(19.9)), "tag-limit", "below 20"),
        client(S.write_registers(118, [0, 0, *real(-42), 0]), "tag-limit"),
        client(P.read_write(0, 1, 120, real(19.9)), "tag-limit"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "above, or no number",
        WHOLE,
        client(P.write_registers(120, real(80.5)), "tag-limit", "above 80"),
        client(S.read_write(0, 1, 119, [0, *real(80.5)]), "tag-limit"),
        client(P.write_registers(120, real(float("nan"))), "tag-limit"),
        client(S.write_registers(120, real(float("inf"))), "tag-limit"),
        client(P.write_registers(120, real(42)[::-1]), "tag-limit"),
        tags=BOUNDED,
    )
    cases.add("max", "at the end, among others", WHOLE, client(S.write_registers(119, [0, *real(80), 0])), tags=BOUNDED)
    cases.add(
        "max",
        "answers",
        WHOLE,
        client(P.write_registers(120, real(80))),
        server(S.written(16, 120, 1), DIFFERS),
        server(P.written(16, 120, 2, t=2), UNMATCHED),
        server(cut(S.written(16, 120, 2), 1), "modbus-length"),
        server(P.written(16, 120, 2)),
        tags=BOUNDED,
    )
    cases.add(
        "min",
        "answers",
        WHOLE,
        client(P.write_register(120, 20)),
        server(S.write_register(120, 19), DIFFERS),
        server(P.write_register(120, 20, t=2), UNMATCHED),
        server(longer(P.write_register(120, 20), b"\0"), "modbus-length"),
        server(P.write_register(120, 20)),
        tags=tag("LIC-7.setpoint", f"{REGISTER}, min: 20"),
    )
    cases.add(
        "min",
        "malformed all the same",
        WHOLE,
        client(S.write_registers(120, real(42), byteCount=2), "modbus-byte-count"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "malformed all the same",
        WHOLE,
        client(cut(P.write_registers(120, real(42)), 1), "modbus-length"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "in engineering units: raw * 0.1 - 10",
        WHOLE,
        client(P.write_register(120, 400)),
        client(S.write_register(120, 50)),
        client(P.write_register(120, 401), "tag-limit", "30.1"),
        client(S.write_register(120, 49), "tag-limit", "-5.1"),
        client(P.write_register(120, 0xFFFF), "tag-limit", "-10.1"),
        tags=SCALED,
    )
    little = tag("FIC-9.setpoint", f"{REGISTER}, type: uint32, word_order: little, max: 70000")
    cases.add(
        "max", "least significant word first", WHOLE, client(P.write_registers(120, long(70000)[::-1])), tags=little
    )
    cases.add(
        "max",
        "least significant word first: above",
        WHOLE,
        client(P.write_registers(120, long(70001)[::-1]), "tag-limit"),
        client(S.write_registers(120, long(70000)), "tag-limit"),
        tags=little,
    )
    other = tag("TIC-11.setpoint", "table: holding_registers, address: 120, unit_id: 11, max: 80", "gateway")
    cases.add(
        "max",
        "the same address of another unit is another point",
        WHOLE,
        client(P.write_register(120, 81, u=12)),
        client(S.write_register(120, 81, u=11), "tag-limit"),
        client(P.write_register(121, 81, u=11)),
        ends=GATEWAY,
        tags=other,
    )
    cases.add(
        "max",
        "unit 0 of a gateway is every unit",
        "functions: write, units: [0, 10-14]",
        client(P.write_register(120, 81, u=0), "tag-limit"),
        client(S.write_registers(119, [0, 81], u=0), "tag-limit"),
        ends=GATEWAY,
        tags=other,
    )
    cases.add(
        "max",
        "other tables at the same address",
        WHOLE,
        client(P.write_coil(120, True)),
        tags=BOUNDED,
    )


def _parts(cases: Cases) -> None:
    cases.add(
        "max",
        "a part of a float32 only",
        WHOLE,
        client(P.write_register(120, 0x4228), "tag-part"),
        client(S.write_register(121, 0), "tag-part"),
        client(P.write_registers(119, [0, 0x4228]), "tag-part"),
        client(S.write_registers(121, [0, 0]), "tag-part"),
        client(P.mask(120, 0, 0x4228), "tag-part"),
        client(S.mask(121, 0xFFFF, 0), "tag-part"),
        client(P.read_write(0, 1, 121, [0]), "tag-part"),
        tags=BOUNDED,
    )
    cases.add(
        "max",
        "22 leaves bits as they are: the value cannot be known",
        WHOLE,
        client(P.mask(120, 0xFF00, 1), "tag-part"),
        client(S.mask(120, 0xFFFF, 0), "tag-part"),
        client(P.mask(120, 0, 91), "tag-limit"),
        tags=tag("LIC-7.setpoint", f"{REGISTER}, max: 90"),
    )
    cases.add(
        "max",
        "22 that sets all bits",
        WHOLE,
        client(S.mask(120, 0, 90)),
        tags=tag("LIC-7.setpoint", f"{REGISTER}, max: 90"),
    )


def _steps(cases: Cases) -> None:
    cases.add(
        "max_step",
        "unseen",
        WHOLE,
        client(P.write_registers(120, real(42)), "tag-unseen"),
        client(P.write_registers(120, real(90)), "tag-limit"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "from the value that was read",
        WHOLE,
        client(P.read(3, 120, 2)),
        server(S.registers(3, real(42))),
        client(P.write_registers(120, real(47.1)), "tag-step", "42"),
        client(S.write_registers(120, real(36.9)), "tag-step"),
        client(P.write_registers(120, real(47))),
        server(S.written(16, 120, 2)),
        client(P.write_registers(120, real(52.5)), "tag-step"),
        client(S.write_registers(120, real(52))),
        server(P.written(16, 120, 2)),
        client(P.write_registers(120, real(42)), "tag-step"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "the value read among others, and by 23",
        WHOLE,
        client(P.read(3, 100, 40)),
        server(S.registers(3, [0] * 20 + real(42) + [0] * 18)),
        client(S.write_registers(120, real(48)), "tag-step"),
        client(P.read_write(120, 2, 0, [1])),
        server(P.registers(23, real(60))),
        client(S.write_registers(120, real(42)), "tag-step", "60"),
        client(P.write_registers(120, real(57))),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "half of it read is nothing seen",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, real(42)[:1])),
        client(P.read(3, 121, 1)),
        server(S.registers(3, [0])),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "other tables and other answers teach nothing",
        WHOLE,
        client(P.read(4, 120, 2)),
        server(S.registers(4, real(42))),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        client(P.read(3, 122, 2)),
        server(S.registers(3, real(42))),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        client(P.read(3, 120, 2)),
        server(P.refused(3, 4)),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        client(P.read(3, 120, 2)),
        server(S.registers(3, real(42), t=5), UNMATCHED),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "a device that reads as no number was not seen",
        WHOLE,
        client(P.read(3, 120, 2)),
        server(S.registers(3, real(float("nan")))),
        client(P.write_registers(120, real(42)), "tag-unseen"),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "by 6, 16 and 22 from an answer of 6",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 45)),
        server(P.write_register(120, 45)),
        client(S.write_register(120, 51), "tag-step"),
        client(P.mask(120, 0, 51), "tag-step"),
        client(S.mask(120, 0, 50)),
        server(S.mask(120, 0, 50)),
        client(P.write_registers(120, [56]), "tag-step"),
        client(P.write_registers(120, [55])),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "malformed",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40]).changed("byte count 3", {8: 3}), "modbus-byte-count"),
        server(S.registers(3, [40])),
        client(cut(P.write_register(120, 41), 1), "modbus-length"),
        tags=LEVEL,
    )


def _lenient(cases: Cases) -> None:
    two = "".join(
        tag(f"LIC-{unit}.setpoint", f"{REGISTER}, unit_id: {unit}, max_step: 5", "gateway") for unit in (11, 12)
    )
    cases.add(
        "max_step",
        "an answer with another unit id is about the unit that was asked",
        f"{WHOLE}, responses: lenient",
        client(P.read(3, 120, 1, u=11)),
        server(S.registers(3, [40], u=12)),
        client(P.write_register(120, 41, u=12), "tag-unseen"),
        client(P.write_register(120, 41, u=11)),
        ends=GATEWAY,
        tags=two,
    )


def _refused(cases: Cases) -> None:
    cases.add(
        "max_step",
        "a refused write leaves the last seen value",
        WHOLE,
        client(P.read(3, 120, 2)),
        server(S.registers(3, real(42))),
        client(P.write_registers(120, real(47))),
        server(P.refused(16, 4)),
        client(S.write_registers(120, real(52)), "tag-step"),
        client(S.write_registers(120, real(38))),
        server(S.written(16, 120, 2)),
        client(P.write_registers(120, real(43))),
        tags=STEPPED,
    )
    cases.add(
        "max_step",
        "a refused write of 6",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 45)),
        server(S.refused(6, 3)),
        client(P.write_register(120, 46), "tag-step"),
        client(S.write_register(120, 36)),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "a refused write of 22",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.mask(120, 0, 44)),
        server(P.refused(22, 2)),
        client(S.write_register(120, 46), "tag-step"),
        client(S.write_register(120, 36)),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "a refused write of 23",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.read_write(0, 1, 120, [44])),
        server(P.refused(23, 2)),
        client(S.write_register(120, 46), "tag-step"),
        client(S.write_register(120, 36)),
        tags=LEVEL,
    )


def _pending(cases: Cases) -> None:
    """Writes of 6 may wait for their answers together; the value may be any of them until then."""
    cases.add(
        "max_step",
        "a write without an answer counts as well as the last seen value",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 45, t=1)),
        client(P.write_register(120, 50, t=2), "tag-step"),
        client(P.write_register(120, 36, t=2), "tag-step"),
        client(P.write_register(120, 43, t=2)),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "of two writes without an answer the first is refused: the second may still count",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 42, t=1)),
        client(P.write_register(120, 44, t=2)),
        server(P.refused(6, 4, t=1)),
        client(S.write_register(120, 36, t=3), "tag-step"),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "of two writes without an answer the first is done: the second may still count",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 42, t=1)),
        client(P.write_register(120, 45, t=2)),
        server(P.write_register(120, 42, t=1)),
        client(S.write_register(120, 39, t=3), "tag-step"),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "of three writes without an answer each may count",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 45, t=1)),
        client(P.write_register(120, 41, t=2)),
        client(S.write_register(120, 37, t=3), "tag-step"),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "of two equal writes without an answer the first is refused",
        WHOLE,
        client(P.read(3, 120, 1)),
        server(S.registers(3, [40])),
        client(P.write_register(120, 44, t=1)),
        client(P.write_register(120, 44, t=2)),
        server(P.refused(6, 4, t=1)),
        client(S.write_register(120, 36, t=3), "tag-step"),
        tags=LEVEL,
    )
    cases.add(
        "max_step",
        "a write that was never answered",
        WHOLE,
        client(P.read(3, 120, 1), at=0.0),
        server(S.registers(3, [40]), at=0.1),
        client(P.write_register(120, 45), at=1.0),
        client(S.write_register(120, 36, t=2), "tag-step", at=50.0),
        tags=LEVEL,
    )


def _read(cases: Cases) -> None:
    two = STEPPED + tag("TIC-102.setpoint", "table: holding_registers, address: 122, type: float32") + PUMP
    rule = "read: [TIC-101.setpoint, TIC-102.setpoint, pump-3.run]"
    cases.add(
        "read",
        "what the tags name",
        rule,
        client(P.read(3, 120, 2)),
        client(S.read(3, 120, 4)),
        client(P.read(3, 122, 2)),
        client(S.read(1, 7, 1)),
        client(P.read(3, 121, 2)),
        tags=two,
    )
    cases.add(
        "read",
        "and nothing else",
        rule,
        client(P.read(3, 119, 2), "point"),
        client(S.read(3, 120, 5), "point"),
        client(P.read(3, 124, 1), "point"),
        client(S.read(1, 7, 2), "point"),
        client(P.read(1, 6, 1), "point"),
        client(S.read(4, 120, 2), "no-rule"),
        client(P.read(2, 7, 1), "no-rule"),
        client(S.write_registers(120, real(42)), "no-rule"),
        client(P.write_coil(7, True), "no-rule"),
        client(S.read_write(120, 2, 120, real(42)), "no-rule"),
        client(P.fifo(120), "no-rule"),
        tags=two,
    )
    cases.add(
        "read",
        "what lies between two tags",
        "read: [a, b]",
        client(P.read(3, 10, 1)),
        client(S.read(3, 12, 1)),
        client(P.read(3, 10, 3), "point"),
        tags=tag("a", "table: holding_registers, address: 10") + tag("b", "table: holding_registers, address: 12"),
    )
    cases.add(
        "read",
        "malformed, and answers",
        rule,
        client(S.read(3, 120, 0), "modbus-quantity"),
        client(P.read(3, 120, 2)),
        server(S.registers(3, real(42), t=2), UNMATCHED),
        server(S.registers(3, [1]), DIFFERS),
        server(cut(P.registers(3, real(42)), 1), "modbus-byte-count"),
        server(P.registers(3, real(42))),
        tags=two,
    )


def _write(cases: Cases) -> None:
    two = (
        BOUNDED
        + tag("TIC-102.setpoint", "table: holding_registers, address: 122, type: float32")
        + LEVEL.replace("120", "130").replace(", max_step: 5", "")
        + PUMP
    )
    rule = "write: [TIC-101.setpoint, TIC-102.setpoint, LIC-7.setpoint, pump-3.run]"
    for each in (
        P.write_registers(120, real(42)),
        S.write_registers(120, real(42) + real(1e6)),
        P.write_coil(7, True),
        S.write_coils(7, 1, [1]),
        P.write_register(130, 10),
        S.write_registers(130, [90]),
    ):
        cases.add("write", f"{each.data[7]} at {each.data[9]}, {len(each.data)} octets", rule, client(each), tags=two)
    cases.add(
        "write",
        "other points, and parts",
        rule,
        client(P.write_registers(124, [1]), "point"),
        client(S.write_registers(120, [*real(42), 0, 0, 0]), "point"),
        client(P.write_coil(8, True), "point"),
        client(S.write_coils(7, 2, [1]), "point"),
        client(P.write_coil(6, False), "point"),
        client(S.write_register(131, 1), "point"),
        client(P.write_registers(119, [0, *real(42)]), "point"),
        client(S.write_registers(120, [0x4228]), "tag-part"),
        client(P.write_registers(121, [0]), "point"),
        client(S.write_register(120, 0x4228), "tag-part"),
        tags=two,
    )
    cases.add(
        "write",
        "a tag's limits",
        rule,
        client(P.write_registers(120, real(80.5)), "tag-limit"),
        client(S.write_register(130, 91), "tag-limit"),
        tags=two,
    )
    cases.add(
        "write",
        "functions that do not follow from the tags",
        rule,
        client(P.read(3, 120, 2), "no-rule"),
        client(S.mask(130, 0, 20), "no-rule"),
        client(P.read_write(120, 2, 120, real(42)), "no-rule"),
        client(S.write_files((1, 120, [1])), "no-rule"),
        client(P.diagnostics(0), "no-rule"),
        tags=two,
    )
    cases.add(
        "write",
        "of a wide tag alone, one register at a time",
        "write: TIC-101.setpoint",
        client(P.write_register(120, 0x4228), "no-rule"),
        client(S.write_coil(120, True), "no-rule"),
        tags=BOUNDED,
    )
    cases.add(
        "write",
        "malformed, and answers",
        rule,
        client(S.write_registers(120, real(42), byteCount=3), "modbus-byte-count"),
        client(P.write_registers(120, real(42))),
        server(S.written(16, 122, 2), DIFFERS),
        server(S.written(16, 120, 2, t=8), UNMATCHED),
        server(cut(P.written(16, 120, 2), 1), "modbus-length"),
        server(P.written(16, 120, 2)),
        tags=two,
    )
    cases.add(
        "write",
        "with what is read, step by step",
        "read: TIC-101.setpoint, write: TIC-101.setpoint",
        client(P.write_registers(120, real(42)), "tag-unseen"),
        client(S.read(3, 120, 2)),
        server(P.registers(3, real(42))),
        client(P.write_registers(120, real(47))),
        server(S.written(16, 120, 2)),
        client(S.write_registers(120, real(95)), "tag-limit"),
        client(P.write_registers(120, real(41)), "tag-step"),
        tags=STEPPED,
    )
