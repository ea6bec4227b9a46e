"""The server's side of a TCP session: answers go on as they come, followed and checked (tcp-rules.md, 10).

A dropped segment of a server stalls the session, so an answer is either passed or ends the flow.
"""

from __future__ import annotations

from conduitfw.flow import Flow, distance
from conduitfw.inspection import EARLY_REFUSED, Findings
from conduitfw.packet import FIN, Packet
from conduitfw.reasons import Malformed, Reason
from conduitfw.stream import EARLY_KEPT, EARLY_SEGMENTS, keep_longer

_MASK = 0xFFFF_FFFF


def follow(flow: Flow, packet: Packet, findings: Findings, now: float) -> bool:
    """Inspect a server's segment. False where it must not go on, or has to be sent again."""
    begin = packet.sequence
    payload = packet.payload
    stop = begin + len(payload)
    if not flow.server_known:
        flow.server_known, flow.server_next = True, begin
    bare = not payload and not packet.flags & FIN  # an acknowledgement behind its FIN, which counts as one
    if flow.server_ended and distance(stop, flow.server_end) > bare:
        findings.deny(Reason.AFTER_END)
        return False
    if payload:
        behind = distance(begin, flow.server_next)
        if behind > 0:
            findings.waits = True
            if flow.observed:
                _remember(flow, begin, payload)
                return True
            return not packet.flags & FIN and _pass_early(flow, begin, payload, findings)
        if behind + len(payload) > 0:
            if flow.ahead and not _agrees(flow, begin, payload):
                findings.deny(Reason.CHANGED_REPEAT)
                return False
            if not _read(flow, payload[-behind:] if behind else payload, findings, now):
                return False
        if flow.early is not None and flow.early[1] and not _fill_gap(flow, findings, now):
            return False
        if flow.ahead and distance(flow.server_early, flow.server_next) <= 0:
            flow.ahead = False
    if packet.flags & FIN and distance(stop, flow.server_next) == 0:
        flow.server_ended, flow.server_end = True, flow.server_next
    return True


def _read(flow: Flow, fresh: bytes, findings: Findings, now: float) -> bool:
    """Read on with bytes that follow `server_next`. False where the flow has to be ended."""
    assert flow.channel is not None and flow.session is not None
    frame, session = flow.channel.protocol.frame, flow.session
    data = flow.partial + fresh if flow.partial else fresh
    at, end = 0, len(data)
    while at < end:
        try:
            size = frame(data, at, end)
        except Malformed as malformed:
            if flow.loose:  # midstream: this may be the midst of a unit; the next segment may not
                at = end
                break
            findings.deny(malformed.reason)
            if not flow.observed:
                return False
            at = end
            break
        if size == 0 or at + size > end:
            break
        unit = session.inspect(data, at, at + size, False)
        findings.units.append(unit)
        if not findings.judge(flow, unit) and not flow.observed:
            return False
        if unit.reason is None or not unit.reason.malformed:
            findings.sent(flow, unit)
            flow.loose = False
        at += size
    flow.partial = data[at:]
    flow.server_next = (flow.server_next + len(fresh)) & _MASK
    return True


def _remember(flow: Flow, begin: int, payload: bytes) -> None:
    if flow.early is None:
        flow.early = ({}, {})
    early = flow.early[1]
    keep_longer(early, begin, payload)
    if len(early) > EARLY_SEGMENTS:
        skip_to(flow, min(early, key=lambda number: distance(number, flow.server_next)))


def _pass_early(flow: Flow, begin: int, payload: bytes, findings: Findings) -> bool:
    """A segment behind a gap goes on, so that the client can say what it lacks; whether it may is seen later.

    The client reads nothing of it before the segment that fills the gap, and that goes on only where this may, too.
    """
    if flow.early is None:
        flow.early = ({}, {})
    early = flow.early[1]
    if not _agrees(flow, begin, payload):
        findings.deny(Reason.CHANGED_REPEAT)
        return False
    if (len(early) >= EARLY_KEPT and begin not in early) or distance(begin, flow.server_next) > 0xFFFF:
        findings.meet(EARLY_REFUSED)
        return False
    keep_longer(early, begin, payload)
    stop = (begin + len(payload)) & _MASK
    if not flow.ahead or distance(stop, flow.server_early) > 0:
        flow.ahead, flow.server_early = True, stop
    return True


def _agrees(flow: Flow, begin: int, payload: bytes) -> bool:
    """Whether a segment says the same as those that passed behind a gap, where they overlap."""
    for number, known in flow.early[1].items() if flow.early is not None else ():
        offset = distance(number, begin)
        first, last = max(offset, 0), min(offset + len(known), len(payload))
        if first < last and payload[first:last] != known[first - offset : last - offset]:
            return False
    return True


def forget_early(flow: Flow) -> None:
    """The client has bytes that passed behind a gap, and the worker that knew them has died: go on behind them."""
    skip_to(flow, flow.server_early)
    flow.ahead, flow.loose = False, True
    if flow.session is not None:
        flow.session.accept_unknown()


def skip_to(flow: Flow, number: int) -> None:
    """Bytes of the server were missed; go on from `number`."""
    flow.partial = b""
    flow.server_next = number & _MASK


def _fill_gap(flow: Flow, findings: Findings, now: float) -> bool:
    """Go on with what came before the segment in front of it. False where the flow has to be ended."""
    assert flow.early is not None
    early = flow.early[1]
    while True:
        found = next((number for number in early if distance(number, flow.server_next) <= 0), None)
        if found is None:
            break
        payload = early.pop(found)
        known = distance(flow.server_next, found)
        if known < len(payload) and not _read(flow, payload[known:], findings, now):
            return False
    return True
