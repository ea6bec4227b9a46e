"""What the YAML of a policy may say: one table of fields a section, which the loader and the editors read.

`json_schema` prints the same tables as JSON Schema for editors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from conduitfw.protocols.registry import PROTOCOLS


@dataclass(frozen=True)
class Field:
    """One key of a section."""

    title: str  # what it means, for people
    kind: str = "text"  # text | texts | number | numbers | choice | flag | date | seconds | section
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


TOP: dict[str, Field] = {
    "policy": Field("who stands for this policy", "section"),
    "zones": Field("the zones, by name", "section"),
    "groups": Field("names for several assets, by name", "section"),
    "conduits": Field("the conduits, by name", "section"),
    "tests": Field("what the policy has to allow and to deny, tried whenever it is read", "section"),
    "tags": _later("points in engineering units"),
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
    "assets": Field("its devices: name and address, or name and a mapping", "section"),
}

ASSET: dict[str, Field] = {
    "address": Field("IP address", required=True),
    "mac": Field('MAC address, in quotes: "00:1b:1b:aa:00:20"'),
    "units": Field("Modbus unit ids that answer here: 1, 10-14, [1, 2]", "numbers"),
    "link_address": Field("DNP3 link address", "number", lowest=0, highest=65519),
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
        choices=("drop", "reset"),
        refused={"reject": "answered denials come with a later version: use reset"},
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
    "registers": _later("address ranges"),
    "values": _later("limits of values"),
    "objects": _later("DNP3 object groups and variations"),
    "points": _later("DNP3 point indexes"),
    "controls": _later("DNP3 control codes"),
    "select_before_operate": _later("pairing of SELECT and OPERATE"),
    "sub_functions": _later("sub-functions"),
    "quantity": _later("limits of quantities"),
    "at_most": _later("rate limits"),
    "write": _later("writes by tag"),
    "read": _later("reads by tag"),
    "between": _later("EtherTypes between zones"),
    "type": _later("EtherTypes"),
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
        field.rule_field: tuple(
            name
            for name, each in PROTOCOLS.items()
            if any(other.rule_field == field.rule_field for other in each.address_fields)
        )
        for protocol in PROTOCOLS.values()
        for field in protocol.address_fields
    },
}

TEST: dict[str, Field] = {
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
    "expect": Field("allow or deny", "choice", required=True, choices=("allow", "deny")),
    "register": _later("address ranges"),
    "value": _later("limits of values"),
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
            "conduits": _named(_object(CONDUIT, rules={"type": "array", "minItems": 1, "items": _rule()})),
            "tests": {"type": "array", "items": _object(TEST)},
        },
    }


def _assets() -> dict[str, object]:
    return _named({"anyOf": [{"type": "string"}, _object(ASSET)]})


def _rule() -> dict[str, object]:
    functions = _list_or_one({"anyOf": [{"enum": function_words()}, {"type": "integer", "minimum": 0}]})
    return _object(RULE, functions=functions, **{"except": functions})


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
    if each.kind == "numbers":
        return _list_or_one(
            {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}]}
        )
    if each.kind == "texts":
        return _list_or_one({"type": "string"})
    return {"type": ["string", "number"]}
