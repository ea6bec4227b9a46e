"""What one packet's inspection has found so far, and the question that decides every unit.

The streams (stream.py, answers.py) ask `judge` for each whole unit; the pipeline reads the findings.
"""

from __future__ import annotations

from conduitfw.flow import Flow
from conduitfw.policy.model import Rule
from conduitfw.protocols import Unit
from conduitfw.reasons import Reason


class Findings:
    """The units that a packet completed, the rule that allowed the last, and the first denial."""

    __slots__ = ("any_protocol", "denied", "reason", "rule", "units", "waits")

    def __init__(self, any_protocol: bool = False) -> None:
        self.units: list[Unit] = []
        self.rule: Rule | None = None
        self.reason: Reason | None = None
        self.denied: Unit | None = None
        self.waits = False  # bytes are kept back, or the sender has to send again
        # `replay --any`: only what is malformed is denied.
        self.any_protocol = any_protocol

    def judge(self, flow: Flow, unit: Unit) -> bool:
        """Whether this unit may go on; where not, why not is noted."""
        channel = flow.channel
        assert channel is not None  # the pipeline finds it before any stream is asked
        reason = unit.reason
        if reason is None:
            if not unit.judged:
                return True
            rule = channel.rule_for(unit)
            if rule is not None:
                self.rule = rule
                return True
            reason = Reason.NO_RULE if channel.names_address(unit) else Reason.NO_RULE_ADDRESS
        return not self.deny(reason, unit)

    def deny(self, reason: Reason, unit: Unit | None = None) -> bool:
        """Note a denial; the first of a packet is the one that is told. False where it does not count."""
        if self.any_protocol and not reason.malformed:
            return False
        if self.reason is None:
            self.reason = reason
            self.denied = unit
        return True
