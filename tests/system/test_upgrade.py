"""A new program takes the old one's place: sessions go on in whatever state they are, and nothing is opened."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduitfw.demo.network import FIREWALL, SCADA
from conduitfw.protocols.modbus.requests import adu
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


def upgrade(running: Bench) -> tuple[int, dict[str, object]]:
    """`conduitfw upgrade`: its status, and what it printed or said."""
    command = ["upgrade", "--json", "--socket", str(running.firewall.socket)]
    done = running.network.run(FIREWALL, [sys.executable, "-m", "conduitfw", *command], check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_sessions_go_on_as_they_were(running: Bench) -> None:
    """Twice: the second time the new program has inherited its queues itself. And a worker dies on them."""
    for _ in range(2):
        with ExitStack() as stack:
            bystanders = Bystanders(running, stack)
            before = running.firewall.status()
            assert upgrade(running) == (0, {"ok": True, "version": before["version"]})
            after = running.firewall.status()
            assert after["pid"] == before["pid"] and after["started"] > before["started"]
            assert after["workers"][0]["pid"] != before["workers"][0]["pid"]
            assert after["worker_counters"]["packets"] >= before["worker_counters"]["packets"]
            bystanders.go_on()
    assert [each["now"] for each in events(running, "engine-upgrade")] == [after["version"]] * 2
    with ExitStack() as stack:
        bystanders = Bystanders(running, stack)
        os.kill(running.firewall.serving()["pid"], 9)
        bystanders.go_on()
    assert running.forbidden() == {"plc": 0, "rtu": 0}
    assert events(running, "ruleset-restored") == []


def test_nobody_of_the_old_program_is_left(running: Bench) -> None:
    upgrade(running)
    time.sleep(1.0)
    names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in running.firewall.processes()[1:])
    assert names == ["cfw-control", "cfw-worker", "cfw-worker"]


def test_a_policy_that_the_new_program_refuses_changes_nothing(running: Bench) -> None:
    before = running.firewall.status()
    running.firewall.policy.write_text(POLICY.replace("functions: read", "functions: reed"))
    try:
        code, said = upgrade(running)
        assert code == 1
        assert "does not take the policy" in str(said["error"])
    finally:
        running.firewall.policy.write_text(POLICY)
    after = running.firewall.status()
    assert (after["started"], after["workers"][0]["pid"]) == (before["started"], before["workers"][0]["pid"])
    with connection(running.network.namespace(SCADA), HMI, PLC, 502) as client:
        client.sendall(adu(READ, 1) + adu(FORBIDDEN, 2))
        assert exactly(client, 38)[-2:] == b"\x86\x01"


def test_nobody_has_to_read_what_it_announces(running: Bench) -> None:
    """Each new program prints a line when it decides. Where the pipe is full, it decides and answers all the same."""
    out = running.firewall.process.stdout
    assert out is not None
    fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 4096)
    for _ in range(4):
        code, said = upgrade(running)
        assert code == 0, said
        assert running.firewall.status()["enforcing"]


def test_what_was_folded_is_told(running: Bench) -> None:
    """Denials that repeat are told together, after a while: who ends before that says how many there were."""
    tally = Tally(running.events)
    tally.read()
    before = tally.denials
    for _ in range(2):
        with connection(running.network.namespace(SCADA), HMI, PLC, 502) as client:
            for number in range(10):
                client.sendall(adu(FORBIDDEN, number))
                assert exactly(client, 9)[-2:] == b"\x86\x01"
        assert upgrade(running)[0] == 0
        running.firewall.status()  # another control process answers
    tally.read()
    assert tally.denials - before == 20
    assert running.firewall.status()["events"]["lost"] == 0


def test_the_queue_falls_to_nobody_when_the_new_program_dies(running: Bench) -> None:
    """Behind an upgrade as before it: no descriptor keeps a queue bound with nobody reading. (The last test here.)"""
    running.firewall.kill()
    began = time.monotonic()
    figures = ["cat", "/proc/net/netfilter/nfnetlink_queue"]
    while running.network.run(FIREWALL, figures).stdout:
        assert time.monotonic() - began < 5, "a queue is still bound"
        time.sleep(0.05)
