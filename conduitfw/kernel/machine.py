"""Who may speak with the machine itself: whoever manages it, where the configuration says by which interface that is.

Both chains stand in the inet family, beside a bridge's ruleset or in a router's. What a bridge passes meets neither.
"""

from __future__ import annotations

from conduitfw.kernel import marks
from conduitfw.kernel.elements import indent
from conduitfw.kernel.shape import INET, Shape

_HOOKS = {name: f"type filter hook {name} priority -200; policy accept;" for name in ("input", "output")}


def skeleton() -> list[str]:
    """Both chains, empty: base chains are never deleted."""
    return [line for name, hook in _HOOKS.items() for line in (f"chain {name} {{", f"\t{hook}", "}")]


def chains(shape: Shape) -> list[str]:
    """The lines of both chains. They let everything pass where no interface is named: nobody is locked out unasked."""
    lines = ["", "# The machine itself: spoken to by whoever manages it"]
    for name, hook in _HOOKS.items():
        rules = _rules(name, shape) if shape.management else []
        lines += [f"chain {name} {{", *indent([hook, *rules]), "}"]
    return lines


def _rules(chain: str, shape: Shape) -> list[str]:
    names = ", ".join(f'"{name}"' for name in ("lo", *shape.management))
    rules = [f"{'iifname' if chain == 'input' else 'oifname'} {{ {names} }} accept"]
    if shape.family == INET:  # a router finds its neighbours, and says why it did not pass something
        rules.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept")
    if shape.family == INET and chain == "output":
        rules += [
            f"meta mark & {marks.VERDICT:#x} != 0 accept",
            "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
            "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
        ]
    return [*rules, "counter name machine drop"]
