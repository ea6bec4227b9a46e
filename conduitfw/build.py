"""The modules that are compiled when the package is built, and whether they are here.

They are the way of a packet, from the queue's message to the verdict's. setup.py reads this list without importing the
package.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

MODULES = (
    "answers", "denial", "flow", "handshake", "inspection", "ordinary", "outcome", "packet", "record", "stream",
    "tcp", "translation", "verdict",
    "policy.compile", "policy.ledger", "policy.limits", "policy.rule_limits", "policy.tags",
    "kernel.netlink_queue", "runtime.figures", "runtime.hand", "runtime.quarantine", "runtime.worker",
    "protocols.numbers", "protocols.ordinary", "protocols.outstanding",
    "protocols.modbus.adu", "protocols.modbus.points", "protocols.modbus.session",
    "protocols.dnp3.application", "protocols.dnp3.link", "protocols.dnp3.objects", "protocols.dnp3.plain",
    "protocols.dnp3.selection", "protocols.dnp3.session", "protocols.dnp3.transport",
)  # fmt: skip

COMPILED, PLAIN = "compiled", "plain Python"


def how() -> str:
    """How this engine runs: COMPILED, PLAIN, or which modules are the exception (a build that went wrong)."""
    plain = [name for name in MODULES if not _is_compiled(f"conduitfw.{name}")]
    if not plain:
        return COMPILED
    return PLAIN if len(plain) == len(MODULES) else f"partly compiled, not {', '.join(plain)}"


def _is_compiled(name: str) -> bool:
    found = find_spec(name)
    return found is not None and (found.origin or "").endswith(tuple(EXTENSION_SUFFIXES))
