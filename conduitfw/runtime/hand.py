"""A packet in a worker's hand: decided, its verdict given, what goes with it sent. Once for every packet.

What it has in hand stands in shared memory, so that a successor knows of what its predecessor died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from conduitfw.denial import Emission
from conduitfw.kernel.marks import VERDICT
from conduitfw.kernel.netlink_queue import Packet
from conduitfw.outcome import Outcome
from conduitfw.runtime.quarantine import Place, Quarantine, place_of
from conduitfw.runtime.shared import HAND_ROOM, Counter, Slot
from conduitfw.verdict import Pipeline

# Read and written once a packet: plain numbers are looked up faster than members of an enum.
_PACKETS, _FORWARDED, _CHANGED = int(Counter.PACKETS), int(Counter.FORWARDED), int(Counter.CHANGED)
_DROPPED, _QUARANTINED = int(Counter.DROPPED), int(Counter.QUARANTINED)
_SENT, _UNSENT = int(Counter.EMISSIONS), int(Counter.EMISSIONS_FAILED)
_VERDICT, _ROOM = int(VERDICT), int(HAND_ROOM)
_clock = time.monotonic
_COMPILED = not __file__.endswith(".py")


class Transmitter(Protocol):
    """Sends packets of our own (kernel/emit.py). False where it could not."""

    def send(self, emission: Emission) -> bool: ...


class Hand:
    """What one worker does with a packet, over one pipeline."""

    def __init__(
        self,
        slot: Slot,
        pipeline: Pipeline,
        quarantine: Quarantine,
        transmitter: Transmitter,
        failed: Callable[[Exception, float], None],
    ) -> None:
        """`failed`: counts and tells an exception, and when it was."""
        self._record = slot.hand
        self._counters = slot.counters
        self._heartbeat = slot.pulse
        self._pipeline = pipeline
        self._quarantine = quarantine
        self._transmitter = transmitter
        self._failed = failed

    def take(self, packet: Packet) -> None:
        """One packet. Raises nothing: what cannot be decided is dropped, and told."""
        now: float = _clock()
        counters, record = self._counters, self._record
        payload = packet.payload
        # If this process dies in here, its successor knows of what.
        if _COMPILED:
            keep_head(record, payload)  # type: ignore # noqa: F821
        else:
            head = payload[:_ROOM]
            record[2 : 2 + len(head)] = head
            record[1] = len(head)
        record[0] = 1
        self._heartbeat[0] = now
        counters[_PACKETS] += 1
        if self._quarantine.active and (place := self._quarantined(payload, now)) is not None:
            counters[_QUARANTINED] += 1
            if self._is_watched(place):  # who only watches stops nothing, and need not look
                counters[_FORWARDED] += 1
                packet.accept(packet.mark | _VERDICT)
            else:
                counters[_DROPPED] += 1
                packet.drop()
        else:
            self._judge(packet, payload, now)
        record[0] = 0

    def _judge(self, packet: Packet, payload: bytes, now: float) -> None:
        counters = self._counters
        mark = packet.mark
        try:
            outcome: Outcome = self._pipeline.decide(payload, now, packet.ifindex, packet.mac, mark)
        except Exception as error:  # noqa: BLE001
            packet.drop()
            self._failed(error, now)
            return
        if outcome.forward:
            counters[_FORWARDED] += 1
            if outcome.payload is None:
                packet.accept(mark | _VERDICT)
            else:
                counters[_CHANGED] += 1
                packet.accept(mark | _VERDICT, outcome.payload)
        else:
            counters[_DROPPED] += 1
            packet.drop()
        if outcome.emissions:
            packet.flush()  # they come behind the verdict
            self.send(outcome.emissions)

    def send(self, emissions: Sequence[Emission]) -> None:
        """Send packets of our own, and count them."""
        for emission in emissions:
            self._counters[_SENT if self._transmitter.send(emission) else _UNSENT] += 1

    def _quarantined(self, payload: bytes, now: float) -> Place | None:
        """Where this packet goes, if it is shut out."""
        place = place_of(payload)
        if place is None:
            return None
        if self._quarantine.holds(place.key, now):
            return place
        if self._quarantine.holds(place.name, now) and self._pipeline.flows.find(place.transport, place.key) is None:
            return place
        return None

    def _is_watched(self, place: Place) -> bool:
        """Whether the conduit of the two ends is only monitored, whichever of them sent this."""
        half = (len(place.key) - 4) // 2
        source, destination = place.key[:half], place.key[half:-4]
        ports = int.from_bytes(place.key[-4:-2], "big"), int.from_bytes(place.key[-2:], "big")
        tables = self._pipeline.tables
        channel = tables.channel(place.transport, source, destination, ports[1]) or tables.channel(
            place.transport, destination, source, ports[0]
        )
        return channel is not None and channel.monitor
