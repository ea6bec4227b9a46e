"""The ordinary packet, decided at once: a request that only reads, allowed whatever it reads; its answer; a bare ACK.

A confirmation of an answer counts as such a request. It is one whole unit in order, on a session where nothing unusual
is under way (`Flow.ordinary`). Whatever else a packet may be, and wherever there is any doubt, `decide` says nothing
and has changed nothing, and the stages (verdict.py) decide. They would decide an ordinary packet alike, and remember
the same: tests/pipeline/test_ordinary.py puts packets of all kinds through both and compares.

Of IPv4 only; IPv6 takes the longer way.
"""

from __future__ import annotations

import struct

from conduitfw.flow import FlowTable
from conduitfw.outcome import Outcome, Verdict
from conduitfw.policy.compile import Channel
from conduitfw.protocols.ordinary import OrdinarySession
from conduitfw.record import Flow, State

_MASK, _HALF = 0xFFFF_FFFF, 0x8000_0000
_HEADERS = 40  # octets of IPv4 and TCP without options
_STAMPED = 12  # octets of options that are timestamps and nothing else ...
_STAMPS = 0x0101_080A  # ... and how they begin
_LONGEST = 128  # octets of an ordinary request
_READ = struct.Struct("!B x H 2x H x B 2x 12s I I B B H 4x")
_OPTION = struct.Struct("!II")
_OPEN = int(State.OPEN)
_COMPILED = not __file__.endswith(".py")  # then octets are read one by one (octets.pxd), else many by one call


class Allowed:
    """What is known of one channel: the outcomes of ordinary requests by what they ask for, and of all else."""

    __slots__ = ("learns", "number", "outcome", "passing", "requests", "stamp")

    def __init__(self, channel: Channel) -> None:
        self.learns, self.stamp = channel.learns, channel.stamp
        self.passing = Outcome(Verdict.ACCEPT, True)
        self.passing.protocol = channel.protocol
        self.requests: dict[int, Outcome | None] = {}  # None: not whatever they read
        # The last request that was ordinary, and its outcome: most often it is the next, too.
        self.number = -1
        self.outcome: Outcome | None = None

    def ask(self, channel: Channel, session: OrdinarySession, number: int) -> Outcome | None:
        """The outcome of a request (OrdinarySession.asks), asked for the first time."""
        rule = channel.unlimited(*session.named(number))
        outcome = None
        if rule is not None:
            outcome = Outcome(Verdict.ACCEPT, True)
            outcome.rule, outcome.protocol = rule, channel.protocol
        self.requests[number] = outcome
        return outcome


def is_ordinary(flow: Flow) -> bool:
    """Whether nothing unusual is under way on a flow that was just written to its record."""
    return (
        flow.state == _OPEN
        and flow.transport == 6
        and len(flow.key) == 12
        and flow.client_known
        and flow.server_known
        and flow.channel is not None
        and isinstance(flow.session, OrdinarySession)
        and flow.kept == 0
        and flow.raised_from == flow.raised_to
        and not (
            flow.observed
            or flow.turning
            or flow.loose
            or flow.closing
            or flow.client_ended
            or flow.server_ended
            or flow.pending
            or flow.alone
            or flow.ahead
            or flow.claiming
            or flow.partial
            or flow.block
            or flow.deaths
            or flow.answered_size
            or flow.answer_length
            or flow.longest_sent
            or flow.head_since
            or flow.open_rules
            or (flow.early is not None and any(flow.early))
        )
    )


class Ordinary:
    """Decides ordinary packets of the flows in a table. Counts them: every one was accepted."""

    __slots__ = ("_from_client", "_from_server", "_records", "in_hand", "packets", "units")

    def __init__(self, flows: FlowTable) -> None:
        self._records = flows.records
        self._from_client = flows.from_client[6]
        self._from_server = flows.from_server[6]
        self.in_hand: Flow | None = None  # the flow of the last packet that got so far: of use where `decide` fails
        self.packets = 0
        self.units = 0

    def decide(self, data: bytes, now: float, ifindex: int, mac: bytes, mark: int) -> Outcome | None:
        """The outcome, as Pipeline.decide gives it but without units; None: not an ordinary packet, nothing changed."""
        self.in_hand = None
        size = len(data)
        if size < _HEADERS:
            return None
        if _COMPILED:
            if data[0] != 0x45 or data[9] != 6 or (data[6] & 0x3F) or data[7]:
                return None
            end = u16(data, 2)  # type: ignore # noqa: F821
            header, flags = data[32] >> 4, data[33]
        else:
            first, end, fragment, transport, key, sequence, ack, header, flags, window = _READ.unpack_from(data)
            if first != 0x45 or transport != 6 or fragment & 0x3FFF:
                return None
            header >>= 4
        if end > size or end < _HEADERS or (flags & 0x37) != 0x10:
            return None  # ACK, with or without PSH
        at = _HEADERS
        stamp = -1
        if header == 8:
            at = _HEADERS + _STAMPED
            if end < at:
                return None
            if _COMPILED:
                if data[40] != 1 or data[41] != 1 or data[42] != 8 or data[43] != 10:
                    return None
                stamp = u32(data, 44)  # type: ignore # noqa: F821
            else:
                kind, stamp = _OPTION.unpack_from(data, 40)
                if kind != _STAMPS:
                    return None
        elif header != 5:
            return None
        if _COMPILED:
            key = part(data, 12, 24)  # type: ignore # noqa: F821
            sequence, ack = u32(data, 24), u32(data, 28)  # type: ignore # noqa: F821
            window = u16(data, 34)  # type: ignore # noqa: F821
        flow = self._from_client.get(key)
        from_client = flow is not None
        if flow is None:
            flow = self._from_server.get(key)
            if flow is None:
                return None
        channel = flow.channel
        if not flow.ordinary or channel is None or flow.turning or flow.vlan != mark & 0x0FFF:
            return None
        if not _checksums_are_right(data, end):
            return None
        # From here on the stages take the flow in hand at any rate.
        self._records.mark(flow)
        self.in_hand = flow
        if from_client:
            if ifindex != flow.client_port_index or (mac != flow.client_mac and len(mac) == 6):
                return None
            return self._client(flow, channel, data, at, end, sequence, ack, window, stamp, now)
        if ifindex != flow.server_port_index or (mac != flow.server_mac and len(mac) == 6):
            return None
        return self._server(flow, channel, data, at, end, sequence, ack, window, stamp, now)

    def _client(
        self, flow: Flow, channel: Channel, data: bytes, at: int, end: int, sequence: int, ack: int, window: int,
        stamp: int, now: float,
    ) -> Outcome | None:  # fmt: skip
        """tcp.pass_client with stream.take and stream.advance."""
        length = end - at
        if 0 < (ack - flow.server_next) & _MASK < _HALF:
            return None
        session: OrdinarySession = flow.session  # type: ignore[assignment]  # is_ordinary saw to it
        allowed: Allowed | None = channel.ordinary  # type: ignore[assignment]  # its only user is this module
        if allowed is None:
            allowed = channel.ordinary = Allowed(channel)
        outcome: Outcome | None = allowed.passing
        sent = flow.sent
        if length == 0:
            if 0 < (sequence - sent) & _MASK < _HALF:
                return None
            packed = session.pack()
        else:
            if sequence != sent or flow.base != sent or flow.taken != sent or flow.held or flow.older_until >= 0:
                return None
            if length > flow.longest or length > _LONGEST or flow.open_policy != allowed.stamp:
                return None
            if flow.scale_known and (flow.edge - (sent + length)) & _MASK >= _HALF:
                return None
            number = session.asks(data, at, end)
            if number < 0:
                return None
            if number == allowed.number:
                outcome = allowed.outcome
            else:
                outcome = allowed.requests.get(number)
                if outcome is None:
                    if number in allowed.requests:
                        return None
                    outcome = allowed.ask(channel, session, number)
                    if outcome is None:
                        return None
                allowed.number, allowed.outcome = number, outcome
            session.asked(data, at, end, now)
            packed = session.pack()
            flow.held = part(data, at, end) if _COMPILED else data[at:end]  # type: ignore # noqa: F821
            flow.sent = (sent + length) & _MASK
            self.units += 1
        if 0 < (ack - flow.client_ack) & _MASK < _HALF:
            flow.client_ack = ack
        flow.client_window = window
        if stamp >= 0:
            flow.client_stamp = stamp
        flow.last = now
        if not self._records.write_ordinary(flow, packed):
            self._write_longer(flow)
        self.packets += 1
        return outcome

    def _server(
        self, flow: Flow, channel: Channel, data: bytes, at: int, end: int, sequence: int, ack: int, window: int,
        stamp: int, now: float,
    ) -> Outcome | None:  # fmt: skip
        """tcp.pass_server with stream.acknowledged and answers.follow."""
        allowed: Allowed | None = channel.ordinary  # type: ignore[assignment]  # its only user is this module
        if allowed is None:
            allowed = channel.ordinary = Allowed(channel)
        session: OrdinarySession = flow.session  # type: ignore[assignment]  # is_ordinary saw to it
        taken = flow.taken
        advances = 0 < (ack - taken) & _MASK < _HALF
        if advances and ack != flow.sent:
            return None
        if end > at:
            if sequence != flow.server_next or allowed.learns or not session.answers(data, at, end):
                return None
            session.answered(now)
            flow.server_next = (sequence + end - at) & _MASK
            self.units += 1
        if advances:
            flow.taken = flow.base = taken = ack
            flow.held = b""
            if (ack - flow.raised_to) & _MASK < _HALF:
                flow.raised_from = flow.raised_to = ack
        flow.server_window = window
        if (ack - taken) & _MASK < _HALF:
            flow.edge = (ack + (window << flow.window_scale)) & _MASK
        if stamp >= 0:
            flow.server_stamp = stamp
        flow.last = now
        if not self._records.write_ordinary(flow, session.pack()):
            self._write_longer(flow)
        self.packets += 1
        return allowed.passing

    def _write_longer(self, flow: Flow) -> None:
        self._records.write(flow)
        flow.ordinary = False  # it may have a block now, which the next to write has to give back


def _checksums_are_right(data: bytes, end: int) -> bool:
    """As packet.decode verifies them, of data[:end]: 20 octets of IPv4, and TCP behind it."""
    if _COMPILED:
        # Protocol number 6, and the length: end - 20.
        return sums_to_nothing(data, 0, 20, 0) and sums_to_nothing(data, 12, end, end - 14)  # type: ignore # noqa: F821
    if int.from_bytes(data[:20], "big") % 0xFFFF:
        return False
    total = int.from_bytes(data[12:end], "big")
    if end & 1:
        total <<= 8
    return (total + end - 14) % 0xFFFF == 0
