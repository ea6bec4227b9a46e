"""The policy as the engine's tables: a look-up costs the same for one rule and for ten thousand.

Two steps: `Tables.channel` finds, once a flow, what its two addresses may say to each other;
`Channel.rule_for` finds, for every unit, the rule that allows it.
"""

from __future__ import annotations

from conduitfw.policy.model import Conduit, Policy, Rule
from conduitfw.protocols import Definition, Unit

TCP, UDP = 6, 17


class Channel:
    """What one client may say to one server on one port: shared by every flow between them."""

    __slots__ = ("conduit", "lenient", "monitor", "on_deny", "outstanding", "protocol", "resync", "transaction_timeout")

    conduit: Conduit
    protocol: Definition
    monitor: bool  # conduit.mode == "monitor"
    on_deny: str
    resync: bool  # conduit.midstream == "resync"
    outstanding: int
    transaction_timeout: float
    lenient: bool

    def rule_for(self, unit: Unit) -> Rule | None:
        """The rule that allows this unit (the first by its place in the policy), or None."""
        raise NotImplementedError

    def names_address(self, unit: Unit) -> bool:
        """Whether any rule names the unit's address: tells NO_RULE from NO_RULE_ADDRESS."""
        raise NotImplementedError


class Tables:
    """The compiled policy. Addresses are packed (4 or 16 bytes), transports IP protocol numbers."""

    policy: Policy

    def channel(self, transport: int, client: bytes, server: bytes, server_port: int) -> Channel | None:
        """What these two may say to each other, or None where no inspected rule names them."""
        raise NotImplementedError


def compile_policy(policy: Policy) -> Tables:
    """Compile a checked policy. Its errors were found before: this does not fail."""
    raise NotImplementedError
