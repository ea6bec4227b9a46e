"""What the pipeline says: of one packet to whoever carries it out, and of a flow to whoever wants to know."""

from __future__ import annotations

import enum

from conduitfw.denial import Emission
from conduitfw.flow import Flow
from conduitfw.policy.model import Rule
from conduitfw.protocols import Definition, Unit
from conduitfw.reasons import Reason


class Verdict(enum.Enum):
    """What the policy says of a packet (on a monitored conduit: what it would have said)."""

    ACCEPT = "accept"
    DENY = "deny"
    HOLD = "hold"  # nothing forbidden; some bytes wait for the rest of a unit, for an answer, or for a repeat


class NoticeKind(enum.Enum):
    """What a notice tells."""

    DENIED = "denied"
    FLOW_START = "flow-start"
    FLOW_END = "flow-end"
    REMARK = "remark"  # an answer passed that is not what one would expect: `action` says why


class Notice:
    """Something that people or monitoring should know. Plain data; addresses are packed."""

    __slots__ = (
        "action", "address", "client", "client_port", "conduit", "described", "detail", "from_client", "kind",
        "kind_of_unit", "monitor", "protocol", "reason", "rule", "server", "server_port", "time", "transport",
    )  # fmt: skip

    def __init__(self, kind: NoticeKind, flow: Flow, time: float) -> None:
        channel = flow.channel
        self.kind = kind
        self.time = time
        self.transport = flow.transport
        self.client, self.client_port = flow.client, flow.client_port
        self.server, self.server_port = flow.server, flow.server_port
        self.from_client = True
        self.conduit = channel.conduit.name if channel is not None else ""
        self.monitor = channel.monitor if channel is not None else False
        self.protocol = channel.protocol.name if channel is not None else ""
        self.rule = ""
        self.reason: Reason | None = None
        self.detail = ""  # what the reason was about in this very unit
        self.kind_of_unit = ""
        self.address: tuple[int, ...] = ()
        self.described: dict[str, object] = {}  # the unit, as its protocol describes it
        self.action = ""  # for DENIED: drop, reset or monitor; for REMARK: protocols.Remark

    def describe(self, unit: Unit, protocol: Definition) -> None:
        """Name the unit that was denied."""
        self.kind_of_unit = unit.kind.value
        self.address = unit.address
        self.described = protocol.describe(unit)


class Outcome:
    """What to do with one packet, and what was found in it."""

    __slots__ = ("detail", "emissions", "forward", "payload", "protocol", "reason", "rule", "units", "verdict")

    def __init__(self, verdict: Verdict, forward: bool) -> None:
        self.verdict = verdict
        self.forward = forward  # whether the packet leaves; on a monitored conduit always
        self.payload: bytes | None = None  # not None: it leaves with these bytes instead
        self.rule: Rule | None = None
        self.reason: Reason | None = None
        self.detail = ""
        self.units: list[Unit] = []
        self.protocol: Definition | None = None
        self.emissions: list[Emission] = []  # packets of our own, to be sent behind the verdict, in order
