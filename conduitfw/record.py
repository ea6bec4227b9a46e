"""A flow's record: its layout in memory that outlives the worker, and the worker's handle on it (tcp-rules.md, 1).

A record is a mark, what seldom changes, and two halves of what every packet changes: the half that does not count is
written, then one octet says that it counts, so a worker that is killed leaves one or the other. Before something that
seldom changes is written it is promised, in front of all records, and the record marked as being written: a successor
keeps the promise. A half has room for the bytes of an ordinary poll; more than that (a long write under way, many
requests, a cut answer) go to a block of a pool, a new one each time.

    memory   version | slots ever used | promise, and nothing more as long as a record | record, ... | block, ...
    record   mark | half | key | what seldom changes | half 0 | half 1
    half     numbers | lengths | block, or 0 | bytes: session, partial, held
"""

from __future__ import annotations

import enum
import math
import mmap
import operator
import struct
from collections import deque
from itertools import compress
from typing import Any, NamedTuple

from conduitfw.packet import TCP, UDP
from conduitfw.policy.compile import Channel
from conduitfw.protocols import Session

LAYOUT_VERSION = 6  # a memory of another version is not read: its flows count as unknown (tcp-rules.md, 9)
_MAGIC = b"cfw" + bytes((LAYOUT_VERSION,))
# Words behind that: how many slots were ever used; the promise: 1 and the slot, or 0; the half that will count; then
# what seldom changes, as it will be.
_TOUCHED_AT, _PROMISED_AT, _PROMISED_HALF_AT, _PROMISE_AT = 1, 2, 3, 16

FREE, USED, IN_HAND, WRITING = 0, 1, 2, 3
_FREE, _USED, _IN_HAND = FREE, USED, IN_HAND
_COMPILED = not __file__.endswith(".py")  # then number by number is the quickest, else one call for many

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


# What every packet changes: a 32-bit word each in a half of the record, and a time. Times are seconds of the pipeline's
# clock.
_OFTEN: tuple[tuple[str, str], ...] = (
    ("client_ack", "I"),  # what the client has acknowledged of the server's bytes
    ("client_window", "H"),
    ("client_stamp", "I"),  # the last timestamp value of each
    ("server_next", "I"),  # end of what passed from the server
    ("server_window", "H"),
    ("server_stamp", "I"),
    ("base", "I"),  # of `held`: always a unit boundary, at or below `taken` (and `sent`)
    ("sent", "I"),  # end of what went on to the server
    ("taken", "I"),  # end of what the server has acknowledged
    ("raised_from", "I"),  # acknowledgements of the server from here on ...
    ("raised_to", "I"),  # ... are raised to here: a kept head that was acknowledged
    ("edge", "I"),  # right edge of the server's window
    ("last", "d"),
)
# What seldom changes, in order: name and struct code.
_SELDOM: tuple[tuple[str, str], ...] = (
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
    ("alone_until", "I"),
    ("isn", "I"),
    ("pending_isn", "I"),
    ("pending_stamp", "I"),
    ("client_end", "I"),
    ("server_end", "I"),
    ("ahead", "?"),  # bytes of the server passed behind a gap, ...
    ("server_early", "I"),  # ... up to here
    ("claiming", "?"),  # the client acknowledged bytes of the server that nobody saw (tcp-rules.md, 3) ...
    ("claimed", "I"),  # ... up to here
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
_FIELDS = (*_OFTEN, *_SELDOM)
_NAMES = tuple(name for name, _ in _FIELDS)
_OFTEN_NAMES = tuple(name for name, _ in _OFTEN)
_SELDOM_NAMES = tuple(name for name, _ in _SELDOM)

SESSION_ROOM = 832
PARTIAL_ROOM = 300  # a server's unit that is not complete (a DNP3 frame has at most 292 bytes)
HELD_ROOM = 2580
BLOCK_SIZE = SESSION_ROOM + PARTIAL_ROOM + HELD_ROOM  # 3712
FLOWS_PER_BLOCK, LEAST_BLOCKS = 16, 16

_KEY = struct.Struct("<B36s")
_KEY_AT = 4
_SELDOM_AT = 44
_SELDOM_STRUCT = struct.Struct("<" + "".join(code for _, code in _SELDOM))
_HALF = struct.Struct("<" + "".join(code.replace("H", "I") for _, code in _OFTEN) + "II")
_HALVES_AT = -(-(_SELDOM_AT + _SELDOM_STRUCT.size) // 8) * 8
_ROOM_AT = 64  # within a half
INLINE = 160  # octets of session, partial and held that need no block
_INLINE = INLINE
_HALF_SIZE = _ROOM_AT + INLINE


def _at(name: str) -> int:
    """Where a field that seldom changes stands in a record."""
    return _SELDOM_AT + struct.calcsize("<" + "".join(code for _, code in _SELDOM[: _SELDOM_NAMES.index(name)]))


RECORD_SIZE = _HALVES_AT + 2 * _HALF_SIZE
# What a successor has to know of every record at once: mark, half, length of the key, key; transport, deaths; the
# block of each half.
_AFTER_KEY = (
    f"{_at('transport') - _KEY_AT - _KEY.size}xB{_at('deaths') - _at('transport') - 1}xB"
    f"{_HALVES_AT + _ROOM_AT - 4 - _at('deaths') - 1}xI{_HALF_SIZE - 4}xI{INLINE}x"
)
_GLANCE = struct.Struct(f"<BB2xB36s{_AFTER_KEY}")
# The same of so many records over IPv4, without the half.
_AT_ONCE, _IPV4_KEY, _GLANCE_FIELDS = 32, 12, 7
_GLANCES = struct.Struct("<" + f"B3xB{_IPV4_KEY}s{36 - _IPV4_KEY}x{_AFTER_KEY}" * _AT_ONCE)
_get_seldom = operator.attrgetter(*_SELDOM_NAMES)
assert _PROMISE_AT + _SELDOM_STRUCT.size <= RECORD_SIZE
assert (
    _GLANCE.size * _AT_ONCE == RECORD_SIZE * _AT_ONCE == _GLANCES.size
    and _HALF.size == _ROOM_AT
    and RECORD_SIZE % 8 == 0
    and BLOCK_SIZE % 8 == 0
)


class Flow:
    """One client-server pair of ports. See `_FIELDS` for the numbers."""

    __slots__ = (
        *_NAMES, "answer_due", "at", "block", "channel", "early", "half", "held", "key", "older_until", "ordinary",
        "partial", "place", "resets_due", "reverse_key", "session", "session_bytes", "slot", "turning",
    )  # fmt: skip

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
        self.at = (slot + 1) * RECORD_SIZE  # of its record in the memory
        self.half = 0  # that counts
        self.block = 0  # that holds its bytes; 0: they are in the half
        self.place = 0  # in the table's list
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
        self.ordinary = False  # nothing unusual is under way (ordinary.py); not in the record
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


def memory_size(max_flows: int) -> int:
    """Bytes of shared memory for `max_flows` flows and their pool of blocks."""
    return (max_flows + 1) * RECORD_SIZE + (LEAST_BLOCKS + max_flows // FLOWS_PER_BLOCK) * BLOCK_SIZE


def capacity_of(size: int) -> int:
    """The flows for which there is room in `size` bytes."""
    flows = (size - RECORD_SIZE - LEAST_BLOCKS * BLOCK_SIZE) // (
        RECORD_SIZE + BLOCK_SIZE // FLOWS_PER_BLOCK
    ) + FLOWS_PER_BLOCK
    while flows > 0 and memory_size(flows) > size:
        flows -= 1
    return flows


class Left(NamedTuple):
    """What a predecessor left in the memory."""

    free: list[int]  # slots that were used and are free
    flows: dict[int, dict[bytes, int]]  # by transport: the slot of each flow's record, by its key
    # Transport and key of those of which a packet was in hand, whose record cannot be relied upon, or of which workers
    # have died.
    urgent: list[tuple[int, bytes]]
    blocks: list[tuple[int, bytes]]  # that are in use, with their flow's key


class Records:
    """The memory of all records. One worker writes it at a time."""

    def __init__(self, memory: Memory) -> None:
        """`memory` is of `memory_size` bytes: zeros, or what a predecessor left in it."""
        self.memory = memory
        self.capacity = capacity_of(len(memory))
        view = memoryview(memory)
        self._octets = view.cast("B")
        self._words = view[: len(memory) // 8 * 8].cast("I")
        self._times = view[: len(memory) // 8 * 8].cast("d")
        self._blocks_at = (self.capacity + 1) * RECORD_SIZE
        blocks = (len(memory) - self._blocks_at) // BLOCK_SIZE
        self._free_blocks: deque[int] = deque(range(1, blocks + 1))
        self._most_blocks = max(1, blocks // 4)  # of one source
        self._blocks_by_source: dict[bytes, int] = {}
        self.pool_full = 0  # times that bytes found no block
        self._free_slots: list[int] = []
        self._touched = 0  # slots from here on were never used: a successor need not look at them

    def adopt(self) -> Left:
        """What a predecessor left. Packets wait meanwhile, so records are only glanced at; `load` reads one."""
        memory = self.memory
        version = bytes(memory[: len(_MAGIC)])
        if version != _MAGIC:
            # Nobody has written to new memory, and it is not touched: what is touched has to be there.
            for slot in range(self.capacity if any(version) else 0):
                self._octets[(slot + 1) * RECORD_SIZE] = FREE
            self._words[_TOUCHED_AT] = self._words[_PROMISED_AT] = 0
            memory[: len(_MAGIC)] = _MAGIC
        self._keep_promise()
        left = self.glance()
        self._free_slots = left.free
        self._touched = len(left.free) + sum(map(len, left.flows.values()))
        for _, key in left.blocks:
            source = key[: (len(key) - 4) // 2]
            self._blocks_by_source[source] = self._blocks_by_source.get(source, 0) + 1
        if left.blocks:
            gone = {block for block, _ in left.blocks}
            self._free_blocks = deque(block for block in self._free_blocks if block not in gone)
        return left

    @property
    def used(self) -> int:
        """Octets from the beginning of the memory behind which there was never a record."""
        return (min(self._words[_TOUCHED_AT], self.capacity) + 1) * RECORD_SIZE

    def glance(self) -> Left:
        """What there is; changes nothing. While another worker writes the records, it means nothing."""
        left = Left([], {TCP: {}, UDP: {}}, [], [])
        slot = 0
        with memoryview(self.memory) as memory, memory[RECORD_SIZE : self.used] as records:
            many = len(records) // _GLANCES.size * _GLANCES.size
            # Most records are like each other: in plain Python many at once take a fifth of the time.
            with records[:many] as first:
                for read in _GLANCES.iter_unpack(first):
                    slots = range(slot, slot + _AT_ONCE)
                    if not self._glance_at_many(read, slots, left):
                        at = slot * RECORD_SIZE
                        with records[at : at + _GLANCES.size] as few:
                            self._glance_at_each(few, slot, left)
                    slot += _AT_ONCE
            with records[many:] as rest:
                self._glance_at_each(rest, slot, left)
        return left

    @staticmethod
    def _glance_at_many(read: tuple[Any, ...], slots: range, left: Left) -> bool:
        """Those of TCP over IPv4 without anything urgent or in a block; False where not all of them are such."""
        marks, lengths, keys, transports, deaths, first, second = (
            read[at::_GLANCE_FIELDS] for at in range(_GLANCE_FIELDS)
        )
        if (
            max(marks) > USED
            or lengths.count(_IPV4_KEY) + transports.count(TCP) != 2 * _AT_ONCE
            or any(deaths)
            or any(first)
            or any(second)
        ):
            return False
        if all(marks):
            left.flows[TCP].update(zip(keys, slots, strict=True))
        else:
            left.flows[TCP].update(compress(zip(keys, slots, strict=True), marks))
            left.free.extend(compress(slots, map(operator.not_, marks)))
        return True

    @staticmethod
    def _glance_at_each(records: memoryview, slot: int, left: Left) -> None:
        for mark, half, length, room, transport, deaths, first, second in _GLANCE.iter_unpack(records):
            if mark == FREE:
                left.free.append(slot)
            else:
                key = room[:length]
                block = second if half & 1 else first
                left.flows.setdefault(transport, {})[key] = slot
                if mark != USED or block == _LEFT_OUT or deaths:
                    left.urgent.append((transport, key))
                if 0 < block < _LEFT_OUT:
                    left.blocks.append((block, key))
            slot += 1

    def take(self) -> int:
        """A slot for a new flow; -1 where there is none."""
        if self._free_slots:
            return self._free_slots.pop()
        if self._touched == self.capacity:
            return -1
        self._touched += 1
        self._words[_TOUCHED_AT] = self._touched  # before anything is written there
        return self._touched - 1

    def mark(self, flow: Flow) -> None:
        """A packet of this flow is in hand."""
        at = flow.at
        if self._octets[at] != _FREE:  # of a new flow nothing is written yet, and nothing lost
            self._octets[at] = _IN_HAND

    def free(self, flow: Flow) -> None:
        """Forget a record."""
        self._octets[flow.at] = FREE
        self._free_slots.append(flow.slot)
        if flow.block > 0:
            self._give_back(flow, flow.block)

    def write(self, flow: Flow) -> None:
        """Write the record. What does not fit was bounded before: this cannot fail.

        Bytes that find no block are left out, and the record says so: a successor does not rely on it.
        """
        octets, words = self._octets, self._words
        at = flow.at
        session, partial, held = flow.session, flow.partial, flow.held
        packed = session.pack() if session is not None else flow.session_bytes
        octets_of = packed + held if not partial else packed + partial + held
        size = len(octets_of)
        other = flow.half ^ 1
        half = at + _HALVES_AT + other * _HALF_SIZE
        before = flow.block
        block = 0
        if size <= INLINE:
            self.memory[half + _ROOM_AT : half + _ROOM_AT + size] = octets_of
        elif size:
            block = self._take_block(flow)
            if block > 0:
                place = self._blocks_at + (block - 1) * BLOCK_SIZE
                self.memory[place : place + size] = octets_of
        word = half >> 2
        words[word] = flow.client_ack
        words[word + 1] = flow.client_window
        words[word + 2] = flow.client_stamp
        words[word + 3] = flow.server_next
        words[word + 4] = flow.server_window
        words[word + 5] = flow.server_stamp
        words[word + 6] = flow.base
        words[word + 7] = flow.sent
        words[word + 8] = flow.taken
        words[word + 9] = flow.raised_from
        words[word + 10] = flow.raised_to
        words[word + 11] = flow.edge
        self._times[(half >> 3) + 6] = flow.last
        words[word + 14] = len(packed) | len(partial) << 10 | len(held) << 19
        words[word + 15] = block if block >= 0 else _LEFT_OUT
        self._write_seldom(flow, other)
        octets[at + 1] = flow.half = other
        octets[at] = USED
        words[_PROMISED_AT] = 0
        flow.block = block
        if before > 0:
            self._give_back(flow, before)

    def write_ordinary(self, flow: Flow, packed: bytes) -> bool:
        """The same where nothing changed that seldom does, nothing is kept of the server, and no block is in use.

        `packed`: the session. False where it does not fit: nothing was written.
        """
        held = flow.held
        session_size, held_size = len(packed), len(held)
        if session_size + held_size > _INLINE:
            return False
        at = flow.at
        other = flow.half ^ 1
        half = at + _HALVES_AT + other * _HALF_SIZE
        room = half + _ROOM_AT
        word = half >> 2
        if _COMPILED:
            put(self._octets, room, packed)  # type: ignore # noqa: F821
            put(self._octets, room + session_size, held)  # type: ignore # noqa: F821
            self._words[word] = flow.client_ack
            self._words[word + 1] = flow.client_window
            self._words[word + 2] = flow.client_stamp
            self._words[word + 3] = flow.server_next
            self._words[word + 4] = flow.server_window
            self._words[word + 5] = flow.server_stamp
            self._words[word + 6] = flow.base
            self._words[word + 7] = flow.sent
            self._words[word + 8] = flow.taken
            self._words[word + 9] = flow.raised_from
            self._words[word + 10] = flow.raised_to
            self._words[word + 11] = flow.edge
            self._times[(half >> 3) + 6] = flow.last
            self._words[word + 14] = session_size | held_size << 19
            self._words[word + 15] = 0
        else:
            self.memory[room : room + session_size + held_size] = packed + held
            _HALF.pack_into(
                self.memory, half, flow.client_ack, flow.client_window, flow.client_stamp, flow.server_next,
                flow.server_window, flow.server_stamp, flow.base, flow.sent, flow.taken, flow.raised_from,
                flow.raised_to, flow.edge, flow.last, session_size | held_size << 19, 0,
            )  # fmt: skip
        self._octets[at + 1] = flow.half = other
        self._octets[at] = _USED
        return True

    def _write_seldom(self, flow: Flow, half: int) -> None:
        """Write what seldom changes, where it did; `half` is to count with it."""
        octets, at = self._octets, flow.at
        seldom = _SELDOM_STRUCT.pack(*_get_seldom(flow))
        place = at + _SELDOM_AT
        if octets[at] == FREE:
            _KEY.pack_into(self.memory, at + _KEY_AT, len(flow.key), flow.key)
        elif self.memory[place : place + len(seldom)] == seldom:
            return
        else:
            self._promise(flow, half, seldom)
        self.memory[place : place + len(seldom)] = seldom

    def _promise(self, flow: Flow, half: int, seldom: bytes) -> None:
        self.memory[_PROMISE_AT : _PROMISE_AT + len(seldom)] = seldom
        self._words[_PROMISED_HALF_AT] = half
        self._words[_PROMISED_AT] = flow.slot + 1
        self._octets[flow.at] = WRITING

    def _keep_promise(self) -> None:
        """Finish what a predecessor died in the midst of. Its packet has no verdict: it was in hand."""
        promised = self._words[_PROMISED_AT]
        at = promised * RECORD_SIZE
        if 0 < promised <= self.capacity and self._octets[at] == WRITING:
            place = at + _SELDOM_AT
            self.memory[place : place + _SELDOM_STRUCT.size] = self.memory[
                _PROMISE_AT : _PROMISE_AT + _SELDOM_STRUCT.size
            ]
            self._octets[at + 1] = self._words[_PROMISED_HALF_AT] & 1
            self._octets[at] = IN_HAND
        self._words[_PROMISED_AT] = 0

    def _take_block(self, flow: Flow) -> int:
        """A block for a flow's bytes; -1 where there is none for it."""
        source = flow.client
        used = self._blocks_by_source.get(source, 0)
        if not self._free_blocks or used >= self._most_blocks:
            self.pool_full += 1
            return -1
        self._blocks_by_source[source] = used + 1
        return self._free_blocks.popleft()

    def _give_back(self, flow: Flow, block: int) -> None:
        source = flow.client
        left = self._blocks_by_source[source] - 1
        if left:
            self._blocks_by_source[source] = left
        else:
            del self._blocks_by_source[source]
        self._free_blocks.append(block)

    def load(self, slot: int) -> tuple[Flow, int]:
        """A flow that `adopt` found, and its record's mark: WRITING also where not all of its bytes are there."""
        memory = self.memory
        at = (slot + 1) * RECORD_SIZE
        mark = int(memory[at])
        key_length, key = _KEY.unpack_from(memory, at + _KEY_AT)
        flow = Flow(key[:key_length], 6, slot)
        flow.half = memory[at + 1] & 1
        half = at + _HALVES_AT + flow.half * _HALF_SIZE
        *often, lengths, block = _HALF.unpack_from(memory, half)
        for name, value in zip(_OFTEN_NAMES, often, strict=True):
            setattr(flow, name, value)
        for name, value in zip(_SELDOM_NAMES, _SELDOM_STRUCT.unpack_from(memory, at + _SELDOM_AT), strict=True):
            setattr(flow, name, value)
        if block == _LEFT_OUT:
            mark = WRITING
        else:
            session, partial, held = lengths & 0x3FF, lengths >> 10 & 0x1FF, lengths >> 19
            place = self._blocks_at + (block - 1) * BLOCK_SIZE if block else half + _ROOM_AT
            flow.session_bytes = bytes(memory[place : place + session])
            place += session
            flow.partial = bytes(memory[place : place + partial])
            place += partial
            flow.held = bytes(memory[place : place + held])
            if block:
                flow.block = block
        if flow.sent != flow.taken:
            flow.older_until = flow.sent
        if flow.answer_length:
            flow.answer_due = 0.0  # a predecessor may have died before it was sent
        return flow, mark


_LEFT_OUT = 0xFFFF_FFFF
