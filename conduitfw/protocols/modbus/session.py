"""What one Modbus/TCP session remembers: the requests that have not been answered."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

from conduitfw.protocols import Item, Kind, Remark, Unit
from conduitfw.protocols.modbus import adu, points
from conduitfw.protocols.modbus.catalogue import (
    BIT_TABLES,
    DIAGNOSTICS,
    INTERFACE,
    READ_DEVICE_IDENTIFICATION,
    READS,
    UMAS,
    WITHOUT_DATA,
)
from conduitfw.protocols.ordinary import OrdinarySession
from conduitfw.protocols.outstanding import may_join
from conduitfw.reasons import Reason

# How many requests are remembered, the late ones included (rules allow 16 at a time by default).
REMEMBERED = 20
_ENTRY = struct.Struct("<HBBB8sBdB")
_HEADER = struct.Struct("<BB")
SESSION_SIZE = _HEADER.size + REMEMBERED * _ENTRY.size
_MBAP = struct.Struct("!HHHBB")
_ONE = struct.Struct("<BB" + _ENTRY.format[1:])
_COMPILED = not __file__.endswith(".py")
_ONE_SIZE = _ONE.size
_ROOM_OCTETS, _NOTHING = memoryview(bytearray(_ONE_SIZE)), bytes(8)
_FIRST_READ, _LAST_READ = 1, 4  # 6.1 to 6.4
# By their function: how many bits or registers one may read, and the bits of each.
_MOST = array("H", (0, *(READS[function][1] for function in range(_FIRST_READ, _LAST_READ + 1))))
_BITS = array(
    "H", (0, *(1 if READS[function][0] in BIT_TABLES else 16 for function in range(_FIRST_READ, _LAST_READ + 1)))
)
_READ_SIZE = adu.HEADER + 5
_ANSWER_HEAD, _LONGEST_ANSWER = adu.HEADER + 2, 6 + adu.LONGEST  # the head: what stands in front of what was read


class ModbusUnit(Unit):
    """An ADU. `exception` is the code of an exception response, 0 in all others."""

    __slots__ = ("at", "data", "end", "exception", "expected")

    data: bytes  # its PDU is data[at:end]
    at: int
    end: int
    exception: int
    expected: bytes  # a response's: of the request that it answers

    def _read_items(self) -> Sequence[Item]:
        """What it touches (points.py); nothing where it is malformed or an exception."""
        if self.reason is not None and self.reason.malformed:
            return ()
        if self.kind is Kind.REQUEST:
            return points.requested(self.data, self.at, self.end)
        return () if self.exception else points.answered(self.data, self.at, self.end, self.expected)

    def outcome(self) -> Sequence[tuple[Item, bool]]:
        """What became of a write: an exception says that it was not done."""
        if self.kind is Kind.REQUEST or self.reason is not None or not self.expected:
            return ()
        return points.outcome(self.function, self.data, self.at, self.expected, taken=not self.exception)


class Transaction:
    """A request that was sent on."""

    __slots__ = ("carries_data", "expected", "function", "late", "sent", "transaction_id", "unit_id")

    def __init__(
        self, transaction_id: int, unit_id: int, function: int, expected: bytes, carries_data: bool, sent: float
    ) -> None:
        self.transaction_id = transaction_id
        self.unit_id = unit_id
        self.function = function
        self.expected = expected  # of its answer (adu.expected_answer)
        self.carries_data = carries_data
        self.sent = sent  # seconds
        self.late = False  # past its time-out: it holds nobody up, and its answer may still come


def _chosen_data(data: bytes, at: int, end: int, code: int) -> bool:
    """Whether this 8 or 43 carries data: a query to be returned, or another interface than identification."""
    if code == DIAGNOSTICS:
        return end - at > 5
    return code == INTERFACE and (end - at < 2 or data[at + 1] != READ_DEVICE_IDENTIFICATION)


def _packed(only: Transaction, unknown: bool) -> bytes:
    """The same as _ONE.pack: octet by octet, the quickest where this is compiled."""
    octets, expected = _ROOM_OCTETS, only.expected
    octets[0], octets[1] = unknown, 1
    octets[2], octets[3] = only.transaction_id & 0xFF, only.transaction_id >> 8
    octets[4], octets[5], octets[6] = only.unit_id, only.function, len(expected)
    put(octets, 7, _NOTHING)  # type: ignore # noqa: F821
    put(octets, 7, expected)  # type: ignore # noqa: F821
    octets[15], octets[24] = only.carries_data, only.late
    put_time(octets, 16, only.sent)  # type: ignore # noqa: F821
    return copy(octets, _ONE_SIZE)  # type: ignore # noqa: F821


class ModbusSession(OrdinarySession):
    """Reads ADUs in the light of the requests that are unanswered. See protocols.Session."""

    __slots__ = ("_lenient", "_outstanding", "_spare", "_unknown")

    def __init__(self, lenient: bool = False) -> None:
        self._lenient = lenient
        self._outstanding: list[Transaction] = []
        self._spare: list[Transaction] = []  # of an answered request, for the next ordinary one: its list as well
        self._unknown = False  # midstream: answers to requests that nobody saw may come

    def inspect(self, data: bytes, start: int, end: int, from_client: bool) -> Unit:
        """One ADU (as adu.frame measured it). Its `reason` is set where it must not go on."""
        transaction_id, _, _, unit_id, code = _MBAP.unpack_from(data, start)
        at = start + adu.HEADER
        if from_client:
            return self._request(data, at, end, transaction_id, unit_id, code, end - start)
        return self._response(data, at, end, transaction_id, unit_id, code, end - start)

    def _request(
        self, data: bytes, at: int, end: int, transaction_id: int, unit_id: int, code: int, size: int
    ) -> ModbusUnit:
        carries_data = code not in WITHOUT_DATA or _chosen_data(data, at, end, code)
        unit = ModbusUnit(Kind.REQUEST, code, (unit_id,), size, carries_data=carries_data)
        unit.data, unit.at, unit.end, unit.exception, unit.expected = data, at, end, 0, b""
        if code in points.WITH_DETAIL:
            unit.detail = points.detail_of(data, at, end)
        if code == 0 or code > 127:
            unit.reason = Reason.MODBUS_FUNCTION_CODE
            return unit
        check = adu.REQUESTS.get(code)
        if check is not None:
            unit.reason = check(data, at, end)
        if unit.reason is None:
            unit.token = (transaction_id, adu.expected_answer(data, at, end))
        return unit

    def _response(
        self, data: bytes, at: int, end: int, transaction_id: int, unit_id: int, code: int, size: int
    ) -> ModbusUnit:
        function = code & 0x7F
        unit = ModbusUnit(Kind.RESPONSE, function, (unit_id,), size, judged=False)
        unit.data, unit.at, unit.end, unit.exception, unit.expected = data, at, end, 0, b""
        if code > 127:
            unit.exception = data[at + 1] if end - at > 1 else 0
            unit.reason = adu.exception(data, at, end)
        else:
            if code in points.WITH_DETAIL and code != UMAS:  # whose answers say how it went
                unit.detail = points.detail_of(data, at, end)
            check = adu.RESPONSES.get(function)
            if check is not None:
                unit.reason = check(data, at, end)
        if function == 0:
            unit.reason = Reason.MODBUS_FUNCTION_CODE
        if unit.reason is not None:
            return unit
        transaction, alone = self._find(transaction_id, unit_id, function)
        unit.token = transaction
        if transaction is not None and alone and not transaction.late:
            unit.since, unit.asked_of = transaction.sent, transaction.unit_id
        if transaction is None:
            unit.remark = Remark.UNMATCHED
            if not self._unknown:
                unit.reason = Reason.UNMATCHED_RESPONSE
        elif transaction.late:
            unit.remark = Remark.LATE
        elif transaction.unit_id != unit_id:
            unit.remark = Remark.OTHER_UNIT
        if transaction is None:
            return unit
        if code > 127 or adu.agrees(transaction.expected, data, at, end):
            unit.expected = transaction.expected
        else:
            unit.reason = Reason.MODBUS_ANSWER_DIFFERS
        return unit

    def _find(self, transaction_id: int, unit_id: int, function: int) -> tuple[Transaction | None, bool]:
        """The oldest request that this may answer, and whether there is no other.

        Masters that use one id for all are served in order.
        """
        found = [
            transaction
            for transaction in self._outstanding
            if transaction.transaction_id == transaction_id
            and transaction.function == function
            and (transaction.unit_id == unit_id or self._lenient)
        ]
        return (found[0] if found else None), len(found) == 1

    def may_go(self, unit: Unit, limit: int) -> bool:
        """tcp-rules.md, 6: what carries data goes alone; reads go up to `limit`, with 1 all requests alone."""
        waiting = (each.carries_data for each in self._outstanding if not each.late)
        return may_join(waiting, unit.carries_data, min(limit, REMEMBERED))

    def commit(self, unit: Unit, now: float) -> None:
        """Remember a request, forget an answered one."""
        token = unit.token
        if isinstance(token, Transaction):
            self._unknown = False
            if token in self._outstanding:
                self._outstanding.remove(token)
        elif isinstance(token, tuple) and unit.answered:
            if len(self._outstanding) >= REMEMBERED:
                self._outstanding.pop(0)  # may_go saw to it that this one is late
            transaction_id, expected = token
            self._outstanding.append(
                Transaction(transaction_id, unit.address[0], unit.function, expected, unit.carries_data, now)
            )

    # --- ordinary units (protocols/ordinary.py) -------------------------------------------------------

    def asks(self, data: bytes, at: int, end: int) -> int:
        """A read of coils, discrete inputs or registers, while nothing waits."""
        if end - at != _READ_SIZE or self._outstanding or self._unknown:
            return -1
        if data[at + 2] or data[at + 3] or data[at + 4] or data[at + 5] != _READ_SIZE - 6:
            return -1
        function = data[at + 7]
        if function < _FIRST_READ or function > _LAST_READ:
            return -1
        quantity = data[at + 10] << 8 | data[at + 11]
        if quantity < 1 or quantity > _MOST[function] or (data[at + 8] << 8 | data[at + 9]) + quantity > 0x10000:
            return -1
        return data[at + 6] << 8 | function

    def named(self, number: int) -> tuple[tuple[int, ...], int]:
        return (number >> 8,), number & 0xFF

    def asked(self, data: bytes, at: int, end: int, now: float) -> None:
        if self._spare:
            self._outstanding, self._spare = self._spare, self._outstanding  # which is empty: `asks` said so
            transaction = self._outstanding[0]
        else:
            transaction = Transaction(0, 0, 0, b"", False, now)
            self._outstanding.append(transaction)
        transaction.transaction_id = data[at] << 8 | data[at + 1]
        transaction.unit_id, transaction.function = data[at + 6], data[at + 7]
        transaction.expected = part(data, at + 8, at + 12) if _COMPILED else data[at + 8 : at + 12]  # type: ignore # noqa: F821
        transaction.sent = now

    def answers(self, data: bytes, at: int, end: int) -> bool:
        size = end - at
        if size < _ANSWER_HEAD or size > _LONGEST_ANSWER or len(self._outstanding) != 1 or self._unknown:
            return False
        transaction = self._outstanding[0]
        function = data[at + 7]
        if transaction.late or function != transaction.function or function < _FIRST_READ or function > _LAST_READ:
            return False
        if data[at + 2] or data[at + 3] or data[at + 4] or data[at + 5] != size - 6:
            return False
        if data[at] << 8 | data[at + 1] != transaction.transaction_id or data[at + 6] != transaction.unit_id:
            return False
        expected = transaction.expected
        octets = ((expected[2] << 8 | expected[3]) * _BITS[function] + 7) >> 3
        return data[at + 8] == octets and size == _ANSWER_HEAD + octets

    def answered(self, now: float) -> None:
        if self._spare:
            self._outstanding.pop()
        else:
            self._outstanding, self._spare = self._spare, self._outstanding

    # --------------------------------------------------------------------------------------------------

    def refuse(self, unit: Unit, reason: Reason) -> None:
        """A request is one unit: nothing of it is to come."""

    def abandon(self) -> None:
        """No ADU is a part of something longer."""

    def overdue(self, now: float, timeout: float, *, all_late: bool = False) -> bool:
        """Whether a request that carries data waits for longer than `timeout`; reads then hold nobody up."""
        result = False
        for transaction in self._outstanding:
            if now - transaction.sent > timeout:
                if transaction.carries_data and not all_late:
                    result = True
                else:
                    transaction.late = True
        return result

    def accept_unknown(self) -> None:
        """Take answers that match nothing until a request of this session is answered."""
        self._unknown = True

    def pack(self) -> bytes:
        """The state in at most SESSION_SIZE bytes."""
        if not self._outstanding:
            return b"\x01\x00" if self._unknown else b"\x00\x00"
        if len(self._outstanding) == 1:
            only = self._outstanding[0]
            if _COMPILED:
                return _packed(only, self._unknown)
            return _ONE.pack(
                self._unknown, 1, only.transaction_id, only.unit_id, only.function, len(only.expected), only.expected,
                only.carries_data, only.sent, only.late,
            )  # fmt: skip
        entries = [
            _ENTRY.pack(
                each.transaction_id,
                each.unit_id,
                each.function,
                len(each.expected),
                each.expected,
                each.carries_data,
                each.sent,
                each.late,
            )
            for each in self._outstanding
        ]
        return _HEADER.pack(self._unknown, len(entries)) + b"".join(entries)

    def restore(self, data: bytes) -> None:
        """Set the state from `pack`'s bytes."""
        unknown, count = _HEADER.unpack_from(data, 0)
        self._unknown = bool(unknown)
        self._outstanding = []
        for index in range(count):
            transaction_id, unit_id, function, length, expected, carries_data, sent, late = _ENTRY.unpack_from(
                data, _HEADER.size + index * _ENTRY.size
            )
            transaction = Transaction(transaction_id, unit_id, function, expected[:length], bool(carries_data), sent)
            transaction.late = bool(late)
            self._outstanding.append(transaction)
