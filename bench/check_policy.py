"""How long a policy takes to check: rules that limit what a request does, against rules that name functions only.

`python -m bench.check_policy [RULES]`, 1,000 by default; each kind is checked in turn, several times, and the medians
and their ratio are printed. A quarter of the rules each: sub-functions, tags, registers with values and rates, DNP3.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from conduitfw.policy.load import load_policy

ROUNDS = 5
HEAD = """\
policy: {version: 1, site: bench, owner: bench, revision: "1"}
zones:
  scada:
    security_level: 2
    networks: [10.10.0.0/16]
    interfaces: [left0]
    assets: {hmi: {address: 10.10.0.11, link_address: 1}, ews: 10.10.0.20}
  cell:
    security_level: 3
    networks: [10.20.0.0/16]
    interfaces: [right0]
    assets:
"""
CONDUIT = """\
conduits:
  line:
    from: scada
    to: cell
    purpose: bench
    owner: bench
    approved_by: bench
    review_by: 2099-01-01
    rules:
"""
LIMITED = (
    "allow: modbus, clients: hmi, servers: plc-{0}, functions: [read, 43], sub_functions: {{43: identification}}",
    "allow: modbus, clients: hmi, servers: plc-{0}, write: TIC-{0}.setpoint",
    "allow: modbus, clients: ews, servers: plc-{0}, functions: [read, 16], registers: {{holding_registers: 200-299}}, "
    "values: 0-1000, quantity: 1-20, at_most: 30/min",
    "allow: dnp3, clients: hmi, servers: plc-{0}, functions: [read, select, operate], objects: [class 0-3, g12, g41], "
    "points: {{g12: 0-7}}, controls: [close, trip], values: 0-100, select_before_operate: required",
)
PLAIN = (
    "allow: modbus, clients: hmi, servers: plc-{0}, functions: read",
    "allow: modbus, clients: hmi, servers: plc-{0}, functions: [6, 16]",
    "allow: modbus, clients: ews, servers: plc-{0}, functions: [read, 16]",
    "allow: dnp3, clients: hmi, servers: plc-{0}, functions: [read, select, operate]",
)
TAG = (
    "  TIC-{0}.setpoint: {{asset: plc-{0}, table: holding_registers, address: 120, type: float32, min: 20, max: 80}}\n"
)


def policy(rules: tuple[str, ...], count: int, tag: str = "") -> str:
    """A policy of about `count` rules, four to a PLC."""
    plcs = range(max(count // 4, 1))
    assets = (f"      plc-{n}: {{address: 10.20.{n // 200}.{n % 200 + 1}, link_address: {n + 10}}}\n" for n in plcs)
    tags = "tags:\n" + "".join(tag.format(n) for n in plcs) if tag else ""
    lines = (f"      - {{name: {n}-{place}, {rule.format(n)}}}\n" for n in plcs for place, rule in enumerate(rules))
    return HEAD + "".join(assets) + tags + CONDUIT + "".join(lines)


def seconds(path: Path) -> float:
    """One check."""
    began = time.perf_counter()
    loaded = load_policy([path])
    took = time.perf_counter() - began
    if loaded.policy is None:
        raise SystemExit("\n".join(str(problem) for problem in loaded.problems))
    return took


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        paths = {"limited": Path(folder) / "limited.yaml", "functions only": Path(folder) / "plain.yaml"}
        paths["limited"].write_text(policy(LIMITED, count, TAG))
        paths["functions only"].write_text(policy(PLAIN, count))
        times: dict[str, list[float]] = {name: [] for name in paths}
        for _ in range(ROUNDS):
            for name, path in paths.items():
                times[name].append(seconds(path))
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        print(f"{count} rules, {name}: {median:.3f} s (median of {ROUNDS})")
    print(f"ratio: {medians['limited'] / medians['functions only']:.2f}")


if __name__ == "__main__":
    main()
