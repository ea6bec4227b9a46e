"""The parsers and the policy, unit by unit: what both ends say, in any order, under a policy that limits all it can.

An input is an octet that chooses the protocol, then units: who says it, how it is made, and of what.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from conduitfw.policy.compile import EVERY_RULE, TCP
from conduitfw.policy.ledger import Ledger
from conduitfw.policy.limits import Refusal
from conduitfw.policy.model import Rule
from conduitfw.protocols import REFUSALS, Definition, Kind, Session, Unit
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Malformed
from fuzz import octets
from fuzz.octets import Input, must
from fuzz.policies import MASTER, OUTSTATION, every_limit

UNITS = 40  # of one input, at most
ANSWERS = sorted(REFUSALS, key=lambda reason: reason.code)
_HMI = ip_address("10.10.0.11").packed
_SERVERS = {"modbus": ip_address("10.20.0.5").packed, "dnp3": ip_address("10.20.0.9").packed}


_LEDGER = Ledger()  # a new one for each input would take longer than all else


def run(data: bytes) -> None:
    """One input. Raises Violation, or whatever a parser or a limit did."""
    _LEDGER.begin()
    try:
        _converse(Input(data))
    finally:
        _LEDGER.undo()


def _converse(source: Input) -> None:
    how = source.octet()
    protocol = PROTOCOLS[("modbus", "dnp3")[how & 1]]
    channel = every_limit().channel(TCP, _HMI, _SERVERS[protocol.name], protocol.port)
    assert channel is not None
    lenient = bool(how & 2)
    session, ledger = protocol.session(lenient), _LEDGER
    if how & 4:
        session.accept_unknown()
    now, open_rules = 1000.0, EVERY_RULE
    for from_client, said in _said(source, protocol):
        now += 0.5
        size = _framed(protocol, said)
        if not 0 < size <= len(said):
            continue
        before = session.pack()
        unit = session.inspect(said, 0, size, from_client)
        again = session.inspect(said[:size], 0, size, from_client)
        must(session.pack() == before, "inspecting a unit changed the session", said)
        must((unit.reason, unit.kind, unit.function) == (again.reason, again.kind, again.function), "read twice", said)
        must(unit.size == size and len(unit.address) == len(protocol.address_fields), "what a unit says of itself")
        _read(protocol, unit)
        decision = channel.decide(unit, ledger, now, EVERY_RULE if unit.begins else open_rules)
        must(isinstance(decision, Rule | Refusal), "no decision")
        _refuse(protocol, session, said[:size], unit)
        session.may_go(unit, 16)
        if unit.reason is None and (isinstance(decision, Rule) or not unit.judged):
            session.commit(unit, now)
            channel.sent(unit, ledger, now)
            if unit.kind is Kind.REQUEST:
                open_rules = EVERY_RULE if unit.complete else unit.among
        session = _packed(protocol, session, lenient)
    session.overdue(now + 100.0, 5.0)
    _packed(protocol, session, lenient)


def _said(source: Input, protocol: Definition) -> Iterator[tuple[bool, bytes]]:
    """Who says what. The lowest bits of a unit's first octet say how it is made."""
    modbus = protocol.name == "modbus"
    before = b""
    for _ in range(UNITS):
        if source.ended:
            return
        how = source.octet()
        from_client, form = bool(how & 1), how >> 1 & 7
        if form == 0:
            said = source.piece()
        elif form == 1 and from_client:
            said = octets.modbus_request(source) if modbus else octets.dnp3_request(source)
        elif form == 1:
            said = _answer(modbus, before, how >> 4)
        elif form == 2:  # what was said last, by the other
            said = before
        elif modbus:
            said = octets.adu(how >> 4, 1, source.piece()[:253])
        else:
            ends = (OUTSTATION, MASTER) if from_client else (MASTER, OUTSTATION)
            head = bytes((0xC0, 0xC0 | how >> 4)) if form == 3 else b""
            said = octets.dnp3_frame(0xC4 if from_client else 0x44, *ends, (head + source.piece())[:250])
        if from_client:
            before = said
        yield from_client, said


def _answer(modbus: bool, request: bytes, how: int) -> bytes:
    if len(request) < 12:
        return b""
    return octets.modbus_answer(request, how) if modbus else octets.dnp3_answer(request, how)


def _framed(protocol: Definition, said: bytes) -> int:
    """The unit's size; that fewer octets never say another."""
    try:
        whole = protocol.frame(said, 0, len(said))
    except Malformed:
        return 0
    for present in {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, whole - 1, whole}:
        if 0 <= present <= len(said):
            size = protocol.frame(said, 0, present)  # raises where less is worse than all
            must(size in (0, whole), "a size that depends on what else is there", said, present)
    must(protocol.frame(b"\xff" + said + b"\xff", 1, 1 + len(said)) == whole, "a size that depends on its place", said)
    return whole


def _read(protocol: Definition, unit: Unit) -> None:
    """All that can be asked of a unit."""
    protocol.describe(unit)
    for item in unit.items():
        if unit.kind is not Kind.REQUEST:
            continue  # a server may say anything of its points that a request did not say before
        must(item.first >= 0 and item.last <= protocol.last_point, "points that there are not", item.first, item.last)
        must(item.last >= item.first, "points of which the last is before the first", item.first, item.last)
    for item, _ in unit.outcome():
        must(item.last >= item.first, "an outcome of no points")


def _refuse(protocol: Definition, session: Session, said: bytes, unit: Unit) -> None:
    """What we would answer is a unit, and an answer."""
    if unit.kind is not Kind.REQUEST or unit.reason is not None or not unit.begins or not unit.complete:
        return
    for reason in ANSWERS:
        answer = protocol.refusal(said, 0, len(said), unit, reason)
        if not answer:
            continue
        must(len(answer) <= 32, "an answer that does not fit a record", answer)
        must(protocol.frame(answer, 0, len(answer)) == len(answer), "an answer that is no unit", answer)
        asked = protocol.session(False)
        asked.restore(session.pack())
        asked.accept_unknown()
        asked.commit(asked.inspect(said, 0, len(said), True), 1.0)
        read = asked.inspect(answer, 0, len(answer), False)
        must(read.reason is None and read.address == unit.address, f"an answer that is none ({read.reason})", answer)


def _packed(protocol: Definition, session: Session, lenient: bool) -> Session:
    """The session as a successor has it."""
    state = session.pack()
    must(len(state) <= protocol.session_size, "a session that is larger than it may be", len(state))
    successor = protocol.session(lenient)
    successor.restore(state)
    must(successor.pack() == state, "a session that is not read as it was written", state)
    return successor


def conversation(protocol: str, said: list[tuple[bool, bytes]]) -> bytes:
    """An input of these units (True: the client's)."""
    return bytes((0 if protocol == "modbus" else 1,)) + b"".join(
        bytes((int(from_client),)) + octets.piece(unit[:1460]) for from_client, unit in said
    )
