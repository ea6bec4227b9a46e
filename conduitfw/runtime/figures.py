"""How full the bounds are: counted a few flows at a time, so that no packet waits for it."""

from __future__ import annotations

from collections.abc import Iterator

from conduitfw.flow import Flow, FlowTable, State

AT_ONCE = 128  # flows looked at in one step


class Figures:
    """Sums over all flows, as of the last whole round."""

    def __init__(self, flows: FlowTable) -> None:
        self._flows = flows
        self._round: Iterator[Flow] = iter(())
        self._sums = self._nothing()
        self.last = self._nothing()

    @staticmethod
    def _nothing() -> dict[str, int]:
        # Octets of clients that are held: sent on and not acknowledged by the server, or kept back; flows that were
        # ended and are remembered, so that both ends learn of it.
        return {"octets_unacknowledged": 0, "octets_kept": 0, "tombstones": 0}

    def step(self) -> None:
        """Look at some more flows."""
        sums = self._sums
        for _ in range(AT_ONCE):
            flow = next(self._round, None)
            if flow is None:
                self.last, self._sums = sums, self._nothing()
                self._round = self._flows.read()
                return
            if flow.held:
                kept = flow.kept
                sums["octets_kept"] += kept
                sums["octets_unacknowledged"] += len(flow.held) - kept
            sums["tombstones"] += flow.state == State.TOMBSTONE
