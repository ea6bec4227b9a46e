"""Where a ruleset is for: bridge or router, and what its kernel can do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from conduitfw.kernel import marks

BRIDGE, INET = "bridge", "inet"


class Method(enum.Enum):
    """How packets reach the queue."""

    STATEMENT = "queue statement"
    NONE = "none"  # no engine runs yet: what an enforced conduit inspects is dropped, whatever its `fail` says
    MARK = "mark and iptables"  # the chain sets a mark, and an iptables rule queues what is marked


@dataclass(frozen=True)
class Shape:
    """Where the ruleset is for. `tracking`: the kernel tracks connections for the family.

    `workers`: how many share the packets, each with queues of its own.

    `management`: the interfaces by which alone the machine itself is spoken to; none: by any.
    """

    family: str = BRIDGE
    method: Method = Method.STATEMENT
    queue_base: int = marks.DEFAULT_QUEUE_BASE
    tracking: bool = False
    management: tuple[str, ...] = ()
    workers: int = 1
