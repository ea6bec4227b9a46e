"""Modbus cases: registers, files and quantities."""

from __future__ import annotations

from tests.vectors.case import Cases, client
from tests.vectors.modbus_encoders import Pymodbus, Scapy, cut, longer

P, S = Pymodbus(), Scapy()

READ_10 = [0] * 10


def add_to(cases: Cases) -> None:
    """All of them."""
    _registers(cases)
    _files(cases)
    _quantity(cases)


def _registers(cases: Cases) -> None:
    tables = (
        "functions: [read, write], registers: {coils: 0-15, discrete_inputs: 0-7, input_registers: [10, 20-29], "
        "holding_registers: 100-199}"
    )
    cases.add(
        "registers",
        "reads within",
        tables,
        client(P.read(1, 0, 16)),
        client(S.read(2, 7, 1)),
        client(P.read(4, 10, 1)),
        client(S.read(4, 20, 10)),
        client(P.read(3, 100, 100)),
        client(S.read(3, 199, 1)),
    )
    cases.add(
        "registers",
        "reads that overlap an end, or are outside",
        tables,
        *(
            client(each, "point")
            for each in (
                P.read(1, 8, 9),
                S.read(1, 16, 1),
                P.read(2, 0, 9),
                S.read(2, 8, 1),
                P.read(4, 9, 2),
                S.read(4, 10, 11),
                P.read(4, 29, 2),
                S.read(3, 99, 1),
                P.read(3, 99, 2),
                S.read(3, 199, 2),
                P.read(3, 100, 101),
                S.read(3, 50, 125),
                P.read(3, 65535, 1),
                S.read(3, 0, 1),
            )
        ),
    )
    for each in (
        P.write_coil(15, True),
        S.write_register(100, 1),
        P.write_coils(8, [1] * 8),
        S.write_registers(190, READ_10),
        P.mask(199, 0xFF, 1),
        S.read_write(100, 10, 190, READ_10),
        P.fifo(168),
    ):
        cases.add("registers", f"{each.data[7]} within", tables, client(each))
    cases.add(
        "registers",
        "writes that are not wholly within",
        tables,
        *(
            client(each, "point")
            for each in (
                P.write_coil(16, False),
                S.write_register(200, 1),
                P.write_register(99, 1),
                S.write_coils(8, 9, [0, 0]),
                P.write_registers(191, READ_10),
                S.write_registers(95, READ_10),
                P.mask(200, 0, 1),
            )
        ),
    )
    cases.add(
        "registers",
        "23: both parts count",
        tables,
        client(P.read_write(95, 10, 100, [1]), "point", "95"),
        client(S.read_write(100, 1, 195, READ_10), "point", "195"),
        client(P.read_write(200, 1, 200, [1]), "point"),
    )
    cases.add(
        "registers",
        "24: the registers behind the count are read as well",
        tables,
        client(P.fifo(169), "point"),
        client(S.fifo(199), "point"),
        client(P.fifo(99), "point"),
    )
    cases.add(
        "registers",
        "a table that is not named",
        "functions: [read, write], registers: {holding_registers: 0-65535}",
        client(P.read(1, 0, 1), "point", "coils"),
        client(S.read(2, 0, 1), "point"),
        client(P.read(4, 0, 1), "point"),
        client(S.write_coil(0, True), "point"),
        client(P.read_files((1, 0, 1)), "point"),
        client(S.write_files((1, 0, [1])), "point"),
        client(P.read(3, 65535, 1)),
        client(S.read(3, 65411, 125)),
    )
    cases.add(
        "registers",
        "ranges that touch are one",
        "functions: read, registers: {coils: [0-7, 8-15]}",
        client(P.read(1, 4, 8)),
        client(S.read(1, 15, 2), "point"),
    )
    cases.add(
        "registers",
        "two rules are not one range",
        ("functions: read, registers: {coils: 0-7}", "functions: read, registers: {coils: 8-15}"),
        client(P.read(1, 0, 8)),
        client(S.read(1, 8, 8)),
        client(P.read(1, 4, 8), "point"),
    )
    every = (
        "functions: [read, write], registers: {coils: 0-65535, discrete_inputs: 0-65535, holding_registers: 0-65535}"
    )
    cases.add(
        "registers",
        "no wrap past 65535",
        every,
        client(P.read(3, 65535, 2), "modbus-address"),
        client(S.read(1, 65535, 2000), "modbus-address"),
        client(P.read(2, 65530, 7), "modbus-address"),
        client(S.write_registers(65535, [1, 2]), "modbus-address"),
        client(P.write_coils(65535, [1, 1]), "modbus-address"),
        client(S.read_write(65535, 2, 0, [1]), "modbus-address"),
        client(P.read_write(0, 1, 65535, [1, 2]), "modbus-address"),
    )


def _files(cases: Cases) -> None:
    files = "functions: files, files: {4: 0-99, 5-7: all}"
    for name, each in (
        ("read", P.read_files((4, 0, 10))),
        ("read, the last record", S.read_files((4, 99, 1))),
        ("read, two groups", P.read_files((4, 90, 10), (6, 9999, 1))),
        ("write", S.write_files((5, 9999, [1]))),
        ("write, two groups", P.write_files((4, 98, [1, 2]), (7, 0, [3]))),
    ):
        cases.add("files", f"{name}: within", files, client(each))
    cases.add(
        "files",
        "not wholly within",
        files,
        client(P.read_files((4, 95, 6)), "point", "file 4"),
        client(S.read_files((4, 100, 1)), "point"),
        client(P.read_files((8, 0, 1)), "point"),
        client(S.read_files((4, 0, 1), (3, 0, 1)), "point"),
        client(P.read_files((5, 9999, 2)), "modbus-file-reference"),
        client(S.write_files((4, 100, [1])), "point"),
        client(P.write_files((4, 99, [1, 2])), "point"),
        client(S.write_files((5, 0, [1]), (8, 0, [1])), "point"),
    )
    cases.add(
        "files",
        "named alone they leave no registers",
        "functions: [read, 21], files: {4: 0-99}",
        client(P.read(3, 0, 1), "point"),
        client(S.fifo(0), "point"),
        client(P.read_files((4, 0, 1))),
    )
    cases.add(
        "files",
        "beside registers",
        "functions: read, files: {4: 0-99}, registers: {coils: 0-7}",
        client(P.read(1, 0, 8)),
        client(S.read(3, 0, 1), "point"),
        client(P.read_files((5, 0, 1)), "point"),
    )
    cases.add(
        "files",
        "references and counts that are none",
        files,
        client(P.read_files((0, 0, 1)), "modbus-file-reference"),
        client(S.read_files((5, 10000, 1)), "modbus-file-reference"),
        client(P.read_files((4, 0, 1)).changed("reference type 5", {9: 5}), "modbus-file-reference"),
        client(P.read_files((4, 0, 1)).changed("byte count 14", {8: 14}), "modbus-byte-count"),
        client(cut(S.read_files((4, 0, 1)), 1), "modbus-byte-count"),
        client(P.read_files(), "modbus-byte-count"),
        client(S.write_files((4, 0, [1, 2])).changed("one group of three registers", {15: 3}), "modbus-byte-count"),
        client(P.write_files((0, 0, [1])), "modbus-file-reference"),
        client(longer(S.write_files((4, 0, [1])), b"\x06\x00"), "modbus-byte-count"),
    )


def _quantity(cases: Cases) -> None:
    few = "functions: [read, write], quantity: 1-16"
    cases.add(
        "quantity",
        "at most 16",
        few,
        client(P.read(3, 0, 16)),
        client(S.read(1, 0, 16)),
        client(P.read(3, 0, 17), "quantity", "17"),
        client(S.read(2, 0, 2000), "quantity"),
        client(P.write_registers(0, [0] * 17), "quantity"),
        client(S.write_coils(0, 17, [0, 0, 0]), "quantity"),
        client(P.read_files((4, 0, 17)), "quantity"),
        client(S.read_files((4, 0, 1), (4, 1, 17)), "quantity"),
        client(P.write_files((4, 0, [0] * 17)), "quantity"),
    )
    for each in (
        P.write_registers(0, [0] * 16),
        S.write_register(0, 1),
        P.write_coils(0, [1] * 16),
        S.mask(0, 1, 1),
        P.read_write(0, 16, 0, [0] * 16),
        S.read_files((4, 0, 16)),
    ):
        cases.add("quantity", f"{each.data[7]} with at most 16", few, client(each))
    cases.add(
        "quantity",
        "23: each part by itself",
        few,
        client(P.read_write(0, 17, 0, [1]), "quantity"),
        client(S.read_write(0, 1, 0, [0] * 17), "quantity"),
    )
    cases.add(
        "quantity",
        "24: a queue may be 31 registers and their count",
        few,
        client(P.fifo(0), "quantity"),
    )
    cases.add(
        "quantity",
        "so few",
        "functions: [read, write], quantity: [2-4, 10-12]",
        client(P.read(3, 0, 2)),
        client(S.read(3, 0, 11)),
        client(P.read(3, 0, 1), "quantity"),
        client(S.read(3, 0, 5), "quantity"),
        client(P.write_register(0, 1), "quantity"),
        client(S.write_coil(0, True), "quantity"),
        client(P.read(3, 0, 13), "quantity"),
    )
    cases.add(
        "quantity",
        "more than a function ever carries, or nothing",
        "functions: [read, write], quantity: 1-65535",
        client(S.read(3, 0, 0), "modbus-quantity"),
        client(S.read(3, 0, 126), "modbus-quantity"),
        client(S.read(4, 0, 126), "modbus-quantity"),
        client(S.read(1, 0, 2001), "modbus-quantity"),
        client(S.read(2, 0, 0), "modbus-quantity"),
        client(S.write_registers(0, [], byteCount=0), "modbus-quantity"),
        client(S.write_registers(0, [0] * 124), "modbus-length"),
        client(S.write_coils(0, 1969, [0] * 247), "modbus-quantity"),
        client(S.write_coils(0, 0, []), "modbus-quantity"),
        client(S.read_write(0, 126, 0, [1]), "modbus-quantity"),
        client(S.read_write(0, 0, 0, [1]), "modbus-quantity"),
        client(S.read_write(0, 1, 0, [0] * 122), "modbus-length"),
    )
