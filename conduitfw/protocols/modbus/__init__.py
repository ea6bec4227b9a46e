"""Modbus/TCP (MODBUS Application Protocol V1.1b3, MODBUS Messaging on TCP/IP V1.0b)."""

from __future__ import annotations

from conduitfw.protocols import AddressField, Definition, Unit
from conduitfw.protocols.modbus.adu import LONGEST, frame
from conduitfw.protocols.modbus.catalogue import EXCEPTIONS, FUNCTIONS
from conduitfw.protocols.modbus.session import SESSION_SIZE, ModbusSession, ModbusUnit

__all__ = ["MODBUS"]


def describe(unit: Unit) -> dict[str, object]:
    """The fields of a unit as `replay` prints them."""
    described: dict[str, object] = {
        "function": unit.function,
        "name": FUNCTIONS.name(unit.function),
        "unit": unit.address[0],
    }
    if isinstance(unit, ModbusUnit) and unit.exception:
        described["exception"] = unit.exception
        described["exception_name"] = EXCEPTIONS.get(unit.exception, f"exception_{unit.exception}")
    return described


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
    describe=describe,
)
