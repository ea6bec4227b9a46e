"""Which queue a worker waits on."""

from __future__ import annotations

import gc
import time
from dataclasses import replace

import pytest

from conduitfw.flow import FlowTable
from conduitfw.kernel import marks
from conduitfw.kernel.ruleset import render
from conduitfw.kernel.shape import Shape
from conduitfw.policy.ledger import SIZE
from conduitfw.policy.model import Conduit, Policy
from conduitfw.runtime import worker
from conduitfw.runtime.messages import Order, Report, pair, receive, send, wide_pair
from conduitfw.runtime.rehearsal import Nobody, Stage
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker, only_queue
from tests.pipeline.wire import tables


def mixed(*ways: tuple[str, str]) -> Policy:
    """The small policy with its first conduit once for each (mode, fail)."""
    policy = tables().policy
    return replace(policy, conduits=tuple(_like(policy.conduits[0], f"c{at}", *way) for at, way in enumerate(ways)))


def _like(conduit: Conduit, name: str, mode: str, fail: str) -> Conduit:
    rules = tuple(replace(rule, conduit=name) for rule in conduit.rules)
    return replace(conduit, name=name, mode=mode, fail=fail, rules=rules)


@pytest.mark.parametrize(
    ("ways", "queue"),
    [
        ([("enforce", "closed")], marks.QUEUE_CLOSED),
        ([("enforce", "closed")] * 2, marks.QUEUE_CLOSED),
        ([("enforce", "static")], marks.QUEUE_STATIC),
        ([("monitor", "closed")], marks.QUEUE_STATIC),
        ([("monitor", "closed"), ("enforce", "static")], marks.QUEUE_STATIC),
        ([("enforce", "closed"), ("enforce", "static")], None),
        ([("enforce", "closed"), ("monitor", "closed")], None),
        ([], None),
    ],
)
def test_the_queue_that_the_ruleset_uses(ways: list[tuple[str, str]], queue: int | None) -> None:
    policy = mixed(*ways)
    assert only_queue(policy) == queue
    text = render(policy, Shape())
    used = {
        number
        for number, chains in (
            (marks.QUEUE_CLOSED, ["inspect_closed"]),
            (marks.QUEUE_STATIC, ["inspect_static", "inspect_watched"]),
        )
        if any(f": goto {chain}" in text for chain in chains)
    }
    assert (used == {queue}) if queue is not None else (len(used) != 1)


def test_that_it_serves_is_told_before_the_first_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs on it is allowed 0.2 s of silence then, and 30 s before: so its beat is of then, too."""

    class Hung:
        def __init__(self, *_: object) -> None:
            """As of a Waiter."""

        def serve(self, seconds: float) -> bool:
            raise InterruptedError

    monkeypatch.setattr(worker, "Waiter", Hung)
    near, far = pair()
    notices, _ = wide_pair()
    queues = [stage.queue for stage in (Stage(), Stage())]
    post = Post(Shared(1).workers[0], queues, bytearray(FlowTable.memory_size(16)), bytearray(SIZE))
    send(near, Order.SERVE + b"\0")
    began = time.monotonic()
    try:
        with pytest.raises(InterruptedError):
            Worker([post], tables(), notices, Nobody()).run(far)
    finally:
        post.slot.lifeline.release()
        gc.unfreeze()
        gc.enable()
    assert receive(near) == Report.READY
    assert receive(near) is None
    assert post.slot.heartbeat == post.slot.served_since > began


def test_what_the_kernel_decides_comes_by_none() -> None:
    policy = mixed(("enforce", "closed"), ("enforce", "static"))
    static = policy.conduits[1]
    bare = replace(static, rules=tuple(replace(rule, inspection=None) for rule in static.rules))
    assert only_queue(replace(policy, conduits=(policy.conduits[0], bare))) == marks.QUEUE_CLOSED
