"""Every problem says where it is, what is wrong, and what would be right; all of them at once."""

# ruff: noqa: E501  (a case a line)

from __future__ import annotations

from pathlib import Path

import pytest

from conduitfw.policy.load import load_policy
from tests.policy.text import GOOD, changed, load, told, with_rule

RULE = "name: x, allow: modbus, clients: hmi-1, servers: plc-b, functions: read"

ERRORS = [
    # What YAML does to the unwary
    ("a tab", changed("  cell:\n    sec", "  cell:\n\tsec"), "11:1: not YAML"),
    ("a key given twice", changed("    from: scada\n", "    from: scada\n    from: scada\n"), "23:5: `from` stands twice"),
    ("a MAC address as a number", changed("hmi-1: {address: 10.10.0.11,", "hmi-1: {address: 10.10.0.11, mac: 12:34:56:11:22:33,"), 'write "12:34:56:11:22:33"'),
    ("a sexagesimal number", changed("ews-a: 10.10.0.20", "ews-a: {address: 10.10.0.20, mac: 12:30:45}"), 'write "12:30:45"'),
    ("an octal number", changed("units: [1]}", "units: [010]}"), "reads 010 as an octal number; write 10"),
    ("a name that is true", changed("      ews-a:", "      on:"), 'write "on"'),
    ("not a mapping", "- 1\n", "1:1: a policy is a mapping"),
    ("empty", "", "1:1: the file is empty"),
    # Keys
    ("an unknown key", changed("    owner: us\n", "    ownr: us\n"), "25:5: unknown key `ownr` in conduit line; did you mean owner?"),
    ("a missing key", changed("    to: cell\n", ""), "21:3: conduit line needs `to`"),
    ("a key of a later version", with_rule(RULE + ", between: [scada, cell]"), "`between` is not there yet"),
    ("a wrong version", changed("version: 1,", "version: 2,"), "1:19: `version` is 2; 1 to 1"),
    ("no header", changed('policy: {version: 1, site: works, owner: us, revision: "1"}\n', ""), "the policy has no header"),
    # Values
    ("a wrong denial", changed("    to: cell\n", "    to: cell\n    on_deny: rejct\n"), "did you mean reject?"),
    ("a wrong word", changed("    to: cell\n", "    to: cell\n    mode: enforced\n"), "did you mean enforce?"),
    ("a security level", changed("security_level: 3", "security_level: 5"), "11:21: `security_level` is 5; 1 to 4"),
    ("a date", changed("2099-01-01", "2099-13-01"), "27:16: `review_by` is a date"),
    # Zones and assets
    ("overlapping zones", changed("networks: [10.20.0.0/24]", "networks: [10.20.0.0/24, 10.10.0.128/25]"),
     "the zones scada and cell overlap: 10.10.0.0/24 and 10.10.0.128/25"),
    ("host bits", changed("networks: [10.20.0.0/24]", "networks: [10.20.0.7/24]"), "did you mean 10.20.0.0/24?"),
    ("an address in no network of its zone", changed("10.10.0.20", "10.11.0.20"),
     "9:14: 10.11.0.20 is not in the networks of the zone scada"),
    ("an address twice", changed("ews-a: 10.10.0.20", "ews-a: 10.10.0.11"), "ews-a and hmi-1 have the same address"),
    ("a name twice", changed("      gateway:", "      hmi-1:"), "16:7: the asset hmi-1 stands twice"),
    ("a MAC address", changed("ews-a: 10.10.0.20", 'ews-a: {address: 10.10.0.20, mac: "01:00:5e:00:00:01"}'),
     "is not the MAC address of a device"),
    ("not an address", changed("ews-a: 10.10.0.20", "ews-a: 10.10.0.256"), "9:14: '10.10.0.256' is not an IP address"),
    ("VLAN 0", changed("[right0]", "[right0]\n    vlans: [0]"), "14:13: a VLAN id (or `untagged`) cannot be 0; 1 to 4094"),
    ("a VLAN that is a word", changed("[right0]", "[right0]\n    vlans: [untaged]"), "a VLAN id (or `untagged`) cannot be 'untaged'"),
    ("in no VLAN", changed("[right0]", "[right0]\n    vlans: []"), "the zone cell is in no VLAN"),
    ("VLANs without interfaces", changed("interfaces: [right0]", "vlans: [10]"), "has `vlans` and no `interfaces`"),
    # Conduits
    ("an unknown zone", changed("    to: cell\n", "    to: cel\n"), "23:9: unknown zone 'cel'; did you mean cell?"),
    ("a conduit with itself", changed("    to: cell\n", "    to: scada\n"), "joins the zone scada with itself"),
    ("rules that are no list", GOOD[: GOOD.index("      - {name: reads")], "`rules` is a list"),
    # Rules
    ("an unknown function", with_rule("allow: modbus, clients: hmi-1, servers: plc-b, functions: read_holding_register"),
     "31:68: unknown function 'read_holding_register'; did you mean read_holding_registers (3)?"),
    ("a function that is none", with_rule("allow: modbus, clients: hmi-1, servers: plc-b, functions: 128"), "has no function 128; 1 to 127"),
    ("no functions", with_rule("allow: modbus, clients: hmi-1, servers: plc-b"), "needs `functions`"),
    ("an empty list of functions", with_rule("allow: modbus, clients: hmi-1, servers: plc-b, functions: []"), "needs `functions`"),
    ("everything taken out", with_rule("allow: modbus, clients: hmi-1, servers: plc-b, functions: 3, except: 3"), "takes everything out"),
    ("an unknown asset", with_rule("allow: modbus, clients: hmi-1, servers: plc-c, functions: read"),
     "31:50: unknown asset, group or zone 'plc-c'; did you mean plc-b?"),
    ("an address in no zone", with_rule("allow: modbus, clients: 10.99.0.1, servers: plc-b, functions: read"),
     "31:34: 10.99.0.1 is in no zone"),
    ("clients and servers on one side", with_rule("allow: modbus, clients: hmi-1, servers: ews-a, functions: read"),
     "clients and servers are both in the zone scada"),
    ("clients on both sides", with_rule("allow: modbus, clients: [hmi-1, plc-b], servers: ews-a, functions: read"),
     "the clients are in both zones"),
    ("an empty list of clients", with_rule("allow: modbus, clients: [], servers: plc-b, functions: read"), "`clients` is empty"),
    ("a key of another protocol", with_rule("allow: dnp3, clients: hmi-1, servers: rtu-7, functions: read, units: 1"),
     "`units` means nothing in a rule that allows dnp3; it belongs to modbus"),
    ("functions of a tcp rule", with_rule("allow: tcp, clients: hmi-1, servers: plc-b, port: 80, functions: read"),
     "`functions` means nothing in a rule that allows tcp"),
    ("Modbus over UDP", with_rule("allow: modbus, transport: udp, clients: hmi-1, servers: plc-b, functions: read"),
     "Modbus/TCP is not carried over udp"),
    ("a tcp rule without a port", with_rule("allow: tcp, clients: hmi-1, servers: plc-b"), "needs `port`"),
    ("a port", with_rule("allow: tcp, clients: hmi-1, servers: plc-b, port: 70000"), "a port cannot be 70000; 1 to 65535"),
    ("a range that runs backwards", with_rule("allow: tcp, clients: hmi-1, servers: plc-b, port: 90-80"), "80-90"),
    ("a unit", with_rule(RULE + ", units: 256"), "`units` cannot be 256; 0 to 255"),
    ("EtherTypes", with_rule("allow: ethernet, clients: hmi-1, servers: plc-b"), "`allow: ethernet` is not there yet"),
    ("an unknown protocol", with_rule("allow: modbsu, clients: hmi-1, servers: plc-b"), "did you mean modbus?"),
    ("one port, two protocols", with_rule("allow: dnp3, clients: hmi-1, servers: plc-b, port: 502, functions: read"),
     "both name port 502 between the same addresses; a port carries one protocol"),
    ("an inspected port that is opened as well", with_rule("allow: tcp, clients: hmi-1, servers: plc-b, port: 500-510"),
     "a port is either inspected or opened as it is"),
    ("a group that contains itself", changed("  clients: [hmi-1, ews-a]", "  clients: [hmi-1, clients]").replace(
        "clients: hmi-1, servers: plc-b", "clients: clients, servers: plc-b"), "the group clients contains itself"),
    # The policy's own tests
    ("a test that fails", GOOD + "tests:\n  - {from: hmi-1, to: plc-b, modbus: 6, expect: allow}\n",
     "32:5: the test expects allow, the policy says the opposite; No rule"),
    ("a test that fails the other way", GOOD + "tests:\n  - {from: hmi-1, to: plc-b, modbus: 3, expect: deny}\n",
     "the rule 'reads' allows it"),
    ("a test that asks nothing", GOOD + "tests:\n  - {from: hmi-1, to: plc-b, expect: deny}\n", "a question asks one thing"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_error(tmp_path: Path, text: str, expected: str) -> None:
    loaded = load(tmp_path, text)
    errors = told(loaded)
    assert loaded.policy is None
    assert any(expected in error for error in errors), errors
    assert all(each.place.file == str(tmp_path / "policy.yaml") for each in loaded.problems)


WARNINGS = [
    ("no purpose", changed("    purpose: tests\n", ""), "has no `purpose`"),
    ("no owner", changed("    owner: us\n", ""), "has no `owner`"),
    ("nobody approved", changed("    approved_by: us\n", ""), "has no `approved_by`"),
    ("no review", changed("    review_by: 2099-01-01\n", ""), "has no `review_by`"),
    ("the review is due", changed("2099", "2001"), "was due on 2001-01-01"),
    ("no security level", changed("    security_level: 3\n", ""), "has no `security_level`"),
    ("no interfaces", changed("    interfaces: [right0]\n", ""), "the zone cell has no `interfaces`"),
    ("shared interfaces", changed("right0", "left0"), "share the interface left0"),
    ("a VLAN and a shared interface", changed("[right0]", "[left0]\n    vlans: [untagged, 10]"), "share the interface left0"),
    ("no VLAN in common", changed("[right0]", "[right0]\n    vlans: 10"), "the zones scada and cell have no VLAN in common"),
    ("drop on TCP", changed("    to: cell\n", "    to: cell\n    on_deny: drop\n"), "leaves a denied TCP session hanging"),
    ("static at SL-T 4", changed("security_level: 3", "security_level: 4").replace("    to: cell\n", "    to: cell\n    fail: static\n"),
     "joins a zone of SL-T 4"),
    ("a shadowed rule", with_rule("name: again, allow: modbus, clients: hmi-1, servers: plc-b, functions: 3"),
     "31:9: the rule 'again' allows nothing that 'reads' does not"),
    ("a name given twice", with_rule("name: reads, allow: modbus, clients: ews-a, servers: plc-b, functions: 6"),
     "the rule name 'reads' stands twice"),
    ("an exception of nothing", with_rule("allow: modbus, clients: ews-a, servers: plc-b, functions: read, except: 16"),
     "takes nothing out"),
    ("a unit that the asset does not have", with_rule(
        "allow: modbus, clients: ews-a, servers: plc-b, functions: read, units: 2"), "the rule names no unit of plc-b"),
    ("watched and enforced between the same zones", GOOD + GOOD[GOOD.index("  line:"):GOOD.index("    rules:")].replace("line:", "other:")
     + "    mode: monitor\n    rules:\n      - {name: web, allow: tcp, clients: hmi-1, servers: plc-b, port: 80}\n",
     "other is only monitored, but line joins the same zones and is enforced; what neither of them names is dropped"),
    ("no rules", GOOD[: GOOD.index("      - {name: reads")].replace("    rules:\n", "    rules: []\n"), "has no rules"),
    ("networks within each other", changed("networks: [10.20.0.0/24]", "networks: [10.20.0.0/24, 10.20.0.0/25]"),
     "10.20.0.0/25 lies within 10.20.0.0/24"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS])
def test_warning(tmp_path: Path, text: str, expected: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.policy is not None, told(loaded)
    assert any(expected in warning for warning in told(loaded, "warning")), told(loaded, "warning")


def test_the_good_policy_has_no_problem(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).problems == ()


def test_all_errors_at_once_in_their_order(tmp_path: Path) -> None:
    text = GOOD.replace("functions: read}\n      - {name: poll", "functions: reed}\n      - {name: poll")
    text = text.replace("10.10.0.20", "10.99.0.20").replace("to: cell", "to: cellar").replace("owner: us, ", "")
    errors = told(load(tmp_path, text))
    assert [error.split(":")[0] for error in errors] == ["9", "23"]
    text = text.replace("to: cellar", "to: cell")
    errors = told(load(tmp_path, text))
    assert [error.split(":")[0] for error in errors] == ["9", "29"]


def test_a_rule_narrower_in_units_is_not_shadowed(tmp_path: Path) -> None:
    rules = [
        "name: a, allow: modbus, clients: ews-a, servers: gateway, functions: read, units: 10",
        "name: b, allow: modbus, clients: ews-a, servers: gateway, functions: read",
    ]
    loaded = load(tmp_path, GOOD + "".join(f"      - {{{rule}}}\n" for rule in rules))
    assert told(loaded, "warning") == []
    loaded = load(tmp_path, GOOD + "".join(f"      - {{{rule}}}\n" for rule in reversed(rules)))
    assert "the rule 'a' allows nothing" in told(loaded, "warning")[0]


def test_files_and_folders(tmp_path: Path) -> None:
    head, conduits = GOOD[: GOOD.index("conduits:")], GOOD[GOOD.index("conduits:") :]
    (tmp_path / "1.yaml").write_text(head)
    (tmp_path / "2.yml").write_text(conduits)
    (tmp_path / "notes.txt").write_text("not YAML: [")
    loaded = load_policy([tmp_path])
    assert loaded.policy is not None
    assert len(loaded.policy.rules) == 2
    assert load_policy([tmp_path / "1.yaml", tmp_path / "2.yml"]).policy == loaded.policy


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    loaded = load_policy([tmp_path / "none.yaml", tmp_path / "empty"])
    assert [each.message for each in loaded.problems] == [
        "the folder holds no .yaml file",
        "there is no such file or folder",
    ]


def test_names_of_two_files_meet(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(GOOD)
    (tmp_path / "2.yaml").write_text("zones:\n  cell: {networks: [10.30.0.0/24]}\n")
    loaded = load_policy([tmp_path])
    assert loaded.policy is None
    (error,) = (each for each in loaded.problems if each.severity == "error")
    assert (error.message, error.place.file) == ("the zone cell stands twice", str(tmp_path / "2.yaml"))
    assert "1.yaml:10:3" in error.hint


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00",
        b"a: &x [*x]",
        b"a: &a [1]\nb: &b [*a,*a]\n" + b"",
        b"zones: !!python/object:os.system {}",
        b"\x00",
    ],
)
def test_hostile_bytes_are_problems(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(data)
    loaded = load_policy([path])
    assert loaded.policy is None
    assert loaded.problems


def test_an_explosion_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    loaded = load(tmp_path, "\n".join(lines))
    assert "aliases make this file stand for too much" in told(loaded)[0]
