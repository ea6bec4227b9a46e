"""Modbus cases: what of the server's side passes. An answer has to be whole, and to answer what was asked."""

from __future__ import annotations

from tests.vectors.case import Cases, Octets, client, server
from tests.vectors.modbus_encoders import Pymodbus, Scapy, cut, long, longer
from tests.vectors.modbus_functions import GATEWAY

P, S = Pymodbus(), Scapy()

UNMATCHED, DIFFERS = "unmatched-response", "modbus-answer-differs"


def add_to(cases: Cases) -> None:
    """All of them."""
    _by_field(cases)
    _sub_functions(cases)
    _answers(cases)
    _exceptions(cases)
    _lenient(cases)


def _by_field(cases: Cases) -> None:
    """For each field: an answer, one that answers nothing, one that contradicts, one that is cut."""
    cases.add(
        "units",
        "answers",
        "functions: read, units: 10-12",
        client(P.read(3, 0, 1, u=10)),
        server(P.registers(3, [7], u=11), UNMATCHED),
        server(S.registers(3, [7], u=1), UNMATCHED),
        server(longer(P.registers(3, [7], u=10), b"\0"), "modbus-byte-count"),
        server(S.registers(3, [7], u=10).changed("length 1", {5: 1}), "modbus-length"),
        server(P.registers(3, [7], u=10)),
        ends=GATEWAY,
    )
    cases.add(
        "functions",
        "answers",
        "functions: read",
        client(P.read(3, 0, 1)),
        server(S.registers(4, [7]), UNMATCHED),
        server(P.write_register(0, 1), UNMATCHED),
        server(P.registers(3, [7]).changed("function 0", {7: 0}), "modbus-function-code"),
        server(P.refused(3, 2).changed("function 128", {7: 0x80}), "modbus-function-code"),
        server(S.registers(3, [7])),
    )
    cases.add(
        "except",
        "answers",
        "functions: write, except: 23",
        client(P.write_registers(0, [1])),
        server(S.registers(23, [1]), UNMATCHED),
        server(cut(P.written(16, 0, 1), 1), "modbus-length"),
        server(P.written(16, 0, 1)),
    )
    cases.add(
        "registers",
        "answers",
        "functions: [read, 6, 16], registers: {holding_registers: 100-199}",
        client(P.read(3, 100, 10)),
        server(S.registers(3, [0] * 10, t=2), UNMATCHED),
        server(P.registers(3, [0] * 11), DIFFERS),
        server(cut(P.registers(3, [0] * 10), 2), "modbus-byte-count"),
        server(P.registers(3, [0] * 10)),
        client(S.write_register(100, 1, t=2)),
        server(P.write_register(101, 1, t=2), DIFFERS),
        server(P.write_register(100, 1, t=2)),
        client(P.write_registers(100, [1, 2], t=3)),
        server(S.written(16, 101, 2, t=3), DIFFERS),
        server(S.written(16, 100, 3, t=3), DIFFERS),
        server(S.written(16, 100, 2, t=3)),
    )
    cases.add(
        "files",
        "answers",
        "functions: files, files: {4: 0-99}",
        client(P.read_files((4, 0, 2))),
        server(P.files([1, 2], t=9), UNMATCHED),
        server(P.files([1, 2]).changed("byte count 5", {8: 5}), "modbus-byte-count"),
        server(P.files([1, 2])),
        client(S.write_files((4, 0, [1, 2]))),
        server(cut(S.write_files((4, 0, [1, 2])), 1), "modbus-byte-count"),
        server(S.write_files((4, 0, [1, 2]))),
    )
    cases.add(
        "files",
        "an answer whose groups do not add up (6.14)",
        "functions: files, files: {4: 0-99}",
        client(P.read_files((4, 0, 2))),
        server(P.files([1, 2]).changed("a group of 9 octets", {9: 9}), "modbus-byte-count"),
        server(P.files([1, 2]).changed("reference type 7", {10: 7}), "modbus-file-reference"),
    )
    cases.add(
        "files",
        "a write's answer repeats the request (6.15)",
        "functions: files, files: {4: 0-99}",
        client(P.write_files((4, 0, [1, 2]))),
        server(P.write_files((5, 0, [1, 2])), DIFFERS),
    )
    cases.add(
        "quantity",
        "answers",
        "functions: read, quantity: 1-16",
        client(P.read(1, 0, 16)),
        server(S.bits(1, [0, 0], t=7), UNMATCHED),
        server(P.bits(1, [1] * 8), DIFFERS),
        server(S.bits(1, [0, 0, 0]), DIFFERS),
        server(P.bits(1, [1] * 16).changed("byte count 3", {8: 3}), "modbus-byte-count"),
        server(S.bits(1, [0, 0])),
    )
    cases.add(
        "values",
        "answers",
        "functions: [5, 6, 22], values: 0-1000",
        client(P.write_register(5, 1)),
        server(P.write_register(5, 1, t=4), UNMATCHED),
        server(S.write_register(5, 2), DIFFERS),
        server(longer(P.write_register(5, 1), b"\0"), "modbus-length"),
        server(P.write_register(5, 1)),
        client(S.write_coil(5, True)),
        server(P.write_coil(5, False), DIFFERS),
        server(P.write_coil(5, True).changed("value 0x0100", {10: 1}), "modbus-value"),
        server(S.write_coil(5, True)),
        client(P.mask(5, 0, 9)),
        server(S.mask(5, 0, 8), DIFFERS),
        server(S.mask(5, 0, 9)),
    )
    cases.add(
        "values",
        "answers of 32-bit writes",
        "functions: 16, registers: {holding_registers: 200-203}, values: {type: uint32, max: 70000}",
        client(P.write_registers(200, long(70000))),
        server(S.written(16, 202, 2), DIFFERS),
        server(S.written(16, 200, 2)),
    )
    cases.add(
        "at_most",
        "answers",
        "functions: 6, at_most: 2/min",
        client(P.write_register(5, 1), at=0.0),
        server(P.write_register(5, 1, t=3), UNMATCHED, at=0.1),
        server(cut(P.write_register(5, 1), 1), "modbus-length", at=0.2),
        server(P.write_register(5, 1), at=0.3),
        server(P.write_register(5, 1), UNMATCHED, at=0.4),
    )


def _sub_functions(cases: Cases) -> None:
    cases.add(
        "sub_functions",
        "answers of 08",
        "functions: diagnostics, sub_functions: {diagnostics: query}",
        client(P.diagnostics(11)),
        server(S.diagnostics(12, [7]), DIFFERS),
        server(P.diagnostics(11, 7, t=2), UNMATCHED),
        server(cut(P.diagnostics(11, 7), 1), "modbus-length"),
        server(S.diagnostics(11, [7])),
    )
    objects = {0: b"maker", 1: b"code", 2: b"1.0"}
    answer = P.identified(1, objects)
    cases.add(
        "sub_functions",
        "answers of 43",
        "functions: 43, sub_functions: {43: identification}",
        client(S.identification(1)),
        server(P.identified(1, objects, t=2), UNMATCHED),
        server(answer.changed("four objects", {13: 4}), "modbus-length"),
        server(answer.changed("two objects", {13: 2}), "modbus-length"),
        server(answer.changed("an object of 200 octets", {15: 200}), "modbus-length"),
        server(answer.changed("more follows: 1", {11: 1}), "modbus-value"),
        server(answer.changed("MEI type 13", {8: 13}), DIFFERS),
        server(answer),
    )
    cases.add(
        "sub_functions",
        "an answer of 43 has its request's device id code (6.21)",
        "functions: 43",
        client(S.identification(1)),
        server(P.identified(2, objects), DIFFERS),
    )
    cases.add(
        "sub_functions",
        "answers of 90",
        "functions: 90, sub_functions: {90: query}",
        client(S.by_hand("UMAS: read PLC id", b"\x5a\x00\x02")),
        server(S.by_hand("UMAS: done", b"\x5a\x00\xfe\x01", t=2), UNMATCHED),
        server(S.by_hand("UMAS, cut", b"\x5a\x00"), "modbus-length"),
        server(S.by_hand("UMAS: done", b"\x5a\x00\xfe\x01")),
    )


def _answers(cases: Cases) -> None:
    every = "functions: all"
    pairs: list[tuple[Octets, Octets]] = [
        (P.read(1, 0, 9), S.bits(1, [0, 1])),
        (S.read(2, 0, 8), P.bits(2, [1] * 8)),
        (P.read(3, 0, 2), S.registers(3, [1, 2])),
        (S.read(4, 0, 2), P.registers(4, [1, 2])),
        (P.write_coil(1, True), S.write_coil(1, True)),
        (S.write_register(1, 2), P.write_register(1, 2)),
        (P.write_coils(0, [1, 1]), S.written(15, 0, 2)),
        (S.write_registers(0, [1, 2]), P.written(16, 0, 2)),
        (P.read_files((4, 0, 1)), P.files([1])),
        (S.write_files((4, 0, [1])), P.write_files((4, 0, [1]))),
        (P.mask(0, 1, 2), S.mask(0, 1, 2)),
        (S.read_write(0, 2, 5, [1]), P.registers(23, [1, 2])),
        (P.fifo(0), P.queue([1, 2])),
        (S.diagnostics(0, [1, 2]), S.diagnostics(0, [1, 2])),
        (P.identification(1), P.identified(1, {0: b"a"})),
    ]
    for request, answer in pairs:
        cases.add(
            "conformance",
            f"{request.data[7]} and its answer",
            every,
            server(answer, UNMATCHED),
            client(request),
            server(answer),
            server(answer, UNMATCHED),
        )
    cases.add(
        "conformance",
        "24: counts of an answer",
        every,
        client(P.fifo(0)),
        server(P.queue([1, 2]).changed("three registers", {11: 3}), "modbus-byte-count"),
        server(P.queue([0] * 32), "modbus-quantity"),
        server(cut(P.queue([1]), 2), "modbus-byte-count"),
        server(P.queue([])),
    )
    cases.add(
        "conformance",
        "23: an answer of another quantity",
        every,
        client(P.read_write(0, 2, 5, [1])),
        server(S.registers(23, [1]), DIFFERS),
        server(S.registers(23, [1, 2, 3]), DIFFERS),
        server(S.registers(23, [1, 2])),
    )
    cases.add(
        "conformance",
        "one transaction id for two requests: served in order",
        every,
        client(P.read(3, 0, 1)),
        client(S.read(3, 0, 2)),
        server(P.registers(3, [1])),
        server(S.registers(3, [1, 2])),
    )
    cases.add(
        "conformance",
        "the server asks nothing",
        every,
        server(P.read(3, 0, 1), "modbus-byte-count"),
        server(S.write_register(0, 1), UNMATCHED),
        server(P.registers(3, [1]).changed("protocol id 1", {3: 1}), "modbus-protocol-id"),
    )


def _exceptions(cases: Cases) -> None:
    every = "functions: all"
    for code in (1, 2, 3, 4, 5, 6, 8, 10, 11):
        encoder = P if code % 2 else S
        cases.add("conformance", f"exception {code}", every, client(P.read(3, 0, 1)), server(encoder.refused(3, code)))
    cases.add(
        "conformance",
        "exceptions that are none",
        every,
        client(P.write_registers(0, [1])),
        server(S.refused(16, 0), "modbus-exception-code"),
        server(S.refused(16, 9), "modbus-exception-code"),
        server(S.refused(16, 12), "modbus-exception-code"),
        server(P.refused(16, 255), "modbus-exception-code"),
        server(longer(P.refused(16, 2), b"\0"), "modbus-length"),
        server(cut(S.refused(16, 2), 1), "modbus-length"),
        server(P.refused(3, 2), UNMATCHED),
        server(S.refused(16, 2, t=2), UNMATCHED),
        server(P.refused(16, 2, u=2), UNMATCHED),
        server(P.refused(16, 2)),
        server(P.refused(16, 2), UNMATCHED),
    )


def _lenient(cases: Cases) -> None:
    lenient = "functions: read, units: 10-12, responses: lenient"
    cases.add(
        "responses",
        "lenient: another unit id",
        lenient,
        client(P.read(3, 0, 1, u=10)),
        server(P.registers(3, [7], u=12)),
        ends=GATEWAY,
    )
    cases.add(
        "responses",
        "lenient: nothing else",
        lenient,
        client(P.read(3, 0, 1, u=10)),
        server(S.registers(3, [7], t=2, u=10), UNMATCHED),
        server(S.registers(4, [7], u=10), UNMATCHED),
        server(P.registers(3, [7, 8], u=12), DIFFERS),
        server(P.registers(3, [7], u=10)),
        ends=GATEWAY,
    )
