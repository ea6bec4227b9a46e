"""The same packets through the stages only (verdict.py), without the short way for ordinary ones (ordinary.py).

What became of each packet, what was told, and every octet of the flow records must be the same.
"""

from __future__ import annotations

from conduitfw.denial import Emission
from conduitfw.flow import FlowTable
from conduitfw.outcome import Notice, Outcome
from conduitfw.policy.compile import Tables
from conduitfw.verdict import Pipeline


class Twin:
    """A pipeline that is asked what another was asked."""

    def __init__(self, rules: Tables, flows: int) -> None:
        self.memory = bytearray(FlowTable.memory_size(flows))
        self.notices: list[Notice] = []
        self._told = 0
        self.pipeline = Pipeline(rules, FlowTable(self.memory), self.notices.append, at_once=False)

    def compare(
        self,
        outcome: Outcome,
        memory: bytes | bytearray,
        data: bytes,
        now: float,
        index: int,
        mac: bytes,
        mark: int = 0,
    ) -> None:
        """Decide the same packet, and hold the two against each other."""
        own = self.pipeline.decide(data, now, index, mac, mark)
        assert _seen(own) == _seen(outcome)
        assert self.memory == memory

    def compare_tick(self, emissions: list[Emission], memory: bytes | bytearray, now: float) -> None:
        """The same for what time brings."""
        own = self.pipeline.tick(now)
        assert [each.packet for each in own] == [each.packet for each in emissions]
        assert self.memory == memory

    def compare_swap(self, emissions: list[Emission], memory: bytes | bytearray, rules: Tables, now: float) -> None:
        """The same for a new policy."""
        own = self.pipeline.swap(rules, now)
        assert [each.packet for each in own] == [each.packet for each in emissions]
        assert self.memory == memory

    def compare_told(self, notices: list[Notice]) -> None:
        """What was told since the last comparison."""
        assert [_told(each) for each in self.notices[self._told :]] == [_told(each) for each in notices[self._told :]]
        self._told = len(notices)


def _seen(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.verdict, outcome.forward, outcome.payload, outcome.rule, outcome.reason, outcome.detail,
        outcome.protocol, [(each.packet, each.ifindex, each.destination_mac) for each in outcome.emissions],
    )  # fmt: skip


def _told(notice: Notice) -> tuple[object, ...]:
    return notice.kind, notice.time, notice.reason, notice.detail, notice.action, notice.rule, notice.address
