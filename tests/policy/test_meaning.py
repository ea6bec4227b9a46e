"""What a policy means: which client may do what, asked of the compiled tables."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from conduitfw.policy.compile import TCP, UDP, Tables, compile_policy
from conduitfw.policy.explain import explain
from conduitfw.policy.model import Rule
from conduitfw.policy.questions import Question
from conduitfw.protocols import Kind, Unit
from conduitfw.reasons import Reason
from tests.policy.text import GOOD, load, told

HMI, EWS, PLC, GATEWAY, RTU = "10.10.0.11", "10.10.0.20", "10.20.0.5", "10.20.0.6", "10.20.0.9"


def compiled(tmp_path: Path, *rules: str, base: str = GOOD) -> Tables:
    text = base[: base.index("      - {name: reads")] + "".join(f"      - {{{rule}}}\n" for rule in rules)
    loaded = load(tmp_path, text)
    assert loaded.policy is not None, told(loaded)
    return compile_policy(loaded.policy)


def allowed(
    tables: Tables, client: str, server: str, function: int, *address: int, port: int = 502, transport: int = TCP
) -> bool:
    channel = tables.channel(transport, ip_address(client).packed, ip_address(server).packed, port)
    return channel is not None and isinstance(
        channel.decide(Unit(Kind.REQUEST, function, address, 12), None, 0.0), Rule
    )


FUNCTIONS = [
    ("functions: read", {1, 2, 3, 4, 20, 24}),
    ("functions: write, except: 23", {5, 6, 15, 16, 21, 22}),
    ("functions: [read, write_multiple_registers]", {1, 2, 3, 4, 20, 24, 16}),
    ("functions: 1-4", {1, 2, 3, 4}),
    ("functions: 0x10", {16}),
    ("functions: all, except: [diagnostics, 90]", set(range(1, 128)) - {8, 90}),
    ("functions: [43, report_slave_id]", {43, 17}),
]


@pytest.mark.parametrize(("functions", "numbers"), FUNCTIONS, ids=[case[0] for case in FUNCTIONS])
def test_functions(tmp_path: Path, functions: str, numbers: set[int]) -> None:
    tables = compiled(tmp_path, f"allow: modbus, clients: hmi-1, servers: plc-b, {functions}")
    assert {number for number in range(1, 128) if allowed(tables, HMI, PLC, number, 1)} == numbers


def test_only_the_named_ends_and_port(tmp_path: Path) -> None:
    tables = compiled(tmp_path, "allow: modbus, clients: hmi-1, servers: plc-b, functions: read, port: [502, 1502]")
    assert allowed(tables, HMI, PLC, 3, 1)
    assert allowed(tables, HMI, PLC, 3, 1, port=1502)
    assert not allowed(tables, HMI, PLC, 3, 1, port=503)
    assert not allowed(tables, EWS, PLC, 3, 1)
    assert not allowed(tables, HMI, GATEWAY, 3, 10)
    assert not allowed(tables, PLC, HMI, 3, 1)
    assert not allowed(tables, HMI, PLC, 3, 1, transport=UDP)


def test_units_are_the_assets_own_unless_the_rule_names_them(tmp_path: Path) -> None:
    tables = compiled(
        tmp_path,
        "allow: modbus, clients: hmi-1, servers: [plc-b, gateway], functions: read",
        "allow: modbus, clients: ews-a, servers: gateway, functions: write, units: [12, 200]",
    )
    assert [unit for unit in range(256) if allowed(tables, HMI, PLC, 3, unit)] == [1]
    assert [unit for unit in range(256) if allowed(tables, HMI, GATEWAY, 3, unit)] == [10, 11, 12, 13, 14]
    assert [unit for unit in range(256) if allowed(tables, EWS, GATEWAY, 6, unit)] == [12, 200]


def test_a_zone_stands_for_its_networks_and_its_assets_keep_their_units(tmp_path: Path) -> None:
    tables = compiled(tmp_path, "allow: modbus, clients: scada, servers: cell, functions: read")
    assert allowed(tables, "10.10.0.99", "10.20.0.77", 3, 200)
    assert not allowed(tables, "10.10.0.99", PLC, 3, 200)
    assert allowed(tables, "10.10.0.99", PLC, 3, 1)


def test_networks_and_narrower_rules_add_up(tmp_path: Path) -> None:
    tables = compiled(
        tmp_path,
        "allow: modbus, clients: 10.10.0.0/28, servers: 10.20.0.64/26, functions: read",
        "allow: modbus, clients: hmi-1, servers: 10.20.0.70, functions: 6",
    )
    assert [allowed(tables, HMI, "10.20.0.70", function, 5) for function in (3, 6, 16)] == [True, True, False]
    assert [allowed(tables, HMI, "10.20.0.71", function, 5) for function in (3, 6)] == [True, False]
    assert not allowed(tables, EWS, "10.20.0.70", 3, 5)


def test_groups_within_groups(tmp_path: Path) -> None:
    base = GOOD.replace("  clients: [hmi-1, ews-a]", "  clients: [hmi-1, ews-a]\n  everybody: [clients, 10.10.0.40]")
    tables = compiled(tmp_path, "allow: modbus, clients: everybody, servers: plc-b, functions: read", base=base)
    assert [allowed(tables, client, PLC, 3, 1) for client in (HMI, EWS, "10.10.0.40", "10.10.0.41")] == [True] * 3 + [
        False
    ]


class TestDnp3:
    def test_link_addresses_come_from_the_assets(self, tmp_path: Path) -> None:
        tables = compiled(tmp_path, "allow: dnp3, clients: [hmi-1, ews-a], servers: rtu-7, functions: read")
        assert allowed(tables, HMI, RTU, 1, 1, 10, port=20000)
        assert not allowed(tables, HMI, RTU, 1, 2, 10, port=20000)
        assert not allowed(tables, HMI, RTU, 1, 1, 11, port=20000)
        # ews-a says no link address: any station's, but no reserved or broadcast one.
        assert allowed(tables, EWS, RTU, 1, 777, 10, port=20000)
        assert not allowed(tables, EWS, RTU, 1, 65520, 10, port=20000)

    def test_one_clients_address_is_not_the_others(self, tmp_path: Path) -> None:
        base = GOOD.replace("ews-a: 10.10.0.20", "ews-a: {address: 10.10.0.20, link_address: 2}")
        tables = compiled(tmp_path, "allow: dnp3, clients: clients, servers: rtu-7, functions: read", base=base)
        pairs = [(client, master) for client in (HMI, EWS) for master in (1, 2)]
        assert [allowed(tables, client, RTU, 1, master, 10, port=20000) for client, master in pairs] == [
            True, False, False, True,
        ]  # fmt: skip

    def test_broadcasts_have_to_be_named(self, tmp_path: Path) -> None:
        tables = compiled(
            tmp_path,
            "allow: dnp3, clients: hmi-1, servers: rtu-7, functions: write, outstation: [10, 65535]",
            "allow: dnp3, clients: ews-a, servers: 10.20.0.99, functions: write",
        )
        assert allowed(tables, HMI, RTU, 2, 1, 65535, port=20000)
        assert not allowed(tables, HMI, RTU, 2, 1, 65534, port=20000)
        assert not allowed(tables, EWS, "10.20.0.99", 2, 1, 65535, port=20000)
        assert allowed(tables, EWS, "10.20.0.99", 2, 1, 65519, port=20000)

    def test_a_read_brings_what_no_session_comes_up_without(self, tmp_path: Path) -> None:
        tables = compiled(
            tmp_path,
            "allow: dnp3, clients: hmi-1, servers: rtu-7, functions: read",
            "allow: dnp3, clients: ews-a, servers: rtu-7, functions: write",
        )
        needed = (0, 0x100, 0x109, 0x11B)
        assert all(allowed(tables, HMI, RTU, function, 1, 10, port=20000) for function in needed)
        assert not any(allowed(tables, EWS, RTU, function, 1, 10, port=20000) for function in needed)
        assert not allowed(tables, HMI, RTU, 130, 1, 10, port=20000)
        assert not allowed(tables, HMI, RTU, 0x103, 1, 10, port=20000)

    def test_unsolicited_and_transport(self, tmp_path: Path) -> None:
        tables = compiled(
            tmp_path, "allow: dnp3, transport: udp, clients: hmi-1, servers: rtu-7, functions: read, unsolicited: yes"
        )
        assert allowed(tables, HMI, RTU, 130, 1, 10, port=20000, transport=UDP)
        assert not allowed(tables, HMI, RTU, 1, 1, 10, port=20000)


class TestExplain:
    def ask(
        self, tables: Tables, client: str, server: str, allow: str, **more: object
    ) -> tuple[str | None, Reason | None]:
        question = Question(ip_address(client), ip_address(server), allow, **more)  # type: ignore[arg-type]
        answer = explain(tables, question)
        return (answer.rule.name if answer.rule else None), answer.reason

    def test_the_rule_or_why_none(self, tmp_path: Path) -> None:
        tables = compiled(
            tmp_path,
            "name: first, allow: modbus, clients: hmi-1, servers: gateway, functions: read, units: 10",
            "name: second, allow: modbus, clients: hmi-1, servers: gateway, functions: [read, write]",
            "name: web, allow: tcp, clients: ews-a, servers: plc-b, port: 80-90",
            "name: ping, allow: icmp, clients: ews-a, servers: plc-b",
        )
        assert self.ask(tables, HMI, GATEWAY, "modbus", function=3) == ("first", None)
        assert self.ask(tables, HMI, GATEWAY, "modbus", function=3, addresses={"unit": 11}) == ("second", None)
        assert self.ask(tables, HMI, GATEWAY, "modbus", function=8) == (None, Reason.NO_RULE)
        assert self.ask(tables, HMI, GATEWAY, "modbus", function=3, addresses={"unit": 99}) == (
            None,
            Reason.NO_RULE_ADDRESS,
        )
        assert self.ask(tables, EWS, GATEWAY, "modbus", function=3) == (None, Reason.NO_RULE)
        assert self.ask(tables, "10.99.0.1", GATEWAY, "modbus", function=3) == (None, Reason.NO_CONDUIT)
        assert self.ask(tables, EWS, PLC, "tcp", port=85) == ("web", None)
        assert self.ask(tables, EWS, PLC, "tcp", port=91) == (None, Reason.NO_RULE)
        assert self.ask(tables, PLC, EWS, "tcp", port=85) == (None, Reason.NO_RULE)
        assert self.ask(tables, EWS, PLC, "icmp") == ("ping", None)
        assert self.ask(tables, PLC, EWS, "icmp") == (None, Reason.NO_RULE)
