"""Flows: one fixed-size record each, in memory that outlives the worker (tcp-rules.md, 1).

A `Flow` is the worker's handle on a record: plain attributes that are written back before the packet
that changed them leaves. A record is marked while a packet of it is in hand, and otherwise while it is
written. A successor that finds the first mark goes on from the record as it was before that packet, which
nobody has decided and TCP sends again; at the second such death in a row the packet is what kills, and the
flow is a suspect. One that finds the second mark has a torn record: a suspect at once.

Numbers of sequence space are unsigned 32-bit and wrap; `distance` compares them.
"""

from __future__ import annotations

import enum
import math
import mmap
import operator
import struct
from collections import deque
from collections.abc import Iterator

from conduitfw.packet import TCP
from conduitfw.policy.compile import Channel
from conduitfw.protocols import Session

RECORD_SIZE = 4096
LAYOUT_VERSION = 3  # a memory of another version is not read: its flows count as unknown (tcp-rules.md, 9)

_FREE, _USED, _IN_HAND, _WRITING = 0, 1, 2, 3
PATIENCE = 2  # workers in a row that may die with a packet of the same flow in hand
_MAGIC = b"cfw" + bytes((LAYOUT_VERSION,))

Memory = bytearray | mmap.mmap


class State(enum.IntEnum):
    """Where a TCP session stands. UDP flows are OPEN from the first datagram."""

    OPENING = 0  # a SYN went on, and no SYN-ACK has answered it
    ANSWERED = 1  # the SYN-ACK passed; the client has to confirm it
    OPEN = 2
    ASKING = 3  # midstream: the server was asked what it has taken (tcp-rules.md, 9)
    TOMBSTONE = 4  # ended by us: later packets are answered by a RST (tcp-rules.md, 8)


def distance(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier` in sequence space; negative where it is behind."""
    return ((later - earlier + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


# What a record holds, in order: name and struct code. Times are seconds of the pipeline's clock.
_FIELDS: tuple[tuple[str, str], ...] = (
    ("state", "B"),
    ("transport", "B"),
    ("observed", "?"),  # nothing is kept, enlarged or answered on this flow (monitor, replay)
    ("client_known", "?"),  # base, sent, taken mean something
    ("server_known", "?"),  # server_next means something
    ("scale_known", "?"),  # the handshake was seen
    ("loose", "?"),  # midstream: the server's stream may be in the midst of a unit
    ("closing", "?"),  # a RST passed
    ("client_ended", "?"),  # the client's FIN was sent on, at client_end
    ("server_ended", "?"),
    ("timestamps", "?"),  # both ends agreed on them
    ("pending", "?"),  # a SYN went on that may replace this session, with pending_isn
    ("pending_timestamps", "?"),
    ("pending_sack", "?"),
    ("sack", "?"),  # both ends take selective acknowledgements
    ("alone", "?"),  # an unanswerable request is on its way: nothing goes behind it until it is taken
    ("window_scale", "B"),
    ("base", "I"),  # of `held`: always a unit boundary, at or below `taken` (and `sent`)
    ("sent", "I"),  # end of what went on to the server
    ("taken", "I"),  # end of what the server has acknowledged
    ("raised_from", "I"),  # acknowledgements of the server from here on ...
    ("raised_to", "I"),  # ... are raised to here: a kept head that was acknowledged
    ("edge", "I"),  # right edge of the server's window
    ("alone_until", "I"),
    ("isn", "I"),
    ("pending_isn", "I"),
    ("pending_stamp", "I"),
    ("client_end", "I"),
    ("client_ack", "I"),  # what the client has acknowledged of the server's bytes
    ("client_stamp", "I"),  # the last timestamp value of each
    ("client_window", "H"),
    ("server_next", "I"),  # end of what passed from the server
    ("server_end", "I"),
    ("ahead", "?"),  # bytes of the server passed behind a gap, ...
    ("server_early", "I"),  # ... up to here
    ("claiming", "?"),  # the client acknowledged bytes of the server that nobody saw (tcp-rules.md, 3) ...
    ("claimed", "I"),  # ... up to here
    ("server_stamp", "I"),
    ("server_window", "H"),
    ("server_mss", "H"),
    ("longest_sent", "H"),  # longest packet of the client that went on as it came ...
    ("longest_end", "I"),  # ... and the number that acknowledges it
    ("longest", "H"),  # longest packet of the client that the server has taken
    ("client_port_index", "I"),  # ifindex of the bridge port each side arrives on
    ("server_port_index", "I"),
    ("client_mac", "6s"),
    ("server_mac", "6s"),
    ("vlan", "H"),
    ("created", "d"),
    ("last", "d"),
    ("head_since", "d"),  # when the first of the kept bytes came; 0: nothing is kept
    ("denials", "I"),
    ("deaths", "B"),  # of workers with a packet of this flow in hand, since one was decided
    # tcp-rules.md, 7 (translation.py): what of the client's stream never went on, and what of ours is in the server's.
    ("removed", "I"),
    ("inserted", "I"),
    ("answered_end", "I"),  # the client's own number behind the last request that we answered ...
    ("answered_size", "H"),  # ... and that request's length; 0: nothing was ever answered
    ("answer", "32s"),  # an answer of ours that the client has not acknowledged ...
    ("answer_length", "B"),  # ... 0: there is none
    ("answer_at", "I"),  # the server's own number behind which it stands
    ("answer_since", "d"),
    ("open_policy", "I"),  # an open fragment's: the policy that allowed its beginning ...
    ("open_rules", "Q"),  # ... and which of its rules (compile.Channel.decide)
)
_NAMES = tuple(name for name, _ in _FIELDS)
_RECORD = struct.Struct("<BB36s" + "".join(code for _, code in _FIELDS) + "HHH")
_get_fields = operator.attrgetter(*_NAMES)

SESSION_ROOM = 832
PARTIAL_ROOM = 300  # a server's unit that is not complete (a DNP3 frame has at most 292 bytes)
HELD_ROOM = RECORD_SIZE - _RECORD.size - SESSION_ROOM - PARTIAL_ROOM


class Flow:
    """One client-server pair of ports. See `_FIELDS` for the numbers."""

    __slots__ = (
        *_NAMES,
        "answer_due",
        "channel",
        "early",
        "held",
        "key",
        "older_until",
        "partial",
        "resets_due",
        "reverse_key",
        "session",
        "session_bytes",
        "slot",
        "turning",
    )

    state: int
    transport: int
    observed: bool
    client_known: bool
    server_known: bool
    scale_known: bool
    loose: bool
    closing: bool
    client_ended: bool
    server_ended: bool
    timestamps: bool
    pending: bool
    pending_timestamps: bool
    pending_sack: bool
    sack: bool
    alone: bool
    window_scale: int
    base: int
    sent: int
    taken: int
    raised_from: int
    raised_to: int
    edge: int
    alone_until: int
    isn: int
    pending_isn: int
    pending_stamp: int
    client_end: int
    client_ack: int
    client_stamp: int
    client_window: int
    server_next: int
    server_end: int
    ahead: bool
    server_early: int
    claiming: bool
    claimed: int
    server_stamp: int
    server_window: int
    server_mss: int
    longest_sent: int
    longest_end: int
    longest: int
    client_port_index: int
    server_port_index: int
    client_mac: bytes
    server_mac: bytes
    vlan: int
    created: float
    last: float
    head_since: float
    denials: int
    deaths: int
    removed: int
    inserted: int
    answered_end: int
    answered_size: int
    answer: bytes
    answer_length: int
    answer_at: int
    answer_since: float
    open_policy: int
    open_rules: int
    channel: Channel | None
    session: Session | None

    def __init__(self, key: bytes, transport: int, slot: int) -> None:
        for name, code in _FIELDS:
            empty: object = False if code == "?" else 0.0 if code == "d" else 0
            setattr(self, name, bytes(int(code[:-1])) if code.endswith("s") else empty)
        self.key = key
        self.reverse_key = reversed_key(key)
        self.transport = transport
        self.slot = slot
        self.channel = None
        self.session = None
        self.session_bytes = b""
        self.held = b""  # the client's bytes from `base` on: sent on and not taken, then kept back
        self.partial = b""  # the server's bytes of a unit that is not complete
        self.answer_due = math.inf  # when our answer has to be sent, the first time or again; not in the record
        # Bytes up to here, if not negative, went on under an older policy and were not taken when this one came. Not in
        # the record: a successor takes its policy as a new one.
        self.older_until = -1
        self.resets_due = 0  # how often the RSTs that ended it are sent again; not in the record
        self.turning = False  # watched where the policy enforces by now, or the other way round; not in the record
        # Segments behind a gap, by sequence number, for each direction. Not in the record: their senders hold them
        # until they are acknowledged.
        self.early: tuple[dict[int, bytes], dict[int, bytes]] | None = None

    @property
    def end(self) -> int:
        """The number behind the last byte known of the client."""
        return (self.base + len(self.held)) & 0xFFFF_FFFF

    @property
    def kept(self) -> int:
        """How many bytes of the client are kept back."""
        return len(self.held) - ((self.sent - self.base) & 0xFFFF_FFFF)

    @property
    def client(self) -> bytes:
        """The client's packed address."""
        return self.key[: (len(self.key) - 4) // 2]

    @property
    def server(self) -> bytes:
        """The server's packed address."""
        return self.key[(len(self.key) - 4) // 2 : -4]

    @property
    def client_port(self) -> int:
        """The client's port."""
        return int.from_bytes(self.key[-4:-2], "big")

    @property
    def server_port(self) -> int:
        """The server's port."""
        return int.from_bytes(self.key[-2:], "big")


def reversed_key(key: bytes) -> bytes:
    """The key of the same flow's packets in the other direction."""
    half = (len(key) - 4) // 2
    return key[half:-4] + key[:half] + key[-2:] + key[-4:-2]


class FlowTable:
    """All flows, bounded in all and by source. One worker owns it at a time."""

    def __init__(self, memory: Memory, max_per_source: int | None = None) -> None:
        """`memory` is of `memory_size` bytes: zeros, or what a predecessor left in it.

        `max_per_source` bounds one client address; by default a quarter of the table.
        """
        self._memory = memory
        self.capacity = (len(memory) - RECORD_SIZE) // RECORD_SIZE
        self.max_per_source = max_per_source if max_per_source is not None else max(1, self.capacity // 4)
        self.table_full = 0  # counters of the two bounds
        self.source_full = 0
        # Packets of either direction find their flow by one look-up.
        self.from_client: dict[int, dict[bytes, Flow]] = {TCP: {}, 17: {}}
        self.from_server: dict[int, dict[bytes, Flow]] = {TCP: {}, 17: {}}
        self._by_source: dict[bytes, int] = {}
        self._free: deque[int] = deque()
        self._sweep = 0
        # Flows whose packet a predecessor had in hand when it died.
        self.suspects: list[Flow] = []
        self._adopt()

    @staticmethod
    def memory_size(max_flows: int) -> int:
        """Bytes of shared memory for `max_flows` flows."""
        return (max_flows + 1) * RECORD_SIZE

    def __len__(self) -> int:
        return len(self.from_client[TCP]) + len(self.from_client[17])

    def __iter__(self) -> Iterator[Flow]:
        return iter([*self.from_client[TCP].values(), *self.from_client[17].values()])

    def _adopt(self) -> None:
        known = bytes(self._memory[: len(_MAGIC)]) == _MAGIC
        if not known:
            self._memory[: len(_MAGIC)] = _MAGIC
        marks = bytes(self._memory[RECORD_SIZE::RECORD_SIZE])[: self.capacity]
        for slot, mark in enumerate(marks):
            if mark == _FREE or not known:
                if mark != _FREE:
                    self._memory[self._at(slot)] = _FREE
                self._free.append(slot)
                continue
            flow = self._load(slot)
            self._index(flow)
            if mark == _IN_HAND:
                flow.deaths += 1
                self._write(flow)
            if mark == _WRITING or flow.deaths >= PATIENCE:
                self.suspects.append(flow)

    @staticmethod
    def _at(slot: int) -> int:
        return (slot + 1) * RECORD_SIZE

    def create(self, key: bytes, transport: int, now: float) -> Flow | None:
        """A new flow, or None where the table or the source's share of it is full (counted)."""
        source = key[: (len(key) - 4) // 2]
        if self._by_source.get(source, 0) >= self.max_per_source:
            self.source_full += 1
            return None
        if not self._free:
            self.table_full += 1
            return None
        flow = Flow(key, transport, self._free.popleft())
        flow.created = flow.last = now
        self._index(flow)
        return flow

    def _index(self, flow: Flow) -> None:
        self.from_client[flow.transport][flow.key] = flow
        self.from_server[flow.transport][flow.reverse_key] = flow
        self._by_source[flow.client] = self._by_source.get(flow.client, 0) + 1

    def remove(self, flow: Flow) -> None:
        """Forget a flow and free its record."""
        del self.from_client[flow.transport][flow.key]
        del self.from_server[flow.transport][flow.reverse_key]
        left = self._by_source[flow.client] - 1
        if left:
            self._by_source[flow.client] = left
        else:
            del self._by_source[flow.client]
        self._memory[self._at(flow.slot)] = _FREE
        self._free.append(flow.slot)

    def mark(self, flow: Flow) -> None:
        """A packet of this flow is in hand: until `save`, the record is not to be relied upon."""
        at = self._at(flow.slot)
        if self._memory[at] != _FREE:  # of a new flow nothing is written yet, and nothing lost
            self._memory[at] = _IN_HAND

    def save(self, flow: Flow) -> None:
        """Write the record: a packet was decided. What does not fit was bounded before: this cannot fail."""
        flow.deaths = 0
        self._write(flow)

    def _write(self, flow: Flow) -> None:
        memory = self._memory
        at = self._at(flow.slot)
        session = flow.session.pack() if flow.session is not None else flow.session_bytes
        held, partial = flow.held, flow.partial
        lengths = len(session), len(partial), len(held)
        record = b"".join(
            (
                _RECORD.pack(_WRITING, len(flow.key), flow.key, *_get_fields(flow), *lengths),
                session,
                partial,
                held,
            )
        )
        # All is ready: a worker that is killed between these three lines, and nowhere else, leaves a torn record.
        memory[at] = _WRITING
        memory[at : at + len(record)] = record
        memory[at] = _USED

    def _load(self, slot: int) -> Flow:
        memory = self._memory
        at = self._at(slot)
        _, key_length, key, *values, session, partial, held = _RECORD.unpack_from(memory, at)
        flow = Flow(key[:key_length], TCP, slot)
        for name, value in zip(_NAMES, values, strict=True):
            setattr(flow, name, value)
        place = at + _RECORD.size
        flow.session_bytes = bytes(memory[place : place + session])
        place += session
        flow.partial = bytes(memory[place : place + partial])
        place += partial
        flow.held = bytes(memory[place : place + held])
        if flow.answer_length:
            flow.answer_due = 0.0  # a predecessor may have died before it was sent
        return flow

    def portion(self, count: int) -> list[Flow]:
        """Up to `count` flows, going round the table with every call: for time-outs."""
        flows = list(self)
        if len(flows) <= count:
            return flows
        first = self._sweep % len(flows)
        self._sweep = first + count
        return (flows + flows)[first : first + count]
