"""How full the bounds are: counted a few flows at a time, so that no packet waits for it."""

from __future__ import annotations

from conduitfw.flow import FlowTable, State

AT_ONCE = 128  # flows looked at in one step
_AT_ONCE, _TOMBSTONE = int(AT_ONCE), int(State.TOMBSTONE)


class Figures:
    """Sums over all flows, as of the last whole round."""

    def __init__(self, flows: FlowTable) -> None:
        self._flows = flows
        self._round = list(flows.read())
        self._next = 0
        self._unacknowledged = self._kept = self._tombstones = 0
        self.last = dict.fromkeys(("octets_unacknowledged", "octets_kept", "tombstones"), 0)

    def step(self) -> None:
        """Look at some more flows.

        Octets of clients that are held: sent on and not acknowledged by the server, or kept back; and flows that were
        ended and are remembered, so that both ends learn of it.
        """
        end = min(self._next + _AT_ONCE, len(self._round))
        for place in range(self._next, end):
            flow = self._round[place]
            held = flow.held
            if held:
                sent = (flow.sent - flow.base) & 0xFFFF_FFFF
                self._unacknowledged += sent
                self._kept += len(held) - sent
            self._tombstones += flow.state == _TOMBSTONE
        self._next = end
        if end < len(self._round):
            return
        self.last = {
            "octets_unacknowledged": self._unacknowledged,
            "octets_kept": self._kept,
            "tombstones": self._tombstones,
        }
        self._round, self._next = list(self._flows.read()), 0
        self._unacknowledged = self._kept = self._tombstones = 0
