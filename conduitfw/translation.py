"""Denied, and answered: a session from which we took a request, and into which we put an answer (tcp-rules.md, 7).

The client's numbers and the server's differ from then on. Everything behind this module works in the *server's*
numbers, for both directions; a client's packet is translated when it comes in, and what goes to the client when it
leaves. One request is answered at a time, when the server has taken and answered all before it, so each direction
has one offset, and for as long as the client has not acknowledged our answer there is one place where it changes:

    client's stream   ... | denied request | ...        server's stream   ...          | ...
                          answered_end ----^                              answer_at ---^
    to the server     ... | ...    (removed)            to the client     ... | answer | ...    (inserted)

What the client repeats of all that lies before `answered_end` goes nowhere: the server has taken it, or was never to
see it. Such a repeat is sent on as a keep-alive, so that the server says again where it stands.
"""

from __future__ import annotations

import math

from conduitfw.flow import Flow, distance
from conduitfw.packet import FIN, SYN, Packet, decode, rebuild, with_sack

_MASK = 0xFFFF_FFFF
AGAIN = 0.2  # seconds: how soon an answer is sent again that the client does not acknowledge
GIVE_UP = 30.0


def applies(flow: Flow) -> bool:
    """Whether a request of this flow was ever answered by us."""
    return flow.answered_size != 0


def concerns(flow: Flow, packet: Packet, from_client: bool) -> bool:
    """Whether a packet's numbers are those of a session in which we answered.

    Those of a SYN are not, nor those of what a server says to a SYN that may replace the session.
    """
    if not applies(flow) or packet.flags & SYN:
        return False
    return from_client or not flow.pending or packet.ack != (flow.pending_isn + 1) & _MASK


def begin(flow: Flow, at: int, size: int, answer: bytes, now: float) -> None:
    """The request of `size` bytes at `at` of `held` is answered by these bytes (b"": by none) instead of the server.

    The caller made sure that the server has taken and answered all before it.
    """
    flow.answered_end = (flow.base + flow.removed + at + size) & _MASK
    flow.answered_size = size
    flow.removed = (flow.removed + size) & _MASK
    flow.held = flow.held[:at] + flow.held[at + size :]
    if flow.early is not None:
        flow.early = ({(number - size) & _MASK: piece for number, piece in flow.early[0].items()}, flow.early[1])
    flow.raised_from = flow.raised_to = flow.sent  # a head of it may have been acknowledged
    flow.head_since = 0.0
    flow.answer_at = flow.server_next
    flow.answer, flow.answer_length = answer.ljust(len(flow.answer), b"\x00"), len(answer)
    flow.inserted = (flow.inserted + len(answer)) & _MASK
    flow.answer_since = flow.answer_due = now


def is_pending(flow: Flow) -> bool:
    """Whether the client has not acknowledged an answer of ours yet: until then nothing of it goes on."""
    return flow.answer_length != 0


def from_client(flow: Flow, packet: Packet) -> Packet:
    """The client's packet in the server's numbers. Notes that the client has our answer, or asks for it again."""
    ack = _to_server(flow, packet.ack)
    begin_at, payload, flags = packet.sequence, packet.payload, packet.flags
    known = distance(flow.answered_end, begin_at)  # how much of it lies before what we answered last
    if known > 0:
        if flow.answer_length and payload:
            flow.answer_due = 0.0  # it repeats the request: our answer was lost
        if known >= len(payload):
            begin_at, payload, flags = (flow.answered_end - 1) & _MASK, b"", flags & ~FIN
        else:
            begin_at, payload = flow.answered_end, payload[known:]
    options = with_sack(packet, lambda number: _to_server(flow, number))
    if flow.answer_length and distance(packet.ack, flow.answer_at + flow.inserted) >= 0:
        flow.answer_length, flow.answer_due = 0, math.inf
    return decode(
        rebuild(
            packet,
            sequence=begin_at - flow.removed,
            ack=ack,
            flags=flags,
            window=packet.window,
            options=options,
            payload=payload,
        )
    )


def _to_server(flow: Flow, number: int) -> int:
    """A number of what the client receives, as the server sent it. Numbers within our answer are where it stands."""
    if not flow.answer_length:
        return (number - flow.inserted) & _MASK
    end = flow.answer_at + flow.inserted
    if distance(number, end) >= 0:
        return (number - flow.inserted) & _MASK
    if distance(number, end - flow.answer_length) > 0:
        return flow.answer_at
    return (number - flow.inserted + flow.answer_length) & _MASK


def sequence_to_client(flow: Flow, number: int) -> int:
    """A number of what the server sends, as the client has to see it."""
    before = flow.answer_length and distance(number, flow.answer_at) < 0
    return (number + flow.inserted - (flow.answer_length if before else 0)) & _MASK


def ack_to_client(flow: Flow, number: int) -> int:
    """A number of what the server received, in the client's numbers.

    As long as our answer is under way it covers no byte of the denied request: the client repeats it, if need be.
    """
    moved = (number + flow.removed) & _MASK
    if flow.answer_length and distance(moved, flow.answered_end) >= 0:
        return (flow.answered_end - flow.answered_size) & _MASK
    return moved


def block_to_client(flow: Flow, block: tuple[int, int]) -> tuple[int, int]:
    """A block of a selective acknowledgement in the client's numbers."""
    return (block[0] + flow.removed) & _MASK, (block[1] + flow.removed) & _MASK


def to_client(flow: Flow, packet: Packet) -> bytes:
    """The server's packet in the client's numbers."""
    payload, flags = packet.payload, packet.flags
    if flow.answer_length and distance(packet.sequence, flow.answer_at) < 0:
        before = distance(flow.answer_at, packet.sequence)
        if before < len(payload):  # a repeat that goes beyond the place of our answer: the server sends the rest again
            payload, flags = payload[:before], flags & ~FIN
    return rebuild(
        packet,
        sequence=sequence_to_client(flow, packet.sequence),
        ack=ack_to_client(flow, packet.ack),
        flags=flags,
        window=packet.window,
        options=with_sack(packet, lambda number: (number + flow.removed) & _MASK),
        payload=payload,
    )
