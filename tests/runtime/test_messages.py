"""Notices never block and never raise: what finds no room is counted."""

from __future__ import annotations

import time

from conduitfw.runtime.messages import EngineKind, EngineNotice, Notifier, decode, pair, receive, send
from conduitfw.runtime.shared import Counter, Shared


def test_an_engine_notice_arrives_as_it_was_told() -> None:
    near, far = pair()
    slot = Shared(workers=1).supervisor
    Notifier(near, slot).engine(EngineKind.WORKER_DEATH, place=0, ended="signal 9 (SIGKILL)")
    data = receive(far)
    assert data
    message = decode(data)
    assert isinstance(message, EngineNotice)
    assert message.kind is EngineKind.WORKER_DEATH
    assert message.detail == {"place": 0, "ended": "signal 9 (SIGKILL)"}
    assert abs(message.time - time.monotonic()) < 5
    assert slot.totals()["notices"] == 1


def test_a_reader_that_stands_still_costs_notices_and_no_time() -> None:
    near, far = pair()
    slot = Shared(workers=1).supervisor
    notifier = Notifier(near, slot)
    for _ in range(20000):
        notifier.engine(EngineKind.ENGINE_ERROR, error="x" * 200)
    sent, lost = slot.counters[Counter.NOTICES], slot.counters[Counter.NOTICES_LOST]
    assert lost > 0 and sent > 10 and sent + lost == 20000
    arrived = 0
    while receive(far):
        arrived += 1
    assert arrived == sent


def test_a_reader_that_is_gone_costs_notices_only() -> None:
    near, far = pair()
    far.close()
    slot = Shared(workers=1).supervisor
    Notifier(near, slot).engine(EngineKind.ENGINE_STOP)
    assert slot.counters[Counter.NOTICES_LOST] == 1


def test_receive_tells_nothing_yet_from_gone() -> None:
    near, far = pair()
    assert receive(far) is None
    assert send(near, b"a") and send(near, b"bc")
    assert receive(far) == b"a"  # boundaries are kept
    assert receive(far) == b"bc"
    near.close()
    assert receive(far) == b""
