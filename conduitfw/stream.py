"""The client's side of a TCP session: what is new, what is a repeat, what is kept back.

The rules are tcp-rules.md, 3 to 6. `Flow.held` is one piece of the client's stream:

    base ............ taken ............ sent ............ end
      (unit boundary)   | sent on, not yet   | kept back: units that have to wait for an
                        | acknowledged       | answer, or the head of a cut unit

Everything from `taken` on must be repeated equal, byte for byte. What goes on to the server begins and
ends on unit boundaries, so a server never sees a part of a request, whatever one read returns to it.

Segments behind a gap are remembered until it is filled, and the client is told by selective acknowledgements of
ours, as its server would: without them it would find out by time-outs only. They are not in the flow's record, and
need not be: their sender keeps them until they are acknowledged for good (RFC 2018, 8).

On an *observed* flow (monitor, replay) the same inspection runs, and what was not sent on counts as
sent: nothing is kept, nothing waits.
"""

from __future__ import annotations

from conduitfw import translation
from conduitfw.flow import HELD_ROOM, Flow, distance
from conduitfw.inspection import EARLY_REFUSED, HELD_FULL, OUTSTANDING_REACHED, Findings
from conduitfw.packet import FIN, Packet
from conduitfw.protocols import Unit
from conduitfw.reasons import Malformed, Reason

_MASK = 0xFFFF_FFFF
EARLY_SEGMENTS = 256  # how many segments behind a gap an observed flow remembers ...
EARLY_KEPT = 16  # ... and one that is not, for each direction


class Passage:
    """What of a client's segment goes on: bytes `first` to `last` of `Flow.held`, or the segment as it came."""

    __slots__ = ("as_it_came", "early", "fin", "lead", "payload", "sequence")

    def __init__(self, sequence: int, payload: bytes, *, fin: bool, as_it_came: bool) -> None:
        self.sequence = sequence
        self.payload = payload
        self.fin = fin
        self.as_it_came = as_it_came
        self.early = False  # it stands behind a gap: the client should be told
        self.lead = 0  # how many bytes of a unit come first whose beginning the server has taken


def advance(flow: Flow, findings: Findings, now: float) -> None:
    """Send on, from what is kept, every whole unit that may go now: `flow.sent` moves.

    A denied unit and all behind it leave `held` (observed flows go on behind it).
    """
    assert flow.channel is not None and flow.session is not None
    channel, session = flow.channel, flow.session
    frame = channel.protocol.frame
    held = flow.held
    end = len(held)
    at = (flow.sent - flow.base) & _MASK
    while at < end:
        try:
            size = frame(held, at, end)
        except Malformed as malformed:
            findings.deny(malformed.reason)
            _cut(flow, at)
            return
        if size == 0 or at + size > end:
            break
        unit = session.inspect(held, at, at + size, True)
        if unit.address and unit.address[-1] == channel.unanswered:
            unit.answered = False
        allowed = findings.judge(flow, unit)
        if allowed and not flow.observed and not _may_go(flow, unit.size, at):
            break
        if allowed and not flow.observed and not session.may_go(unit, channel.outstanding):
            findings.meet(OUTSTANDING_REACHED)
            break
        if not allowed and not flow.observed:
            answer = findings.refusal(flow, unit, held[at : at + size])
            if answer is None:
                findings.units.append(unit)
                _cut(flow, at)
                return
            if not _may_answer(flow, unit):
                findings.withdraw()
                break
            findings.units.append(unit)
            session.refuse(unit, findings.reject(unit))
            translation.begin(flow, at, size, answer, now)
            held, end = flow.held, len(flow.held)
            continue
        findings.units.append(unit)
        if unit.reason is None or not unit.reason.malformed:
            findings.sent(flow, unit)
        at += size
        flow.sent = (flow.base + at) & _MASK
        if unit.carries_data and not unit.answered:
            flow.alone, flow.alone_until = True, flow.sent
    _note_kept(flow, findings, now)


def _may_go(flow: Flow, size: int, at: int) -> bool:
    """Whether a unit at `at` of `held` fits the server's window whole, behind nothing that it must not follow."""
    if translation.is_pending(flow):
        return False  # until the client has our answer, whose place in its stream of answers is ours
    if flow.alone:
        if distance(flow.taken, flow.alone_until) < 0:
            return False
        flow.alone = False
    # A server takes of a segment what its window has room for: the rest would come apart.
    return not flow.scale_known or distance(flow.edge, flow.base + at + size) >= 0


def _may_answer(flow: Flow, unit: Unit) -> bool:
    """Whether ours is the next answer that the client waits for, and the server has nothing of the client's to come."""
    assert flow.session is not None
    return (
        flow.taken == flow.sent
        and not flow.server_ended
        and not translation.is_pending(flow)
        and not flow.partial
        and not flow.ahead
        and flow.session.may_go(unit, 1)
    )


def _cut(flow: Flow, at: int) -> None:
    """Behind a denial: forget the bytes, or on an observed flow go on behind them."""
    if flow.observed:
        flow.sent = flow.end
    else:
        flow.held = flow.held[:at]
    flow.head_since = 0.0


def _note_kept(flow: Flow, findings: Findings, now: float) -> None:
    if flow.kept == 0:
        flow.head_since = 0.0
        return
    findings.waits = True
    if flow.head_since == 0.0:
        flow.head_since = now


def keeps_head(flow: Flow) -> bool:
    """Whether the first kept unit is incomplete (and not waiting for something else)."""
    assert flow.channel is not None
    at = (flow.sent - flow.base) & _MASK
    if at >= len(flow.held):
        return False
    size = flow.channel.protocol.frame(flow.held, at, len(flow.held))
    return size == 0 or at + size > len(flow.held)


def take(flow: Flow, packet: Packet, findings: Findings, now: float) -> Passage:
    """Inspect a client's segment and say what of it goes on. `findings` tells a denial."""
    begin = packet.sequence
    payload = packet.payload
    length = len(payload)
    fin = bool(packet.flags & FIN)
    if not flow.client_known:
        flow.client_known = True
        flow.base = flow.sent = flow.taken = flow.raised_from = flow.raised_to = begin
    if length == 0 and not fin:
        return _without_data(flow, begin, findings)
    if flow.client_ended and distance(begin + length, flow.client_end) > 0:
        findings.deny(Reason.AFTER_END)
        return Passage(begin, b"", fin=False, as_it_came=False)
    if _is_keep_alive(flow, begin, length):
        return Passage(flow.sent - 1, b"", fin=False, as_it_came=False)
    relative = distance(begin, flow.base)
    stop = relative + length
    taken = distance(flow.taken, flow.base)
    sent_before = (flow.sent - flow.base) & _MASK
    if length and stop <= taken and not (fin and stop == sent_before):
        if flow.observed:
            return Passage(begin, payload, fin=fin, as_it_came=True)
        # The server has it all, as far as we know. The bytes can be compared with nothing any more, so they do not go
        # on: a keep-alive in their place makes the server say where it is (it may have begun a session unseen).
        return Passage(flow.sent - 1, b"", fin=False, as_it_came=False)
    if relative > len(flow.held):
        passage = Passage(flow.sent, b"", fin=False, as_it_came=False)
        passage.early = _behind_gap(flow, begin, payload, findings)
        return passage

    at = max(relative, taken)
    fresh = payload[at - relative :]
    overlap = min(len(fresh), len(flow.held) - at)
    if flow.held[at : at + overlap] != fresh[:overlap]:
        findings.deny(Reason.CHANGED_REPEAT)
        return Passage(flow.sent, b"", fin=False, as_it_came=False)
    if flow.older_until >= 0 and not flow.observed and not _may_repeat(flow, at, findings):
        findings.deny(Reason.POLICY_CHANGED)
        return Passage(flow.sent, b"", fin=False, as_it_came=False)
    _append(flow, fresh[overlap:], findings, now)
    if flow.early is not None and flow.early[0]:
        _fill_gap(flow, findings, now)
    if flow.observed:
        if fin and distance(flow.end, begin + length) == 0:
            flow.client_ended, flow.client_end = True, flow.end
        return Passage(begin, payload, fin=fin, as_it_came=True)

    sent = (flow.sent - flow.base) & _MASK
    if fin and findings.reason is None and sent != stop and keeps_head(flow):
        findings.deny(Reason.UNFINISHED)
    fin = fin and findings.reason is None and sent == stop
    if fin:
        flow.client_ended, flow.client_end = True, flow.sent
    first = sent_before if at >= sent_before else max(taken, _boundary(flow, at, up=False))
    last = sent if stop > sent_before else _boundary(flow, stop, up=True)
    fin = fin and last == sent
    passage = Passage(
        flow.base + first,
        flow.held[first:last],
        fin=fin,
        as_it_came=first == relative and last == stop and fin == bool(packet.flags & FIN),
    )
    if first < sent_before:
        passage.lead = _boundary(flow, first, up=True) - first
    return passage


def _may_repeat(flow: Flow, at: int, findings: Findings) -> bool:
    """Whether what went on under an older policy, and may have been lost, may go on again (tcp-rules.md, 11)."""
    older = distance(flow.older_until, flow.base)
    if distance(flow.taken, flow.older_until) >= 0 or older <= 0:
        flow.older_until = -1
        return True
    return at >= older or findings.still_allows(flow, older)


def _append(flow: Flow, fresh: bytes, findings: Findings, now: float) -> None:
    """Add new bytes as far as there is room, and inspect them. The client sends again what finds none."""
    while True:
        room = HELD_ROOM - len(flow.held)
        flow.held += fresh[:room]
        advance(flow, findings, now)
        fresh = fresh[room:]
        if not fresh:
            return
        if not flow.observed:
            findings.meet(HELD_FULL)
            return
        flow.taken = flow.sent  # a capture may hold segments that a network card put together
        trim(flow)


def _without_data(flow: Flow, begin: int, findings: Findings) -> Passage:
    """A bare acknowledgement. It never stands behind what the server has not seen."""
    end = flow.client_end + 1 if flow.client_ended else flow.sent  # a FIN counts as one
    if flow.observed or distance(begin, end) <= 0:
        return Passage(begin, b"", fin=False, as_it_came=True)
    if flow.client_ended:
        findings.deny(Reason.AFTER_END)
        return Passage(begin, b"", fin=False, as_it_came=False)
    return Passage(flow.sent, b"", fin=False, as_it_came=False)


def _is_keep_alive(flow: Flow, begin: int, length: int) -> bool:
    """A keep-alive's byte of garbage (RFC 9293, 3.8.4), sent while a kept head was acknowledged."""
    return (
        length == 1
        and not flow.observed
        and flow.raised_to != flow.raised_from
        and flow.raised_to == flow.end
        and (begin + 1) & _MASK == flow.raised_to
    )


def _behind_gap(flow: Flow, begin: int, payload: bytes, findings: Findings) -> bool:
    """Remember a segment until the gap before it is filled. False where it is not one that the client may have sent.

    What finds no room is forgotten, and sent again (tcp-rules.md, 3).
    """
    findings.waits = True
    if flow.early is None:
        flow.early = ({}, {})
    early = flow.early[0]
    if flow.observed:
        keep_longer(early, begin, payload)
        if len(early) > EARLY_SEGMENTS:
            restart(flow, min(early, key=lambda number: distance(number, flow.base)))
        return False
    if not payload or (flow.scale_known and distance(begin + len(payload), flow.edge) > 0):
        return False
    size = len(payload) + sum(len(each) for each in early.values())
    if len(early) < EARLY_KEPT and size <= HELD_ROOM and distance(begin + len(payload), flow.base) <= HELD_ROOM:
        keep_longer(early, begin, payload)
    elif begin not in early:
        findings.meet(EARLY_REFUSED)
    return True


def keep_longer(early: dict[int, bytes], begin: int, payload: bytes) -> None:
    """Remember a segment behind a gap; of two that begin alike, the longer: a repeat may hold more than the first."""
    if len(payload) > len(early.get(begin, b"")):
        early[begin] = payload


def early_block(flow: Flow, begin: int) -> tuple[int, int] | None:
    """What is remembered without a gap from `begin` on, as a block of a selective acknowledgement; None: nothing."""
    early = flow.early[0] if flow.early is not None else {}
    if begin not in early:
        return None
    stop = begin
    while size := len(early.get(stop, b"")):
        stop = (stop + size) & _MASK
    return begin, stop


def _fill_gap(flow: Flow, findings: Findings, now: float) -> None:
    """Go on with segments that came before what stands in front of them."""
    while findings.reason is None:
        assert flow.early is not None
        early = flow.early[0]  # another one where a request was answered
        found = next((number for number in early if distance(number, flow.end) <= 0), None)
        if found is None:
            return
        payload = early.pop(found)
        known = distance(flow.end, found)
        if known < len(payload):
            _append(flow, payload[known:], findings, now)


def restart(flow: Flow, number: int) -> None:
    """Observed flows: bytes were missed; go on from `number`, taken for a unit boundary."""
    flow.held = b""
    flow.base = flow.sent = flow.taken = flow.raised_from = flow.raised_to = number & _MASK
    flow.head_since = 0.0


def _boundary(flow: Flow, position: int, *, up: bool) -> int:
    """The unit boundary of what was sent on, at or below (`up`: at or above) `position` of `held`."""
    assert flow.channel is not None
    frame = flow.channel.protocol.frame
    at = 0
    while at < position:
        size = frame(flow.held, at, len(flow.held))
        if at + size > position:
            return at + size if up else at
        at += size
    return at


def acknowledged(flow: Flow, number: int, findings: Findings) -> None:
    """The server acknowledges all before `number`: forget what nobody has to repeat."""
    if distance(number, flow.taken) <= 0:
        return
    top = flow.end if flow.observed else flow.sent
    if flow.client_ended and number == (flow.client_end + 1) & _MASK:
        number = flow.client_end
    if distance(number, top) > 0:
        if flow.observed:
            restart(flow, number)
        else:
            findings.deny(Reason.UNINSPECTED_BYTES)
        return
    flow.taken = number
    trim(flow)
    if distance(number, flow.raised_to) >= 0:
        flow.raised_from = flow.raised_to = number
    if flow.longest_sent and distance(number, flow.longest_end) >= 0:
        flow.longest = max(flow.longest, flow.longest_sent)
        flow.longest_sent = 0


def trim(flow: Flow) -> None:
    """Drop from `held` the units that the server has wholly taken."""
    assert flow.channel is not None
    sent = (flow.sent - flow.base) & _MASK
    taken = distance(flow.taken, flow.base)
    if flow.observed:
        cut = max(min(taken, sent), 0)  # what was sent on may be no units at all
    else:
        cut = sent if taken >= sent else _boundary(flow, taken, up=False)
    if cut:
        flow.held = flow.held[cut:]
        flow.base = (flow.base + cut) & _MASK


def pieces(flow: Flow, payload: bytes, option_bytes: int, lead: int = 0) -> list[bytes]:
    """Cut what goes on into packets that reach the server whole (tcp-rules.md, 5), at unit boundaries.

    A unit larger than a packet goes in full pieces, back to back. `lead`: bytes in front of the first boundary.
    """
    assert flow.channel is not None
    floor = 536 if len(flow.key) == 12 else 1220
    limit = max(flow.longest, floor)
    if flow.server_mss:
        limit = min(limit, flow.server_mss)
    limit = max(limit - option_bytes, 1)
    if len(payload) <= limit:
        return [payload]
    frame = flow.channel.protocol.frame
    result: list[bytes] = []
    first, at = 0, lead
    while True:
        while at - first > limit:
            result.append(payload[first : first + limit])
            first += limit
        if at >= len(payload):
            break
        size = frame(payload, at, len(payload)) or len(payload) - at
        if at + size - first > limit and at > first:
            result.append(payload[first:at])
            first = at
        at += size
    if first < len(payload):
        result.append(payload[first:])
    return result
