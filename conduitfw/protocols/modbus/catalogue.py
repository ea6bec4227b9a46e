"""What Modbus publishes: functions, sub-functions, tables, exceptions, and the limits of each function.

MODBUS Application Protocol Specification V1.1b3, 5.1, 6 and 7; the assigned MEI types 13 and 14. UMAS (function
90) is Schneider's own and has no public standard: its codes are those that dissectors and published research name.
"""

from __future__ import annotations

from conduitfw.protocols.catalogue import Catalogue, Entry

GROUPS = {
    "read": "reads data and changes nothing: 1, 2, 3, 4, 20, 24",
    "write": "changes data: 5, 6, 15, 16, 21, 22, and 23, which also reads",
    "serial_line": "for serial lines: 7, 8, 11, 12 (8, diagnostics, may restart or silence a device)",
    "identification": "asks what the device is: 17, 43",
    "files": "file records: 20, 21",
}

DIAGNOSTICS, FIFO, MASK_WRITE, READ_WRITE, INTERFACE, UMAS = 8, 24, 22, 23, 43, 90
READ_FILE, WRITE_FILE = 20, 21

FUNCTIONS = Catalogue(
    "function",
    (
        Entry(1, "read_coils", "Read Coils", ("read",)),
        Entry(2, "read_discrete_inputs", "Read Discrete Inputs", ("read",)),
        Entry(3, "read_holding_registers", "Read Holding Registers", ("read",)),
        Entry(4, "read_input_registers", "Read Input Registers", ("read",)),
        Entry(5, "write_single_coil", "Write Single Coil", ("write",)),
        Entry(6, "write_single_register", "Write Single Register", ("write",)),
        Entry(7, "read_exception_status", "Read Exception Status", ("serial_line",)),
        Entry(DIAGNOSTICS, "diagnostics", "Diagnostics", ("serial_line",)),
        Entry(11, "get_comm_event_counter", "Get Comm Event Counter", ("serial_line",)),
        Entry(12, "get_comm_event_log", "Get Comm Event Log", ("serial_line",)),
        Entry(15, "write_multiple_coils", "Write Multiple Coils", ("write",)),
        Entry(16, "write_multiple_registers", "Write Multiple Registers", ("write",)),
        Entry(17, "report_server_id", "Report Server ID", ("identification",), ("report_slave_id",)),
        Entry(READ_FILE, "read_file_record", "Read File Record", ("read", "files")),
        Entry(WRITE_FILE, "write_file_record", "Write File Record", ("write", "files")),
        Entry(MASK_WRITE, "mask_write_register", "Mask Write Register", ("write",)),
        Entry(READ_WRITE, "read_write_multiple_registers", "Read/Write Multiple Registers", ("write",)),
        Entry(FIFO, "read_fifo_queue", "Read FIFO Queue", ("read",)),
        Entry(
            INTERFACE,
            "encapsulated_interface_transport",
            "Encapsulated Interface Transport",
            ("identification",),
            ("read_device_identification",),
        ),
        Entry(UMAS, "umas", "Schneider UMAS (vendor)"),
    ),
    127,
    GROUPS,
)

# Functions that change nothing in the device: a rule's `at_most` does not count them.
QUIET = frozenset((1, 2, 3, 4, 7, 11, 12, 17, READ_FILE, FIFO))

# --- tables (4.3) ---------------------------------------------------------------------------------------

# Numbered as in Modicon's references (0xxxx coils, 1xxxx inputs, 3xxxx, 4xxxx registers, 6xxxx files).
COILS, DISCRETE_INPUTS, INPUT_REGISTERS, HOLDING_REGISTERS, FILE_RECORDS = 0, 1, 3, 4, 6

TABLES = Catalogue(
    "table",
    (
        Entry(COILS, "coils", "Coils", (), ("coil",)),
        Entry(DISCRETE_INPUTS, "discrete_inputs", "Discrete Inputs", (), ("discrete",)),
        Entry(INPUT_REGISTERS, "input_registers", "Input Registers", (), ("input",)),
        Entry(HOLDING_REGISTERS, "holding_registers", "Holding Registers", (), ("holding",)),
        Entry(FILE_RECORDS, "file_records", "File Records"),
    ),
    6,
)

BIT_TABLES = frozenset((COILS, DISCRETE_INPUTS))  # the others hold registers of 16 bits

# Function -> the table that it reads, and how many items at most (6.1 to 6.4).
READS = {1: (COILS, 2000), 2: (DISCRETE_INPUTS, 2000), 3: (HOLDING_REGISTERS, 125), 4: (INPUT_REGISTERS, 125)}
# Function -> the table of which it writes several items, and how many at most (6.11, 6.12).
WRITES = {15: (COILS, 1968), 16: (HOLDING_REGISTERS, 123)}
# Function -> the table of which it writes one item (6.5, 6.6).
WRITES_ONE = {5: COILS, 6: HOLDING_REGISTERS}
READ_WRITE_MOST = (125, 121)  # 6.17: read, written
FIFO_MOST = 31  # 6.18: registers behind the count

# --- sub-functions ----------------------------------------------------------------------------------------

READ_DEVICE_IDENTIFICATION, CANOPEN = 14, 13

SUB_FUNCTIONS: dict[int, Catalogue] = {
    DIAGNOSTICS: Catalogue(  # 6.8.1
        "sub-function",
        (
            Entry(0, "return_query_data", "Return Query Data", ("query",)),
            Entry(1, "restart_communications_option", "Restart Communications Option"),
            Entry(2, "return_diagnostic_register", "Return Diagnostic Register", ("query",)),
            Entry(3, "change_ascii_input_delimiter", "Change ASCII Input Delimiter"),
            Entry(4, "force_listen_only_mode", "Force Listen Only Mode"),
            Entry(10, "clear_counters_and_diagnostic_register", "Clear Counters and Diagnostic Register"),
            Entry(11, "return_bus_message_count", "Return Bus Message Count", ("query",)),
            Entry(12, "return_bus_communication_error_count", "Return Bus Communication Error Count", ("query",)),
            Entry(13, "return_bus_exception_error_count", "Return Bus Exception Error Count", ("query",)),
            Entry(14, "return_server_message_count", "Return Server Message Count", ("query",)),
            Entry(15, "return_server_no_response_count", "Return Server No Response Count", ("query",)),
            Entry(16, "return_server_nak_count", "Return Server NAK Count", ("query",)),
            Entry(17, "return_server_busy_count", "Return Server Busy Count", ("query",)),
            Entry(18, "return_bus_character_overrun_count", "Return Bus Character Overrun Count", ("query",)),
            Entry(20, "clear_overrun_counter_and_flag", "Clear Overrun Counter and Flag"),
        ),
        0xFFFF,
        {"query": "asks and changes nothing: 0, 2, 11 to 18"},
    ),
    # MEI type in the high octet, the code of MEI type 14 in the low one (6.20, 6.21).
    INTERFACE: Catalogue(
        "sub-function",
        (
            Entry(CANOPEN << 8, "canopen_general_reference", "CANopen General Reference (MEI 13)"),
            Entry(0x0E01, "basic_identification", "Read Device Identification, basic", ("identification",)),
            Entry(0x0E02, "regular_identification", "Read Device Identification, regular", ("identification",)),
            Entry(0x0E03, "extended_identification", "Read Device Identification, extended", ("identification",)),
            Entry(0x0E04, "specific_identification", "Read Device Identification, one object", ("identification",)),
        ),
        0xFFFF,
        {"identification": "read device identification, whatever code: MEI 14, codes 1 to 4"},
    ),
    UMAS: Catalogue(
        "sub-function",
        (
            Entry(0x01, "init_communication", "Initialize communication", ("session",)),
            Entry(0x02, "read_id", "Read device id", ("query",)),
            Entry(0x03, "read_project_info", "Read project information", ("query",)),
            Entry(0x04, "read_plc_info", "Read PLC status", ("query",)),
            Entry(0x06, "read_card_info", "Read memory card information", ("query",)),
            Entry(0x0A, "repeat", "Echo", ("query",)),
            Entry(0x10, "take_plc_reservation", "Take the PLC's reservation", ("session",)),
            Entry(0x11, "release_plc_reservation", "Release the PLC's reservation", ("session",)),
            Entry(0x12, "keep_alive", "Keep the reservation alive", ("session",)),
            Entry(0x20, "read_memory_block", "Read memory block", ("query",)),
            Entry(0x21, "write_memory_block", "Write memory block"),
            Entry(0x22, "read_variables", "Read variables", ("query",)),
            Entry(0x23, "write_variables", "Write variables"),
            Entry(0x24, "read_coils_registers", "Read coils and registers", ("query",)),
            Entry(0x25, "write_coils_registers", "Write coils and registers"),
            # Sources disagree on which way an upload goes, so no group vouches for these.
            Entry(0x30, "initialize_upload", "Initialize strategy upload"),
            Entry(0x31, "upload_block", "Strategy upload block"),
            Entry(0x32, "end_strategy_upload", "End strategy upload"),
            Entry(0x33, "initialize_download", "Initialize strategy download"),
            Entry(0x34, "download_block", "Strategy download block"),
            Entry(0x35, "end_strategy_download", "End strategy download"),
            Entry(0x39, "read_ethernet_master_data", "Read Ethernet master data", ("query",)),
            Entry(0x40, "start_plc", "Start the PLC"),
            Entry(0x41, "stop_plc", "Stop the PLC"),
            Entry(0x50, "monitor_plc", "Monitor variables"),
            Entry(0x58, "check_plc", "Check the connection", ("query",)),
            Entry(0x60, "set_breakpoint", "Set a breakpoint"),
            Entry(0x70, "read_io_object", "Read I/O object", ("query",)),
            Entry(0x71, "write_io_object", "Write I/O object"),
            Entry(0x73, "get_module_status", "Get a module's status", ("query",)),
        ),
        0xFF,
        {
            "query": "asks and changes nothing: 0x02 to 0x04, 0x06, 0x0a, 0x20, 0x22, 0x24, 0x39, 0x58, 0x70, 0x73",
            "session": "begins, reserves and ends a session: 0x01, 0x10 to 0x12",
        },
    ),
}

# --- exceptions (7) ------------------------------------------------------------------------------------------

EXCEPTIONS = Catalogue(
    "exception",
    (
        Entry(1, "illegal_function", "Illegal Function"),
        Entry(2, "illegal_data_address", "Illegal Data Address"),
        Entry(3, "illegal_data_value", "Illegal Data Value"),
        Entry(4, "server_device_failure", "Server Device Failure"),
        Entry(5, "acknowledge", "Acknowledge"),
        Entry(6, "server_device_busy", "Server Device Busy"),
        Entry(7, "negative_acknowledge", "Negative Acknowledge (older devices)"),
        Entry(8, "memory_parity_error", "Memory Parity Error"),
        Entry(10, "gateway_path_unavailable", "Gateway Path Unavailable"),
        Entry(11, "gateway_target_device_failed_to_respond", "Gateway Target Device Failed to Respond"),
    ),
    255,
)

# Requests of these carry no data of the client's choice, or too little for a request to hide in. A server
# that reads late may take such data for a request of its own, so all others go alone, those of functions
# that are not published included (tcp-rules.md, 6; 8 and 43 depend on what stands in them).
WITHOUT_DATA = frozenset((1, 2, 3, 4, 5, 6, 7, DIAGNOSTICS, 11, 12, 17, INTERFACE))
