"""Runs a case through the pipeline, or through nothing, to a server that is a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from conduitfw.policy.compile import Tables
from tests.evasion.actor import Actor
from tests.evasion.cases import DNP3_PORTS, MODBUS_PORTS
from tests.evasion.model import Dnp3, ModbusReads, ModbusStream, ModelNetwork
from tests.evasion.steps import Case

STREAM, READ = "a stream of units", "one read one request"
MODELS: dict[str, dict[str, Callable[[], ModbusStream | ModbusReads | Dnp3]]] = {
    "modbus": {
        STREAM: ModbusStream,
        READ: lambda: ModbusReads(65536),
        "260 octets a read": lambda: ModbusReads(260),
        "512 octets a read": lambda: ModbusReads(512),
    },
    "dnp3": {"frames by search": Dnp3},
}


@dataclass(frozen=True)
class Ran:
    """What a server executed, and whether that is what has to be."""

    executed: tuple[int, ...]

    def forbidden(self, case: Case) -> bool:
        return bool(case.forbidden & set(self.executed))

    def complete(self, case: Case, server: str) -> bool:
        """The control: all that is expected; of what a server cannot do by itself, at least one."""
        counted = Counter(self.executed)
        if server in case.fewer or (case.fewer and server in (READ, "260 octets a read", "512 octets a read")):
            return any(code in counted for code in case.expects)
        return counted >= Counter(case.expects)


def run(case: Case, server: str, tables: Tables | None, *, control: bool = False) -> Ran:
    network = ModelNetwork(tables, MODELS[case.protocol][server])
    port = DNP3_PORTS[0] if case.protocol == "dnp3" else MODBUS_PORTS[0]
    actor = Actor(network, case, 40000, port, 1_000_000, 0.0)
    actor.run(case.all_steps(control=control))
    actor.settle()
    network.pause(1.0)
    actor.settle()
    assert network.engine_errors() == 0
    return Ran(tuple(network.executed))
