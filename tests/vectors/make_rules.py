"""Writes rules/modbus.yaml and rules/dnp3.yaml: `python -m tests.vectors.make_rules`."""

from __future__ import annotations

from pathlib import Path

from tests.vectors import (
    dnp3_functions,
    dnp3_objects,
    dnp3_operations,
    dnp3_tags,
    modbus_functions,
    modbus_points,
    modbus_responses,
    modbus_tags,
    modbus_values,
)
from tests.vectors.case import Cases

RULES = Path(__file__).parent / "rules"


def texts() -> dict[str, str]:
    """The files by their names."""
    modbus = Cases("modbus", ("hmi-1", "plc-b"))
    for part in (modbus_functions, modbus_points, modbus_values, modbus_responses, modbus_tags):
        part.add_to(modbus)
    dnp3 = Cases("dnp3", ("hmi-1", "rtu-7"))
    for part in (dnp3_functions, dnp3_objects, dnp3_operations, dnp3_tags):
        part.add_to(dnp3)
    return {
        "modbus.yaml": modbus.text(
            "Modbus/TCP: what each field of a rule allows, denies, and never lets through.", ("pymodbus", "scapy")
        ),
        "dnp3.yaml": dnp3.text("DNP3: what each field of a rule allows, denies, and never lets through.", ("dnp3py",)),
    }


if __name__ == "__main__":
    RULES.mkdir(exist_ok=True)
    for name, text in texts().items():
        (RULES / name).write_text(text)
