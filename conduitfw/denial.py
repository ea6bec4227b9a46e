"""Packets of our own: acknowledging a kept head, sending on what had to wait, ending a denied flow.

They are built here, from the flow's record, and leave by kernel/emit.py. tcp-rules.md, 4 and 8.
"""

from __future__ import annotations

from conduitfw import translation
from conduitfw.flow import Flow, State, distance
from conduitfw.packet import ACK, PSH, RST, Packet, build, build_udp
from conduitfw.stream import pieces

_MASK = 0xFFFF_FFFF
RESETS_AGAIN = 2  # how often, 100 ms apart (Pipeline.tick): both ends know within 300 ms, also where one RST is lost


class Emission:
    """One packet to send. MAC addresses were learned from the flow; b"" where they are not known yet."""

    __slots__ = ("destination_mac", "ifindex", "packet", "source_mac", "vlan")

    def __init__(self, flow: Flow, to_client: bool, packet: bytes) -> None:
        self.packet = packet  # a whole IP packet, checksums right
        known = any(flow.client_mac), any(flow.server_mac)
        client = flow.client_mac if known[0] else b""
        server = flow.server_mac if known[1] else b""
        self.destination_mac, self.source_mac = (client, server) if to_client else (server, client)
        self.ifindex = flow.client_port_index if to_client else flow.server_port_index
        self.vlan = flow.vlan


def _build(
    flow: Flow,
    to_client: bool,
    *,
    sequence: int,
    ack: int,
    flags: int,
    window: int,
    payload: bytes,
    translated: bool = False,
    sack: tuple[int, int] | None = None,
) -> Emission:
    """`sequence`, `ack` and `sack` in the server's numbers, or `translated` already."""
    timestamps = None
    if flow.timestamps and not flags & RST:
        own, theirs = flow.client_stamp, flow.server_stamp
        timestamps = (theirs, own) if to_client else (own, theirs)
    ends = (flow.server, flow.client, flow.server_port, flow.client_port)
    if not to_client:
        ends = (flow.client, flow.server, flow.client_port, flow.server_port)
    elif translation.applies(flow) and not translated:
        sequence, ack = translation.sequence_to_client(flow, sequence), translation.ack_to_client(flow, ack)
        sack = None if sack is None else translation.block_to_client(flow, sack)
    packet = build(
        *ends, sequence=sequence, ack=ack, flags=flags, window=window, timestamps=timestamps, sack=sack, payload=payload
    )
    return Emission(flow, to_client, packet)


def acknowledge_head(flow: Flow) -> Emission:
    """Tell the client, in the server's name, that the kept head has arrived: its Nagle may be waiting for that.

    The caller made sure that the server has taken everything before the head.
    """
    flow.raised_from, flow.raised_to = flow.sent, flow.end
    return _build(
        flow,
        True,
        sequence=flow.server_next,
        ack=flow.raised_to,
        flags=ACK,
        window=lowered_window(flow, flow.raised_to),
        payload=b"",
    )


def acknowledge_gap(flow: Flow, block: tuple[int, int] | None) -> Emission:
    """Tell the client, in the server's name, that a segment came behind a gap, and of what is remembered of it.

    It says no more of what is in front of the gap than the server did.
    """
    ack = flow.raised_to if flow.taken == flow.raised_from else flow.taken
    window = lowered_window(flow, ack) if flow.scale_known else flow.server_window
    sack = block if flow.sack else None
    return _build(flow, True, sequence=flow.server_next, ack=ack, flags=ACK, window=window, payload=b"", sack=sack)


def send_answer(flow: Flow) -> Emission:
    """Our answer to a denied request, in the server's name; or, where there is none, that the request has arrived."""
    payload = flow.answer[: flow.answer_length]
    return _build(
        flow,
        True,
        sequence=flow.answer_at + flow.inserted - flow.answer_length,
        ack=flow.answered_end,
        flags=ACK | PSH if payload else ACK,
        window=flow.server_window,
        payload=payload,
        translated=True,
    )


def answer_datagram(flow: Flow, payload: bytes) -> Emission:
    """The same over UDP."""
    return Emission(flow, True, build_udp(flow.server, flow.client, flow.server_port, flow.client_port, payload))


def lowered_window(flow: Flow, ack: int) -> int:
    """The window field with which the right edge stays the server's, behind a raised acknowledgement."""
    return max(0, min(distance(flow.edge, ack) >> flow.window_scale, 0xFFFF))


def send_on(flow: Flow, sequence: int, payload: bytes) -> list[Emission]:
    """Whole units that had to wait."""
    return send_pieces(flow, sequence, pieces(flow, payload, 12 if flow.timestamps else 0))


def send_pieces(flow: Flow, sequence: int, payloads: list[bytes]) -> list[Emission]:
    """One packet each, from `sequence` on: what found no room in the packet that released it is cut already."""
    emissions = []
    for piece in payloads:
        emissions.append(
            _build(
                flow,
                False,
                sequence=sequence,
                ack=flow.client_ack,
                flags=ACK | PSH,
                window=flow.client_window,
                payload=piece,
            )
        )
        sequence += len(piece)
    return emissions


def end(flow: Flow) -> list[Emission]:
    """End a flow: both sides know at once, and it stays as a tombstone.

    A RST counts only with the exact next number of its receiver (RFC 5961, 3.2). That is what the
    receiver last acknowledged, or the end of what is under way to it: one of the two is right, and the
    tombstone answers what a receiver says to the other.
    """
    emissions = _resets(flow)
    bury(flow)
    flow.resets_due = RESETS_AGAIN
    return emissions


def end_again(flow: Flow) -> list[Emission]:
    """The RSTs of a flow that ended just now, once more: one of them may have been lost, and its receiver be silent."""
    flow.resets_due -= 1
    return _resets(flow)


def _resets(flow: Flow) -> list[Emission]:
    emissions = []
    for number in dict.fromkeys((flow.taken, flow.sent)):
        emissions.append(_reset(flow, False, number & _MASK, flow.client_ack))
    if flow.server_known:
        for number in dict.fromkeys((flow.client_ack, flow.server_next)):
            emissions.append(_reset(flow, True, number & _MASK, flow.end))
    return emissions


def bury(flow: Flow) -> None:
    """Make the flow a tombstone."""
    flow.state = State.TOMBSTONE
    flow.held = flow.partial = b""
    flow.base = flow.sent
    flow.raised_from = flow.raised_to = flow.sent
    flow.head_since = 0.0
    flow.early = None
    flow.alone = False
    flow.resets_due = 0


def _reset(flow: Flow, to_client: bool, sequence: int, ack: int) -> Emission:
    return _build(flow, to_client, sequence=sequence, ack=ack, flags=RST | ACK, window=0, payload=b"")


def answer_tombstone(flow: Flow, packet: Packet, from_client: bool) -> list[Emission]:
    """A later packet of an ended flow is answered to its sender, with the number that it acknowledges."""
    if packet.flags & RST or not packet.flags & ACK:
        return []
    return [_reset(flow, from_client, packet.ack, (packet.sequence + packet.payload_length) & _MASK)]
