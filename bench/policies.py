"""Policies of any size for the benchmarks: one PLC that is polled, and rules and conduits beside it as asked."""

from __future__ import annotations

from conduitfw.demo.network import CELL, SCADA, ZONES

CLIENT, SERVER, PORT = "10.10.0.11", "10.20.0.5", 502
_OTHERS = 4  # rules to an asset
_RULES = (
    "allow: modbus, clients: hmi, servers: {0}, functions: read",
    "allow: modbus, clients: ews, servers: {0}, functions: [6, 16], registers: {{holding_registers: 200-299}}, "
    "values: 0-1000",
    "allow: dnp3, clients: hmi, servers: {0}, functions: [read, select, operate]",
    "allow: modbus, clients: ews, servers: {0}, functions: [read, 43]",
)


def policy(rules: int, conduits: int = 1, *, interfaces: bool = True) -> str:
    """The YAML of a policy of `rules` rules in all, spread over `conduits` conduits, each to a zone of its own.

    The first conduit is the one of the polls: CLIENT reads from SERVER, unit 1. `interfaces`: zones
    are tied to the ports of the bench's bridge (only for one conduit).
    """
    tied = interfaces and conduits == 1
    lines = ['policy: {version: 1, site: bench, owner: bench, revision: "1"}', "zones:", "  scada:"]
    lines += ["    security_level: 2", "    networks: [10.10.0.0/16]"]
    lines += [f"    interfaces: [{ZONES[SCADA][1]}]"] if tied else []
    lines += [f"    assets: {{hmi: {{address: {CLIENT}, link_address: 1}}, ews: 10.10.0.20}}"]
    bodies: list[list[str]] = []
    each = max(rules // conduits, 1)
    for number in range(conduits):
        names = ["polled"] if number == 0 else []
        names += [f"plc-{number}-{n}" for n in range(-(-(each - len(names)) // _OTHERS))]
        network = "10.20.0.0/16" if conduits == 1 else "10.20.0.0/24" if number == 0 else _network(number)
        lines += [f"  cell{number}:", "    security_level: 2", f"    networks: [{network}]"]
        lines += [f"    interfaces: [{ZONES[CELL][1]}]"] if tied else []
        lines += ["    assets:"]
        for place, name in enumerate(names):
            address = SERVER if name == "polled" else _address(network, place)
            lines += [f"      {name}: {{address: {address}, link_address: {10 + place}}}"]
        body = ["{allow: modbus, clients: hmi, servers: polled, functions: read}"] if number == 0 else []
        for name in names:
            if name != "polled":
                body += [f"{{{rule.format(name)}}}" for rule in _RULES]
        bodies.append(body[:each])
    lines += ["conduits:"]
    for number, body in enumerate(bodies):
        lines += [f"  line{number}:", "    from: scada", f"    to: cell{number}", "    purpose: bench"]
        lines += ["    owner: bench", "    approved_by: bench", "    review_by: 2099-01-01", "    fail: closed"]
        lines += ["    rules:"] + [f"      - {rule}" for rule in body]
    return "\n".join(lines) + "\n"


def servers(rules: int, count: int) -> list[str]:
    """Addresses of `count` servers from which CLIENT may read, in policy(rules)."""
    found = [SERVER, *(_address("10.20.0.0/16", place) for place in range(1, -(-(rules - 1) // _OTHERS)))]
    return found[:count]


def _network(number: int) -> str:
    return f"10.{100 + number // 256}.{number % 256}.0/24"


def _address(network: str, place: int) -> str:
    first = [int(part) for part in network.split("/")[0].split(".")]
    if network.endswith("/16"):
        return f"{first[0]}.{first[1]}.{1 + place // 250}.{1 + place % 250}"
    return f"{first[0]}.{first[1]}.{first[2]}.{10 + place % 240}"
