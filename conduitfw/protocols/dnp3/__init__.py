"""DNP3 over TCP and UDP (IEEE 1815-2012): link frames, transport segments, application fragments."""

from __future__ import annotations

from conduitfw.protocols import AddressField, Definition, Unit
from conduitfw.protocols.dnp3.catalogue import FUNCTIONS, IMPLIED
from conduitfw.protocols.dnp3.link import FIRST_RESERVED_ADDRESS, MAX_FRAME, frame
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
    return described


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
    describe=describe,
    implied=IMPLIED,
)  # fmt: skip
