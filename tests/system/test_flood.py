"""One client floods a conduit with packets that have to be inspected: others are served, in it and elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.chaos.bench import CLOSED, HMI, PLC, RTU, Bench, bench
from tests.chaos.faults import MANY, flood
from tests.system.test_kill_points import events

pytestmark = [pytest.mark.system, pytest.mark.alone]
SECONDS = 4.0


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    with bench() as found:
        found.settle()
        yield found


@pytest.mark.parametrize(("host", "port"), [(PLC, 502), (RTU, 20000)], ids=["closed", "static"])
def test_flood(running: Bench, host: str, port: int) -> None:
    before = running.firewall.status()
    told = len(events(running, "overload")), len(events(running, "overload-over"))
    running.forbidden()
    running.take()
    sender = flood(running, host, port, SECONDS, MANY[:1])
    sender.communicate("go\n", 60)
    found = running.take()
    # Where the static queue is full, packets pass uninspected: a session may not be taken up again (DESIGN.md, 4).
    for name, each in found.items():
        assert each["resets"] + each["stuck"] == 0 or (host == RTU and name not in CLOSED), (name, found)
        assert each["answers"] > SECONDS, (name, found)
    assert running.forbidden()["plc"] == 0
    after = running.firewall.status()
    dropped = [status["kernel_counters"]["flooded"]["packets"] for status in (before, after)]
    assert dropped[1] > dropped[0] + 100
    if host == RTU:  # what one source may send there keeps the queue short: nothing passes uninspected
        assert len(events(running, "overload")) == told[0]
        uninspected = [status["kernel_counters"]["uninspected"]["packets"] for status in (before, after)]
        assert uninspected[1] == uninspected[0]
        assert running.forbidden()["rtu"] == 0
        return
    assert len(events(running, "overload")) > told[0]
    assert any(each["now"] and each["times"] for each in after["overload"])
    began = time.monotonic()
    while len(events(running, "overload-over")) == told[1]:
        assert time.monotonic() - began < 60, "it was never over"
        time.sleep(0.5)
    assert not any(each["now"] for each in running.firewall.status()["overload"])
    assert running.forbidden() == {"plc": 0, "rtu": 0}


QUIET_SESSIONS = [
    {"name": "polls", "kind": "polls", "source": HMI, "host": PLC, "port": 502, "every": 0.02},
    {"name": "DNP3 polls", "kind": "dnp3", "source": HMI, "host": RTU, "port": 20000, "every": 0.05},
]


@pytest.mark.parametrize(("host", "port"), [(PLC, 502), (RTU, 20000)], ids=["closed", "static"])
def test_a_flow_that_floods_does_not_starve_the_others_of_its_source(host: str, port: int) -> None:
    """Else the flood would take all that the source may have queued, and one packet in many of others came through."""
    with bench(QUIET_SESSIONS) as running:
        running.settle()
        before = running.firewall.status()["kernel_counters"]
        flood(running, host, port, 1.0, [HMI], flows=1).communicate("go\n", 60)  # until it is known
        running.take()
        flood(running, host, port, SECONDS, [HMI], flows=1).communicate("go\n", 60)
        found = running.take()
        for name, each in found.items():
            assert each["resets"] + each["stuck"] == 0, (name, found)
            assert each["answers"] > 10 * SECONDS, (name, found)
        after = running.firewall.status()["kernel_counters"]
        assert after["flooded_flow"]["packets"] > before["flooded_flow"]["packets"] + 1000
        assert running.forbidden() == {"plc": 0, "rtu": 0}
