"""The functions of DNP3 by number and name (IEEE 1815-2012, tables 4-2 and 9-1, 9-2), and groups of them.

Application functions have their own numbers, 0 to 255. Link functions, which share those numbers,
stand at 0x100 | code (of primary stations) and 0x110 | code (of secondary ones).
"""

from __future__ import annotations

from collections.abc import Mapping

from conduitfw.protocols.catalogue import Catalogue, Function
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


def _application(number: int, name: str, title: str, *groups: str, aliases: tuple[str, ...] = ()) -> Function:
    return Function(number, name, title, groups, aliases)


def _link(number: int, name: str, title: str) -> Function:
    return Function(number, name, title, ("link",))


FUNCTIONS = Catalogue(
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
    GROUPS,
    highest=0x11F,
)

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
