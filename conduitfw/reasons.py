"""Why something was denied: one table for events, `explain`, `replay` and the documentation.

A reason is a member here, with a code that tools may rely on and a sentence that is read at 3 a.m.
Nothing else in the project makes up a reason in place.
"""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """A denial's cause: `code` for machines, `sentence` for people.

    `malformed` tells bytes that no conforming peer sends (they are denied even where no policy is
    asked, as in `replay --any`) from things that a policy or a session's state forbids.
    """

    code: str
    sentence: str
    malformed: bool

    def __new__(cls, code: str, sentence: str, malformed: bool = False) -> Reason:
        member = object.__new__(cls)
        member._value_ = code
        member.code = code
        member.sentence = sentence
        member.malformed = malformed
        return member

    def told(self, detail: str) -> str:
        """The sentence, and what it is about in this very case."""
        return f"{self.sentence.removesuffix('.')}: {detail}" if detail else self.sentence

    # --- policy -------------------------------------------------------------------------------
    NO_CONDUIT = "no-conduit", "No conduit names this traffic between these two addresses."
    NO_RULE = "no-rule", "No rule of the conduit allows this client this function on this server."
    NO_RULE_ADDRESS = "no-rule-address", "No rule allows this unit or link address on this server."
    SUB_FUNCTION = "sub-function", "No rule allows this sub-function of the function."
    OBJECT = "object", "No rule allows this object."
    POINT = "point", "No rule allows all of these addresses, points or records."
    QUANTITY = "quantity", "No rule allows so many items, or so few, in one request."
    CONTROL = "control", "No rule allows this control code."
    VALUE = "value", "No rule allows this value to be written."
    TAG_PART = "tag-part", "The request writes a part of a point, or of two: its value cannot be known."
    TAG_LIMIT = "tag-limit", "The value to be written is outside of the point's limits."
    TAG_STEP = "tag-step", "The value to be written is too far from the last one that was seen."
    TAG_UNSEEN = "tag-unseen", "The point's step is limited and no value of it has been seen yet: read it first."
    NOT_SELECTED = "not-selected", "The operation was not selected just before, with the same objects."
    RATE = "rate", "The rule's share of such requests for this time is used up."
    WRONG_SIDE = "wrong-side", "The source address does not belong on the side it arrived from."
    OTHER_VLAN = "other-vlan", "A packet of a session in another VLAN than the session's own."

    # --- headers (packet.py) ------------------------------------------------------------------
    TRUNCATED = "truncated", "The packet ends before its headers say that it does.", True
    BAD_IP_HEADER = "bad-ip-header", "The IP header contradicts itself.", True
    BAD_CHECKSUM = "bad-checksum", "The IP, TCP or UDP checksum is wrong.", True
    FRAGMENT = "fragment", "An IP fragment: what it belongs to cannot be inspected."
    IP_OPTIONS = "ip-options", "The packet carries IP options or IPv6 extension headers."
    NOT_INSPECTED = "not-inspected", "Neither TCP nor UDP reached the inspection queue."
    BAD_TCP_HEADER = "bad-tcp-header", "The TCP header or its options contradict themselves.", True
    BAD_UDP_HEADER = "bad-udp-header", "The UDP length does not fit the packet.", True
    BAD_FLAGS = "bad-flags", "No TCP sends this combination of flags.", True
    URGENT = "urgent", "Urgent data leaves the stream at the receiver's discretion."
    TCP_AUTH_OPTION = "tcp-auth-option", "TCP MD5 or AO: an authenticated segment cannot be inspected."

    # --- stream (stream.py) -------------------------------------------------------------------
    SYN_DATA = "syn-data", "Data on a SYN is taken by some servers and ignored by others."
    SERVER_OPENS = "server-opens", "The server's side tried to open the connection."
    NO_SESSION = "no-session", "The segment belongs to no session whose beginning was seen."
    NOT_ESTABLISHED = "not-established", "Data before the handshake was complete."
    GAP = "gap", "A segment before this one is missing: the sender has to send again."
    OUT_OF_WINDOW = "out-of-window", "Its sequence number cannot belong to the session as it stands."
    CHANGED_REPEAT = "changed-repeat", "A repeated segment differs from what was sent before."
    AFTER_END = "after-end", "Data behind the end of the stream."
    ENDED = "ended", "The flow was ended by an earlier denial."
    UNINSPECTED_BYTES = "uninspected-bytes", "The receiver acknowledged bytes that nobody inspected."
    UNFINISHED = "unfinished", "The client ended the stream in the midst of a unit."
    NO_WINDOW_SCALE = "no-window-scale", "A cut unit in a session whose handshake was not seen."
    NEVER_FITS = "never-fits", "The unit can never fit the server's receive window."
    BYTES_LOST = "bytes-lost", "The server has not taken all that the client believes it has."
    HEAD_TIMEOUT = "head-timeout", "The rest of a cut unit did not come in time."
    NO_ANSWER = "no-answer", "The server did not answer a request that carries data in time."
    TOO_MANY_FLOWS = "too-many-flows", "The flow table, or this source's share of it, is full."
    QUARANTINED = "quarantined", "A packet of this flow ended a worker: the flow was ended."
    ENGINE_ERROR = "engine-error", "A defect of conduitfw: the packet could not be decided, and its flow was ended."
    POLICY_CHANGED = "policy-changed", "The new policy no longer allows this session."

    # --- any protocol -------------------------------------------------------------------------
    UNMATCHED_RESPONSE = "unmatched-response", "A response that answers no outstanding request."
    WRONG_DIRECTION = "wrong-direction", "A request from the server's side, or an answer from the client's."
    CUT_DATAGRAM = "cut-datagram", "A datagram does not hold whole protocol units.", True
    TOO_MANY_OUTSTANDING = "too-many-outstanding", "More requests are unanswered than can be remembered."

    # --- Modbus ----------------------------------------------------------------------------------
    MODBUS_PROTOCOL_ID = "modbus-protocol-id", "The MBAP protocol id is not 0.", True
    MODBUS_LENGTH = "modbus-length", "The MBAP length is not what the function's PDU needs.", True
    MODBUS_FUNCTION_CODE = "modbus-function-code", "No request has this function code.", True
    MODBUS_QUANTITY = "modbus-quantity", "The quantity is outside of what the function allows.", True
    MODBUS_BYTE_COUNT = "modbus-byte-count", "The byte count contradicts the quantity or the length.", True
    MODBUS_ADDRESS = "modbus-address", "Address and quantity reach beyond 65535.", True
    MODBUS_VALUE = "modbus-value", "The value is none that the function knows.", True
    MODBUS_FILE_REFERENCE = (
        "modbus-file-reference",
        "Not a file reference of type 6, file 1 up, records 0 to 9999.",
        True,
    )
    MODBUS_EXCEPTION_CODE = "modbus-exception-code", "The exception response has no known code.", True
    MODBUS_ANSWER_DIFFERS = "modbus-answer-differs", "The response does not fit the request that it answers.", True

    # --- DNP3 (protocols/dnp3) ----------------------------------------------------------------
    DNP3_START = "dnp3-start", "A DNP3 frame has to begin with 05 64.", True
    DNP3_LENGTH = "dnp3-length", "The link header's LENGTH is under 5, or does not fit the frame.", True
    DNP3_HEADER_CRC = "dnp3-header-crc", "The CRC of the link header is wrong.", True
    DNP3_BLOCK_CRC = "dnp3-block-crc", "The CRC of a block of user data is wrong.", True
    DNP3_LINK_FUNCTION = "dnp3-link-function", "The link layer has no such function.", True
    DNP3_LINK_CONTROL = "dnp3-link-control", "The frame count bits are not as the link function wants them.", True
    DNP3_LINK_DATA = (
        "dnp3-link-data",
        "The link function wants user data and has none, or has some and wants none.",
        True,
    )
    DNP3_ADDRESS = "dnp3-address", "A reserved or broadcast link address where a station's own has to stand.", True
    DNP3_BROADCAST_SERVICE = "dnp3-broadcast-service", "Only unconfirmed user data can be broadcast.", True
    DNP3_CONFIRMED_DATA = (
        "dnp3-confirmed-data",
        "Confirmed user data that is not a whole fragment: nobody in the middle knows whether it counts.",
    )
    DNP3_EMPTY_SEGMENT = "dnp3-empty-segment", "A transport segment without a byte of its fragment.", True
    DNP3_NO_FIRST_SEGMENT = "dnp3-no-first-segment", "A later segment of a fragment that was never begun."
    DNP3_SEGMENT_GAP = "dnp3-segment-gap", "The segment does not follow the one before it in its fragment."
    DNP3_FOREIGN_SEGMENT = "dnp3-foreign-segment", "The segment has other link addresses than its fragment."
    DNP3_FRAGMENT_TOO_LONG = "dnp3-fragment-too-long", "The request is longer than the 2,048 bytes of a fragment."
    DNP3_HEADER_CUT = "dnp3-header-cut", "The application header does not fit the fragment's first frame."
    DNP3_NO_INDICATIONS = "dnp3-no-indications", "The response ends before its internal indications.", True
    DNP3_APPLICATION_CONTROL = (
        "dnp3-application-control",
        "The application control bits (FIR, FIN, CON, UNS) do not fit the function.",
        True,
    )
    DNP3_FUNCTION = "dnp3-function", "The application layer reserves this function code of responses.", True
    DNP3_QUALIFIER = "dnp3-qualifier", "No such qualifier, or none that goes with this object.", True
    DNP3_OBJECT_RANGE = (
        "dnp3-object-range",
        "The range of an object header runs backwards, or is beyond all bounds.",
        True,
    )
    DNP3_OBJECT_UNKNOWN = "dnp3-object-unknown", "An object of unknown size: nobody can tell what stands behind it."
    DNP3_OBJECT_CUT = "dnp3-object-cut", "The message ends within an object or its header.", True
    DNP3_OBJECT_UNWANTED = "dnp3-object-unwanted", "An object in a request that takes none."
    DNP3_CONFIRM_OBJECTS = "dnp3-confirm-objects", "A confirmation brings bytes of its own."


class Malformed(Exception):  # noqa: N818  (it names what the bytes are)
    """The peer's bytes are not a unit of the protocol. Carries the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason
