"""What the policy says of one request, and why: for `explain`, and for the policy's own tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conduitfw.policy.compile import TCP, UDP, Channel, Tables
from conduitfw.policy.endpoints import Endpoints
from conduitfw.policy.kernel_view import KernelView
from conduitfw.policy.limits import Refusal
from conduitfw.policy.model import Address, Conduit, Policy, Rule
from conduitfw.policy.questions import Question, read_question
from conduitfw.policy.source import Report, Section
from conduitfw.policy.tags import Tag
from conduitfw.protocols import UNSAID, Definition, Kind, Unit
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Reason


@dataclass(frozen=True)
class Answer:
    """The rule that allows it, or the reason why none does. `addresses`: with which it was tried."""

    rule: Rule | None
    conduit: Conduit | None
    reason: Reason | None
    addresses: Mapping[str, int]
    detail: str = ""  # what the reason is about

    @property
    def allowed(self) -> bool:
        """Whether a rule allows it."""
        return self.rule is not None

    @property
    def sentence(self) -> str:
        """Why not, for people."""
        return self.reason.told(self.detail) if self.reason is not None else ""


def explain(tables: Tables, question: Question) -> Answer:
    """What the policy says of it. A unit or link address that is not given is any: one that is allowed is enough."""
    protocol = PROTOCOLS.get(question.allow)
    if protocol is None:
        rule = KernelView(tables.policy).opens(question.allow, question.client, question.server, question.port)
        conduit = _conduit_between(tables.policy, question.client, question.server)
        if rule is not None:
            conduit = next(each for each in tables.policy.conduits if each.name == rule.conduit)
            return Answer(rule, conduit, None, {})
        return Answer(None, conduit, Reason.NO_RULE if conduit is not None else Reason.NO_CONDUIT, {})
    channel = tables.channel(
        UDP if (question.transport or protocol.transports[0]) == "udp" else TCP,
        question.client.packed,
        question.server.packed,
        question.port or protocol.port,
    )
    if channel is None or channel.protocol is not protocol:
        conduit = _conduit_between(tables.policy, question.client, question.server)
        return Answer(None, conduit, Reason.NO_RULE if conduit is not None else Reason.NO_CONDUIT, question.addresses)
    return _ask(channel, protocol, question)


class _AskedUnit(Unit):
    """A request as a question puts it."""

    __slots__ = ()

    def __init__(self, protocol: Definition, question: Question, address: tuple[int, ...]) -> None:
        super().__init__(Kind.REQUEST, question.function, address, 0, detail=question.detail)
        self.selected = {True: 0.0, False: -1.0, None: float(UNSAID)}[question.selected]
        self._items = protocol.asked(question.function, question.asked)


def _ask(channel: Channel, protocol: Definition, question: Question) -> Answer:
    choices = [
        (question.addresses[each.name],) if each.name in question.addresses else values
        for each, values in zip(protocol.address_fields, channel.representatives(), strict=True)
    ]
    best: tuple[Rule, tuple[int, ...]] | None = None
    worst = Refusal(Reason.NO_RULE_ADDRESS, rank=-1)
    for values in itertools.product(*choices):
        decision = channel.decide(_AskedUnit(protocol, question, values), None, 0.0)
        if isinstance(decision, Refusal):
            if decision.reason is not Reason.NO_RULE_ADDRESS and decision.rank > worst.rank:
                worst = decision
        elif best is None or decision.index < best[0].index:
            best = decision, values
    if best is not None:
        tried = {each.name: value for each, value in zip(protocol.address_fields, best[1], strict=True)}
        return Answer(best[0], channel.conduit, None, tried)
    return Answer(None, channel.conduit, worst.reason, question.addresses, worst.detail)


def _conduit_between(policy: Policy, client: Address, server: Address) -> Conduit | None:
    ends = [
        next((zone.name for zone in policy.zones if any(address in network for network in zone.networks)), None)
        for address in (client, server)
    ]
    return next((each for each in policy.conduits if {each.from_zone, each.to_zone} == set(ends)), None)


# --- the policy's own tests -------------------------------------------------------------------------


def run_tests(
    tests: Sequence[Section], tables: Tables, endpoints: Endpoints, tags: Mapping[str, Tag], report: Report
) -> None:
    """Ask each of the policy's `tests`; one that fails is an error: such a policy is not loaded."""
    for test in tests:
        question = read_question(test, endpoints, tags, report)
        expected = test.choice("expect", "")
        if question is None or not expected:
            continue
        answer = explain(tables, question)
        if answer.allowed == (expected == "allow"):
            continue
        by = f"the rule {answer.rule.name!r} allows it" if answer.rule else answer.sentence
        report.error(test.place, f"the test expects {expected}, the policy says the opposite", by)
