"""The ruleset of a machine that has no policy: nothing passes, and only management interfaces are heard.

A table of its own, `conduitfw_boot`. It goes, with what it shut, when a policy's ruleset is loaded.
`systemd/shut.nft` is a smaller one, which the boot-time unit loads before anything of Python runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from conduitfw.kernel.ruleset import BRIDGE, INET

TABLE = "conduitfw_boot"


def removal() -> str:
    """The text that takes it out, whether it is there or not."""
    return "".join(f"table {family} {TABLE} {{}}\ndelete table {family} {TABLE}\n" for family in (BRIDGE, INET))


def shut(management: Sequence[str]) -> str:
    """Nothing is forwarded. Where management interfaces are named, the machine itself talks to these only.

    They need not exist yet. Where none is named, the machine stays reachable: a locked door without a key helps nobody.
    """
    lines = [
        removal() + f"table {BRIDGE} {TABLE} {{",
        "\tchain forward {",
        "\t\ttype filter hook forward priority -500; policy drop;",
        "\t}",
        "}",
        f"table {INET} {TABLE} {{",
        "\tchain forward {",
        "\t\ttype filter hook forward priority -500; policy drop;",
        "\t}",
    ]
    if management:
        names = ", ".join(f'"{name}"' for name in ("lo", *management))
        for chain, word in (("input", "iifname"), ("output", "oifname")):
            lines += [
                f"\tchain {chain} {{",
                f"\t\ttype filter hook {chain} priority -500; policy drop;",
                f"\t\t{word} {{ {names} }} accept",
                "\t}",
            ]
    return "\n".join([*lines, "}", ""])
