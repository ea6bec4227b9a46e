"""Modbus cases: units, functions, sub-functions, and what no conforming client sends."""

from __future__ import annotations

from tests.vectors.case import Cases, client
from tests.vectors.modbus_encoders import Pymodbus, Scapy, cut, longer

P, S = Pymodbus(), Scapy()

GATEWAY = ("hmi-1", "gateway")

BEYOND = "no-rule-address"


def add_to(cases: Cases) -> None:
    """All of them."""
    _units(cases)
    _functions(cases)
    _sub_functions(cases)
    _conformance(cases)


def _units(cases: Cases) -> None:
    cases.add(
        "units",
        "the rule names units of a gateway",
        "functions: read, units: 10-12",
        client(P.read(3, 0, 1, u=10)),
        client(S.read(3, 0, 1, t=2, u=12)),
        client(P.read(3, 0, 1, u=13), BEYOND),
        client(S.read(3, 0, 1, u=9), BEYOND),
        client(P.read(3, 0, 1, u=1), BEYOND),
        client(S.read(3, 0, 1, u=255), BEYOND),
        ends=GATEWAY,
    )
    cases.add(
        "units",
        "the rule names none: the asset's own",
        "functions: read",
        client(S.read(1, 0, 1, u=14)),
        client(P.read(1, 0, 1, u=15), BEYOND),
        client(P.read(1, 0, 1, u=0), BEYOND),
        ends=GATEWAY,
    )
    cases.add(
        "units",
        "each rule for its own units",
        ("functions: read, units: 10-12", "functions: [6], units: 11"),
        client(P.write_register(5, 1, u=11)),
        client(S.write_register(5, 1, u=10), "no-rule"),
        ends=GATEWAY,
    )
    cases.add(
        "units",
        "unit 0 (broadcast on a serial line) where it is named",
        "functions: [6], units: [0, 10]",
        client(P.write_register(5, 1, u=0)),
        ends=GATEWAY,
    )
    cases.add(
        "units",
        "an MBAP length with no room for a function",
        "functions: read, units: 10",
        client(P.read(3, 0, 1, u=10).changed("length 1", {5: 1}), "modbus-length"),
        client(S.read(3, 0, 1, u=10).changed("length 0", {5: 0}), "modbus-length"),
        ends=GATEWAY,
    )


def _functions(cases: Cases) -> None:
    cases.add(
        "functions",
        "one by number",
        "functions: 3",
        client(P.read(3, 0, 1)),
        client(P.read(4, 0, 1), "no-rule"),
        client(S.read(1, 0, 1), "no-rule"),
    )
    reads = [P.read(1, 0, 8), S.read(2, 0, 8), P.read(3, 0, 8), S.read(4, 0, 8)]
    cases.add("functions", "read: 1 to 4", "functions: read", *(client(each) for each in reads))
    cases.add("functions", "read: file records", "functions: read", client(P.read_files((4, 0, 2))))
    cases.add("functions", "read: a FIFO queue", "functions: read", client(S.fifo(4)))
    writes = [
        P.write_coil(0, True),
        S.write_register(0, 1),
        P.write_coils(0, [1, 0]),
        S.write_registers(0, [1]),
        P.write_files((4, 0, [1])),
        S.mask(0, 0, 1),
        P.read_write(0, 1, 0, [1]),
    ]
    others = [
        P.exception_status(),
        P.server_id(),
        S.diagnostics(1),
        S.identification(1),
        S.by_hand("UMAS, which has no encoder: read PLC id", b"\x5a\x00\x02"),
        S.by_hand("a user-defined function, 100", b"\x64\x01"),
    ]
    cases.add("functions", "read is read-only", "functions: read", *(client(each, "no-rule") for each in writes))
    cases.add(
        "functions",
        "read is neither diagnostics nor UMAS",
        "functions: read",
        *(client(each, "no-rule") for each in others),
    )
    for each in (P.write_registers(0, [1]), S.read_write(0, 1, 0, [1]), P.mask(0, 0, 1), S.write_files((4, 0, [1]))):
        cases.add("functions", f"write: {each.data[7]}", "functions: write", client(each))
    cases.add("functions", "write does not read", "functions: write", client(P.read(3, 0, 1), "no-rule"))
    cases.add(
        "functions",
        "a function that is not published, named",
        "functions: [3, 100]",
        client(S.by_hand("a user-defined function, 100", b"\x64\x01")),
    )
    cases.add(
        "functions",
        "a function that is not published, not named",
        "functions: [3, 100]",
        client(S.by_hand("a user-defined function, 101", b"\x65\x01"), "no-rule"),
    )
    cases.add(
        "functions",
        "function codes that no request has",
        "functions: all",
        client(P.read(3, 0, 1).changed("function 0", {7: 0}), "modbus-function-code"),
        client(S.read(3, 0, 1).changed("function 131", {7: 0x83}), "modbus-function-code"),
        client(S.refused(3, 2), "modbus-function-code"),
    )
    cases.add(
        "except",
        "taken out of a group",
        "functions: write, except: 23",
        client(P.read_write(0, 1, 0, [1]), "no-rule"),
        client(S.read_write(0, 1, 0, [1]), "no-rule"),
        client(P.write_registers(0, [1])),
    )
    cases.add(
        "except",
        "malformed all the same",
        "functions: write, except: 23",
        client(S.read_write(0, 1, 0, [1], byteCount=4), "modbus-byte-count"),
        client(S.write_registers(0, [1], byteCount=4), "modbus-byte-count"),
    )


def _sub_functions(cases: Cases) -> None:
    query = "functions: diagnostics, sub_functions: {diagnostics: query}"
    cases.add("sub_functions", "08: return query data", query, client(P.diagnostics(0, 0xA537)))
    cases.add("sub_functions", "08: return query data, more of it", query, client(S.diagnostics(0, [1, 2, 3])))
    cases.add(
        "sub_functions",
        "08: counters",
        query,
        *(client(P.diagnostics(each)) for each in (2, 11, 12, 13, 14, 15, 16, 17, 18)),
    )
    cases.add(
        "sub_functions",
        "08: what changes something",
        query,
        client(P.diagnostics(1), "sub-function", "restart_communications_option"),
        client(S.diagnostics(1, [0xFF00]), "sub-function"),
        client(P.diagnostics(4), "sub-function", "force_listen_only_mode"),
        client(S.diagnostics(10), "sub-function"),
        client(P.diagnostics(3), "sub-function"),
        client(S.diagnostics(20), "sub-function"),
        client(S.diagnostics(19), "sub-function"),
        client(S.diagnostics(0x100), "sub-function"),
    )
    cases.add(
        "sub_functions",
        "08: by number",
        "functions: 8, sub_functions: {8: [0, 10]}",
        client(S.diagnostics(10)),
        client(P.diagnostics(11), "sub-function"),
    )
    cases.add(
        "sub_functions",
        "08: cut, or too long",
        query,
        client(cut(P.diagnostics(2), 2), "modbus-length"),
        client(cut(P.diagnostics(0), 3), "modbus-length"),
        client(S.diagnostics(2, [0, 0]), "modbus-length"),
    )
    identification = "functions: 43, sub_functions: {43: identification}"
    cases.add(
        "sub_functions",
        "43: identification, whatever code",
        identification,
        *(
            client(each)
            for each in (P.identification(1), S.identification(2), P.identification(3), S.identification(4, 0x80))
        ),
    )
    cases.add(
        "sub_functions",
        "43: CANopen is not identification",
        identification,
        client(S.identification(1).changed("MEI type 13", {8: 13}), "sub-function"),
        client(P.identification(1).changed("MEI type 0", {8: 0}), "sub-function"),
    )
    cases.add(
        "sub_functions",
        "43: one device id code",
        "functions: 43, sub_functions: {43: basic_identification}",
        client(P.identification(1)),
        client(S.identification(2), "sub-function"),
        client(P.identification(3), "sub-function"),
        client(S.identification(4), "sub-function"),
    )
    cases.add(
        "sub_functions",
        "43: codes and lengths that are none",
        identification,
        client(S.identification(5), "modbus-value"),
        client(S.identification(0), "modbus-value"),
        client(cut(P.identification(1), 1), "modbus-length"),
        client(longer(S.identification(1), b"\0"), "modbus-length"),
    )
    umas = "functions: umas, sub_functions: {umas: [query, session]}"
    for name, function in (
        ("read id", 2),
        ("take reservation", 0x10),
        ("read memory block", 0x20),
        ("read variables", 0x22),
    ):
        pdu = bytes((0x5A, 0, function))
        cases.add("sub_functions", f"90: {name}", umas, client(S.by_hand(f"UMAS: {name}", pdu)))
    cases.add(
        "sub_functions",
        "90: what changes the controller",
        umas,
        *(
            client(S.by_hand(f"UMAS: {name}", bytes((0x5A, session, function, 0))), "sub-function")
            for name, session, function in (
                ("write memory block", 1, 0x21),
                ("write variables", 1, 0x23),
                ("write coils and registers", 0, 0x25),
                ("initialize upload", 1, 0x30),
                ("initialize download", 1, 0x33),
                ("start the PLC", 2, 0x40),
                ("stop the PLC", 2, 0x41),
                ("a function that nobody knows", 2, 0xEE),
            )
        ),
    )
    cases.add(
        "sub_functions",
        "90: the session's octet is not the function",
        umas,
        client(S.by_hand("UMAS: stop the PLC, in session 2", b"\x5a\x02\x41\xff\x00"), "sub-function", "stop_plc"),
    )
    cases.add(
        "sub_functions",
        "90: without a function",
        umas,
        client(S.by_hand("UMAS, cut", b"\x5a\x00"), "modbus-length"),
        client(S.by_hand("UMAS, cut", b"\x5a"), "modbus-length"),
    )


def _conformance(cases: Cases) -> None:
    """What no conforming client sends passes under no policy. A rule that allows everything is the witness."""
    everything = "functions: all"
    write = S.write_register(5, 1).data
    cases.add(
        "conformance",
        "MBAP",
        everything,
        client(P.read(3, 0, 1)),
        client(P.read(3, 0, 1).changed("protocol id 1", {3: 1}), "modbus-protocol-id"),
        client(S.read(3, 0, 1).changed("protocol id 256", {2: 1}), "modbus-protocol-id"),
        client(P.read(3, 0, 1).changed("length 255", {5: 255}), "modbus-length"),
        client(S.read(3, 0, 1).changed("length 262", {4: 1}), "modbus-length"),
    )
    cases.add(
        "conformance",
        "a length that hides a second request",
        everything,
        client(longer(P.read(3, 0, 1), write), "modbus-length"),
        client(longer(S.read(1, 0, 1), b"\0"), "modbus-length"),
        client(longer(P.write_registers(0, [1]), write), "modbus-length"),
        client(longer(S.write_coil(0, True), write), "modbus-length"),
        client(longer(P.mask(0, 0, 1), write), "modbus-length"),
        client(longer(S.read_write(0, 1, 0, [1]), write), "modbus-length"),
        client(longer(P.fifo(0), write), "modbus-length"),
        client(longer(P.exception_status(), write), "modbus-length"),
        client(longer(P.server_id(), write), "modbus-length"),
        client(longer(S.diagnostics(2), write), "modbus-length"),
    )
    cases.add(
        "conformance",
        "a length too short for the function",
        everything,
        client(cut(P.read(3, 0, 1), 1), "modbus-length"),
        client(cut(S.read(1, 0, 1), 4), "modbus-length"),
        client(cut(P.write_register(0, 1), 1), "modbus-length"),
        client(cut(S.write_coils(0, 9, [1, 1]), 1), "modbus-length"),
        client(cut(P.read_write(0, 1, 0, [1]), 2), "modbus-length"),
        client(cut(S.read_write(0, 1, 0, [1]), 4), "modbus-length"),
        client(cut(P.fifo(0), 1), "modbus-length"),
        client(cut(S.mask(0, 0, 1), 1), "modbus-length"),
        client(cut(P.write_registers(0, [1]), 4), "modbus-length"),
    )
    cases.add(
        "conformance",
        "a length too short, and the rest of the request behind it",
        everything,
        client(P.write_registers(0, [1, 2]).changed("length 11 is 9", {5: 9}), "modbus-length"),
        client(S.write_coils(0, 16, [1, 1]).changed("length 9 is 8", {5: 8}), "modbus-length"),
    )
    cases.add(
        "conformance",
        "byte counts that contradict the quantity",
        everything,
        client(S.write_registers(0, [1], byteCount=0), "modbus-byte-count"),
        client(S.write_registers(0, [1], byteCount=255), "modbus-byte-count"),
        client(S.write_registers(0, [1, 2], quantityRegisters=3), "modbus-byte-count"),
        client(S.write_coils(0, 17, [1, 1]), "modbus-byte-count"),
        client(S.write_coils(0, 8, [1, 1]), "modbus-byte-count"),
        client(S.read_write(0, 1, 0, [1], byteCount=4), "modbus-byte-count"),
        client(S.read_write(0, 1, 0, [1, 2], writeQuantityRegisters=1), "modbus-byte-count"),
    )
    cases.add(
        "conformance",
        "a policy that denies, all the same",
        "functions: [3]",
        client(P.write_register(0, 1), "no-rule"),
        client(longer(P.read(3, 0, 1), write), "modbus-length"),
    )
