"""How a TCP session begins: one table of what each opening segment does in each state.

A SYN may come at any time with the four-tuple of a session that lives (its client has restarted): it goes
on, and replaces the session only when the server's SYN-ACK acknowledges it (tcp-rules.md, 3). SYN and
SYN-ACK come here with their options cleaned of all but MSS, window scale, SACK and timestamps (2).
"""

from __future__ import annotations

import math

from conduitfw.flow import Flow, State
from conduitfw.packet import ACK, SYN, Packet
from conduitfw.reasons import Reason

_MASK = 0xFFFF_FFFF

#   segment            from    what it does
#   SYN                client  goes on; remembered as pending
#   SYN                server  denied: the server's side does not open (also a simultaneous open)
#   SYN-ACK            server  acknowledges the pending SYN: a new session; the session's own SYN: a repeat;
#                              else denied (the server answers something that nobody inspected)
#   SYN-ACK            client  denied: a split handshake would turn the sides round
#   either, with data          denied: some servers take it, others do not (Fast Open)


def opening(flow: Flow, packet: Packet, from_client: bool) -> Reason | None:
    """A segment with SYN: why it is denied, or None where it goes on."""
    if packet.payload_length:
        return Reason.SYN_DATA
    answer = bool(packet.flags & ACK)
    if from_client:
        if answer:
            return Reason.SERVER_OPENS
        flow.pending = True
        flow.pending_isn = packet.sequence
        flow.pending_timestamps = packet.ts_value >= 0
        flow.pending_stamp = max(packet.ts_value, 0)
        flow.pending_sack = packet.sack_ok
        return None
    if not answer:
        return Reason.SERVER_OPENS
    if flow.pending and packet.ack == (flow.pending_isn + 1) & _MASK:
        _begin(flow, packet)
        return None
    if flow.client_known and flow.state in (State.ANSWERED, State.OPEN) and packet.ack == (flow.isn + 1) & _MASK:
        return None
    return Reason.NO_SESSION


def _begin(flow: Flow, packet: Packet) -> None:
    """The SYN-ACK makes the session: whatever this record held before is gone."""
    assert flow.channel is not None
    flow.state = State.ANSWERED
    flow.session = flow.channel.protocol.session(flow.channel.lenient)
    flow.pending = False
    flow.isn = flow.pending_isn
    start = (flow.isn + 1) & _MASK
    flow.client_known = True
    flow.base = flow.sent = flow.taken = flow.raised_from = flow.raised_to = start
    flow.held = flow.partial = b""
    flow.head_since = 0.0
    flow.early = None
    flow.server_known = True
    flow.server_next = flow.client_ack = (packet.sequence + 1) & _MASK
    flow.client_ended = flow.server_ended = flow.closing = flow.loose = flow.alone = False
    flow.ahead = flow.claiming = False
    flow.longest = flow.longest_sent = 0
    flow.removed = flow.inserted = flow.answered_size = flow.answer_length = 0
    flow.answer_due = math.inf
    flow.timestamps = flow.pending_timestamps and packet.ts_value >= 0
    flow.client_stamp, flow.server_stamp = flow.pending_stamp, max(packet.ts_value, 0)
    flow.sack = flow.pending_sack and packet.sack_ok
    # Window scaling counts where both sides offer it; a client that did not has a server that does not.
    flow.scale_known = True
    flow.window_scale = max(packet.window_scale, 0)
    flow.server_mss = max(packet.mss, 0) or 536  # RFC 9293, 3.7.1: the default where none is said
    flow.edge = (start + packet.window) & _MASK  # never scaled on a SYN (RFC 7323, 2.2)
    flow.server_window = packet.window


def is_opening(packet: Packet) -> bool:
    """Whether the segment carries SYN."""
    return bool(packet.flags & SYN)
