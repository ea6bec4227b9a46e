"""Problems of what rules limit, of tags and of questions: each says where, what, and what would be right."""

# ruff: noqa: E501  (a case a line)

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from conduitfw.policy.schema import RULE, TAG, json_schema
from tests.policy.text import GOOD, load, told, with_rule

MODBUS = "name: x, allow: modbus, clients: ews-a, servers: plc-b, "
DNP3 = "name: x, allow: dnp3, clients: ews-a, servers: rtu-7, "
TAGS = """\
tags:
  level: {asset: plc-b, table: holding_registers, address: 10, max: 100}
  flow: {asset: rtu-7, group: g41, index: 3, max: 100}
"""


def with_tags(*tags: str, rule: str = "") -> str:
    """The good policy with tags, and one more rule."""
    text = with_rule(rule) if rule else GOOD
    return text.replace("conduits:\n", TAGS + "".join(f"  {tag}\n" for tag in tags) + "conduits:\n", 1)


def with_test(words: str) -> str:
    return with_tags() + f"tests:\n  - {{{words}, expect: allow}}\n"


ERRORS = [
    # sub_functions
    ("an unknown sub-function", with_rule(MODBUS + "functions: 8, sub_functions: {diagnostics: retrun_query_data}"), "did you mean return_query_data (0)?"),
    ("a group of sub-functions", with_rule(MODBUS + "functions: 8, sub_functions: {diagnostics: querry}"), "did you mean the group query"),
    ("a function without sub-functions", with_rule(MODBUS + "functions: 16, sub_functions: {16: 1}"), "16 is no function with sub-functions; these have some: diagnostics (8)"),
    ("sub-functions of what the rule does not allow", with_rule(MODBUS + "functions: 16, sub_functions: {diagnostics: 0}"), "the rule does not allow diagnostics; name it under `functions` as well"),
    ("a sub-function beyond all", with_rule(MODBUS + "functions: 90, sub_functions: {umas: 300}"), "umas has no sub-function 300; 1 to 255"),
    # registers, files
    ("an unknown table", with_rule(MODBUS + "functions: 16, registers: {holding_register: 1-2}"), "31:93: unknown table 'holding_register'; did you mean holding_registers?"),
    ("registers without a table", with_rule(MODBUS + "functions: 16, registers: 1-2"), "`registers` is a mapping"),
    ("an address beyond 65535", with_rule(MODBUS + "functions: 16, registers: {coils: 65536}"), "coils cannot be 65536; 0 to 65535"),
    ("registers that run backwards", with_rule(MODBUS + "functions: 16, registers: {holding_registers: 9-2}"), "the range 9-2 runs backwards; 2-9"),
    ("an empty table", with_rule(MODBUS + "functions: 16, registers: {coils: }"), "coils cannot be ''"),
    ("registers of a vendor's function", with_rule(MODBUS + "functions: [16, umas], registers: {coils: 1}"), "`registers` cannot hold for umas: what they touch is not in the request; give them a rule of their own"),
    ("registers of DNP3", with_rule(DNP3 + "functions: read, registers: {coils: 1}"), "`registers` means nothing in a rule that allows dnp3; it belongs to modbus"),
    ("a file", with_rule(MODBUS + "functions: 20, files: {0: 1-2}"), "a file cannot be 0; 1 to 65535"),
    ("a record", with_rule(MODBUS + "functions: 20, files: {4: 10000}"), "a record cannot be 10000; 0 to 9999"),
    # quantity, values, at_most
    ("a quantity that reads in two ways", with_rule(MODBUS + "functions: 16, quantity: 10"), "`quantity: 10` reads in two ways; 1-10"),
    ("a value that is none", with_rule(MODBUS + "functions: 16, values: many"), "`values` cannot be 'many'; a number or a range: 0-1000, -50 to 50, 1.5"),
    ("values that run backwards", with_rule(MODBUS + "functions: 16, values: 9-2"), "the range 9-2 runs backwards; 2 to 9"),
    ("a value beyond its type", with_rule(MODBUS + "functions: 16, values: 0-70000"), "0-70000 does not fit uint16; it holds 0-65535"),
    ("an unknown type", with_rule(MODBUS + "functions: 16, values: {type: flot32, min: 1}"), "unknown type 'flot32'; did you mean float32?"),
    ("an unknown key of values", with_rule(MODBUS + "functions: 16, values: {typ: int16, min: 1}"), "unknown key `typ` in `values`; did you mean type?"),
    ("a wide type without registers", with_rule(MODBUS + "functions: 16, values: {type: float32, max: 10}"), "numbers of float32 take 2 registers: where do they begin?"),
    ("half a number", with_rule(MODBUS + "functions: 16, registers: {holding_registers: 10-12}, values: {type: float32, max: 10}"), "holding_registers 10-12 is not whole numbers of float32; 2 registers each: 10-11"),
    ("the order of one word", with_rule(MODBUS + "functions: 16, values: {type: int16, max: 10, word_order: big}"), "int16 is one word: it has no order"),
    ("a word order", with_rule(MODBUS + "functions: 16, values: {type: int32, max: 10, word_order: middle}"), "`word_order` cannot be 'middle'; one of big, little"),
    ("values turned round", with_rule(MODBUS + "functions: 16, values: {type: int16, min: 10, max: 1}"), "`min` 10.0 is above `max` 1.0"),
    ("no values", with_rule(MODBUS + "functions: 16, values: {type: int16}"), "`values` names no values"),
    ("values of a vendor's function", with_rule(MODBUS + "functions: [16, 90], values: 0-10"), "`values` cannot hold for umas"),
    ("a rate", with_rule(MODBUS + "functions: 16, at_most: 30 a minute"), "`at_most` is so many in such a time, 1 to 60000 in 1 s to 24 h; for instance 30/min, 5/10 s"),
    ("a rate of nothing", with_rule(MODBUS + "functions: 16, at_most: 0/s"), "`at_most` is so many in such a time"),
    # DNP3
    ("an unknown object", with_rule(DNP3 + "functions: read, objects: [analogue_input]"), "unknown object 'analogue_input'; did you mean analog_input?"),
    ("a class beyond 3", with_rule(DNP3 + 'functions: read, objects: ["class 4"]'), "unknown object 'class 4'"),
    ("a variation beyond all", with_rule(DNP3 + "functions: read, objects: [g12v256]"), "unknown object 'g12v256'"),
    ("an unknown group", with_rule(DNP3 + "functions: read, points: {binary_inputs: 1}"), "unknown object group 'binary_inputs'; did you mean binary_input?"),
    ("an index", with_rule(DNP3 + "functions: read, points: {g1: 4294967296}"), "g1 cannot be 4294967296; 0 to 4294967295"),
    ("an unknown control code", with_rule(DNP3 + "functions: control, controls: [clos]"), "unknown control code 'clos'; did you mean close (65)?"),
    ("select before operate, and around it", with_rule(DNP3 + "functions: control, select_before_operate: required"), "the rule allows direct_operate, direct_operate_no_response, which select nothing"),
    ("select before operate", with_rule(DNP3 + "functions: [select, operate], select_before_operate: yes"), "`select_before_operate` cannot be 'yes'; one of required, optional"),
    ("controls of Modbus", with_rule(MODBUS + "functions: 16, controls: close"), "`controls` means nothing in a rule that allows modbus; it belongs to dnp3"),
    # Rules that name tags
    ("an unknown tag", with_tags(rule=MODBUS + "write: lvel"), "34:73: unknown tag 'lvel'; did you mean level?"),
    ("a tag of another protocol", with_tags(rule=MODBUS + "write: flow"), "flow is a point of DNP3"),
    ("a tag of another asset", with_tags(rule="name: x, allow: modbus, clients: ews-a, servers: gateway, write: level"), "level is a point of plc-b, which is none of the rule's servers"),
    ("functions beside tags", with_tags(rule=MODBUS + "functions: 16, write: level"), "`functions` beside `read` or `write`: they follow from the tags"),
    ("no tags", with_tags(rule=MODBUS + "write: []"), "`write` is empty; name at least one tag"),
    ("a tag that cannot be written", with_tags("seen: {asset: plc-b, table: input_registers, address: 1}", rule=MODBUS + "write: seen"), "seen cannot be written: it lies in input_registers"),
    # Tags
    ("an unknown asset", with_tags("a: {asset: plc-c, table: coils, address: 1}"), "23:14: unknown asset 'plc-c'; did you mean plc-b?"),
    ("a tag that is nowhere", with_tags("a: {asset: plc-b}"), "where is a?; it needs `table` and `address` or `group` and `index`"),
    ("half a place", with_tags("a: {asset: plc-b, table: coils}"), "tag a needs `address`"),
    ("a table", with_tags("a: {asset: plc-b, table: coyls, address: 1}"), "unknown table 'coyls'; did you mean coils?"),
    ("a type", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, type: flot32}"), "a point of holding_registers has no type 'flot32'; did you mean float32?"),
    ("a type of a coil", with_tags("a: {asset: plc-b, table: coils, address: 1, type: uint16}"), "a point of coils has no type 'uint16'; one of bit"),
    ("the end of the table", with_tags("a: {asset: plc-b, table: holding_registers, address: 65535, type: float32}"), "a reaches beyond 65535; float32 takes 2"),
    ("one of several units", with_tags("a: {asset: gateway, table: coils, address: 1}"), "tag a needs `unit_id`; gateway has 10, 11, 12, 13, 14"),
    ("a unit that the asset does not have", with_tags("a: {asset: gateway, table: coils, address: 1, unit_id: 9}"), "gateway has no such unit_id; it has 10, 11, 12, 13, 14"),
    ("a key of the other protocol", with_tags("a: {asset: plc-b, table: coils, address: 1, outstation: 9}"), "where is a?"),
    ("limits turned round", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, min: 5, max: 2}"), "`min` 5 is above `max` 2"),
    ("a limit that the type does not hold", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, scale: 0.1, max: 7000}"), "`max` 7000 is no value of uint16; it holds 0-6553.5"),
    ("limits of a breaker", with_tags("a: {asset: rtu-7, group: g12, index: 1, max: 1}"), "a point of binary_output_command holds no number; leave `max` out"),
    ("a step of nothing", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, max_step: 0}"), "`max_step` is above 0"),
    ("a scale of nothing", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, scale: 0}"), "`scale` is 0"),
    ("a limit that is no number", with_tags("a: {asset: plc-b, table: holding_registers, address: 1, max: hot}"), "`max` is a number, not 'hot'"),
    ("two readings of one register", with_tags("a: {asset: plc-b, table: holding_registers, address: 9, type: float32}"), "level and a are the same point, or share a part of one"),
    ("a tag twice", with_tags("level: {asset: plc-b, table: coils, address: 9}"), "`level` stands twice"),
    # Questions
    ("a test that expects what a limit denies", with_test("from: hmi-1, to: plc-b, modbus: 6, register: 1"), "the policy says the opposite; No rule of the conduit"),
    ("a point of what", with_test("from: hmi-1, to: rtu-7, dnp3: read, point: 3"), "a point of which object?"),
    ("a value of what", with_test("from: hmi-1, to: rtu-7, dnp3: operate, value: 3"), "a value of what?"),
    ("a register of DNP3", with_test("from: hmi-1, to: rtu-7, dnp3: read, register: 3"), "`register` means nothing with dnp3; it belongs to modbus"),
    ("a register of diagnostics", with_test("from: hmi-1, to: plc-b, modbus: diagnostics, register: 3"), "diagnostics names no such thing"),
    ("a sub-function of a write", with_test("from: hmi-1, to: plc-b, modbus: 16, sub_function: 3"), "write_multiple_registers has no sub-functions"),
    ("a value of a read", with_test("from: hmi-1, to: plc-b, modbus: 3, value: 3"), "read_holding_registers writes nothing"),
    ("a value that does not fit", with_test("from: hmi-1, to: plc-b, modbus: 6, value: 70000"), "70000.0 does not fit uint16"),
    ("a value of a coil", with_test("from: hmi-1, to: plc-b, modbus: 5, value: 2"), "2.0 is neither 0 nor 1"),
    ("an unknown type of a value", with_test("from: hmi-1, to: plc-b, modbus: 16, value: 2, type: flot32"), "did you mean float32?"),
    ("an unknown tag in a question", with_test("from: hmi-1, to: plc-b, modbus: 16, tag: levl"), "unknown tag 'levl'; did you mean level?"),
    ("a tag of another server", with_test("from: hmi-1, to: gateway, modbus: 16, tag: level"), "level is a Modbus/TCP point of plc-b"),
    ("a function that does not touch the tag", with_test("from: hmi-1, to: plc-b, modbus: 5, tag: level"), "write_single_coil does not touch level; one of read_holding_registers"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_error(tmp_path: Path, text: str, expected: str) -> None:
    loaded = load(tmp_path, text)
    errors = told(loaded)
    assert loaded.policy is None
    assert any(expected in error for error in errors), errors
    assert not any(error.startswith(("0:", "1:1:")) for error in errors), errors


WARNINGS = [
    ("a rate of reads", with_rule(MODBUS + "functions: read, at_most: 3/s"), "`at_most` limits nothing"),
    ("values of reads", with_rule(MODBUS + "functions: read, values: 0-3"), "`values` limits nothing"),
    ("nothing to pair", with_rule(DNP3 + "functions: read, select_before_operate: required"), "`select_before_operate` limits nothing"),
    ("limits of what nobody writes", with_tags("a: {asset: plc-b, table: input_registers, address: 1, max: 3}"), "a lies in input_registers: nobody writes it"),
    ("a rule that a wider one covers", GOOD + "".join(f"      - {{{rule}}}\n" for rule in (
        MODBUS + "functions: [3, 16], registers: {holding_registers: 0-9}",
        MODBUS.replace("x", "y") + "functions: 16, registers: {holding_registers: 0-9}, values: 0-5")), "allows nothing that 'x' does not"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS])
def test_warning(tmp_path: Path, text: str, expected: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.policy is not None, told(loaded)
    assert any(expected in warning for warning in told(loaded, "warning")), told(loaded, "warning")


def test_a_limit_makes_a_rule_worth_having(tmp_path: Path) -> None:
    """A limited rule does not cover a wider one, nor one with other limits."""
    rules = [
        MODBUS + "functions: [3, 16], registers: {holding_registers: 0-9}",
        MODBUS.replace("x", "y") + "functions: 16, registers: {holding_registers: 0-10}",
        MODBUS.replace("x", "z") + "functions: 16",
    ]
    loaded = load(tmp_path, GOOD + "".join(f"      - {{{rule}}}\n" for rule in rules))
    assert told(loaded, "warning") == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rule: rule.update(registers=[1, 2]),
        lambda rule: rule.update(values={"typ": "int16"}),
        lambda rule: rule.update(at_most="often"),
        lambda rule: rule.update(select_before_operate="maybe"),
        lambda rule: rule.update(sub_functions={"diagnostics": "quory"}),
        lambda rule: rule.update(controls=["clos"]),
        lambda rule: rule.update(quantity="some"),
        lambda rule: rule.update(registers={"holding_register": 1}),
        lambda rule: rule.update(objects="analogue_input"),
        lambda rule: rule.update(points={"g": 1}),
        lambda rule: rule.update(values={"type": "flot32"}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(spoil: object) -> None:
    assert callable(spoil)
    policy = {"policy": {"version": 1}, "conduits": {"c": {"from": "a", "to": "b", "rules": [{
        "allow": "modbus", "clients": "x", "servers": "y", "functions": [3, 16],
        "registers": {"holding_registers": ["0-9", 12]}, "values": {"type": "int16", "min": -5}, "quantity": "1-3",
        "at_most": "30/min", "sub_functions": {"diagnostics": ["query", 3]}, "controls": "close",
        "objects": ["g12v1", "class 0-3", "analog_input"], "points": {"g12": "0-7", "binary_input": 3},
    }]}}}  # fmt: skip
    jsonschema.validate(policy, json_schema())
    spoil(policy["conduits"]["c"]["rules"][0])  # type: ignore[index]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(policy, json_schema())


def test_each_field_stands_in_a_worked_example_and_in_the_documentation() -> None:
    root = Path(__file__).parents[2]
    rules: set[str] = set()
    tags: set[str] = set()
    for file in (root / "policies").rglob("*.yaml"):
        policy = yaml.safe_load(file.read_text())
        for conduit in policy.get("conduits", {}).values():
            rules.update(key for rule in conduit["rules"] for key in rule)
        tags.update(key for tag in policy.get("tags", {}).values() for key in tag)
    documented = (root / "docs" / "policy.md").read_text()
    limits = ("registers", "files", "quantity", "values", "objects", "points", "controls", "select_before_operate",
              "sub_functions", "at_most", "read", "write")  # fmt: skip
    assert set(limits) - {"read"} <= rules
    assert {
        "asset",
        "table",
        "address",
        "type",
        "word_order",
        "scale",
        "unit",
        "min",
        "max",
        "max_step",
        "group",
    } <= tags
    assert all(f"`{key}`" in documented for key in (*limits, *TAG) if key != "description")
    assert set(limits) <= set(RULE)
