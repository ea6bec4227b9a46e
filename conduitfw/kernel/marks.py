"""Bits of the packet mark, and queue numbers: what the ruleset and the engine agree on.

The nftables chains set INSPECT (and CLOSED) on what has to be decided, and drop in postrouting what
is still marked so and carries no VERDICT: a packet that some flushed rule let slip past the queue.
"""

from __future__ import annotations

INSPECT = 0x4000_0000  # has to go to the queue
VERDICT = 0x2000_0000  # the engine has decided, and lets it go on
CLOSED = 0x1000_0000  # of a conduit that fails closed: never leaves without VERDICT
PASSED = 0x0800_0000  # the kernel's own rules let it go on
MASK = 0x7800_0000  # all that is ours; the VLAN id is in the lowest 12 bits
VLAN_MASK = 0x0FFF
# With several workers only: which of them decides, and whether a packet comes from the server, whose address says that.
WORKER_MASK, WORKER_SHIFT, WORKERS_MAX = 0x000F_0000, 16, 16
FROM_SERVER = 0x0010_0000

# Conduits of different fail modes use different queues; `monitor` goes with STATIC, since watching
# comes before enforcing (the kernel passes what rules name where no engine decides).
QUEUE_CLOSED = 0
QUEUE_STATIC = 1
QUEUES = 2  # of each worker
LAST_QUEUE = 65535
DEFAULT_QUEUE_BASE = 6200  # the first queue's number


def queue_of(mode: str, fail: str) -> int:
    """Which of a worker's queues a conduit's packets go to, by its `mode` and `fail`."""
    return QUEUE_STATIC if mode == "monitor" or fail == "static" else QUEUE_CLOSED


def queue_numbers(base: int, worker: int) -> tuple[int, int]:
    """The queues of one worker: of closed conduits, of static ones."""
    first = base + QUEUES * worker
    return first + QUEUE_CLOSED, first + QUEUE_STATIC
