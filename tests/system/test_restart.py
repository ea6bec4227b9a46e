"""The service manager starts it again: sessions go on as they were. What it keeps must not outlive its use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from conduitfw.demo.clients import adu
from conduitfw.demo.network import FIREWALL, SCADA
from tests.chaos.bench import HMI, PLC, POLICY, Bench, bench
from tests.chaos.events import Tally
from tests.chaos.load import FORBIDDEN, READ
from tests.system.hands import connection, exactly
from tests.system.test_kill_points import Bystanders, events

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    with bench(sessions=()) as found:
        yield found


def bound(running: Bench) -> int:
    """How many queues somebody holds."""
    return len(running.network.run(FIREWALL, ["cat", "/proc/net/netfilter/nfnetlink_queue"]).stdout.splitlines())


def test_sessions_go_on_as_they_were(running: Bench) -> None:
    for _ in range(3):
        with ExitStack() as stack:
            bystanders = Bystanders(running, stack)
            before = running.firewall.status()
            running.firewall.restart()
            after = running.firewall.status()
            assert after["pid"] != before["pid"]
            assert after["worker_counters"]["packets"] >= before["worker_counters"]["packets"]
            bystanders.go_on()
        assert running.firewall.manager.kept == []  # as long as it runs it holds its queues alone
    assert [each["now"] for each in events(running, "engine-upgrade")] == [after["version"]] * 3
    assert running.forbidden() == {"plc": 0, "rtu": 0}
    assert events(running, "ruleset-restored") == []


def test_what_is_denied_right_behind_a_restart_is_told(running: Bench) -> None:
    """Control is there at once, also where another restart follows: else its events would be nobody's."""
    tally = Tally(running.events)
    tally.read()
    before = tally.denials
    for _ in range(3):
        running.firewall.restart()
        with connection(running.network.namespace(SCADA), HMI, PLC, 502) as client:
            client.sendall(adu(FORBIDDEN, 1))
            assert exactly(client, 9)[-2:] == b"\x86\x01"
    running.firewall.restart()
    tally.read()
    assert tally.denials - before == 3


def test_what_comes_meanwhile_waits(running: Bench) -> None:
    scada = running.network.namespace(SCADA)
    with connection(scada, HMI, PLC, 502) as client:
        client.sendall(adu(READ, 1))
        exactly(client, 29)
        running.firewall.process.terminate()
        running.firewall.process.wait(20)
        assert bound(running) == 2
        client.sendall(adu(READ, 2) + adu(FORBIDDEN, 3))
        time.sleep(0.3)
        running.firewall.start()
        assert exactly(client, 38)[-2:] == b"\x86\x01"
    assert running.forbidden()["plc"] == 0


def guards(running: Bench) -> list[str]:
    """The guards' tables."""
    listed = running.network.run(FIREWALL, ["nft", "list", "tables"]).stdout.split()
    return [word for word in listed if word.startswith("conduitfw_guard")]


def waiting(running: Bench) -> int:
    """How many packets the queues hold."""
    listed = running.network.run(FIREWALL, ["cat", "/proc/net/netfilter/nfnetlink_queue"]).stdout.splitlines()
    return sum(int(line.split()[2]) for line in listed)


def test_what_waits_already_is_not_lost(running: Bench) -> None:
    """The client would send it again only after ten seconds."""
    scada = running.network.namespace(SCADA)
    listed = running.network.run(SCADA, ["ip", "-4", "route", "show", "dev", "eth0"]).stdout.splitlines()
    for route in listed:
        running.network.run(SCADA, ["ip", "route", "change", *route.split(), "dev", "eth0", "rto_min", "10s"])
    try:
        before = guards(running)
        assert len(before) == 1
        with connection(scada, HMI, PLC, 502) as client:
            client.sendall(adu(READ, 1))
            exactly(client, 29)
            os.kill(running.firewall.serving()["pid"], signal.SIGSTOP)
            client.sendall(adu(READ, 2))
            deadline = time.monotonic() + 5
            while not waiting(running):
                assert time.monotonic() < deadline
            running.firewall.process.terminate()
            running.firewall.process.wait(20)
            assert waiting(running)
            running.firewall.start()
            client.settimeout(5.0)
            assert len(exactly(client, 29)) == 29
        assert guards(running) == before  # it has gone on: else what waited would have gone with it
    finally:
        for route in listed:
            running.network.run(SCADA, ["ip", "route", "change", *route.split(), "dev", "eth0"])


def test_a_policy_that_is_refused_leaves_nothing_with_the_manager(running: Bench) -> None:
    running.firewall.process.terminate()
    running.firewall.process.wait(20)
    assert set(running.firewall.manager.kept) >= {
        "handover",
        "memory-flows-0-of-1",
        "queue-6200",
        "queue-6201",
        "guard",
    }
    running.firewall.policy.write_text(POLICY.replace("functions: read", "functions: reed"))
    try:
        with pytest.raises(OSError, match="the policy was refused"):
            running.firewall.start()
        running.firewall.process.wait(20)
        assert running.firewall.manager.kept == []
        assert bound(running) == 0
    finally:
        running.firewall.policy.write_text(POLICY)
    running.firewall.start()


def test_what_another_layout_left_is_not_read(running: Bench) -> None:
    """Sessions are taken up as after a cold start: this conduit ends them."""
    with connection(running.network.namespace(SCADA), HMI, PLC, 502) as client:
        client.sendall(adu(READ, 1))
        exactly(client, 29)
        running.firewall.process.terminate()
        running.firewall.process.wait(20)
        running.firewall.manager.rewrite("handover", b'"layout":1', b'"layout":0')
        running.firewall.start()

        def ask() -> None:
            client.sendall(adu(READ, 2))  # an acknowledgement that came late may have ended it already
            exactly(client, 29)

        with pytest.raises(ConnectionResetError):
            ask()


def test_stopped_for_good(running: Bench) -> None:
    """(The last test here.)"""
    running.firewall.end()
    assert bound(running) == 0 and guards(running) == []
