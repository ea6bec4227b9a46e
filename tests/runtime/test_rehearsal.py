"""A worker's rehearsal: what the policy allows passes in it, what it denies is answered, and nothing comes out."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from conduitfw.denial import Emission
from conduitfw.flow import FlowTable
from conduitfw.packet import decode
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.ledger import SIZE
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Policy
from conduitfw.runtime.messages import receive, wide_pair
from conduitfw.runtime.rehearsal import sessions
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker
from conduitfw.verdict import Pipeline

POLICIES = [*sorted(Path("policies").glob("*.yaml")), Path("policies/water-plant"), Path("conduitfw/demo/policy.yaml")]


@pytest.fixture(params=POLICIES, ids=lambda path: path.stem)
def policy(request: pytest.FixtureRequest) -> Policy:
    loaded = load_policy([request.param])
    assert loaded.policy is not None
    return loaded.policy


def test_the_usual_read_of_each_protocol_passes_and_its_answer(policy: Policy) -> None:
    protocols = {rule.allow for rule in policy.rules if rule.inspection is not None and rule.transport == "tcp"}
    found = list(sessions(policy))
    assert len(found) == len(protocols) > 0
    pipeline = Pipeline(compile_policy(policy), FlowTable(bytearray(FlowTable.memory_size(16))), lambda *_: None)
    for before, after in found:
        assert [decode(packet).payload_length > 0 for packet in (*before, *after)] == [False] * 3 + [
            True,
            True,
            False,
        ] * 2
        assert all(pipeline.decide(packet, 1.0).forward for packet in (*before, *after[:2]))
        flow = pipeline.flows.find(6, decode(before[0]).key)
        assert flow is not None and flow.session is not None
        pipeline.decide(after[2], 1.0)  # what changes something is allowed in some policies


class Overheard:
    """A transmitter that is not to be used."""

    def send(self, emission: Emission) -> bool:
        raise AssertionError("a rehearsal was heard")


def test_nothing_of_it_is_seen_or_left(policy: Policy) -> None:
    shared = Shared(1)
    near, far = wide_pair()
    with mmap.mmap(-1, FlowTable.memory_size(64)) as flows, mmap.mmap(-1, SIZE) as ledger:
        worker = Worker([Post(shared.workers[0], [], flows, ledger)], compile_policy(policy), near, Overheard())
        before = bytes(flows), bytes(ledger), bytes(shared._memory), dict(vars(worker))
        descriptors = os.listdir("/proc/self/fd")
        worker._warm_up()
        assert (bytes(flows), bytes(ledger), bytes(shared._memory), dict(vars(worker))) == before
        assert os.listdir("/proc/self/fd") == descriptors
    assert receive(far) is None


def test_one_that_fails_keeps_nobody_from_serving(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(policy: Policy) -> None:
        raise ValueError("a defect of ours")

    monkeypatch.setattr("conduitfw.runtime.worker.sessions", broken)
    near, _ = wide_pair()
    with mmap.mmap(-1, FlowTable.memory_size(64)) as flows, mmap.mmap(-1, SIZE) as ledger:
        Worker([Post(Shared(1).workers[0], [], flows, ledger)], compile_policy(policy), near, Overheard())._warm_up()
    assert "a defect of ours" in capfd.readouterr().err


def test_it_goes_all_the_way(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor begins, for each protocol, with a request under way whose packet was in hand; its answer passes."""
    begun = []
    begin = Worker._begin

    def watched(self: Worker, post: Post, *, after_death: bool) -> None:
        in_hand = post.slot.left_in_hand()
        begin(self, post, after_death=after_death)
        if after_death:
            (flow,) = self._pipeline.flows
            assert flow.deaths == 1
            begun.append((decode(in_hand).payload_length > 0, flow.session is not None, self._pipeline.counters))

    monkeypatch.setattr(Worker, "_begin", watched)
    near, _ = wide_pair()
    with mmap.mmap(-1, FlowTable.memory_size(64)) as flows, mmap.mmap(-1, SIZE) as ledger:
        Worker([Post(Shared(1).workers[0], [], flows, ledger)], compile_policy(policy), near, Overheard())._warm_up()
    assert len(begun) == len(list(sessions(policy)))
    for had_request, has_session, counters in begun:
        assert had_request and has_session
        assert counters["units"] >= 1 and counters["engine_errors"] == 0
