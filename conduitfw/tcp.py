"""One TCP packet through its session: handshake, streams, and what leaves in its place.

Each function takes the flow and the packet and gives a `Step`. Reasons that are the packet's own
(`PACKET_ONLY`) drop it and leave the session alone; any other ends the flow as its conduit asks.
"""

from __future__ import annotations

from conduitfw import answers, handshake, stream
from conduitfw.denial import (
    Emission,
    acknowledge_gap,
    acknowledge_head,
    answer_tombstone,
    lowered_window,
    send_on,
    send_pieces,
)
from conduitfw.flow import Flow, State, distance
from conduitfw.inspection import Findings
from conduitfw.packet import ACK, FIN, PSH, RST, Packet, rebuild, without_sack
from conduitfw.reasons import Reason

_MASK = 0xFFFF_FFFF

# A forged or stray segment must not end a session that lives: these drop the packet and no more.
PACKET_ONLY = frozenset(
    (
        Reason.SYN_DATA,
        Reason.SERVER_OPENS,
        Reason.NOT_ESTABLISHED,
        Reason.NO_SESSION,
        Reason.AFTER_END,
        Reason.OUT_OF_WINDOW,
        Reason.ENDED,
    )
)


class Step:
    """What became of a packet: whether it leaves, with which bytes (None: its own), and what we send behind it."""

    __slots__ = ("carries_allowed", "emissions", "forward", "payload")

    def __init__(self, forward: bool, payload: bytes | None = None) -> None:
        self.forward = forward
        self.payload = payload
        # A rewritten packet that leaves whatever was denied: it holds the allowed units in front, or nothing at all.
        self.carries_allowed = False
        self.emissions: list[Emission] = []


def pass_client(flow: Flow, packet: Packet, findings: Findings, now: float) -> Step:
    """A packet of the client."""
    if handshake.is_opening(packet):
        return _opening(flow, packet, findings, from_client=True)
    if flow.state == State.TOMBSTONE:
        return _buried(flow, packet, findings, from_client=True)
    if packet.flags & RST:
        return _client_reset(flow, packet, findings)
    flow.closing = False  # a RST of whichever side was not believed; else the server answers this with another
    if flow.state == State.OPENING and not flow.observed:
        findings.deny(Reason.NOT_ESTABLISHED)
        return Step(False)
    if flow.state == State.ASKING:
        return _ask(flow, packet, findings)
    if not _client_acknowledges(flow, packet, findings):
        return _probe(flow, packet)
    passage = stream.take(flow, packet, findings, now)
    if flow.observed:
        return Step(True)
    if passage.as_it_came and packet.options is None:
        step = Step(True)
        step.carries_allowed = findings.reason is None or bool(passage.payload)
        if passage.payload and len(passage.payload) > flow.longest:
            flow.longest_sent = len(passage.payload)
            flow.longest_end = (passage.sequence + flow.longest_sent) & _MASK
    else:
        step = _rewritten(flow, packet, passage)
        step.carries_allowed = bool(passage.payload)
    if passage.early:
        step.emissions.append(acknowledge_gap(flow, stream.early_block(flow, packet.sequence)))
    elif findings.reason is None and flow.kept and packet.payload_length and stream.keeps_head(flow):
        if not flow.scale_known:
            findings.deny(Reason.NO_WINDOW_SCALE)
        elif flow.taken == flow.sent:
            step.emissions.append(acknowledge_head(flow))
    return step


def _client_acknowledges(flow: Flow, packet: Packet, findings: Findings) -> bool:
    """Note what the client says of the server's stream. False: it acknowledges what never passed."""
    if flow.server_known:
        top = flow.server_next + (1 if flow.server_ended else 0)
        if distance(packet.ack, top) > 0:
            if flow.observed:
                answers.skip_to(flow, packet.ack)
            elif flow.ahead and distance(packet.ack, flow.server_early) <= 0:
                answers.forget_early(flow)
            else:
                # It may lie, so it is the server who is asked: its own number settles it (_claim_holds).
                findings.waits = True
                flow.claiming, flow.claimed = True, packet.ack
                return False
        if distance(packet.ack, flow.client_ack) > 0:
            flow.client_ack = packet.ack
    else:
        flow.client_ack = packet.ack
    if flow.state == State.ANSWERED and packet.ack == flow.server_next:
        flow.state = State.OPEN
    flow.client_window = packet.window
    if packet.ts_value >= 0:
        flow.client_stamp = packet.ts_value
    return True


def _claim_holds(flow: Flow, packet: Packet) -> bool:
    """Whether the server's number shows that bytes passed beside us, as the client says (tcp-rules.md, 3 and 9)."""
    if distance(packet.sequence, flow.server_next) <= 0:
        flow.claiming = False
        return False
    return distance(flow.claimed, packet.sequence) >= 0


def _rewritten(flow: Flow, packet: Packet, passage: stream.Passage) -> Step:
    """The packet with what may go on of it, and the rest of that in packets of our own."""
    payload, fin = passage.payload, passage.fin
    rest: list[bytes] = []
    if not passage.as_it_came and payload:
        payload, *rest = stream.pieces(flow, payload, packet.payload_at - packet.segment_at - 20, passage.lead)
        if rest and fin:
            fin = flow.client_ended = False  # the client sends it again
    flags = (packet.flags & ~FIN) | (FIN if fin else 0)
    if payload and not passage.as_it_came:
        flags |= PSH
    step = Step(
        True,
        rebuild(
            packet,
            sequence=passage.sequence,
            ack=packet.ack,
            flags=flags,
            window=packet.window,
            options=packet.options,
            payload=payload,
        ),
    )
    if rest:
        step.emissions += send_pieces(flow, (passage.sequence + len(payload)) & _MASK, rest)
    return step


def pass_server(flow: Flow, packet: Packet, findings: Findings, now: float) -> Step:
    """A packet of the server."""
    if handshake.is_opening(packet):
        return _opening(flow, packet, findings, from_client=False)
    if flow.state == State.TOMBSTONE:
        return _buried(flow, packet, findings, from_client=False)
    if flow.state == State.OPENING and not flow.observed:
        return _before_answer(packet, findings)
    if packet.flags & RST:
        return _server_reset(flow, packet, findings)
    if flow.state == State.ASKING and not _may_resync(flow):
        return _keep_alive(packet, packet.sequence - 1, packet.ack)
    if flow.state == State.ASKING and not _answered(flow, packet, findings):
        return Step(findings.reason is None)
    if flow.claiming and _claim_holds(flow, packet):
        findings.deny(Reason.UNINSPECTED_BYTES)
        return Step(False)
    if flow.client_known:
        stream.acknowledged(flow, packet.ack, findings)
        if findings.reason is not None:
            return Step(False)
    flow.server_window = packet.window
    if flow.client_known and distance(packet.ack, flow.taken) >= 0:
        flow.edge = (packet.ack + (packet.window << flow.window_scale)) & _MASK
    if packet.ts_value >= 0:
        flow.server_stamp = packet.ts_value
    if not answers.follow(flow, packet, findings, now):
        return Step(flow.observed)
    if flow.observed:
        return Step(True)
    emissions = release(flow, findings, now)
    step = Step(True, _with_raised_acknowledgement(flow, packet))
    step.emissions = emissions
    return step


def release(flow: Flow, findings: Findings, now: float) -> list[Emission]:
    """Send on what had to wait, as far as it may go now."""
    if not flow.kept or flow.observed:
        return []
    before = flow.sent
    stream.advance(flow, findings, now)
    if flow.sent == before:
        return []
    first = (before - flow.base) & _MASK
    return send_on(flow, before, flow.held[first : (flow.sent - flow.base) & _MASK])


def _with_raised_acknowledgement(flow: Flow, packet: Packet) -> bytes | None:
    """The server's packet as the client has to see it while a kept head is acknowledged (tcp-rules.md, 4)."""
    ack, window, options = packet.ack, packet.window, packet.options
    if flow.taken == flow.sent and flow.kept and flow.scale_known and stream.keeps_head(flow):
        flow.raised_from, flow.raised_to = flow.sent, flow.end
    if distance(ack, flow.raised_from) >= 0 and distance(ack, flow.raised_to) < 0:
        ack = flow.raised_to
        window = lowered_window(flow, ack)
        options = without_sack(packet)
    elif options is None:
        return None
    return rebuild(
        packet,
        sequence=packet.sequence,
        ack=ack,
        flags=packet.flags,
        window=window,
        options=options,
        payload=packet.payload,
    )


def _opening(flow: Flow, packet: Packet, findings: Findings, *, from_client: bool) -> Step:
    reason = handshake.opening(flow, packet, from_client)
    if reason is not None and not (flow.observed and reason is Reason.NO_SESSION):
        findings.deny(reason)
        return Step(flow.observed)
    if flow.observed and from_client:
        _observe_opening(flow, packet)
    if packet.options is None or flow.observed:
        return Step(True)
    return Step(
        True,
        rebuild(
            packet,
            sequence=packet.sequence,
            ack=packet.ack,
            flags=packet.flags,
            window=packet.window,
            options=packet.options,
            payload=b"",
        ),
    )


def _observe_opening(flow: Flow, packet: Packet) -> None:
    """A capture may lack the SYN-ACK: begin at the SYN, unless it is one that a living session repeats."""
    if flow.client_known and distance(packet.sequence, flow.base) == -1:
        return
    stream.restart(flow, packet.sequence + 1)
    flow.client_known, flow.server_known = True, False
    flow.partial = b""
    flow.client_ended = flow.server_ended = False


def _buried(flow: Flow, packet: Packet, findings: Findings, *, from_client: bool) -> Step:
    findings.deny(Reason.ENDED)
    step = Step(False)
    step.emissions = answer_tombstone(flow, packet, from_client)
    return step


def _client_reset(flow: Flow, packet: Packet, findings: Findings) -> Step:
    """A client's RST goes on where the server may believe it; it ends nothing here (tcp-rules.md, 3)."""
    if packet.payload_length and not flow.observed:
        findings.deny(Reason.AFTER_END)
        return Step(False)
    if flow.client_known and not flow.observed and flow.state not in (State.OPENING, State.ASKING):
        end = flow.end + flow.client_ended  # a FIN counts as one
        if distance(packet.sequence, flow.taken) < 0 or distance(packet.sequence, end) > 0:
            findings.deny(Reason.OUT_OF_WINDOW)
            return Step(False)
        if flow.kept:
            findings.deny(Reason.UNFINISHED)
            return Step(False)
    flow.closing = True
    return Step(True)


def _server_reset(flow: Flow, packet: Packet, findings: Findings) -> Step:
    if packet.payload_length and not flow.observed:
        findings.deny(Reason.AFTER_END)
        return Step(False)
    flow.closing = True
    return Step(True)


def _before_answer(packet: Packet, findings: Findings) -> Step:
    """What a server may say to a SYN besides SYN-ACK: a refusal, or that it has an older session still."""
    if packet.payload_length or packet.flags & FIN:
        findings.deny(Reason.NOT_ESTABLISHED)
        return Step(False)
    return Step(True)


# --- midstream: sessions without state (tcp-rules.md, 9) -------------------------------------------


def begin_midstream(flow: Flow, packet: Packet, from_client: bool) -> None:
    """Start a flow whose handshake nobody saw: ask the server what it has taken, or note what to reset."""
    flow.state = State.ASKING
    flow.client_known = False
    flow.scale_known = False
    flow.window_scale = 0
    flow.loose = True
    flow.ahead = flow.claiming = False
    flow.held = flow.partial = b""
    flow.timestamps = packet.ts_value >= 0
    flow.sack = False
    if from_client:
        flow.base = flow.sent = flow.taken = packet.sequence
        flow.server_next = flow.client_ack = packet.ack
    else:
        flow.base = flow.sent = flow.taken = packet.ack
        flow.server_next = flow.client_ack = packet.sequence
    flow.raised_from = flow.raised_to = flow.base
    flow.server_known = True
    if flow.session is not None:
        flow.session.accept_unknown()


def _may_resync(flow: Flow) -> bool:
    """Where not, the flow ends. Its first packet goes on as a keep-alive, whichever side it is from.

    The answer to that tells where the other side is and what it has, and so with which number to end it.
    """
    return flow.observed or (flow.channel is not None and flow.channel.resync)


def _ask(flow: Flow, packet: Packet, findings: Findings) -> Step:
    """The client's segment becomes a keep-alive: its answer says what the server has taken."""
    if not flow.client_known:
        flow.client_known = True
        flow.base = flow.sent = flow.taken = packet.sequence
        flow.raised_from = flow.raised_to = packet.sequence
    if distance(packet.ack, flow.client_ack) > 0:
        flow.client_ack = packet.ack
    flow.client_window = packet.window
    if packet.ts_value >= 0:
        flow.client_stamp = packet.ts_value
    findings.waits = True
    return _probe(flow, packet)


def _probe(flow: Flow, packet: Packet) -> Step:
    """A keep-alive in the packet's place."""
    return _keep_alive(packet, flow.sent - 1, flow.server_next if flow.claiming else packet.ack)


def _keep_alive(packet: Packet, sequence: int, ack: int) -> Step:
    step = Step(
        True,
        rebuild(
            packet,
            sequence=sequence & _MASK,
            ack=ack,
            flags=ACK,
            window=packet.window,
            options=packet.options,
            payload=b"",
        ),
    )
    step.carries_allowed = True
    return step


def _answered(flow: Flow, packet: Packet, findings: Findings) -> bool:
    """Go on from what the server says it has taken. False: the packet passes as it is, or bytes were lost."""
    stop = (packet.sequence + packet.payload_length) & _MASK
    if not flow.client_known:  # nobody has been asked yet
        if distance(stop, flow.server_next) > 0:
            flow.server_next = stop
        return False
    if distance(packet.ack, flow.sent) < 0:
        findings.deny(Reason.BYTES_LOST)
        return False
    flow.base = flow.sent = flow.taken = packet.ack
    flow.raised_from = flow.raised_to = packet.ack
    flow.server_next = packet.sequence
    flow.state = State.OPEN
    return True
