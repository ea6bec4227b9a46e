"""The table of flows: one record each, in memory that outlives the worker (tcp-rules.md, 1; record.py).

A `Flow` is the worker's handle on a record: plain attributes that are written back before the packet
that changed them leaves. A record is marked while a packet of it is in hand. A successor that finds the mark
goes on from the record as it was before that packet, which nobody has decided and TCP sends again; at the second
such death in a row the packet is what kills, and the flow is a suspect. One whose record cannot be relied upon, since
not all of its bytes had room, is one at once.

Packets wait while a successor begins, so it glances at the records only (keys, marks), and reads each when a packet
of its flow comes, or when there is time.

Numbers of sequence space are unsigned 32-bit and wrap; `distance` compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from conduitfw import record
from conduitfw.packet import TCP, UDP
from conduitfw.record import (
    _FIELDS,
    HELD_ROOM,
    PARTIAL_ROOM,
    RECORD_SIZE,
    SESSION_ROOM,
    Flow,
    Memory,
    Records,
    State,
    distance,
    reversed_key,
)  # fmt: skip
from conduitfw.record import IN_HAND as _IN_HAND
from conduitfw.record import WRITING as _WRITING

__all__ = [
    "HELD_ROOM", "PARTIAL_ROOM", "PATIENCE", "RECORD_SIZE", "SESSION_ROOM", "_FIELDS", "_WRITING", "Flow", "FlowTable",
    "Memory", "State", "distance", "reversed_key",
]  # fmt: skip

PATIENCE = 2  # workers in a row that may die with a packet of the same flow in hand


class FlowTable:
    """All flows, bounded in all and by source. One worker owns it at a time."""

    def __init__(self, memory: Memory, max_per_source: int | None = None) -> None:
        """`memory` is of `memory_size` bytes: zeros, or what a predecessor left in it.

        `max_per_source` bounds one client address; by default a quarter of the table.
        """
        self.records = Records(memory)
        self._memory = memory
        self.capacity = self.records.capacity
        self.max_per_source = max_per_source if max_per_source is not None else max(1, self.capacity // 4)
        self.table_full = 0  # counters of the two bounds
        self.source_full = 0
        # Packets of either direction find their flow by one look-up.
        self.from_client: dict[int, dict[bytes, Flow]] = {TCP: {}, UDP: {}}
        self.from_server: dict[int, dict[bytes, Flow]] = {TCP: {}, UDP: {}}
        self._by_source: dict[bytes, int] | None = None  # how many flows each has; None: nobody has asked yet
        self._all: list[Flow] = []
        self._sweep = 0
        # Flows whose packet a predecessor had in hand when it died.
        self.suspects: list[Flow] = []
        # What a predecessor left and nobody has read yet: the slot of each record, by its flow's key; and how many.
        left = self.records.adopt()
        self._unread = left.flows
        self.unread = sum(map(len, left.flows.values()))
        for transport, key in left.urgent:
            self.recall(transport, key)

    @staticmethod
    def memory_size(max_flows: int) -> int:
        """Bytes of shared memory for `max_flows` flows."""
        return record.memory_size(max_flows)

    @property
    def pool_full(self) -> int:
        """How often a flow's bytes found no block: a third bound."""
        return self.records.pool_full

    @property
    def most_of_a_source(self) -> int:
        """How many flows the source with the most has."""
        return max(self._sources().values(), default=0)

    def _sources(self) -> dict[bytes, int]:
        """How many flows each source has: counted when it is asked for the first time, since packets wait before."""
        if self._by_source is None:
            keys = chain(*self._unread.values(), (flow.key for flow in self._all))
            self._by_source = Counter(key[: (len(key) - 4) // 2] for key in keys)
        return self._by_source

    def __len__(self) -> int:
        return len(self._all) + self.unread

    def __iter__(self) -> Iterator[Flow]:
        """All flows; reads all records."""
        while self.recall_any() is not None:
            pass
        return self.read()

    def read(self) -> Iterator[Flow]:
        """The flows whose records were read."""
        return iter(self._all[:])

    def recall(self, transport: int, key: bytes) -> Flow | None:
        """Read the record of the flow that a packet with this key belongs to, one way or the other.

        None where there is none that is not read yet: the flow is in `from_client` and `from_server`, or there is none.
        """
        unread = self._unread[transport]
        slot = unread.pop(key, None)
        if slot is None:
            slot = unread.pop(reversed_key(key), None)
        return None if slot is None else self._recall(slot)

    def recall_any(self) -> Flow | None:
        """Read one of the records that are not read yet, whichever; None where all are."""
        for unread in self._unread.values():
            if unread:
                return self._recall(unread.popitem()[1])
        return None

    def _recall(self, slot: int) -> Flow:
        flow, mark = self.records.load(slot)
        self.unread -= 1
        self._index(flow)
        if mark == _IN_HAND:
            flow.deaths += 1
            self.records.write(flow)
        if mark == _WRITING or flow.deaths >= PATIENCE:
            self.suspects.append(flow)
        return flow

    def find(self, transport: int, key: bytes) -> Flow | None:
        """The flow that a packet with this key belongs to, one way or the other; its record is read if it was not."""
        found = self.from_client[transport].get(key) or self.from_server[transport].get(key)
        return found if found is not None else self.recall(transport, key)

    def create(self, key: bytes, transport: int, now: float) -> Flow | None:
        """A new flow, or None where the table or the source's share of it is full (counted).

        The caller knows that there is none with this key (`recall`).
        """
        source = key[: (len(key) - 4) // 2]
        by_source = self._sources()
        if by_source.get(source, 0) >= self.max_per_source:
            self.source_full += 1
            return None
        slot = self.records.take()
        if slot < 0:
            self.table_full += 1
            return None
        flow = Flow(key, transport, slot)
        flow.created = flow.last = now
        by_source[source] = by_source.get(source, 0) + 1
        self._index(flow)
        return flow

    def _index(self, flow: Flow) -> None:
        self.from_client[flow.transport][flow.key] = flow
        self.from_server[flow.transport][flow.reverse_key] = flow
        flow.place = len(self._all)
        self._all.append(flow)

    def remove(self, flow: Flow) -> None:
        """Forget a flow and free its record."""
        del self.from_client[flow.transport][flow.key]
        del self.from_server[flow.transport][flow.reverse_key]
        by_source = self._sources()
        left = by_source[flow.client] - 1
        if left:
            by_source[flow.client] = left
        else:
            del by_source[flow.client]
        last = self._all.pop()
        if last is not flow:
            last.place = flow.place
            self._all[flow.place] = last
        self.records.free(flow)

    def mark(self, flow: Flow) -> None:
        """A packet of this flow is in hand: until `save`, the record is as it was before it."""
        flow.ordinary = False
        self.records.mark(flow)

    def save(self, flow: Flow) -> None:
        """Write the record: a packet was decided. What does not fit was bounded before: this cannot fail."""
        if flow.deaths:
            flow.deaths = 0
        flow.ordinary = False  # until somebody has looked (ordinary.is_ordinary)
        self.records.write(flow)

    def portion(self, count: int) -> list[Flow]:
        """Up to `count` flows that were read, going round the table with every call: for time-outs."""
        flows = self._all
        if len(flows) <= count:
            return flows[:]
        first = self._sweep % len(flows)
        self._sweep = first + count
        found = flows[first : first + count]
        return found + flows[: count - len(found)]
