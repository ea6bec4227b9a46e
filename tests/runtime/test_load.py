"""When a queue is too long, and when that is over."""

from __future__ import annotations

from conduitfw.kernel.netlink_queue import LENGTH
from conduitfw.runtime.load import SHORT_FOR, Load
from conduitfw.runtime.messages import EngineKind


def figures(*queues: tuple[int, int, int]) -> list[dict[str, int]]:
    return [
        {"queue": number, "waiting": waiting, "dropped_queue_full": dropped, "dropped_socket_full": 0}
        for number, waiting, dropped in queues
    ]


def told(load: Load, now: float, *queues: tuple[int, int, int]) -> list[tuple[EngineKind, int]]:
    return [(kind, detail["queue"]) for kind, detail in load.look(figures(*queues), now)]


def test_a_long_queue_is_told_once_and_limits_sources_until_it_was_short_for_a_while() -> None:
    load = Load((1, 2), limit=500)
    assert told(load, 0.0, (1, LENGTH // 2 - 1, 0), (2, 0, 7)) == [] and load.per_source == 0
    assert told(load, 1.0, (1, LENGTH // 2, 0), (2, 0, 7)) == [(EngineKind.OVERLOAD, 1)]
    assert load.per_source == 500
    assert told(load, 2.0, (1, LENGTH, 30), (2, 0, 7)) == []
    assert [(each["queue"], each["now"], each["times"]) for each in load.describe()] == [(1, True, 1), (2, False, 0)]
    assert told(load, 2.0 + SHORT_FOR - 0.1, (1, 0, 30), (2, 0, 7)) == [] and load.per_source == 500
    ended = list(load.look(figures((1, 0, 30), (2, 0, 7)), 2.0 + SHORT_FOR))
    assert ended == [(EngineKind.OVERLOAD_OVER, {"queue": 1, "seconds": 6.0, "dropped": 30, "longest": LENGTH})]
    assert load.per_source == 0


def test_what_found_no_room_is_told_also_where_the_queue_is_short_by_now() -> None:
    load = Load((1,), limit=0)
    assert told(load, 0.0, (1, 0, 5)) == []  # from before our time
    assert told(load, 1.0, (1, 0, 6)) == [(EngineKind.OVERLOAD, 1)]
    assert load.per_source == 0  # as the operator wants it


def test_a_flood_that_goes_on_is_given_less_and_less_of_a_chance() -> None:
    load, now, waits = Load((1,), limit=500), 0.0, []
    for _ in range(3):
        assert told(load, now, (1, LENGTH, 0)) == [(EngineKind.OVERLOAD, 1)]
        began = now
        while load.per_source:
            now += 0.5
            told(load, now, (1, 0, 0))
        waits.append(now - began)
    assert waits == [SHORT_FOR, 2 * SHORT_FOR, 4 * SHORT_FOR]


def test_other_queues_of_the_machine_are_others_business() -> None:
    assert told(Load((1,), limit=500), 0.0, (9, LENGTH, 0)) == []
