"""What DNP3 publishes: functions, internal indications, control codes, object groups and variations.

Functions: IEEE 1815-2012, tables 4-2 and 9-1, 9-2. Application functions have their own numbers, 0 to 255. Link
functions, which share those numbers, stand at 0x100 | code (of primary stations) and 0x110 | code (of secondary
ones). Objects: annex A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conduitfw.protocols.catalogue import Catalogue, Entry
from conduitfw.protocols.dnp3 import link

GROUPS = {
    "control": "operates outputs: 3 to 6",
    "freeze": "freezes counters: 7 to 12",
    "restart": "restarts the outstation: 13, 14",
    "application": "initializes, starts and stops applications: 15 to 18",
    "configuration": "changes how the outstation is set up: 19, 22, 31",
    "unsolicited": "unsolicited responses, and turning them on and off: 20, 21, 130",
    "time": "measures the delay and records the time: 23, 24 (setting the time is a write)",
    "file": "transfers files: 25 to 30 (their contents are read and written)",
    "authentication": "secure authentication: 32, 33, 131",
    "link": "services of the link layer",
}


def _application(number: int, name: str, title: str, *groups: str, aliases: tuple[str, ...] = ()) -> Entry:
    return Entry(number, name, title, groups, aliases)


def _link(number: int, name: str, title: str) -> Entry:
    return Entry(number, name, title, ("link",))


FUNCTIONS = Catalogue(
    "function",
    (
        _application(0, "confirm", "Confirm"),
        _application(1, "read", "Read"),
        _application(2, "write", "Write"),
        _application(3, "select", "Select", "control"),
        _application(4, "operate", "Operate", "control"),
        _application(5, "direct_operate", "Direct operate", "control"),
        _application(
            6,
            "direct_operate_no_response",
            "Direct operate, no response",
            "control",
            aliases=("direct_operate_nr", "direct_operate_no_ack"),
        ),
        _application(7, "immediate_freeze", "Immediate freeze", "freeze"),
        _application(
            8,
            "immediate_freeze_no_response",
            "Immediate freeze, no response",
            "freeze",
            aliases=("immediate_freeze_nr", "immediate_freeze_no_ack"),
        ),
        _application(9, "freeze_clear", "Freeze and clear", "freeze", aliases=("freeze_and_clear",)),
        _application(
            10,
            "freeze_clear_no_response",
            "Freeze and clear, no response",
            "freeze",
            aliases=("freeze_clear_nr", "freeze_clear_no_ack"),
        ),
        _application(11, "freeze_at_time", "Freeze at time", "freeze"),
        _application(
            12,
            "freeze_at_time_no_response",
            "Freeze at time, no response",
            "freeze",
            aliases=("freeze_at_time_nr", "freeze_at_time_no_ack"),
        ),
        _application(13, "cold_restart", "Cold restart", "restart"),
        _application(14, "warm_restart", "Warm restart", "restart"),
        _application(15, "initialize_data", "Initialize data (obsolete)", "application"),
        _application(16, "initialize_application", "Initialize application", "application"),
        _application(17, "start_application", "Start application", "application"),
        _application(18, "stop_application", "Stop application", "application"),
        _application(19, "save_configuration", "Save configuration (obsolete)", "configuration"),
        _application(20, "enable_unsolicited", "Enable unsolicited responses", "unsolicited"),
        _application(21, "disable_unsolicited", "Disable unsolicited responses", "unsolicited"),
        _application(22, "assign_class", "Assign class", "configuration"),
        _application(23, "delay_measurement", "Delay measurement", "time", aliases=("delay_measure",)),
        _application(24, "record_current_time", "Record current time", "time"),
        _application(25, "open_file", "Open file", "file"),
        _application(26, "close_file", "Close file", "file"),
        _application(27, "delete_file", "Delete file", "file"),
        _application(28, "get_file_information", "Get file information", "file", aliases=("get_file_info",)),
        _application(29, "authenticate_file", "Authenticate file", "file"),
        _application(30, "abort_file", "Abort file transfer", "file"),
        _application(
            31, "activate_configuration", "Activate configuration", "configuration", aliases=("activate_config",)
        ),
        _application(
            32,
            "authentication_request",
            "Authentication request",
            "authentication",
            aliases=("authenticate", "authenticate_req"),
        ),
        _application(
            33,
            "authentication_request_no_acknowledgment",
            "Authentication request, no acknowledgment",
            "authentication",
            aliases=("authenticate_no_ack", "auth_req_no_ack"),
        ),
        _application(129, "response", "Response"),
        _application(130, "unsolicited_response", "Unsolicited response", "unsolicited"),
        _application(
            131, "authentication_response", "Authentication response", "authentication", aliases=("authenticate_resp",)
        ),
        _link(link.RESET_LINK_STATES, "reset_link_states", "Reset link states"),
        _link(link.TEST_LINK_STATES, "test_link_states", "Test link states"),
        _link(link.CONFIRMED_USER_DATA, "confirmed_user_data", "Confirmed user data"),
        _link(link.UNCONFIRMED_USER_DATA, "unconfirmed_user_data", "Unconfirmed user data"),
        _link(link.REQUEST_LINK_STATUS, "request_link_status", "Request link status"),
        _link(link.ACK, "ack", "Link acknowledgment"),
        _link(link.NACK, "nack", "Link not ready (negative acknowledgment)"),
        _link(link.LINK_STATUS, "link_status", "Link status"),
        _link(link.NOT_SUPPORTED, "not_supported", "Link service not supported"),
    ),
    0x11F,
    GROUPS,
)

# Functions that change nothing in the outstation: link services and responses are among them.
CHANGES_NOTHING = frozenset((0, 1, 23, 28)) | frozenset(number for number in FUNCTIONS.by_number if number > 128)
# A rule's `at_most` does not count these: a SELECT only announces.
QUIET = CHANGES_NOTHING | {3}

# Masters keep a session alive by link status, either side may ask; a response with events asks for a
# confirmation. Null unsolicited responses, with which an outstation begins, need no function here: the
# session lets them pass (session.py).
IMPLIED_BY_READ = frozenset((0, link.RESET_LINK_STATES, link.REQUEST_LINK_STATUS, link.LINK_STATUS))

IMPLIED: Mapping[int, frozenset[int]] = {
    1: IMPLIED_BY_READ,
    130: frozenset((0,)),
    # Confirmed data counts only behind a link reset; responses that come in it are acknowledged.
    link.CONFIRMED_USER_DATA: frozenset((link.RESET_LINK_STATES, link.ACK, link.NACK, 129)),
}

# --- internal indications (4.5) -----------------------------------------------------------------------------

# By bit of the two octets as they stand in a response: the first octet's lowest bit is 0.
INDICATIONS = Catalogue(
    "indication",
    (
        Entry(0, "broadcast", "IIN1.0 A broadcast was received"),
        Entry(1, "class_1_events", "IIN1.1 Events of class 1"),
        Entry(2, "class_2_events", "IIN1.2 Events of class 2"),
        Entry(3, "class_3_events", "IIN1.3 Events of class 3"),
        Entry(4, "need_time", "IIN1.4 Time has to be set"),
        Entry(5, "local_control", "IIN1.5 Points are under local control"),
        Entry(6, "device_trouble", "IIN1.6 Something is wrong with the device"),
        Entry(7, "device_restart", "IIN1.7 The device has restarted"),
        Entry(8, "no_func_code_support", "IIN2.0 Function not supported"),
        Entry(9, "object_unknown", "IIN2.1 Object unknown"),
        Entry(10, "parameter_error", "IIN2.2 Qualifier, range or data invalid"),
        Entry(11, "event_buffer_overflow", "IIN2.3 Events were lost"),
        Entry(12, "already_executing", "IIN2.4 The operation runs already"),
        Entry(13, "config_corrupt", "IIN2.5 The configuration is corrupt"),
    ),
    15,
)

# --- control codes (A.8.1) ----------------------------------------------------------------------------------

# The whole octet of a CROB: trip-close code in bits 7 and 6, clear in 5, queue in 4, operation in 3 to 0.
CONTROL_CODES = Catalogue(
    "control code",
    (
        Entry(0x00, "nul", "Nothing"),
        Entry(0x01, "pulse_on", "Pulse on"),
        Entry(0x02, "pulse_off", "Pulse off"),
        Entry(0x03, "latch_on", "Latch on"),
        Entry(0x04, "latch_off", "Latch off"),
        Entry(0x41, "close", "Close (pulse on)", (), ("close_pulse_on",)),
        Entry(0x81, "trip", "Trip (pulse on)", (), ("trip_pulse_on",)),
    ),
    255,
)

# --- objects (annex A) ----------------------------------------------------------------------------------------

# A group a line (number, name, title), a variation a line below it: number, layout, title. The layout says what
# one object is made of, in order, and so how long it is:
#   F flags  S status  c control block  i I 32 bits  h H 16 bits  B 8 bits  f d floating point  t time  r relative time
#   1b 2b bits, packed   none no data   size as many octets as the variation   self a type and a length in front
#   sized only what a size in front of it tells (free format, qualifier 0x5B)
_OBJECTS = """
0 device_attributes Device attributes
1 binary_input Binary input
  1 1b packed
  2 F with flags
2 binary_input_event Binary input event
  1 F without time
  2 Ft with absolute time
  3 Fr with relative time
3 double_bit_input Double-bit binary input
  1 2b packed
  2 F with flags
4 double_bit_input_event Double-bit binary input event
  1 F without time
  2 Ft with absolute time
  3 Fr with relative time
10 binary_output Binary output
  1 1b packed
  2 F status with flags
11 binary_output_event Binary output event
  1 F status without time
  2 Ft status with time
12 binary_output_command Binary output command
  1 c control relay output block (CROB)
  2 c pattern control block
  3 1b pattern mask
13 binary_output_command_event Binary output command event
  1 S command status without time
  2 St command status with time
20 counter Counter
  1 FI 32-bit with flag
  2 FH 16-bit with flag
  3 FI 32-bit with flag, delta
  4 FH 16-bit with flag, delta
  5 I 32-bit
  6 H 16-bit
  7 I 32-bit, delta
  8 H 16-bit, delta
21 frozen_counter Frozen counter
  1 FI 32-bit with flag
  2 FH 16-bit with flag
  3 FI 32-bit with flag, delta
  4 FH 16-bit with flag, delta
  5 FIt 32-bit with flag and time
  6 FHt 16-bit with flag and time
  7 FIt 32-bit with flag and time, delta
  8 FHt 16-bit with flag and time, delta
  9 I 32-bit
  10 H 16-bit
  11 I 32-bit, delta
  12 H 16-bit, delta
22 counter_event Counter event
  1 FI 32-bit with flag
  2 FH 16-bit with flag
  3 FI 32-bit with flag, delta
  4 FH 16-bit with flag, delta
  5 FIt 32-bit with flag and time
  6 FHt 16-bit with flag and time
  7 FIt 32-bit with flag and time, delta
  8 FHt 16-bit with flag and time, delta
23 frozen_counter_event Frozen counter event
  1 FI 32-bit with flag
  2 FH 16-bit with flag
  3 FI 32-bit with flag, delta
  4 FH 16-bit with flag, delta
  5 FIt 32-bit with flag and time
  6 FHt 16-bit with flag and time
  7 FIt 32-bit with flag and time, delta
  8 FHt 16-bit with flag and time, delta
30 analog_input Analog input
  1 Fi 32-bit with flag
  2 Fh 16-bit with flag
  3 i 32-bit
  4 h 16-bit
  5 Ff single precision with flag
  6 Fd double precision with flag
31 frozen_analog_input Frozen analog input
  1 Fi 32-bit with flag
  2 Fh 16-bit with flag
  3 Fit 32-bit with flag and time
  4 Fht 16-bit with flag and time
  5 i 32-bit
  6 h 16-bit
  7 Ff single precision with flag
  8 Fd double precision with flag
32 analog_input_event Analog input event
  1 Fi 32-bit
  2 Fh 16-bit
  3 Fit 32-bit with time
  4 Fht 16-bit with time
  5 Ff single precision
  6 Fd double precision
  7 Fft single precision with time
  8 Fdt double precision with time
33 frozen_analog_input_event Frozen analog input event
  1 Fi 32-bit
  2 Fh 16-bit
  3 Fit 32-bit with time
  4 Fht 16-bit with time
  5 Ff single precision
  6 Fd double precision
  7 Fft single precision with time
  8 Fdt double precision with time
34 analog_input_deadband Analog input deadband
  1 H 16-bit
  2 I 32-bit
  3 f single precision
40 analog_output_status Analog output status
  1 Fi 32-bit with flag
  2 Fh 16-bit with flag
  3 Ff single precision with flag
  4 Fd double precision with flag
41 analog_output Analog output (set point)
  1 iS 32-bit
  2 hS 16-bit
  3 fS single precision
  4 dS double precision
42 analog_output_event Analog output event
  1 Fi 32-bit
  2 Fh 16-bit
  3 Fit 32-bit with time
  4 Fht 16-bit with time
  5 Ff single precision
  6 Fd double precision
  7 Fft single precision with time
  8 Fdt double precision with time
43 analog_output_command_event Analog output command event
  1 Si 32-bit
  2 Sh 16-bit
  3 Sit 32-bit with time
  4 Sht 16-bit with time
  5 Sf single precision
  6 Sd double precision
  7 Sft single precision with time
  8 Sdt double precision with time
50 time_and_date Time and date
  1 t absolute time
  2 tI absolute time and interval
  3 t absolute time last recorded
  4 tIB indexed absolute time and long interval
51 time_and_date_cto Time and date, common time of occurrence
  1 t absolute time, synchronized
  2 t absolute time, unsynchronized
52 time_delay Time delay
  1 r coarse
  2 r fine
60 class_data Class data
  1 none class 0
  2 none class 1
  3 none class 2
  4 none class 3
70 file_control File control
  1 sized file identifier
  2 sized authentication
  3 sized file command
  4 sized file command status
  5 sized file transport
  6 sized file transport status
  7 sized file descriptor
  8 sized file specification string
80 internal_indications Internal indications
  1 1b packed
81 device_storage Device storage
  1 BBB buffer fill status
82 device_profile Device profile
  1 sized functions and indexes
83 data_set Data set
  1 sized private registration object
  2 sized private registration object descriptor
85 data_set_prototype Data set prototype
  1 sized with UUID
86 data_set_descriptor Data set descriptor
  1 sized contents
  2 B characteristics
  3 sized point index attributes
87 data_set_value Data set, present value
  1 sized present value
88 data_set_event Data set event
  1 sized snapshot
90 application_identifier Application identifier
  1 sized identifier
91 status_of_operation Status of requested operation
  1 sized active configuration
101 binary_coded_decimal Binary-coded decimal integer
  1 H small
  2 I medium
  3 II large
102 unsigned_integer Unsigned integer
  1 B 8-bit
110 octet_string Octet string
111 octet_string_event Octet string event
112 virtual_terminal_output Virtual terminal output block
113 virtual_terminal_event Virtual terminal event
120 authentication Authentication
  1 sized challenge
  2 sized reply
  3 IH aggressive mode request
  4 H session key status request
  5 sized session key status
  6 sized session key change
  7 sized error
  8 sized user certificate
  9 sized message authentication code
  10 sized user status change
  11 sized update key change request
  12 sized update key change reply
  13 sized update key change
  14 sized update key change signature
  15 sized update key change confirmation
121 security_statistic Security statistic
  1 FHI 32-bit with flag
122 security_statistic_event Security statistic event
  1 FHI 32-bit with flag
  2 FHIt 32-bit with flag and time
"""

# Groups in which every variation is alike: its layout.
_WHOLE = {0: "self", 110: "size", 111: "size", 112: "size", 113: "size"}
_OCTETS = {"F": 1, "S": 1, "c": 11, "i": 4, "I": 4, "h": 2, "H": 2, "B": 1, "f": 4, "d": 8, "t": 6, "r": 2}
_NUMBERS = "iIhHfdB"
# Groups whose numbers are a process's: counters, analogs, and what else is set. Times and sizes are not.
_WITH_NUMBERS = frozenset((*range(20, 50), 101, 102))


@dataclass(frozen=True)
class Layout:
    """How one object of a variation stands on the wire."""

    title: str
    octets: int = 0  # of each object, where `bits` is 0
    bits: int = 0  # packed: of each object
    sized: bool = False  # nothing but a size in front of it tells where it ends
    string: bool = False  # as many octets as its variation; a size in front may say it as well
    own_length: bool = False  # a data type and a length stand in front of it (device attributes, A.2)
    flags: bool = False  # its first octet
    number_at: int = -1  # where its number begins, and what it is (a code of the struct module)
    number: str = ""


def _layout(group: int, words: str, title: str, variation: int = 0) -> Layout:
    if words in ("1b", "2b"):
        return Layout(title, bits=int(words[0]))
    if words == "sized":
        return Layout(title, sized=True)
    if words == "self":
        return Layout(title, own_length=True)
    if words == "size":
        return Layout(title, octets=variation, string=True)
    if words == "none":
        return Layout(title)
    at, number_at, number = 0, -1, ""
    for letter in words:
        if letter in _NUMBERS and number_at < 0 and group in _WITH_NUMBERS:
            number_at, number = at, letter
        at += _OCTETS[letter]
    return Layout(title, octets=at, flags=words[0] == "F", number_at=number_at, number=number)


def _read_objects() -> tuple[Catalogue, dict[int, Layout]]:
    entries, layouts = [], {}
    group = 0
    for line in _OBJECTS.strip().splitlines():
        number, word, title = line.split(None, 2)
        if line.startswith(" "):
            layouts[group << 8 | int(number)] = _layout(group, word, title)
        else:
            group = int(number)
            entries.append(Entry(group, word, title))
            if group in _WHOLE:
                for variation in range(256):
                    layouts[group << 8 | variation] = _layout(group, _WHOLE[group], f"variation {variation}", variation)
    return Catalogue("group", entries, 255), layouts


# Groups by number and name; layouts by group << 8 | variation. Variation 0 asks for any, and has none.
OBJECT_GROUPS, LAYOUTS = _read_objects()

# The variations that differ from each other, by group << 8 | variation.
OBJECTS = Catalogue(
    "object",
    (
        Entry(key, f"g{key >> 8}v{key & 0xFF}", f"{OBJECT_GROUPS.by_number[key >> 8].title}: {layout.title}")
        for key, layout in LAYOUTS.items()
        if key >> 8 not in _WHOLE
    ),
    0,
)

BINARY_OUTPUT, BINARY_OUTPUT_COMMAND = 10, 12
ANALOG_DEADBAND, ANALOG_STATUS, ANALOG_OUTPUT = 34, 40, 41
TIME, CLASS, FILE, AUTHENTICATION = 50, 60, 70, 120

# Where an outstation tells what an output is now. Its events do not: the oldest may come last.
SHOWN_IN: Mapping[int, tuple[int, ...]] = {BINARY_OUTPUT_COMMAND: (BINARY_OUTPUT,), ANALOG_OUTPUT: (ANALOG_STATUS,)}
