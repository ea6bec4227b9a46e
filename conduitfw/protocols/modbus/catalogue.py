"""Modbus functions and exceptions (MODBUS Application Protocol Specification V1.1b3, 5.1, 6 and 7)."""

from __future__ import annotations

from conduitfw.protocols.catalogue import Catalogue, Function

GROUPS = {
    "read": "reads data and changes nothing: 1, 2, 3, 4, 20, 24",
    "write": "changes data: 5, 6, 15, 16, 21, 22, and 23, which also reads",
    "serial_line": "for serial lines: 7, 8, 11, 12 (8, diagnostics, may restart or silence a device)",
    "identification": "asks what the device is: 17, 43",
    "files": "file records: 20, 21",
}

FUNCTIONS = Catalogue(
    (
        Function(1, "read_coils", "Read Coils", ("read",)),
        Function(2, "read_discrete_inputs", "Read Discrete Inputs", ("read",)),
        Function(3, "read_holding_registers", "Read Holding Registers", ("read",)),
        Function(4, "read_input_registers", "Read Input Registers", ("read",)),
        Function(5, "write_single_coil", "Write Single Coil", ("write",)),
        Function(6, "write_single_register", "Write Single Register", ("write",)),
        Function(7, "read_exception_status", "Read Exception Status", ("serial_line",)),
        Function(8, "diagnostics", "Diagnostics", ("serial_line",)),
        Function(11, "get_comm_event_counter", "Get Comm Event Counter", ("serial_line",)),
        Function(12, "get_comm_event_log", "Get Comm Event Log", ("serial_line",)),
        Function(15, "write_multiple_coils", "Write Multiple Coils", ("write",)),
        Function(16, "write_multiple_registers", "Write Multiple Registers", ("write",)),
        Function(17, "report_server_id", "Report Server ID", ("identification",), ("report_slave_id",)),
        Function(20, "read_file_record", "Read File Record", ("read", "files")),
        Function(21, "write_file_record", "Write File Record", ("write", "files")),
        Function(22, "mask_write_register", "Mask Write Register", ("write",)),
        Function(23, "read_write_multiple_registers", "Read/Write Multiple Registers", ("write",)),
        Function(24, "read_fifo_queue", "Read FIFO Queue", ("read",)),
        Function(
            43,
            "encapsulated_interface_transport",
            "Encapsulated Interface Transport",
            ("identification",),
            ("read_device_identification",),
        ),
        Function(90, "umas", "Schneider UMAS (vendor)"),
    ),
    GROUPS,
    highest=127,
)

EXCEPTIONS = {
    1: "illegal_function",
    2: "illegal_data_address",
    3: "illegal_data_value",
    4: "server_device_failure",
    5: "acknowledge",
    6: "server_device_busy",
    7: "negative_acknowledge",
    8: "memory_parity_error",
    10: "gateway_path_unavailable",
    11: "gateway_target_device_failed_to_respond",
}

# Requests of these carry no data of the client's choice, or too little for a request to hide in. A server
# that reads late may take such data for a request of its own, so all others go alone, those of functions
# that are not published included (tcp-rules.md, 6; 8 and 43 depend on what stands in them).
WITHOUT_DATA = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 17, 43))
