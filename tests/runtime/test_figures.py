"""Sums over flows, some at a time."""

from __future__ import annotations

from conduitfw.flow import FlowTable, State
from conduitfw.runtime.figures import AT_ONCE, Figures


def test_sums_are_those_of_a_whole_round() -> None:
    table = FlowTable(bytearray(FlowTable.memory_size(1024)), max_per_source=1000)
    figures = Figures(table)
    for number in range(2 * AT_ONCE + 7):
        flow = table.create(bytes((10, 0, 0, number % 2, 10, 0, 1, 1)) + number.to_bytes(2, "big") + b"\1\2", 6, 1.0)
        assert flow is not None
        flow.base, flow.sent, flow.held = 100, 103, b"12345"  # three sent on, two kept back
        flow.state = State.TOMBSTONE if number < 5 else State.OPEN
    assert table.most_of_a_source == AT_ONCE + 4
    nothing = dict.fromkeys(figures.last, 0)
    figures.step()  # the end of an empty round
    for _ in range(2):
        figures.step()
        assert figures.last == nothing
    figures.step()
    count = len(table)
    assert figures.last == {"octets_unacknowledged": 3 * count, "octets_kept": 2 * count, "tombstones": 5}
    for flow in table:
        table.remove(flow)
    for _ in range(4):  # the round that had begun, and the next
        figures.step()
    assert figures.last == nothing and table.most_of_a_source == 0
