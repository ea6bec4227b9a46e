"""The application layer's headers (IEEE 1815-2012, 4.2.2): what a request or response must look like.

A request is a control octet, a function code and objects; a response has two octets of internal
indications (IIN) behind its function code.
"""

from __future__ import annotations

from conduitfw.reasons import Reason

FIR, FIN, CON, UNS, SEQUENCE = 0x80, 0x40, 0x20, 0x10, 0x0F

CONFIRM, READ, DIRECT_OPERATE = 0, 1, 5
AUTHENTICATION_REQUEST = 32
RESPONSE, UNSOLICITED_RESPONSE, AUTHENTICATION_RESPONSE = 129, 130, 131
RESPONSES = frozenset((RESPONSE, UNSOLICITED_RESPONSE, AUTHENTICATION_RESPONSE))

REQUEST_HEADER_SIZE, RESPONSE_HEADER_SIZE = 2, 4

# No response is sent to these (IEEE 1815-2012, table 4-2). A server that does answer one is heard.
WITHOUT_ANSWER = frozenset((CONFIRM, 6, 8, 10, 12, 33))

# A request is one fragment and asks for no confirmation (4.2.2.4).
_REQUEST_CONTROLS = FIR | FIN


def request_refusal(control: int, function: int, octets: int, complete: bool) -> Reason | None:
    """What is wrong with a request that begins so. `octets`: of its first segment, at least 2.

    A conforming outstation ignores a request with other control bits, but keeps no common mind about it.
    """
    if function >= 0x80:
        return Reason.WRONG_DIRECTION if function in RESPONSES else Reason.DNP3_FUNCTION
    if control & (FIR | FIN | CON) != _REQUEST_CONTROLS or (control & UNS and function != CONFIRM):
        return Reason.DNP3_APPLICATION_CONTROL
    if function == CONFIRM and (octets != REQUEST_HEADER_SIZE or not complete):
        # Confirmations overtake what has to wait, so nothing may travel in them.
        return Reason.DNP3_CONFIRM_OBJECTS
    return None


def response_refusal(control: int, function: int, octets: int, complete: bool) -> Reason | None:
    """What is wrong with a response that begins so. `octets`: of its first segment, at least 2."""
    if function not in RESPONSES:
        return Reason.DNP3_FUNCTION if function >= 0x80 else Reason.WRONG_DIRECTION
    unsolicited = function == UNSOLICITED_RESPONSE
    if bool(control & UNS) is not unsolicited and function != AUTHENTICATION_RESPONSE:
        return Reason.DNP3_APPLICATION_CONTROL
    if unsolicited and control & (FIR | FIN) != FIR | FIN:
        return Reason.DNP3_APPLICATION_CONTROL
    if octets < RESPONSE_HEADER_SIZE:
        return Reason.DNP3_NO_INDICATIONS if complete else Reason.DNP3_HEADER_CUT
    return None
