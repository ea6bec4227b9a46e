"""What decisions have to remember beside flows: the last value seen of a tag, and how often a rule was used.

It lies in memory that outlives a worker and a policy: entries are found by a key made of what they are about, so
a new policy finds those that it still means. One process writes at a time. Every entry carries a checksum: one
that a dying writer left half written does not count.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from copy import copy, deepcopy
from hashlib import blake2b

Memory = bytearray | mmap.mmap

KEY_SIZE = 8
VALUES, RATES = 16384, 4096  # entries
_STRIDE = 64  # entries that are looked at at once
_VALUE = struct.Struct(f"<{KEY_SIZE}s6dHxxI")  # _Value's, in order; and a checksum
_PARTS = 60  # of a period: a request counts for the period and at most one part more
_RATE = struct.Struct(f"<{KEY_SIZE}sdq{_PARTS + 1}H")
_RATE_SIZE = _RATE.size + 4 + 2  # and a checksum, aligned
_RATES_AT = VALUES * _VALUE.size
SIZE = _RATES_AT + RATES * _RATE_SIZE
_MOST = 0xFFFF
_NONE = float("nan")
_NEVER = float("-inf")


def key(*parts: object) -> bytes:
    """The key of what these parts say together."""
    return blake2b("\0".join(str(part) for part in parts).encode(), digest_size=KEY_SIZE).digest()


def _in_use(memory: Memory, first: int, size: int, count: int, free: list[int]) -> Iterator[int]:
    """Slots whose key is not zero, the last one first; the others are added to `free`."""
    nothing, empty = bytes(KEY_SIZE), bytes(size * _STRIDE)
    for begin in range(count - _STRIDE, -1, -_STRIDE):
        at = first + begin * size
        if memory[at : at + size * _STRIDE] == empty:
            free.extend(range(begin + _STRIDE - 1, begin - 1, -1))
            continue
        for slot in range(begin + _STRIDE - 1, begin - 1, -1):
            if memory[first + slot * size : first + slot * size + KEY_SIZE] == nothing:
                free.append(slot)
            else:
                yield slot


class _Uses:
    """How often a rule was used, by parts of its period: a ring."""

    __slots__ = ("counts", "latest", "period", "slot")

    def __init__(self, slot: int, period: float, latest: int, counts: list[int]) -> None:
        self.slot = slot
        self.period = period  # seconds
        self.latest = latest  # number of the part that was counted last
        self.counts = counts

    @property
    def until(self) -> float:
        """From when on none of it counts any more."""
        return (self.latest + _PARTS + 1) * self.period / _PARTS

    def advance(self, part: int) -> None:
        """Forget what is a period and a part ago."""
        steps = min(part - self.latest, len(self.counts))
        for step in range(1, steps + 1):
            self.counts[(self.latest + step) % len(self.counts)] = 0
        self.latest = max(self.latest, part)


class _Value:
    """What is known of a point: the last value that was seen, and what was written and is not confirmed. NaN: none."""

    __slots__ = ("high", "latest", "low", "pending", "seen", "since", "slot", "told_at")

    def __init__(
        self,
        slot: int,
        seen: float = _NONE,
        since: float = _NEVER,
        low: float = _NONE,
        high: float = _NONE,
        latest: float = _NONE,
        told_at: float = _NEVER,
        pending: int = 0,
    ) -> None:
        self.slot = slot
        self.seen = seen
        self.since = since  # it was so then, or later
        self.low, self.high = low, high  # of all values that are pending
        self.latest = latest  # the one that was told last
        self.told_at = told_at
        self.pending = pending  # writes that have not been answered


class Ledger:
    """The entries, in shared memory or in memory of its own. Bounded."""

    def __init__(self, memory: Memory | None = None) -> None:
        """`memory`: SIZE bytes, zeros or what a predecessor left in it; None: of its own.

        A successor begins while packets wait, and few of them need it: it is read when the first one does.
        """
        self._memory: Memory = bytearray(SIZE) if memory is None else memory
        self._values: dict[bytes, _Value] = {}  # the longest unchanged first
        self._uses: dict[bytes, _Uses] = {}  # the longest unused first
        self.values_forgotten = 0  # counters of the two bounds
        self.uses_forgotten = 0
        self._free_values: list[int] = []
        self._free_uses: list[int] = []
        # While something is tried: what stood before it under each name that it changed (None: nothing).
        self._values_before: dict[bytes, _Value | None] | None = None
        self._uses_before: dict[bytes, _Uses | None] | None = None
        self._unread = memory is not None
        if memory is None:
            self._free_values, self._free_uses = list(range(VALUES)), list(range(RATES))

    def _read(self) -> None:
        """Read what a predecessor left. What was never used costs one comparison."""
        self._unread = False
        memory = self._memory
        for slot in _in_use(memory, 0, _VALUE.size, VALUES, self._free_values):
            at = slot * _VALUE.size
            name, *fields, check = _VALUE.unpack_from(memory, at)
            if check == zlib.crc32(memory[at : at + _VALUE.size - 4]):
                self._values[name] = _Value(slot, *fields)
            else:
                self._free_values.append(slot)
        for slot in _in_use(memory, _RATES_AT, _RATE_SIZE, RATES, self._free_uses):
            at = _RATES_AT + slot * _RATE_SIZE
            name, period, latest, *counts = _RATE.unpack_from(memory, at)
            check = int.from_bytes(memory[at + _RATE.size : at + _RATE.size + 4], "little")
            if check == zlib.crc32(memory[at : at + _RATE.size]):
                self._uses[name] = _Uses(slot, period, latest, counts)
            else:
                self._free_uses.append(slot)
        # Slots are taken from the last one down: of those that were used equally long ago, the first taken goes first.
        self._free_values.reverse()
        self._free_uses.reverse()
        self._uses = dict(sorted(self._uses.items(), key=lambda each: each[1].until))

    # --- trying ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What follows is tried: `keep` or `undo` says how it ended."""
        self._values_before, self._uses_before = {}, {}

    def keep(self) -> None:
        """It counts."""
        self._values_before = self._uses_before = None

    def undo(self) -> None:
        """It does not count. (What was forgotten to make room for it stays forgotten.)"""
        values, uses = self._values_before or {}, self._uses_before or {}
        self.keep()
        for name, value in values.items():
            if value is not None:
                self._values[name] = value
                self._write(name, value)
            elif (entry := self._values.pop(name, None)) is not None:
                self._free_values.append(entry.slot)
                self._memory[entry.slot * _VALUE.size : (entry.slot + 1) * _VALUE.size] = bytes(_VALUE.size)
        for name, before in uses.items():
            if before is not None:
                self._uses[name] = before
                self._write_uses(name, before)
            elif (used := self._uses.pop(name, None)) is not None:
                self._free_uses.append(used.slot)
                at = _RATES_AT + used.slot * _RATE_SIZE
                self._memory[at : at + _RATE_SIZE] = bytes(_RATE_SIZE)

    # --- values -------------------------------------------------------------------------------------

    def seen(self, name: bytes) -> float | None:
        """The last value that the server is known to have had, or None."""
        found = self._known(name)
        return found.seen if found is not None and found.seen == found.seen else None

    def told(self, name: bytes) -> tuple[float, ...]:
        """The lowest and the highest value that it was told and may have by now: it has not said. () where none is."""
        found = self._known(name)
        return (found.low, found.high) if found is not None and found.low == found.low else ()

    def note(self, name: bytes, value: float, since: float) -> None:
        """The server says that it has this value, asked at `since` (seconds) or later.

        An answer to an older question than what is known already teaches nothing.
        """
        entry = self._known(name)
        if entry is not None and since < max(entry.since, entry.told_at):
            return
        entry = self._value(name)
        entry.seen, entry.since = value, since
        self._forget_told(entry)
        self._write(name, entry)

    def tell(self, name: bytes, value: float, now: float) -> None:
        """A request to write this value was sent on."""
        entry = self._value(name)
        entry.low = value if entry.low != entry.low else min(entry.low, value)
        entry.high = value if entry.high != entry.high else max(entry.high, value)
        entry.latest, entry.told_at = value, now
        entry.pending = min(entry.pending + 1, _MOST)
        self._write(name, entry)

    def settle(self, name: bytes, value: float | None, now: float, *, taken: bool) -> None:
        """The server has answered a request to write: it took it, or not. `value` None: what it was told last."""
        entry = self._known(name)
        if entry is None or not entry.pending:
            return  # nothing was written that we know of: an answer that proves nothing
        entry = self._value(name)
        entry.pending -= 1
        if taken:
            entry.seen, entry.since = entry.latest if value is None else value, now
        if not entry.pending:
            self._forget_told(entry)
        self._write(name, entry)

    @staticmethod
    def _forget_told(entry: _Value) -> None:
        entry.low = entry.high = entry.latest = _NONE
        entry.pending = 0

    def _known(self, name: bytes) -> _Value | None:
        if self._unread:
            self._read()
        return self._values.get(name)

    def _value(self, name: bytes) -> _Value:
        """The entry, now the last one changed. Where there is no room, the longest unchanged one is forgotten."""
        if self._unread:
            self._read()
        entry = self._values.pop(name, None)
        if self._values_before is not None:
            self._values_before.setdefault(name, copy(entry))
        if entry is None:
            if self._free_values:
                slot = self._free_values.pop()
            else:
                slot = self._values.pop(next(iter(self._values))).slot
                self.values_forgotten += 1
            entry = _Value(slot)
        self._values[name] = entry
        return entry

    def _write(self, name: bytes, entry: _Value) -> None:
        at = entry.slot * _VALUE.size
        packed = _VALUE.pack(
            name, entry.seen, entry.since, entry.low, entry.high, entry.latest, entry.told_at, entry.pending, 0
        )
        check = zlib.crc32(packed[:-4])
        self._memory[at : at + _VALUE.size] = packed[:-4] + check.to_bytes(4, "little")

    # --- uses -----------------------------------------------------------------------------------------

    def used(self, name: bytes, period: float, now: float) -> int:
        """How often it was used in the period before `now`, in seconds. Never less than it was."""
        if self._unread:
            self._read()
        uses = self._uses.get(name)
        if uses is None:
            # The one that was used longest ago gives its place away, once it counts no more.
            return 0 if self._free_uses or next(iter(self._uses.values())).until <= now else _MOST
        uses.advance(int(now * _PARTS / period))
        return sum(uses.counts)

    def use(self, name: bytes, period: float, now: float) -> None:
        """Count one use. `used` said that there is room for it."""
        if self._unread:
            self._read()
        part = int(now * _PARTS / period)
        uses = self._uses.pop(name, None)
        if self._uses_before is not None:
            self._uses_before.setdefault(name, deepcopy(uses))
        if uses is None:
            if self._free_uses:
                slot = self._free_uses.pop()
            else:
                slot = self._uses.pop(next(iter(self._uses))).slot
                self.uses_forgotten += 1
            uses = _Uses(slot, period, part, [0] * (_PARTS + 1))
        uses.advance(part)
        place = uses.latest % len(uses.counts)
        uses.counts[place] = min(uses.counts[place] + 1, _MOST)
        self._uses[name] = uses
        self._write_uses(name, uses)

    def _write_uses(self, name: bytes, uses: _Uses) -> None:
        at = _RATES_AT + uses.slot * _RATE_SIZE
        packed = _RATE.pack(name, uses.period, uses.latest, *uses.counts)
        self._memory[at : at + _RATE_SIZE] = packed + zlib.crc32(packed).to_bytes(4, "little") + bytes(2)
