"""What the YAML of a policy may say: one table of fields a section, which the loader and the editors read.

`json_schema` prints the same tables as JSON Schema for editors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from conduitfw.protocols.catalogue import Catalogue
from conduitfw.protocols.registry import PROTOCOLS


@dataclass(frozen=True)
class Field:
    """One key of a section."""

    title: str  # what it means, for people
    # text | texts | number | real | numbers | quantities | choice | flag | date | seconds | section | mapping
    kind: str = "text"
    required: bool = False
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)  # words that later versions will know
    later: bool = False  # the key belongs to a later version: naming it is an error, never ignored
    instead: str = ""  # what to do until then


_LATER = "a rule that names it would be wider than it says"


def _later(title: str) -> Field:
    return Field(title, later=True, instead=_LATER)


WORD_ORDERS = ("big", "little")  # the most, or the least significant word first

TOP: dict[str, Field] = {
    "policy": Field("who stands for this policy", "section"),
    "zones": Field("the zones, by name", "section"),
    "groups": Field("names for several assets, by name", "section"),
    "conduits": Field("the conduits, by name", "section"),
    "tests": Field("what the policy has to allow and to deny, tried whenever it is read", "section"),
    "tags": Field("points by their names in the plant, with limits in engineering units", "section"),
}

HEADER: dict[str, Field] = {
    "version": Field("version of the policy language", "number", required=True, lowest=1, highest=1),
    "site": Field("the plant"),
    "owner": Field("who answers for the policy"),
    "revision": Field("which state of the policy this is"),
    "description": Field("what it is for"),
}

ZONE: dict[str, Field] = {
    "description": Field("what the zone is"),
    "security_level": Field("target security level SL-T (IEC 62443-3-2)", "number", lowest=1, highest=4),
    "networks": Field("the addresses that belong to it, as networks (10.20.0.0/24)", "texts", required=True),
    "interfaces": Field("bridge ports or interfaces on which these addresses may arrive, and nowhere else", "texts"),
    "vlans": Field("VLAN ids in whose tags they arrive there, on a bridge", "numbers", choices=("untagged",)),
    "assets": Field("its devices: name and address, or name and a mapping", "section"),
}

ASSET: dict[str, Field] = {
    "address": Field("IP address", required=True),
    "mac": Field('MAC address, in quotes: "00:1b:1b:aa:00:20"'),
    "units": Field("Modbus unit ids that answer here: 1, 10-14, [1, 2]", "numbers"),
    "link_address": Field("DNP3 link address", "number", lowest=0, highest=65519),
    "answer_within": Field("how long an answer may take: 10 s; a rule's `transaction_timeout` goes first", "seconds"),
    "on_no_answer": Field("what a write that it never answers does to the session", "choice", choices=("end", "go_on")),
    "description": Field("what it is"),
}

CONDUIT: dict[str, Field] = {
    "from": Field("the zone on one side, normally the clients'", required=True),
    "to": Field("the zone on the other side, normally the servers'", required=True),
    "purpose": Field("why the conduit is there"),
    "owner": Field("who answers for it"),
    "approved_by": Field("who approved it", "texts"),
    "review_by": Field("when it has to be reviewed", "date"),
    "agreement": Field("reference of the data exchange agreement"),
    "mode": Field("enforce, or only tell what would be denied", "choice", choices=("enforce", "monitor")),
    "fail": Field(
        "when no engine decides: drop (closed), or let the kernel go on by address, protocol and port (static)",
        "choice",
        choices=("closed", "static"),
    ),
    "on_deny": Field(
        "how a denial is carried out",
        "choice",
        choices=("reject", "reset", "drop"),
    ),
    "midstream": Field(
        "a session that was there before the engine: end it, or ask the server and go on",
        "choice",
        choices=("reset", "resync"),
    ),
    "rules": Field("what may pass; everything else is denied", "section", required=True),
}

RULE: dict[str, Field] = {
    "name": Field("stands in every event"),
    "allow": Field(
        "the protocol",
        "choice",
        required=True,
        choices=(*PROTOCOLS, "tcp", "udp", "icmp"),
        refused={"ethernet": "other EtherTypes come with a later version; they do not pass"},
    ),
    "clients": Field("who opens: assets, groups, zones, addresses, networks", "texts", required=True),
    "servers": Field("who answers", "texts", required=True),
    "port": Field("the servers' port: a number, a range 1000-1010, a list", "numbers"),
    "transport": Field("tcp or udp", "choice", choices=("tcp", "udp")),
    "functions": Field("by number, by the standard's name, by group, `all`, or a list of these", "texts"),
    "except": Field("functions taken out again: `functions: write` with `except: 23`", "texts"),
    "units": Field("Modbus unit ids: 1, 10-14, [1, 2]", "numbers"),
    "master": Field("link addresses of the DNP3 masters", "numbers"),
    "outstation": Field("link addresses of the DNP3 outstations", "numbers"),
    "unsolicited": Field("DNP3 outstations may send unsolicited responses", "flag"),
    "outstanding": Field("how many requests may be unanswered at a time", "number", lowest=1, highest=16),
    "transaction_timeout": Field("how long an answer may take: 10 s", "seconds"),
    "responses": Field(
        "lenient takes answers with another unit id (some gateways)", "choice", choices=("strict", "lenient")
    ),
    "description": Field("why the rule is there"),
    "read": Field("tags that may be read: the functions follow from them", "texts"),
    "write": Field("tags that may be written: the functions follow from them", "texts"),
    "sub_functions": Field(
        "of a function that has them, only these: {diagnostics: query, umas: [query, session]}",
        "mapping",
    ),
    "registers": Field("addresses by table, and no others: {holding_registers: 200-299, coils: [1, 3]}", "mapping"),
    "files": Field("records by file, and no others: {4: 0-99, 5-7: all}", "mapping"),
    "quantity": Field("how many items a request may name: 1-16", "numbers"),
    "objects": Field("DNP3 objects, and no others: g12v1, g30 (every variation), class 0-3, a group's name", "texts"),
    "points": Field("indexes by DNP3 object group: {g12: 0-7}; groups that are not named are left alone", "mapping"),
    "controls": Field("control codes of a CROB by name or number: [close, trip]", "texts"),
    "select_before_operate": Field(
        "required: an OPERATE passes only for what was selected just before", "choice", choices=("required", "optional")
    ),
    "values": Field("what may be written: 0-1000, or type, word_order, min, max, ranges", "quantities"),
    "at_most": Field("requests that change something, of each client at each server: 30/min, 5/10 s"),
    "between": _later("EtherTypes between zones"),
    "type": _later("EtherTypes"),
}

TAG: dict[str, Field] = {
    "asset": Field("whose point it is", required=True),
    "table": Field("Modbus: coils, discrete_inputs, input_registers or holding_registers"),
    "address": Field("Modbus: address of its (first) register or coil, from 0", "number", lowest=0, highest=65535),
    "unit_id": Field("Modbus unit id, where the asset has several", "number", lowest=0, highest=255),
    "group": Field("DNP3: object group that operates or shows it: g41, analog_input"),
    "index": Field("DNP3: its index", "number", lowest=0, highest=0xFFFFFFFF),
    "outstation": Field("DNP3: link address, where the asset does not say it", "number", lowest=0, highest=65519),
    "type": Field("uint16, int16, uint32, int32, float32, uint64, int64, float64, where it is a register"),
    "word_order": Field("of a number of several registers: the word that comes first", "choice", choices=WORD_ORDERS),
    "scale": Field("engineering value = raw value * scale + offset", "real"),
    "offset": Field("see scale", "real"),
    "unit": Field("engineering unit, for people: C, bar, m3/h"),
    "min": Field("lowest value that may be written, in engineering units", "real"),
    "max": Field("highest value that may be written", "real"),
    "max_step": Field("how far a value that is written may be from the last one seen", "real"),
    "description": Field("what it is"),
}

VALUES: dict[str, Field] = {
    "type": Field("uint16 (the default), int16, uint32, int32, float32, uint64, int64, float64; DNP3: number"),
    "word_order": Field("of a number of several registers: the word that comes first", "choice", choices=WORD_ORDERS),
    "min": Field("lowest value", "real"),
    "max": Field("highest value", "real"),
    "ranges": Field("or ranges: [0-10, 20 to 30]", "quantities"),
}

# Keys of inspected rules only, and the protocols they belong to; (): all of them.
INSPECTED_ONLY: dict[str, tuple[str, ...]] = {
    "functions": (),
    "except": (),
    "outstanding": (),
    "transaction_timeout": (),
    "responses": (),
    "unsolicited": ("dnp3",),
    **{
        key: tuple(name for name, each in PROTOCOLS.items() if key in each.limits)
        for protocol in PROTOCOLS.values()
        for key in sorted(protocol.limits)
    },
    **{
        field.rule_field: tuple(
            name
            for name, each in PROTOCOLS.items()
            if any(other.rule_field == field.rule_field for other in each.address_fields)
        )
        for protocol in PROTOCOLS.values()
        for field in protocol.address_fields
    },
}

# What a question may say: of `explain`, and of the policy's tests.
QUESTION: dict[str, Field] = {
    "from": Field("the client: asset or address", required=True),
    "to": Field("the server: asset or address", required=True),
    **{name: Field(f"a function of {protocol.title}") for name, protocol in PROTOCOLS.items()},
    "tcp": Field("a TCP port", "number", lowest=1, highest=65535),
    "udp": Field("a UDP port", "number", lowest=1, highest=65535),
    "icmp": Field("ICMP", "flag"),
    "port": Field("the server's port, where it is not the protocol's own", "number", lowest=1, highest=65535),
    "transport": Field("tcp or udp", "choice", choices=("tcp", "udp")),
    "unit": Field("Modbus unit id", "number", lowest=0, highest=255),
    "master": Field("link address of the master", "number", lowest=0, highest=65535),
    "outstation": Field("link address of the outstation", "number", lowest=0, highest=65535),
    "sub_function": Field("sub-function, by name or number"),
    "register": Field("Modbus address of the first item", "number", lowest=0, highest=65535),
    "quantity": Field("how many items", "number", lowest=1, highest=65535),
    "value": Field("what is written, or a list", "quantities"),
    "type": Field("how the value stands in registers: uint16 (the default), int16, float32, ..."),
    "word_order": Field("which word of it comes first", "choice", choices=WORD_ORDERS),
    "file": Field("Modbus file number", "number", lowest=1, highest=65535),
    "record": Field("record within the file", "number", lowest=0, highest=65535),
    "object": Field("DNP3 object: g12v1, or g12 for any variation"),
    "point": Field("DNP3 index", "number", lowest=0, highest=0xFFFFFFFF),
    "control": Field("control code of a CROB, by name or number"),
    "selected": Field("whether what is operated was selected just before", "flag"),
    "tag": Field("a tag: where it is, and the value in engineering units"),
}

# Which of these belong to one protocol only.
QUESTION_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("unit", "sub_function", "register", "type", "word_order", "file", "record"), ("modbus",)),
    **dict.fromkeys(("master", "outstation", "object", "point", "control", "selected"), ("dnp3",)),
    **dict.fromkeys(("quantity", "value", "tag", "port", "transport"), tuple(PROTOCOLS)),
}

TEST: dict[str, Field] = {
    **QUESTION,
    "expect": Field("allow or deny", "choice", required=True, choices=("allow", "deny")),
}


def function_words(names: tuple[str, ...] = tuple(PROTOCOLS)) -> list[str]:
    """Every name and group that `functions` may hold, of the given protocols."""
    words: dict[str, None] = {"all": None}
    for name in names:
        catalogue = PROTOCOLS[name].functions
        words.update(dict.fromkeys([*catalogue.groups, *catalogue.by_name]))
    return list(words)


def json_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of a policy file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "conduitfw policy",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "policy": _object(HEADER),
            "zones": _named(_object({**ZONE, "assets": Field(ZONE["assets"].title)}, assets=_assets())),
            "groups": _named(_list_or_one({"type": "string"})),
            "tags": _named(_object(TAG, table={"enum": _names("registers")}, type={"enum": _types()})),
            "conduits": _named(_object(CONDUIT, rules={"type": "array", "minItems": 1, "items": _rule()})),
            "tests": {"type": "array", "items": _object(TEST)},
        },
    }


def _assets() -> dict[str, object]:
    return _named({"anyOf": [{"type": "string"}, _object(ASSET)]})


def _rule() -> dict[str, object]:
    functions = _list_or_one({"anyOf": [{"enum": function_words()}, {"type": "integer", "minimum": 0}]})
    detailed = {
        protocol.functions.name(function): _words(catalogue)
        for protocol in PROTOCOLS.values()
        for function, catalogue in protocol.details.items()
    }
    controls = [protocol.controls for protocol in PROTOCOLS.values() if protocol.controls is not None]
    rates: dict[str, object] = {"type": "string", "pattern": r"^[0-9]+ */ *[0-9]* *(s|min|h)$"}
    return _object(
        RULE,
        functions=functions,
        **{"except": functions},
        sub_functions={"type": "object", "properties": detailed},
        registers=_by_name("registers", ""),
        points=_by_name("points", _GROUP),
        objects=_list_or_one({"anyOf": [{"enum": _names("objects")}, {"type": "string", "pattern": _OBJECT}]}),
        controls=_words(*controls),
        values={"anyOf": [_value(RULE["values"]), _object(VALUES, type={"enum": _types()})]},
        at_most=rates,
    )


# As policy/rule_limits.py reads them.
_GROUP = "^g[0-9]+$"
_OBJECT = "^(g[0-9]+(v[0-9]+(-[0-9]+)?)?|class [0-3](-[0-3])?)$"


def _names(limit: str) -> list[str]:
    """The names of tables or object groups, of the protocols that have this limit."""
    return [name for each in PROTOCOLS.values() if limit in each.limits for name in each.spaces.by_name]


def _types() -> list[str]:
    return sorted({name for protocol in PROTOCOLS.values() for name in protocol.encodings})


def _by_name(limit: str, pattern: str) -> dict[str, object]:
    """A mapping from these (or what the pattern says) to numbers and ranges."""
    names: dict[str, object] = {"enum": _names(limit)}
    keys = {"anyOf": [names, {"pattern": pattern}]} if pattern else names
    return {"type": "object", "propertyNames": keys, "additionalProperties": _list_or_one({"anyOf": [*_NUMBERS]})}


def _words(*catalogues: Catalogue) -> dict[str, object]:
    """Names, groups and numbers of these."""
    words = ["all"]
    for catalogue in catalogues:
        words += [*catalogue.groups, *catalogue.by_name]
    number = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]"}]}
    return _list_or_one({"anyOf": [{"enum": words}, number]})


def _named(of: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "additionalProperties": of}


def _list_or_one(of: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [of, {"type": "array", "items": of}]}


def _object(fields: Mapping[str, Field], **replaced: dict[str, object]) -> dict[str, object]:
    known = {name: each for name, each in fields.items() if not each.later}
    properties: dict[str, object] = {}
    for name, each in known.items():
        properties[name] = {"description": each.title, **(replaced.get(name) or _value(each))}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [name for name, each in known.items() if each.required],
    }


def _value(each: Field) -> dict[str, object]:
    if each.kind == "choice":
        return {"enum": list(each.choices)}
    if each.kind == "number":
        return {"type": "integer", "minimum": each.lowest, "maximum": each.highest}
    if each.kind == "flag":
        return {"type": "boolean"}
    if each.kind == "date":
        return {"type": "string", "format": "date"}
    if each.kind == "seconds":
        return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[0-9.]+ ?(ms|s|min)?$"}]}
    if each.kind == "real":
        return {"type": "number"}
    if each.kind == "numbers":
        words = [{"enum": list(each.choices)}] if each.choices else []
        return _list_or_one({"anyOf": [*_NUMBERS, *words]})
    if each.kind == "quantities":
        return _list_or_one({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[-+]?[0-9]"}]})
    if each.kind == "mapping":
        return _named(_list_or_one({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}))
    if each.kind == "texts":
        return _list_or_one({"type": "string"})
    return {"type": ["string", "number"]}


_NUMBERS = ({"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"})
