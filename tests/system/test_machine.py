"""The machine itself: reached by whoever manages it, and by no host of a zone, whatever address the bridge has."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, SCADA
from conduitfw.demo.show import Firewall, Stage, staged
from tests.system.hands import connection, inside, listener
from tests.system.test_sessions import MODBUS_READ, WITHOUT_TESTS, answered

pytestmark = pytest.mark.system
Start = Callable[..., Firewall]
HMI, OWN, MANAGED, MANAGER = "10.10.0.11", "10.10.0.1", "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module", params=["bridge", "router"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The firewall has an address in the zone and one on an interface of its own, and a service on both."""
    with staged(routed=request.param == "router") as found:
        network = found.network
        here, far = network.namespace(FIREWALL), network.namespace(CELL)
        network.run(FIREWALL, ["ip", "link", "add", "mgmt0", "type", "veth", "peer", "name", "far0", "netns", far])
        for zone, address, interface in ((FIREWALL, MANAGED, "mgmt0"), (CELL, MANAGER, "far0")):
            network.run(zone, ["ip", "address", "add", f"{address}/24", "dev", interface])
            network.run(zone, ["ip", "link", "set", interface, "up"])
        if request.param == "bridge":
            network.run(FIREWALL, ["ip", "address", "add", f"{OWN}/24", "dev", BRIDGE])
        ears = [listener(here, address, 2222) for address in (OWN, MANAGED)]
        yield found
        for ear in ears:
            ear.close()


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Start]:
    """start(options) runs the firewall, on the bridge or as the router that it finds, until the test ends."""
    with ExitStack() as stack:

        def begin(*options: str) -> Firewall:
            policy = tmp_path / "policy.yaml"
            policy.write_text(WITHOUT_TESTS)
            running = Firewall(stage.network, tmp_path, policy, "--remove-on-exit", *options, bridge="")
            stack.callback(running.process.wait, 10)
            stack.callback(running.command, "stop")
            return running

        yield begin


def reached(stage: Stage, zone: str, source: str, host: str) -> bool:
    try:
        connection(stage.network.namespace(zone), source, host, 2222).close()
    except TimeoutError:
        return False
    return True


def test_it_is_spoken_to_where_it_is_managed(stage: Stage, start: Start) -> None:
    firewall = start("--management", "mgmt0")
    assert reached(stage, CELL, MANAGER, MANAGED)
    before = firewall.counter("machine")
    assert not reached(stage, SCADA, HMI, OWN)
    assert firewall.counter("machine") > before
    assert answered(stage, MODBUS_READ), "what is between the zones goes on"


def test_it_speaks_where_it_is_managed(stage: Stage, start: Start) -> None:
    start("--management", "mgmt0")

    def speak(host: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(b"x", (host, 9))

    inside(stage.network.namespace(FIREWALL), lambda: speak(MANAGER))
    with pytest.raises(PermissionError):
        inside(stage.network.namespace(FIREWALL), lambda: speak(HMI))


def test_nobody_is_locked_out_unasked(stage: Stage, start: Start) -> None:
    start()
    assert reached(stage, SCADA, HMI, OWN)
    assert reached(stage, CELL, MANAGER, MANAGED)
