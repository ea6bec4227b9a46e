"""Which protocols there are. A third one is one more line here."""

from __future__ import annotations

from conduitfw.protocols import Definition
from conduitfw.protocols.dnp3 import DNP3
from conduitfw.protocols.modbus import MODBUS

PROTOCOLS: dict[str, Definition] = {protocol.name: protocol for protocol in (MODBUS, DNP3)}
