"""All rows, the policy that they run under, and what is known to be open."""

from __future__ import annotations

import tempfile
from pathlib import Path

from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.load import load_policy
from tests.evasion import cutting, dnp3, handshakes, streams, units
from tests.evasion.steps import Case

CASES: list[Case] = [*cutting.CASES, *streams.CASES, *handshakes.CASES, *units.CASES, *dnp3.CASES]
# (name of a case, server): why the row is not as it has to be. The suite passes, and the table shows it.
KNOWN_OPEN: dict[tuple[str, str], str] = {}
MODBUS_PORTS, DNP3_PORTS = tuple(range(1502, 1526)), tuple(range(20001, 20009))

POLICY = f"""
policy: {{version: 1, site: evasions, owner: tests, revision: "1"}}
zones:
  scada:
    security_level: 2
    networks: [10.10.0.0/24, "fd00:10::/64"]
    interfaces: [scada0]
    assets: {{hmi: 10.10.0.11, ews: 10.10.0.20, hmi6: "fd00:10::11"}}
  cell:
    security_level: 2
    networks: [10.20.0.0/24, "fd00:20::/64"]
    interfaces: [cell0]
    assets:
      plc: 10.20.0.5
      plc6: "fd00:20::5"
      rtu: {{address: 10.20.0.9, link_address: 10}}
conduits:
  line:
    from: scada
    to: cell
    purpose: tests
    owner: tests
    approved_by: tests
    fail: closed
    on_deny: ON_DENY
    rules:
      - name: polls
        allow: modbus
        clients: hmi
        servers: plc
        port: {list(MODBUS_PORTS)}
        functions: [read, write_multiple_registers]
      - name: polls6
        allow: modbus
        clients: hmi6
        servers: plc6
        port: {list(MODBUS_PORTS)}
        functions: [read, write_multiple_registers]
      - {{name: rtu, allow: dnp3, clients: hmi, servers: rtu, port: {list(DNP3_PORTS)}, master: 1, functions: [read]}}
      - name: rtu over UDP
        allow: dnp3
        transport: udp
        clients: hmi
        servers: rtu
        port: {list(DNP3_PORTS)}
        master: 1
        functions: [read]
      - name: engineering
        allow: dnp3
        clients: ews
        servers: rtu
        port: {list(DNP3_PORTS)}
        master: 2
        functions: [read, select, operate]
        select_before_operate: required
"""


def policy(on_deny: str) -> str:
    """What the HMI may do: read, write registers; not function 6, not a direct operate."""
    return POLICY.replace("ON_DENY", on_deny)


def tables(on_deny: str) -> Tables:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(on_deny))
        loaded = load_policy([path])
    assert loaded.policy is not None, [str(problem) for problem in loaded.problems]
    return compile_policy(loaded.policy)
