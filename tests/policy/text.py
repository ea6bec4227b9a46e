"""A small good policy, and what a change in it leads to."""

from __future__ import annotations

from pathlib import Path

from conduitfw.policy.load import Loaded, load_policy

GOOD = """\
policy: {version: 1, site: works, owner: us, revision: "1"}
zones:
  scada:
    security_level: 2
    networks: [10.10.0.0/24]
    interfaces: [left0]
    assets:
      hmi-1: {address: 10.10.0.11, link_address: 1}
      ews-a: 10.10.0.20
  cell:
    security_level: 3
    networks: [10.20.0.0/24]
    interfaces: [right0]
    assets:
      plc-b: {address: 10.20.0.5, units: [1]}
      gateway: {address: 10.20.0.6, units: 10-14}
      rtu-7: {address: 10.20.0.9, link_address: 10}
groups:
  clients: [hmi-1, ews-a]
conduits:
  line:
    from: scada
    to: cell
    purpose: tests
    owner: us
    approved_by: us
    review_by: 2099-01-01
    rules:
      - {name: reads, allow: modbus, clients: hmi-1, servers: plc-b, functions: read}
      - {name: poll, allow: dnp3, clients: hmi-1, servers: rtu-7, functions: read}
"""


def load(tmp_path: Path, text: str) -> Loaded:
    """Load one file of that text."""
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return load_policy([path])


def changed(old: str, new: str) -> str:
    """The good policy with one text in it replaced."""
    assert GOOD.count(old) == 1, f"{old!r} stands {GOOD.count(old)} times in the policy"
    return GOOD.replace(old, new)


def with_rule(rule: str) -> str:
    """The good policy with one more rule."""
    return f"{GOOD}      - {{{rule}}}\n"


def told(loaded: Loaded, severity: str = "error") -> list[str]:
    """The problems of that severity, as line:column: message; hint."""
    return [
        f"{each.place.line}:{each.place.column}: {each.message}" + (f"; {each.hint}" if each.hint else "")
        for each in loaded.problems
        if each.severity == severity
    ]
