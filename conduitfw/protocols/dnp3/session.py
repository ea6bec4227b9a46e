"""What one DNP3 session remembers: open fragments, and the requests that have not been answered.

A unit is one link frame. A fragment of several frames is decided frame by frame, and never kept: only
where it stands. What a conforming station would ignore never goes on, since stations differ in what they
keep through it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from conduitfw.protocols import Item, Kind, Remark, Unit
from conduitfw.protocols.dnp3 import application, link, plain, selection, transport
from conduitfw.protocols.dnp3.objects import BEGINNING, NONE, Objects, items_of, outcome_of, read_objects
from conduitfw.protocols.dnp3.selection import Selection
from conduitfw.protocols.dnp3.transport import Fragment
from conduitfw.protocols.ordinary import OrdinarySession
from conduitfw.protocols.outstanding import may_join
from conduitfw.reasons import Malformed, Reason

# How many requests are remembered, answered and late ones included (rules allow 16 at a time by default).
REMEMBERED = 20
# Outstations behind one connection whose responses may be under way, each between two of its frames.
OPEN_RESPONSES = 4
_REQUEST = struct.Struct("<IBBBBBd")
_HEADER = struct.Struct("<BBBB")
SESSION_SIZE = (
    _HEADER.size
    + (1 + OPEN_RESPONSES) * transport.PACKED_SIZE
    + REMEMBERED * _REQUEST.size
    + selection.REMEMBERED * selection.PACKED.size
)
_FRAME = struct.Struct("<xxBBHH")
_ONE = struct.Struct(_HEADER.format + _REQUEST.format[1:])  # where nothing but one request is remembered
_HEADER_SIZE, _REQUEST_SIZE = _HEADER.size, _REQUEST.size
_ROOM_OCTETS = memoryview(bytearray(_HEADER_SIZE + REMEMBERED * _REQUEST_SIZE))
_COMPILED = not __file__.endswith(".py")

_WAITING, _LATE, _ANSWERED = 0, 1, 2
# What may go on beside others (tcp-rules.md, 6), unless it brings octets of the client's choice.
_PLAIN = frozenset((application.CONFIRM, application.READ))
# An ordinary read or confirmation: one frame from a master, its user data unconfirmed and at least a header.
_ORDINARY_CONTROL = link.DIR | link.PRM | link.UNCONFIRMED_USER_DATA & 0x0F
_SHORTEST, _LONGEST = link.HEADER_SIZE + 1 + application.REQUEST_HEADER_SIZE + 2, 64  # octets of the frame
# An ordinary answer: one frame of an outstation.
_ANSWER_CONTROL = link.PRM | link.UNCONFIRMED_USER_DATA & 0x0F
_ANSWER_OBJECTS = 1 + application.RESPONSE_HEADER_SIZE  # where they begin in the user data
_WHOLE_SEGMENT = transport.FIR | transport.FIN
_WHOLE_FRAGMENT = application.FIR | application.FIN
_CONFIRM, _READ, _RESPONSE = application.CONFIRM, application.READ, application.RESPONSE
_UNS, _SEQUENCE = application.UNS, application.SEQUENCE
_RESERVED, _DATA_AT = link.FIRST_RESERVED_ADDRESS, link.HEADER_SIZE
_OBJECTS_AT = 1 + application.REQUEST_HEADER_SIZE
_MOST_READS = 1024
_reads: dict[bytes, bool] = {}  # whether these objects are all that a conforming read says, as found before
_OPERATIONS = frozenset((selection.OPERATE, application.DIRECT_OPERATE))


class Dnp3Unit(Unit):
    """A link frame. `part`: a frame of a fragment whose last frame is still to come."""

    __slots__ = ("answers", "indications", "objects", "part", "sequence")

    part: bool
    answers: int  # a response's: function of the request that it answers; else -1
    objects: Objects  # those that this frame brings, whole
    indications: int  # the two octets of a response, where this frame begins one; else -1
    sequence: int  # a request's: of its application layer, which its answer repeats; else -1

    def _read_items(self) -> Sequence[Item]:
        return list(items_of(self.objects, self.function))

    def outcome(self) -> Sequence[tuple[Item, bool]]:
        """What became of what was operated."""
        return list(outcome_of(self.objects)) if self.answers in _OPERATIONS and self.reason is None else ()


class Request:
    """A request that was sent on."""

    __slots__ = ("carries_data", "function", "owed", "pair", "sent", "sequence", "state")

    def __init__(self, pair: int, function: int, sequence: int, carries_data: bool, sent: float) -> None:
        self.pair = pair  # master << 16 | outstation
        self.function = function
        self.sequence = sequence  # of its answer's next fragment
        self.carries_data = carries_data
        self.sent = sent  # seconds
        self.state = _WAITING  # late: holds nobody up, its answer may still come. Answered: it may be repeated
        self.owed = 1  # answers that may come: it may have been asked before, with the same sequence number

    def settle(self) -> None:
        """The last fragment of one of its answers passed."""
        self.owed = max(self.owed - 1, 0)
        self.state = _LATE if self.owed else _ANSWERED


@dataclass(frozen=True, slots=True)
class _FromClient:
    """What a client's frame changes once it has been sent on."""

    fragment: Fragment | None
    sequence: int  # of the request that it completes; -1: it completes none that is answered
    selected: bytes  # digest of what it selects, where it completes a SELECT; else b""


@dataclass(frozen=True, slots=True)
class _FromServer:
    """What a server's frame changes."""

    pair: int
    fragment: Fragment | None
    request: Request | None  # that it answers; set on the last frame of a fragment
    final: bool  # whether the answer is complete


def _only_reads(octets: bytes) -> bool:
    """Whether a READ's octets, its headers included, conform and bring no data. What was asked for is asked again."""
    objects = part(octets, _OBJECTS_AT, len(octets)) if _COMPILED else octets[_OBJECTS_AT:]  # type: ignore # noqa: F821
    known = _reads.get(objects)
    if known is None:
        if len(_reads) >= _MOST_READS:
            _reads.clear()
        found = read_objects(BEGINNING, octets, _OBJECTS_AT, application.READ, True)
        known = _reads[objects] = found.reason is None and not found.brings_octets
    return known


def _packed(requests: list[Request], unknown: bool) -> bytes:
    """The same as _HEADER.pack and a _REQUEST.pack for each: octet by octet, the quickest where this is compiled."""
    octets = _ROOM_OCTETS
    octets[0], octets[1], octets[2], octets[3] = unknown, 0, len(requests), 0
    at = _HEADER_SIZE
    for each in requests:
        octets[at], octets[at + 1] = each.pair & 0xFF, each.pair >> 8 & 0xFF
        octets[at + 2], octets[at + 3] = each.pair >> 16 & 0xFF, each.pair >> 24
        octets[at + 4], octets[at + 5], octets[at + 6] = each.function, each.sequence, each.carries_data
        octets[at + 7], octets[at + 8] = each.state, each.owed
        put_time(octets, at + 9, each.sent)  # type: ignore # noqa: F821
        at += _REQUEST_SIZE
    return copy(octets, at)  # type: ignore # noqa: F821


class Dnp3Session(OrdinarySession):
    """Reads link frames in the light of what is under way. See protocols.Session."""

    __slots__ = ("_answer", "_answered", "_fragment", "_lenient", "_requests", "_responses", "_selections", "_unknown")

    def __init__(self, lenient: bool = False) -> None:
        self._lenient = lenient
        self._answer: Unit | None = None  # that `answers` has just read, ...
        self._answered: Request | None = None  # ... or what it answers
        self._fragment: Fragment | None = None  # of the client's; one, since a station has one place for it
        self._responses: dict[int, Fragment] = {}  # by pair
        self._requests: list[Request] = []
        self._selections: dict[int, Selection] = {}  # by pair, the oldest first
        self._unknown = False  # midstream: answers to requests that nobody saw may come

    # --- one frame ----------------------------------------------------------------------------------

    def inspect(self, data: bytes, start: int, end: int, from_client: bool) -> Unit:
        """One link frame (as link.frame measured it). Its `reason` is set where it must not go on."""
        length, control, destination, source = _FRAME.unpack_from(data, start)
        address = (source, destination) if from_client else (destination, source)
        user = length - 5
        function = link.FUNCTIONS[control & 0x7F]
        unit = Dnp3Unit(Kind.LINK, function, address, end - start, answered=False)
        unit.part, unit.objects, unit.indications, unit.answers, unit.sequence = False, NONE, -1, -1, -1
        unit.reason = self._link_refusal(data, start, control, function, user, address, from_client)
        if unit.reason is None and user:
            octets = link.user_data(data, start, user)
            confirmed = function == link.CONFIRMED_USER_DATA
            if confirmed:
                unit.also = function
            if from_client:
                self._request(unit, octets, confirmed)
            else:
                self._response(unit, octets, confirmed)
        elif not from_client:
            # A station's answers on the link layer; its own questions are judged like everybody's.
            unit.judged = not function >= link.SECONDARY
        return unit

    @staticmethod
    def _link_refusal(
        data: bytes, start: int, control: int, function: int, user: int, address: tuple[int, int], from_client: bool
    ) -> Reason | None:
        """IEEE 1815-2012, 9.2.4: CRCs, control octet, addresses. What a station refuses must not reach it."""
        if user and not link.blocks_are_right(data, start + link.HEADER_SIZE, user):
            return Reason.DNP3_BLOCK_CRC
        if function < 0:
            return link.REFUSALS[control & 0x7F]
        carries = function in (link.CONFIRMED_USER_DATA, link.UNCONFIRMED_USER_DATA)
        if bool(user) is not carries:
            return Reason.DNP3_LINK_DATA
        if bool(control & link.DIR) is not from_client:
            return Reason.WRONG_DIRECTION
        master, outstation = address
        own, other = (master, outstation) if from_client else (outstation, master)
        if own >= link.FIRST_RESERVED_ADDRESS:
            return Reason.DNP3_ADDRESS
        if other >= link.FIRST_RESERVED_ADDRESS:
            if not from_client or other < link.SELF_ADDRESS:
                return Reason.DNP3_ADDRESS
            if other >= link.FIRST_BROADCAST_ADDRESS and function != link.UNCONFIRMED_USER_DATA:
                return Reason.DNP3_BROADCAST_SERVICE
        return None

    # --- from the client ----------------------------------------------------------------------------

    def _request(self, unit: Dnp3Unit, octets: bytes, confirmed: bool) -> None:
        """One segment of a request (IEEE 1815-2012, 8.2 and 4.2.2)."""
        unit.kind = Kind.REQUEST
        header, size = octets[0], len(octets) - 1
        first, last = bool(header & transport.FIR), bool(header & transport.FIN)
        unit.begins, unit.complete, unit.part = first, last, not last
        pair = unit.address[0] << 16 | unit.address[1]
        unit.function = -1
        if first:
            fragment, unit.reason = self._begin(octets, pair)
            if fragment is not None:
                unit.reason = application.request_refusal(fragment.control, fragment.function, size, last)
        else:
            fragment, unit.reason = self._continue(self._fragment, pair, header, size)
        if fragment is not None:
            unit.function = fragment.function
            if fragment.length > transport.MAX_FRAGMENT:
                unit.reason = Reason.DNP3_FRAGMENT_TOO_LONG
        if unit.reason is None and confirmed and not (first and last):
            unit.reason = Reason.DNP3_CONFIRMED_DATA
        if fragment is None:
            return
        at = 1 + application.REQUEST_HEADER_SIZE if first else 1
        unit.refused = fragment.refused
        if fragment.refused is None:
            fragment = self._read_objects(unit, fragment, octets, at, last)
        unit.carries_data = (
            not (first and last)
            or fragment.function not in _PLAIN
            or unit.objects.brings_octets
            or unit.reason is not None
        )
        unit.answered = (
            last
            and fragment.function not in application.WITHOUT_ANSWER
            and unit.address[1] < link.FIRST_BROADCAST_ADDRESS
        )
        sequence = unit.sequence = fragment.control & application.SEQUENCE
        if last and fragment.function == selection.OPERATE:
            before = self._selections.get(pair)
            if before is not None and before.fits(sequence, fragment.digest):
                unit.selected = before.sent
        # What was selected by a broadcast, no station answers for.
        selected = fragment.digest if unit.answered and fragment.function == selection.SELECT else b""
        unit.token = _FromClient(None if last else fragment, sequence if unit.answered else -1, selected)

    @staticmethod
    def _begin(octets: bytes, pair: int) -> tuple[Fragment | None, Reason | None]:
        """A fragment's first segment: its application header has to be in it."""
        size = len(octets) - 1
        if size == 0:
            return None, Reason.DNP3_EMPTY_SEGMENT
        if size < application.REQUEST_HEADER_SIZE:
            return None, Reason.DNP3_HEADER_CUT
        expected = (octets[0] + 1) & transport.SEQUENCE
        return Fragment(pair, expected, size, octets[2], octets[1], BEGINNING, b""), None

    @staticmethod
    def _continue(
        fragment: Fragment | None, pair: int, header: int, size: int
    ) -> tuple[Fragment | None, Reason | None]:
        if fragment is None:
            return None, Reason.DNP3_NO_FIRST_SEGMENT
        if fragment.pair != pair:
            return None, Reason.DNP3_FOREIGN_SEGMENT
        if header & transport.SEQUENCE != fragment.expected:
            return None, Reason.DNP3_SEGMENT_GAP
        if size == 0:
            return None, Reason.DNP3_EMPTY_SEGMENT
        return fragment.followed_by(size, fragment.reading, fragment.digest), None

    @staticmethod
    def _read_objects(unit: Dnp3Unit, fragment: Fragment, octets: bytes, at: int, last: bool) -> Fragment:
        """Read on in the fragment's objects, which `octets[at:]` brings; gives it as it stands behind them."""
        if unit.reason is not None:
            return fragment
        unit.objects = read_objects(fragment.reading, octets, at, fragment.function, last)
        unit.reason = unit.objects.reason
        digest = fragment.digest
        if fragment.function in (selection.SELECT, selection.OPERATE):
            digest = selection.digest(digest, octets, at)
        return Fragment(
            fragment.pair, fragment.expected, fragment.length, fragment.function, fragment.control,
            unit.objects.after, digest,
        )  # fmt: skip

    # --- from the server ----------------------------------------------------------------------------

    def _response(self, unit: Dnp3Unit, octets: bytes, confirmed: bool) -> None:
        """One segment of a response, which has to answer a request, or of an unsolicited response."""
        unit.kind = Kind.RESPONSE
        unit.judged = confirmed
        header, size = octets[0], len(octets) - 1
        first, last = bool(header & transport.FIR), bool(header & transport.FIN)
        unit.begins, unit.complete, unit.part = first, last, not last
        unit.function = -1
        pair = unit.address[0] << 16 | unit.address[1]
        if first:
            fragment, unit.reason = self._begin(octets, pair)
            if fragment is not None:
                if size >= application.RESPONSE_HEADER_SIZE:
                    unit.indications = octets[4] << 8 | octets[3]
                unit.reason = application.response_refusal(fragment.control, fragment.function, size, last)
        elif self._unknown and pair not in self._responses:
            return  # the rest of a fragment whose beginning nobody saw
        else:
            fragment, unit.reason = self._continue(self._responses.get(pair), pair, header, size)
        if unit.reason is None and confirmed and not (first and last):
            unit.reason = Reason.DNP3_CONFIRMED_DATA
        if fragment is None:
            return
        unit.function = fragment.function
        at = 1 + application.RESPONSE_HEADER_SIZE if first else 1
        fragment = self._read_objects(unit, fragment, octets, at, last)
        answered: Request | None = None
        final = False
        if fragment.function == application.UNSOLICITED_RESPONSE:
            unit.kind = Kind.UNSOLICITED
            # Null ones, with which every outstation begins, carry no data.
            unit.judged = not (first and last and size == application.RESPONSE_HEADER_SIZE)
        else:
            found = self._find(pair, fragment.control & application.SEQUENCE)
            if found is not None:
                unit.answers = found.function
                if found.state == _WAITING and found.owed == 1:
                    unit.since = found.sent
                elif found.state == _LATE:
                    unit.remark = Remark.LATE
            elif self._unknown:
                unit.remark = Remark.UNMATCHED
            elif unit.reason is None:
                unit.reason = Reason.UNMATCHED_RESPONSE
            if last:
                answered, final = found, bool(fragment.control & application.FIN)
        unit.token = _FromServer(pair, None if last else fragment, answered, final)

    def _find(self, pair: int, sequence: int) -> Request | None:
        """The request that this may answer: one that waits before one that was answered already."""
        found: Request | None = None
        for request in self._requests:
            if request.pair == pair and request.sequence == sequence:
                if request.state != _ANSWERED:
                    return request
                found = request
        return found

    # --- the session ----------------------------------------------------------------------------------

    def may_go(self, unit: Unit, limit: int) -> bool:
        """tcp-rules.md, 6. Link services and confirmations overtake: nothing of the client's choice travels in them."""
        if unit.kind is not Kind.REQUEST or unit.function == application.CONFIRM:
            return True
        waiting = (each.carries_data for each in self._requests if each.state == _WAITING)
        return may_join(waiting, unit.carries_data, min(limit, REMEMBERED))

    def commit(self, unit: Unit, now: float) -> None:
        """Remember where fragments stand, a request, and that one was answered."""
        token = unit.token
        if isinstance(token, _FromClient):
            self._fragment = token.fragment
            if token.selected or (unit.function == selection.OPERATE and unit.complete):
                self._note_selection(unit, token, now)
            if token.sequence >= 0:
                pair = unit.address[0] << 16 | unit.address[1]
                self._remember(pair, unit.function, token.sequence, unit.carries_data, now)
        elif isinstance(token, _FromServer):
            self._responses.pop(token.pair, None)
            if token.fragment is not None:
                if len(self._responses) >= OPEN_RESPONSES:
                    del self._responses[next(iter(self._responses))]
                self._responses[token.pair] = token.fragment
            request = token.request
            if request is not None:
                if token.final:
                    self._unknown = False
                    request.settle()
                elif request.state != _ANSWERED:  # a response of several fragments counts them
                    request.sequence = (request.sequence + 1) & application.SEQUENCE

    def _note_selection(self, unit: Unit, token: _FromClient, now: float) -> None:
        """A SELECT takes the place of the one before; an OPERATE uses up what it was for, or spoils it."""
        pair = unit.address[0] << 16 | unit.address[1]
        self._selections.pop(pair, None)
        if token.selected:
            if len(self._selections) >= selection.REMEMBERED:
                del self._selections[next(iter(self._selections))]
            self._selections[pair] = Selection(pair, token.sequence, now, token.selected)

    def _remember(self, pair: int, function: int, sequence: int, carries_data: bool, now: float) -> None:
        # A request that is sent again takes its own place; of what was answered, only the last may be repeated.
        owed = 0
        kept = []
        for each in self._requests:
            if each.pair != pair or (each.state != _ANSWERED and each.sequence != sequence):
                kept.append(each)
            elif each.state != _ANSWERED:
                owed += each.owed
        if len(kept) >= REMEMBERED:
            spare = kept[0]
            for each in kept:
                if each.state != _WAITING:
                    spare = each
                    break
            kept.remove(spare)
        request = Request(pair, function, sequence, carries_data, now)
        request.owed = min(owed + 1, 255)
        kept.append(request)
        self._requests = kept

    # --- ordinary units (protocols/ordinary.py) -------------------------------------------------------

    def asks(self, data: bytes, at: int, end: int) -> int:
        """A READ in one frame that brings no data, or a CONFIRM of a response, while nothing waits."""
        if end - at < _SHORTEST or end - at > _LONGEST or data[at + 3] != _ORDINARY_CONTROL:
            return -1
        if self._unknown or self._fragment is not None:
            return -1
        for each in self._requests:
            if each.state == _WAITING:
                return -1
        destination, source = data[at + 4] | data[at + 5] << 8, data[at + 6] | data[at + 7] << 8
        if destination >= _RESERVED or source >= _RESERVED:
            return -1
        try:
            if link.frame(data, at, end) != end - at:
                return -1
        except Malformed:
            return -1
        user = data[at + 2] - 5
        if not link.blocks_are_right(data, at + _DATA_AT, user):
            return -1
        octets = link.user_data(data, at, user)
        if octets[0] & _WHOLE_SEGMENT != _WHOLE_SEGMENT or octets[1] & 0xF0 != _WHOLE_FRAGMENT:
            return -1
        function = octets[2]
        if function == _READ:
            if not _only_reads(octets):
                return -1
        elif function != _CONFIRM or user != _OBJECTS_AT:
            return -1
        return (source << 16 | destination) << 8 | function

    def named(self, number: int) -> tuple[tuple[int, ...], int]:
        return (number >> 24, number >> 8 & 0xFFFF), number & 0xFF

    def asked(self, data: bytes, at: int, end: int, now: float) -> None:
        if data[at + _DATA_AT + 2] == _CONFIRM:
            return  # nobody answers it
        destination, source = data[at + 4] | data[at + 5] << 8, data[at + 6] | data[at + 7] << 8
        pair, sequence = source << 16 | destination, data[at + _DATA_AT + 1] & _SEQUENCE
        if len(self._requests) == 1:
            only = self._requests[0]
            if only.pair == pair and only.state == _ANSWERED:  # as `_remember` does, without another object
                only.function, only.sequence, only.carries_data, only.sent = _READ, sequence, False, now
                only.state, only.owed = _WAITING, 1
                return
        self._remember(pair, _READ, sequence, False, now)

    def answers(self, data: bytes, at: int, end: int) -> bool:
        """A response in one frame: at once where it is whole and of usual objects, else as `inspect` reads it."""
        try:
            if self._unknown or link.frame(data, at, end) != end - at:
                return False
        except Malformed:
            return False
        self._answer = None
        request = self._answered = self._answered_by(data, at)
        if request is not None:
            return True
        unit = self._answer = self.inspect(data, at, end, False)
        return unit.reason is None and unit.remark is None and unit.kind is Kind.RESPONSE and not unit.judged

    def _answered_by(self, data: bytes, at: int) -> Request | None:
        """The request that waits for the frame at `at`, whose header is right: one that is its whole response.

        None: it has to be read by `inspect`.
        """
        user = data[at + 2] - 5
        if data[at + 3] != _ANSWER_CONTROL or user < _ANSWER_OBJECTS:
            return None
        header, control, function = data[at + _DATA_AT], data[at + _DATA_AT + 1], data[at + _DATA_AT + 2]
        if header & _WHOLE_SEGMENT != _WHOLE_SEGMENT or function != _RESPONSE:
            return None
        if control & (_WHOLE_FRAGMENT | _UNS) != _WHOLE_FRAGMENT:
            return None
        destination, source = data[at + 4] | data[at + 5] << 8, data[at + 6] | data[at + 7] << 8
        if destination >= _RESERVED or source >= _RESERVED:
            return None
        pair, sequence = destination << 16 | source, control & _SEQUENCE
        for each in self._requests:
            if each.pair == pair and each.sequence == sequence and each.state != _ANSWERED:
                break
        else:
            return None
        if each.state != _WAITING or not link.blocks_are_right(data, at + _DATA_AT, user):
            return None
        return each if plain.are_whole(link.user_data(data, at, user), _ANSWER_OBJECTS) else None

    def answered(self, now: float) -> None:
        request = self._answered
        if request is not None:  # as `commit` does
            if self._responses:
                self._responses.pop(request.pair, None)
            request.settle()
            self._answered = None
        elif self._answer is not None:
            self.commit(self._answer, now)
            self._answer = None

    # --------------------------------------------------------------------------------------------------

    def refuse(self, unit: Unit, reason: Reason) -> None:
        """The station keeps what it has of the fragment until another begins (dnp3-facts.md, Transport)."""
        token = unit.token
        if isinstance(token, _FromClient):
            self._fragment = token.fragment if token.fragment is None else token.fragment.refused_for(reason)

    def abandon(self) -> None:
        self._fragment = None

    def overdue(self, now: float, timeout: float, *, all_late: bool = False) -> bool:
        """Whether a request that carries data waits for longer than `timeout`; others then hold nobody up."""
        result = False
        for request in self._requests:
            if request.state == _WAITING and now - request.sent > timeout:
                if request.carries_data and not all_late:
                    result = True
                else:
                    request.state = _LATE
        return result

    def accept_unknown(self) -> None:
        """Take answers that match nothing until a request of this session is answered."""
        self._unknown = True

    def pack(self) -> bytes:
        """The state in at most SESSION_SIZE bytes."""
        if self._fragment is None and not self._responses and not self._selections:
            if _COMPILED:
                return _packed(self._requests, self._unknown)
            if len(self._requests) == 1:
                only = self._requests[0]
                return _ONE.pack(
                    self._unknown, 0, 1, 0, only.pair, only.function, only.sequence, only.carries_data, only.state,
                    only.owed, only.sent,
                )  # fmt: skip
        return self._packed_whole()

    def _packed_whole(self) -> bytes:
        fragments = list(self._responses.values())
        flags = self._unknown | (2 if self._fragment is not None else 0)
        if self._fragment is not None:
            fragments.insert(0, self._fragment)
        return b"".join(
            (
                _HEADER.pack(flags, len(fragments), len(self._requests), len(self._selections)),
                *(fragment.pack() for fragment in fragments),
                *(
                    _REQUEST.pack(
                        each.pair, each.function, each.sequence, each.carries_data, each.state, each.owed, each.sent
                    )
                    for each in self._requests
                ),
                *(each.pack() for each in self._selections.values()),
            )
        )

    def restore(self, data: bytes) -> None:
        """Set the state from `pack`'s bytes."""
        flags, fragments, requests, selections = _HEADER.unpack_from(data, 0)
        self._unknown = bool(flags & 1)
        at = _HEADER.size
        found = []
        for _ in range(fragments):
            found.append(transport.unpack(data, at))
            at += transport.PACKED_SIZE
        self._fragment = found.pop(0) if flags & 2 else None
        self._responses = {fragment.pair: fragment for fragment in found}
        self._requests = []
        for _ in range(requests):
            pair, function, sequence, carries_data, state, owed, sent = _REQUEST.unpack_from(data, at)
            request = Request(pair, function, sequence, bool(carries_data), sent)
            request.state, request.owed = state, owed
            self._requests.append(request)
            at += _REQUEST.size
        self._selections = {}
        for _ in range(selections):
            selected = Selection(*selection.PACKED.unpack_from(data, at))
            self._selections[selected.pair] = selected
            at += selection.PACKED.size
