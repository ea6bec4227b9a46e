"""Modbus cases: values that are written, and how often."""

from __future__ import annotations

from tests.vectors.case import Cases, client, server
from tests.vectors.modbus_encoders import Pymodbus, Scapy, cut, long, longer, real

P, S = Pymodbus(), Scapy()


def add_to(cases: Cases) -> None:
    """All of them."""
    _values(cases)
    _wide_values(cases)
    _at_most(cases)


def _values(cases: Cases) -> None:
    small = "functions: [6, 16, 22, 23], values: 0-1000"
    for each in (
        P.write_register(5, 1000),
        S.write_registers(5, [0, 1000]),
        P.mask(5, 0, 1000),
        S.read_write(0, 1, 5, [1000]),
    ):
        cases.add("values", f"{each.data[7]} of at most 1000", small, client(each))
    cases.add(
        "values",
        "above 1000",
        small,
        client(P.write_register(5, 1001), "value", "1001"),
        client(S.write_register(5, 0xFFFF), "value", "65535"),
        client(P.write_registers(5, [0, 1001]), "value"),
        client(S.write_registers(5, [1001, 0]), "value"),
        client(P.mask(5, 0, 1001), "value"),
        client(S.read_write(0, 1, 5, [0, 1001]), "value"),
    )
    cases.add(
        "values",
        "22 leaves bits as they are: nobody can tell what becomes of it",
        small,
        client(P.mask(5, 0xFF00, 1), "value"),
        client(S.mask(5, 0xFFFF, 0), "value"),
    )
    cases.add(
        "values",
        "int16",
        "functions: [6, 16], values: {type: int16, min: -50, max: 50}",
        client(P.write_register(5, 0xFFCE)),
        client(S.write_register(5, 50)),
        client(P.write_register(5, 0xFFCD), "value", "-51"),
        client(S.write_register(5, 51), "value"),
        client(P.write_registers(5, [0, 0x8000]), "value", "-32768"),
    )
    cases.add(
        "values",
        "one bound only",
        "functions: 6, values: {type: int16, max: 50}",
        client(P.write_register(5, 0x8000)),
        client(S.write_register(5, 51), "value"),
    )
    cases.add(
        "values",
        "several ranges",
        "functions: 6, values: {ranges: [0-10, 20 to 30]}",
        client(P.write_register(5, 10)),
        client(S.write_register(5, 20)),
        client(P.write_register(5, 15), "value"),
        client(S.write_register(5, 31), "value"),
    )
    coils = "functions: [5, 15], values: 0"
    cases.add(
        "values",
        "coils may be switched off",
        coils,
        client(P.write_coil(5, False)),
        client(S.write_coil(5, True), "value"),
        client(P.write_coils(5, [0, 0, 1]), "value"),
        client(S.write_coils(5, 9, [0, 1]), "value"),
    )
    cases.add("values", "coils may be switched off, several", coils, client(P.write_coils(5, [0] * 9)))
    cases.add("values", "bits behind the last coil are nobody's", coils, client(S.write_coils(5, 3, [0xF8])))
    cases.add(
        "values",
        "of file records",
        "functions: [read, 21], values: 0-10",
        client(P.read_files((4, 0, 1))),
        client(S.write_files((4, 0, [10, 11])), "value"),
        client(P.write_files((4, 0, [1]), (4, 9, [11])), "value"),
    )
    cases.add(
        "values", "of file records, within", "functions: 21, values: 0-10", client(S.write_files((4, 0, [10, 0])))
    )
    cases.add(
        "values",
        "no such writes",
        "functions: [5, 6, 15, 16, 22], values: 0-1000",
        client(P.write_coil(5, True).changed("value 0x1234", {10: 0x12, 11: 0x34}), "modbus-value"),
        client(S.write_coil(5, True).changed("value 0xFF01", {11: 1}), "modbus-value"),
        client(longer(P.write_register(5, 1), b"\0"), "modbus-length"),
        client(cut(S.write_register(5, 1), 1), "modbus-length"),
        client(S.write_registers(5, [1, 2], byteCount=2), "modbus-byte-count"),
        client(S.write_registers(5, [1, 2], quantityRegisters=1), "modbus-byte-count"),
        client(cut(P.write_registers(5, [1, 2]), 2), "modbus-length"),
        client(P.write_coils(5, [1] * 9).changed("byte count 1", {12: 1}), "modbus-byte-count"),
        client(cut(S.mask(5, 0, 1), 2), "modbus-length"),
    )


def _wide_values(cases: Cases) -> None:
    place = "registers: {holding_registers: 200-203}"
    big = f"functions: [6, 16, 23], {place}, values: {{type: uint32, max: 70000}}"
    cases.add("values", "uint32", big, client(P.write_registers(200, long(70000))))
    cases.add("values", "uint32, two of them", big, client(S.write_registers(200, long(70000) + long(0))))
    cases.add("values", "uint32 by 23", big, client(P.read_write(200, 1, 202, long(65536))))
    cases.add(
        "values",
        "uint32, above or in the wrong order",
        big,
        client(P.write_registers(200, long(70001)), "value", "70001"),
        client(S.write_registers(200, long(70000)[::-1]), "value"),
        client(P.write_registers(200, long(1) + long(70001)), "value"),
        client(S.read_write(200, 1, 202, long(70001)), "value"),
    )
    cases.add(
        "values",
        "uint32: a part of a number, or of two",
        big,
        client(P.write_register(200, 1), "value"),
        client(S.write_register(201, 1), "value"),
        client(P.write_registers(201, long(1)), "value"),
        client(S.write_registers(200, [0, 1, 0]), "value"),
    )
    little = f"functions: 16, {place}, values: {{type: int32, word_order: little, min: -70000, max: 70000}}"
    cases.add(
        "values", "int32, least significant word first", little, client(P.write_registers(202, long(-70000)[::-1]))
    )
    cases.add(
        "values",
        "int32, least significant word first: too far, or the other order",
        little,
        client(P.write_registers(202, long(-70001)[::-1]), "value", "-70001"),
        client(S.write_registers(202, long(-70000)), "value"),
    )
    floating = f"functions: 16, {place}, values: {{type: float32, min: 20, max: 80.1}}"
    for value in (20.0, 42.5, 80.1):
        cases.add("values", f"float32 {value}", floating, client(P.write_registers(200, real(value))))
    cases.add(
        "values",
        "float32 outside, or no number",
        floating,
        client(P.write_registers(200, real(19.99)), "value"),
        client(S.write_registers(200, real(80.2)), "value"),
        client(P.write_registers(200, real(float("nan"))), "value"),
        client(S.write_registers(200, [0x7F80, 0]), "value"),
        client(P.write_registers(200, real(-42.5)), "value"),
        client(S.write_registers(200, real(42.5)[::-1]), "value"),
    )
    cases.add(
        "values",
        "float32, least significant word first",
        f"functions: 16, {place}, values: {{type: float32, word_order: little, min: 20, max: 80}}",
        client(S.write_registers(202, real(42.5)), "value"),
        client(P.write_registers(202, real(42.5)[::-1])),
    )


def _at_most(cases: Cases) -> None:
    rate = "functions: [read, write], at_most: 2/10 s"
    cases.add(
        "at_most",
        "the third write in ten seconds, and the next ten",
        rate,
        client(P.write_register(5, 1, t=1), at=0.0),
        server(P.write_register(5, 1, t=1), at=0.1),
        client(S.write_registers(5, [2], t=2), at=1.0),
        server(S.written(16, 5, 1, t=2), at=1.1),
        client(P.write_register(5, 3, t=3), "rate", at=2.0),
        client(S.write_coil(5, True, t=3), "rate", at=9.0),
        client(P.read(3, 0, 1, t=4), at=9.1),
        server(P.registers(3, [0], t=4), at=9.2),
        client(P.write_register(5, 3, t=5), at=10.5),
        server(P.write_register(5, 3, t=5), at=10.6),
        client(S.write_register(5, 4, t=6), "rate", at=10.7),
    )
    cases.add(
        "at_most",
        "reads are not counted",
        "functions: [read, write], at_most: 1/10 s",
        *(client(P.read(3, 0, 1, t=number), at=number / 10) for number in range(1, 5)),
        client(S.write_register(5, 1, t=9), at=1.0),
        client(S.write_register(5, 1, t=10), "rate", at=1.1),
    )
    cases.add(
        "at_most",
        "what was denied, or malformed, is not counted",
        "functions: 6, registers: {holding_registers: 0-9}, at_most: 1/min",
        client(P.write_register(10, 1), "point", at=0.0),
        client(cut(P.write_register(5, 1), 1), "modbus-length", at=1.0),
        client(S.write_register(5, 1), at=2.0),
        client(P.write_register(10, 1), "point", at=3.0),
        client(S.write_register(5, 1), "rate", at=4.0),
    )
    cases.add(
        "at_most",
        "a write that the server refuses is counted",
        "functions: 6, at_most: 1/min",
        client(P.write_register(5, 1), at=0.0),
        server(P.refused(6, 4), at=0.1),
        client(S.write_register(5, 1), "rate", at=1.0),
    )
    cases.add(
        "at_most",
        "diagnostics and UMAS may change something",
        "functions: [8, 90], at_most: 1/min",
        client(P.diagnostics(1), at=0.0),
        server(P.diagnostics(1), at=0.1),
        client(S.by_hand("UMAS: read PLC id", b"\x5a\x00\x02"), at=1.0),
        server(S.by_hand("UMAS: PLC id", b"\x5a\x00\xfe"), at=1.1),
        client(S.by_hand("UMAS: write variables", b"\x5a\x00\x23"), "rate", at=2.0),
    )
