"""DNP3 over TCP and UDP (IEEE 1815-2012): link frames, transport segments, application fragments."""

from __future__ import annotations

import sys

from conduitfw.protocols import AddressField, Definition, Encoding, Item, Kind, Unit
from conduitfw.protocols.dnp3.catalogue import (
    ANALOG_DEADBAND,
    ANALOG_OUTPUT,
    BINARY_OUTPUT_COMMAND,
    CONTROL_CODES,
    FUNCTIONS,
    IMPLIED,
    INDICATIONS,
    LAYOUTS,
    OBJECT_GROUPS,
    OBJECTS,
    QUIET,
    SHOWN_IN,
)
from conduitfw.protocols.dnp3.link import FIRST_RESERVED_ADDRESS, MAX_FRAME, SELF_ADDRESS, build, frame
from conduitfw.protocols.dnp3.objects import LAST_INDEX, Header, asked
from conduitfw.protocols.dnp3.refusal import refusal
from conduitfw.protocols.dnp3.session import SESSION_SIZE, Dnp3Session, Dnp3Unit

__all__ = ["DNP3"]


def describe(unit: Unit) -> dict[str, object]:
    """The fields of a frame as `replay` prints them: the function where the frame completes its message."""
    described: dict[str, object] = {}
    if isinstance(unit, Dnp3Unit) and unit.part:
        described["part"] = True
    elif unit.function >= 0:
        described["function"] = unit.function
        described["name"] = FUNCTIONS.name(unit.function)
    described["master"], described["outstation"] = unit.address
    if isinstance(unit, Dnp3Unit):
        if unit.indications >= 0:
            described["iin"] = [INDICATIONS.name(bit) for bit in range(16) if unit.indications >> bit & 1]
        objects = [_header(header) for header in unit.objects.headers]
        if objects:
            described["objects"] = objects
        operated = [
            {"group": item.space, "variation": item.variation, "index": item.first, **_content(item)}
            for item in (unit.items() if unit.kind is Kind.REQUEST else ())
            if item.code >= 0 or (item.writes and item.values)
        ]
        if operated:
            described["operated"] = operated
    return described


def _header(header: Header) -> dict[str, object]:
    found: dict[str, object] = {
        "group": header.group, "variation": header.variation, "qualifier": header.qualifier,
        "name": OBJECT_GROUPS.name(header.group),
    }  # fmt: skip
    if header.first >= 0:
        found["first"], found["last"] = header.first, header.last
    elif header.count >= 0:
        found["count"] = header.count
    return found


def _content(item: Item) -> dict[str, object]:
    if item.code >= 0:
        return {"control": item.code, "control_name": CONTROL_CODES.name(item.code)}
    return {"value": item.values[0] if item.values else None}


def tag_functions(group: int, width: int, writes: bool) -> frozenset[int]:
    """Reads are function 1; outputs are selected and operated, or operated at once; deadbands are written."""
    if not writes:
        return frozenset((1,))
    if group == ANALOG_DEADBAND:
        return frozenset((2,))
    return frozenset((3, 4, 5)) if group in (BINARY_OUTPUT_COMMAND, ANALOG_OUTPUT) else frozenset()


# Groups whose objects are measured or set numbers; the object says itself how its number stands in it.
NUMBERED = frozenset(key >> 8 for key, layout in LAYOUTS.items() if layout.number)
NUMBER = Encoding(
    "number", 1, -sys.float_info.max, sys.float_info.max, lambda raw, big: raw[0], lambda number, big: (number,)
)


def exchanges(address: tuple[int, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """A read of all classes, which is answered with sixteen inputs; a relay that is operated (12.1), and its echo."""
    master, outstation = address
    classes, inputs = bytes.fromhex("3c0206 3c0306 3c0406 3c0106"), bytes.fromhex("0101 00 00 0f 5aa5")
    relay = bytes.fromhex("0c01 28 0100 0000 03 01 64000000 64000000 00")

    def request(sequence: int, function: int, objects: bytes) -> bytes:
        return build(0xC4, outstation, master, bytes((0xC0 | sequence, 0xC0 | sequence, function)) + objects)

    def answer(sequence: int, objects: bytes) -> bytes:
        return build(0x44, master, outstation, bytes((0xC0 | sequence, 0xC0 | sequence, 129, 0, 0)) + objects)

    return (request(0, 1, classes), answer(0, inputs)), (request(1, 5, relay), answer(1, relay))


DNP3 = Definition(
    name="dnp3",
    title="DNP3",
    port=20000,
    transports=("tcp", "udp"),
    max_unit=MAX_FRAME,
    session_size=SESSION_SIZE,
    transaction_timeout=15.0,
    functions=FUNCTIONS,
    address_fields=tuple(
        AddressField(
            name=name, rule_field=name, asset_field="link_address", asset_side=side, lowest=0, highest=65535,
            highest_unnamed=FIRST_RESERVED_ADDRESS - 1,
        )
        for name, side in (("master", "client"), ("outstation", "server"))
    ),
    frame=frame,
    session=Dnp3Session,
    refusal=refusal,
    describe=describe,
    implied=IMPLIED,
    limits=frozenset(("objects", "points", "controls", "values", "select_before_operate", "at_most", "read", "write")),
    spaces=OBJECT_GROUPS,
    last_point=LAST_INDEX,
    addressed=frozenset(range(256)),
    quiet=QUIET,
    gateway_broadcast=-1,
    everyone=frozenset(range(SELF_ADDRESS, 0x10000)),
    asked=asked,
    exchanges=exchanges,
    tag_keys=("group", "index", "outstation"),
    tag_functions=tag_functions,
    encodings={"number": NUMBER},
    encodings_of=lambda group: ("number",) if group in NUMBERED else (),
    published={
        "Functions": FUNCTIONS,
        "Object groups": OBJECT_GROUPS,
        "Objects": OBJECTS,
        "Control codes": CONTROL_CODES,
        "Internal indications": INDICATIONS,
    },
    controls=CONTROL_CODES,
    controls_at=BINARY_OUTPUT_COMMAND << 8 | 1,
    shown_in=SHOWN_IN,
)  # fmt: skip
