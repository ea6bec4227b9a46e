"""Memory that every process sees: heartbeats and counters, one slot a process. Fixed layout.

The supervisor creates it before it forks, so it outlives each of them. A slot has one writer at a
time, and any number of readers, who take no lock: an aligned 64-bit number is written at once, and
the larger block (a worker's own counters, by name) carries a sequence number that tells a reader to
look again.
"""

from __future__ import annotations

import enum
import mmap
import struct

import msgspec

from conduitfw.runtime import lifeline

SLOT_SIZE = 16384
# Within a slot: heartbeat and counters; since when it is served; the sign of a death; the packet in hand; a block
# (sequence, odd: being written; length; bytes); who is in quarantine.
_SERVED_AT, _LIFELINE_AT, _HAND_AT, _BLOCK_AT, _QUARANTINE_AT = 488, 496, 512, 1024, 8192
_BLOCK_HEAD = 16
_BLOCK_ROOM = _QUARANTINE_AT - _BLOCK_AT - _BLOCK_HEAD
HAND_ROOM = 128  # bytes of the packet in hand
_BLOCK = struct.Struct("=QQ")


class Counter(enum.IntEnum):
    """The numbers of a slot, by their place in it. They only grow, also over a successor's start."""

    PACKETS = 1  # taken from the queue
    FORWARDED = 2
    CHANGED = 3  # of these: with other bytes than they came with
    DROPPED = 4
    ENGINE_ERRORS = 5  # packets dropped because the engine failed on them
    EMISSIONS = 6  # packets of our own that were handed to the kernel
    EMISSIONS_FAILED = 7
    UNDECIDED = 8  # times a successor dropped what its predecessor had in hand
    NOTICES = 9  # events handed to the control process
    NOTICES_LOST = 10  # events that its socket had no room for
    STARTS = 11  # times a process began to serve this slot, or as control
    TAKEN = 12  # control: events that it has taken from its socket ...
    SETTLED = 13  # ... of these: written, or told as lost. What is missing when control dies is lost, and counted.
    LOSSES_TOLD = 14  # control: events lost on the way that the log speaks of
    QUARANTINED = 15  # packets dropped because their like has killed workers


class Slot:
    """One process's part of the memory."""

    def __init__(self, view: memoryview) -> None:
        """`view`: SLOT_SIZE bytes."""
        self.pulse = view[:8].cast("d")  # [0]: when it last said that it lives
        # A plain sequence of 64-bit numbers, so that the packet path can say counters[PACKETS] += 1.
        self.counters = view[:_SERVED_AT].cast("Q")
        self._served = view[_SERVED_AT:_LIFELINE_AT].cast("d")
        self.lifeline = lifeline.Lifeline(view[_LIFELINE_AT : _LIFELINE_AT + lifeline.SIZE])  # of whoever serves it
        # [0]: whether a packet is in hand, [1]: how many of its bytes stand behind.
        self.hand = view[_HAND_AT:_BLOCK_AT]
        self._block = view[_BLOCK_AT:_QUARANTINE_AT]
        self.quarantine = view[_QUARANTINE_AT:]

    def beat(self, now: float) -> None:
        """Say that this process lives. `now`: seconds of CLOCK_MONOTONIC."""
        self.pulse[0] = now

    @property
    def heartbeat(self) -> float:
        """When `beat` was last called (seconds of CLOCK_MONOTONIC)."""
        return float(self.pulse[0])

    @property
    def served_since(self) -> float:
        """Since when whoever was last told to serve does so (seconds of CLOCK_MONOTONIC); 0: not yet.

        It is told here, since a message would wake the supervisor on the processor that the first packets need.
        """
        return float(self._served[0])

    @served_since.setter
    def served_since(self, since: float) -> None:
        self._served[0] = since

    def left_in_hand(self) -> bytes:
        """The beginning of the packet that a dead predecessor had in hand; b"" where it had none."""
        hand = self.hand
        return bytes(hand[2 : 2 + hand[1]]) if hand[0] else b""

    def totals(self) -> dict[str, int]:
        """All counters, by their names in small letters."""
        return {counter.name.lower(): int(self.counters[counter]) for counter in Counter}

    def publish(self, named: dict[str, int]) -> bool:
        """Write counters that have names of their own. False where they do not fit: nothing is changed."""
        data = msgspec.msgpack.encode(named)
        if len(data) > _BLOCK_ROOM:
            return False
        block = self._block
        sequence = _BLOCK.unpack_from(block)[0] | 1  # a writer that died in here left it odd
        _BLOCK.pack_into(block, 0, sequence, len(data))
        block[_BLOCK_HEAD : _BLOCK_HEAD + len(data)] = data
        _BLOCK.pack_into(block, 0, sequence + 1, len(data))
        return True

    def published(self) -> dict[str, int]:
        """What `publish` wrote last; empty where nothing was, or its writer died in the midst of it."""
        block = self._block
        for _ in range(100):
            sequence, length = _BLOCK.unpack_from(block)
            if sequence == 0:
                return {}
            data = bytes(block[_BLOCK_HEAD : _BLOCK_HEAD + min(length, _BLOCK_ROOM)])
            if sequence % 2 == 0 and _BLOCK.unpack_from(block)[0] == sequence:
                return msgspec.msgpack.decode(data, type=dict[str, int])
        return {}


class Shared:
    """The slots: one for the supervisor, one for control, one for each worker's place."""

    def __init__(self, workers: int, memory: mmap.mmap | None = None) -> None:
        """`memory`: of `size(workers)` bytes, shared with every process forked from here on; None: of its own."""
        self._memory = memory if memory is not None else mmap.mmap(-1, self.size(workers), mmap.MAP_SHARED)
        view = memoryview(self._memory)
        slots = [Slot(view[at : at + SLOT_SIZE]) for at in range(0, len(view), SLOT_SIZE)]
        self.supervisor = slots[0]
        self.control = slots[1]
        self.workers = slots[2:]

    @staticmethod
    def size(workers: int) -> int:
        """Bytes for so many places."""
        return SLOT_SIZE * (workers + 2)

    @property
    def notices_lost(self) -> int:
        """Events that found no room on their way to the control process, or died with it."""
        return sum(int(slot.counters[Counter.NOTICES_LOST]) for slot in (self.supervisor, self.control, *self.workers))
