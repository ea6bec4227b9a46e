"""What one packet's inspection has found so far, and the question that decides every unit.

The streams (stream.py, answers.py) ask `judge` for each whole unit, and say `sent` of each that goes on; the
pipeline reads the findings.
"""

from __future__ import annotations

from conduitfw.flow import Flow
from conduitfw.policy.compile import EVERY_RULE
from conduitfw.policy.ledger import Ledger
from conduitfw.policy.limits import Refusal
from conduitfw.policy.model import Rule
from conduitfw.protocols import REFUSALS, Kind, Unit
from conduitfw.reasons import Reason

# Bounds that a packet may meet (tcp-rules.md, 12). Each is a counter of the pipeline by that name.
EARLY_REFUSED = "early_refused"  # a segment behind a gap found no room, and has to be sent again
HELD_FULL = "held_full"  # bytes of a client found no room, and have to be sent again
OUTSTANDING_REACHED = "outstanding_reached"  # a request was found waiting for the answers to others
BOUNDS = (EARLY_REFUSED, HELD_FULL, OUTSTANDING_REACHED)

# Denials that depend on requests and values before.
_BY_WHAT_WAS = frozenset((Reason.TAG_STEP, Reason.TAG_UNSEEN, Reason.NOT_SELECTED, Reason.RATE))


class Findings:
    """The units that a packet completed, the rule that allowed the last, and the first denial."""

    __slots__ = (
        "_ledger", "_now", "any_protocol", "denied", "detail", "met", "reason", "rejected", "rule", "units",
        "waits",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, now: float, any_protocol: bool = False) -> None:
        self._ledger = ledger
        self._now = now
        self.units: list[Unit] = []
        self.rule: Rule | None = None
        self.reason: Reason | None = None
        self.detail = ""  # what the reason was about in this very unit
        self.denied: Unit | None = None
        # Units that we answer in the server's place, and why: they end nothing.
        self.rejected: list[tuple[Unit, Reason, str]] = []
        self.waits = False  # bytes are kept back, or the sender has to send again
        self.met: tuple[str, ...] = ()  # of BOUNDS
        # `replay --any`: only what is malformed is denied.
        self.any_protocol = any_protocol

    def judge(self, flow: Flow, unit: Unit) -> bool:
        """Whether this unit may go on; where not, why not is noted. It may be asked again while the unit waits."""
        channel = flow.channel
        assert channel is not None  # the pipeline finds it before any stream is asked
        if unit.reason is not None:
            return not self.deny(unit.reason, unit)
        if not unit.judged:
            # An answer that was asked for; or what a station may always say by itself, if any rule names it.
            if unit.kind is Kind.RESPONSE or channel.names_address(unit):
                return True
            return not self.deny(Reason.NO_RULE_ADDRESS, unit)
        if unit.refused is not None:
            return not self.deny(unit.refused, unit)
        among = EVERY_RULE
        if not unit.begins and unit.kind is Kind.REQUEST:
            # Parts before it were allowed by these rules; under another policy nobody knows what it would say of them.
            among = flow.open_rules if flow.open_policy == channel.stamp else 0
        decision = channel.decide(unit, self._ledger, self._now, among)
        if isinstance(decision, Refusal):
            return not self.deny(decision.reason, unit, decision.detail)
        self.rule = decision
        return True

    def still_allows(self, flow: Flow, end: int) -> bool:
        """Whether the first `end` kept bytes, which went on under an older policy, hold nothing that this one denies.

        What depends on what was before counts as allowed: the request was, when it went on.
        """
        assert flow.channel is not None
        protocol, held = flow.channel.protocol, flow.held
        session = protocol.session(flow.channel.lenient)
        now = Findings(self._ledger, self._now, self.any_protocol)
        at, end = 0, min(end, len(held))
        while at < end and (size := protocol.frame(held, at, end)) and at + size <= end:
            unit = session.inspect(held, at, at + size, True)
            if unit.begins and unit.reason is None and not now.judge(flow, unit):
                if now.reason not in _BY_WHAT_WAS:
                    return False
                now.withdraw()
            at += size
        return True

    def refusal(self, flow: Flow, unit: Unit, data: bytes) -> bytes | None:
        """What we answer to this unit, just denied, in the server's place; None: the denial ends the session."""
        channel = flow.channel
        assert channel is not None
        if channel.on_deny != "reject" or self.denied is not unit or self.reason not in REFUSALS:
            return None
        if not unit.begins and unit.refused is None and flow.open_policy != channel.stamp:
            return None  # begun under another policy (tcp-rules.md, 11)
        if flow.loose:
            return None  # a session without a beginning: nobody knows where the server's answers begin
        return channel.protocol.refusal(data, 0, len(data), unit, self.reason)

    def withdraw(self) -> None:
        """The denial that was just noted waits for its turn: it is judged again then."""
        self.reason, self.detail, self.denied = None, "", None

    def reject(self, unit: Unit) -> Reason:
        """The denial that was just noted, which this gives, is answered, and ends nothing."""
        assert self.reason is not None
        reason = self.reason
        self.rejected.append((unit, reason, self.detail))
        self.withdraw()
        return reason

    def sent(self, flow: Flow, unit: Unit) -> None:
        """A unit went on (or passed on an observed flow): remember it, for the session and for the policy."""
        assert flow.channel is not None and flow.session is not None
        flow.session.commit(unit, self._now)
        flow.channel.sent(unit, self._ledger, self._now)
        if unit.kind is Kind.REQUEST:
            flow.open_rules = 0 if unit.complete else unit.among
            flow.open_policy = flow.channel.stamp

    def meet(self, bound: str) -> None:
        """This packet met one of BOUNDS."""
        self.met += (bound,)

    def deny(self, reason: Reason, unit: Unit | None = None, detail: str = "") -> bool:
        """Note a denial; the first of a packet is the one that is told. False where it does not count."""
        if self.any_protocol and not reason.malformed:
            return False
        if self.reason is None:
            self.reason = reason
            self.detail = detail
            self.denied = unit
        return True
