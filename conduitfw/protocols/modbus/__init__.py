"""Modbus/TCP (MODBUS Application Protocol V1.1b3, MODBUS Messaging on TCP/IP V1.0b)."""

from __future__ import annotations

from conduitfw.protocols import AddressField, Definition, Item, Unit
from conduitfw.protocols.modbus import points, requests
from conduitfw.protocols.modbus.adu import LONGEST, frame
from conduitfw.protocols.modbus.catalogue import EXCEPTIONS, FILE_RECORDS, FUNCTIONS, QUIET, SUB_FUNCTIONS, TABLES
from conduitfw.protocols.modbus.encodings import ENCODINGS, encodings_of
from conduitfw.protocols.modbus.refusal import refusal
from conduitfw.protocols.modbus.session import SESSION_SIZE, ModbusSession, ModbusUnit

__all__ = ["MODBUS"]


def describe(unit: Unit) -> dict[str, object]:
    """The fields of a unit as `replay` prints them."""
    described: dict[str, object] = {
        "function": unit.function,
        "name": FUNCTIONS.name(unit.function),
        "unit": unit.address[0],
    }
    if unit.detail >= 0 and unit.function in SUB_FUNCTIONS:
        described["sub_function"] = unit.detail
        described["sub_function_name"] = SUB_FUNCTIONS[unit.function].name(unit.detail)
    if isinstance(unit, ModbusUnit) and unit.exception:
        described["exception"] = unit.exception
        described["exception_name"] = EXCEPTIONS.name(unit.exception)
    items = [_described(item) for item in unit.items()]
    if items:
        described["items"] = items
    return described


def _described(item: Item) -> dict[str, object]:
    quantity = item.last - item.first + 1
    if item.space == FILE_RECORDS:
        return {"file": item.variation, "record": item.first, "quantity": quantity, "writes": item.writes}
    found: dict[str, object] = {
        "table": TABLES.name(item.space), "address": item.first, "quantity": quantity, "writes": item.writes,
    }  # fmt: skip
    if item.writes and item.values:
        found["values"] = list(item.values)
    return found


def exchanges(address: tuple[int, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Ten holding registers that are read, and one that is written."""
    adu, pdu = requests.adu, requests.pdu
    unit, write = address[0], pdu(6, 0, 0)
    return (
        (adu(pdu(3, 0, 10), 1, unit), adu(pdu(3, data=bytes((20, *bytes(20)))), 1, unit)),
        (adu(write, 2, unit), adu(write, 2, unit)),
    )


MODBUS = Definition(
    name="modbus",
    title="Modbus/TCP",
    port=502,
    transports=("tcp",),
    max_unit=6 + LONGEST,
    session_size=SESSION_SIZE,
    transaction_timeout=5.0,
    functions=FUNCTIONS,
    address_fields=(
        AddressField(name="unit", rule_field="units", asset_field="units", asset_side="server", lowest=0, highest=255),
    ),
    frame=frame,
    session=ModbusSession,
    refusal=refusal,
    describe=describe,
    limits=frozenset(("sub_functions", "registers", "files", "quantity", "values", "at_most", "read", "write")),
    spaces=TABLES,
    last_point=points.LAST_ADDRESS,
    addressed=points.ADDRESSED,
    quiet=QUIET,
    quiet_details={
        function: frozenset().union(*(catalogue.groups[name] for name in catalogue.groups if name != "session"))
        for function, catalogue in SUB_FUNCTIONS.items()
    },
    gateway_broadcast=0,
    everyone=frozenset((0,)),
    asked=points.asked,
    exchanges=exchanges,
    tag_keys=("table", "address", "unit_id"),
    tag_functions=points.tag_functions,
    encodings=ENCODINGS,
    encodings_of=encodings_of,
    published={
        "Functions": FUNCTIONS,
        **{f"Sub-functions of {FUNCTIONS.name(number)} ({number})": each for number, each in SUB_FUNCTIONS.items()},
        "Tables": TABLES,
        "Exceptions": EXCEPTIONS,
    },
    details=SUB_FUNCTIONS,
)
