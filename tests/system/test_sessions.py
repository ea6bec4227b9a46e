"""The running firewall through changes and failures: reload, monitor, static, closed, a dead worker, UDP, IPv6."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conduitfw.demo.clients import READ
from conduitfw.demo.network import CELL, FIREWALL, SCADA
from conduitfw.demo.servers import SETPOINT
from conduitfw.demo.show import POLICY, Firewall, Stage
from conduitfw.protocols.modbus.requests import adu, pdu

pytestmark = pytest.mark.system
Start = Callable[..., Firewall]
HMI, EWS, PLC, RTU = "10.10.0.11", "10.10.0.20", "10.20.0.5", "10.20.0.9"
TEXT = POLICY.read_text()
WITHOUT_TESTS = TEXT[: TEXT.index("tests:")]

MODBUS_READ = {"kind": "modbus", "source": HMI, "host": PLC, "port": 502, "function": 3}
MODBUS_WRITE = {**MODBUS_READ, "function": 16}


def answered(stage: Stage, request: dict[str, Any]) -> bool:
    return bool(stage.ask(dict(request))["answered"])


def changed(old: str, new: str) -> str:
    assert old in WITHOUT_TESTS
    return WITHOUT_TESTS.replace(old, new)


def poller(stage: Stage, seconds: float) -> Any:
    """One session that polls all the time; its last line is how many answers came, and what ended it."""
    script = f"""
import socket, time
request = bytes.fromhex("{adu(READ).hex()}")
count, end = 0, time.monotonic() + {seconds}
try:
    with socket.create_connection(("{PLC}", 502), 5, source_address=("{HMI}", 0)) as connection:
        print("ready", flush=True)
        while time.monotonic() < end:
            connection.sendall(request)
            if not connection.recv(256):
                raise OSError("closed")
            count += 1
    print(count, "good")
except OSError as error:
    print(count, type(error).__name__)
"""
    process = stage.network.start(SCADA, [sys.executable, "-c", script])
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def result(process: Any) -> tuple[int, str]:
    count, how = process.communicate(timeout=30)[0].split()
    return int(count), how


class TestReload:
    def test_a_rule_comes_and_goes_and_sessions_live_on(self, stage: Stage, start: Start, tmp_path: Path) -> None:
        firewall = start(WITHOUT_TESTS)
        assert not answered(stage, MODBUS_WRITE)
        polls = poller(stage, 4)
        wider = tmp_path / "wider.yaml"
        wider.write_text(changed("functions: read\n", "functions: [read, 16]\n"))
        done = firewall.command("reload", str(wider))
        assert done.returncode == 0, done.stderr
        assert "in force: " in done.stdout
        assert answered(stage, MODBUS_WRITE)
        narrower = tmp_path / "policy.yaml"
        assert firewall.command("reload", str(narrower)).returncode == 0
        assert not answered(stage, MODBUS_WRITE)
        count, how = result(polls)
        assert how == "good"
        assert count > 100

    def test_a_session_that_is_no_longer_allowed_ends(self, stage: Stage, start: Start, tmp_path: Path) -> None:
        firewall = start(WITHOUT_TESTS)
        polls = poller(stage, 20)
        without = tmp_path / "without.yaml"
        rule = WITHOUT_TESTS[
            WITHOUT_TESTS.index("      - name: HMI reads") : WITHOUT_TESTS.index("      # Engineering")
        ]
        without.write_text(WITHOUT_TESTS.replace(rule, ""))
        assert firewall.command("reload", str(without)).returncode == 0
        assert result(polls)[1] == "ConnectionResetError"
        assert "policy-changed" in {event["event"].get("code") for event in firewall.events()}

    def test_a_bad_policy_changes_nothing(self, stage: Stage, start: Start, tmp_path: Path) -> None:
        firewall = start(WITHOUT_TESTS)
        before = firewall.status()["policy"]["digest"]
        bad = tmp_path / "bad.yaml"
        bad.write_text(changed("functions: read\n", "functions: reed\n"))
        done = firewall.command("reload", str(bad))
        assert done.returncode == 1
        assert f"{bad}:" in done.stderr
        assert "nothing was changed" in done.stderr
        assert firewall.status()["policy"]["digest"] == before
        assert answered(stage, MODBUS_READ)
        assert not answered(stage, MODBUS_WRITE)


class TestMonitor:
    def test_nothing_is_stopped_and_everything_is_told(self, stage: Stage, start: Start) -> None:
        firewall = start(changed("    fail: closed\n", "    fail: closed\n    mode: monitor\n"))
        written = len(stage.executed("plc"))
        assert answered(stage, MODBUS_WRITE)
        assert stage.executed("plc")[written:] == [16]
        # The stranger is named by no rule: the kernel lets it pass on a conduit that is only watched, and counts it.
        assert answered(stage, {**MODBUS_READ, "source": "10.10.0.66"})
        assert firewall.counter("watched") > 0
        told = [event for event in firewall.events() if event["event"].get("code") == "point"]
        assert told[0]["conduitfw"]["mode"] == "monitor"
        status = firewall.status()
        assert status["enforcing"] is False
        assert status["conduits"][0]["state"].startswith("NOT ENFORCING")

    def test_cut_units_pass_as_they_are(self, stage: Stage, start: Start) -> None:
        start(changed("    fail: closed\n", "    fail: closed\n    mode: monitor\n"))
        write = adu(pdu(16, 0, 1, data=b"\x02\x00\x07"))
        request = {"kind": "pieces", "source": HMI, "host": PLC, "port": 502, "answers": 1}
        assert answered(stage, {**request, "parts": [write[:9].hex(), write[9:].hex()]})


class TestFailure:
    def test_a_killed_worker_costs_no_session(self, stage: Stage, start: Start) -> None:
        firewall = start(WITHOUT_TESTS)
        polls = poller(stage, 4)
        for _ in range(5):
            time.sleep(0.4)
            os.kill(firewall.status()["workers"][0]["pid"], signal.SIGKILL)
        count, how = result(polls)
        assert how == "good"
        assert count > 100
        assert firewall.status()["workers"][0]["restarts"] == 5
        assert not answered(stage, MODBUS_WRITE)

    def test_control_may_be_killed(self, stage: Stage, start: Start) -> None:
        firewall = start(WITHOUT_TESTS)
        polls = poller(stage, 2)
        os.kill(firewall.status()["control"]["pid"], signal.SIGKILL)
        assert result(polls)[1] == "good"
        assert firewall.status()["control"]["restarts"] == 1

    def kill(self, firewall: Firewall) -> None:
        """Supervisor and all that belongs to it, at once: as a crash of the service would."""
        os.kill(firewall.status()["pid"], signal.SIGKILL)
        firewall.process.wait(10)
        time.sleep(0.5)

    def test_closed_drops_without_an_engine(self, stage: Stage, start: Start) -> None:
        self.kill(start(WITHOUT_TESTS))
        assert not answered(stage, MODBUS_READ)

    def test_static_goes_on_by_addresses_and_ports(self, stage: Stage, start: Start) -> None:
        self.kill(start(changed("fail: closed", "fail: static")))
        assert answered(stage, MODBUS_READ)
        assert not answered(stage, {**MODBUS_READ, "source": "10.10.0.66"})

    def test_stop_leaves_the_ruleset(self, stage: Stage, tmp_path: Path) -> None:
        policy = tmp_path / "policy.yaml"
        policy.write_text(WITHOUT_TESTS)
        firewall = Firewall(stage.network, tmp_path, policy)
        assert answered(stage, MODBUS_READ)
        done = firewall.command("stop")
        assert (done.returncode, firewall.process.wait(10)) == (0, 0), done.stderr
        assert not answered(stage, MODBUS_READ)
        assert "table bridge conduitfw" in stage.network.run(FIREWALL, ["nft", "list", "tables"]).stdout

    def test_a_second_firewall_is_refused(self, stage: Stage, start: Start, tmp_path: Path) -> None:
        start(WITHOUT_TESTS)
        (tmp_path / "two").mkdir()
        with pytest.raises(OSError, match="queue 6200 cannot be bound: another process has it"):
            Firewall(stage.network, tmp_path / "two", tmp_path / "policy.yaml")
        assert answered(stage, MODBUS_READ)


class TestOtherWays:
    def test_the_bridge_is_found_also_without_interfaces(self, stage: Stage, tmp_path: Path) -> None:
        """The policy's interfaces say which bridge is meant; without any, the machine's only one is."""
        for number, text in enumerate((WITHOUT_TESTS, re.sub(r"    interfaces: .*\n", "", WITHOUT_TESTS))):
            folder = tmp_path / str(number)
            folder.mkdir()
            policy = folder / "policy.yaml"
            policy.write_text(text)
            for zone, address in ((SCADA, PLC), (CELL, HMI)):  # ARP has to pass anew
                stage.network.run(zone, ["ip", "neigh", "flush", "to", address])
            firewall = Firewall(stage.network, folder, policy, "--remove-on-exit", bridge="")
            try:
                assert firewall.status()["where"] == "bridge br0"
                assert answered(stage, MODBUS_READ)
                assert not answered(stage, MODBUS_WRITE)
            finally:
                firewall.command("stop")
                firewall.process.wait(10)

    def test_ipv6(self, stage: Stage, start: Start) -> None:
        text = changed("      ews-a: 10.10.0.20\n", '      ews-a: 10.10.0.20\n      hmi-6: "fd00:10::11"\n')
        text = text.replace("      plc-b:", '      plc-6: {address: "fd00:20::5", units: [1]}\n      plc-b:')
        text += "      - {name: six, allow: modbus, clients: hmi-6, servers: plc-6, functions: read}\n"
        record = stage.folder / "six.record"
        words = ["-m", "conduitfw.demo.servers", "modbus", "fd00:20::5", "502", str(record)]
        server = stage.network.start(CELL, [sys.executable, *words])
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        start(text)
        ask = {"kind": "modbus", "source": "fd00:10::11", "host": "fd00:20::5", "port": 502}
        assert answered(stage, {**ask, "function": 3})
        assert not answered(stage, {**ask, "function": 6})
        assert not answered(stage, {**ask, "function": 3, "source": "fd00:10::66"})
        assert record.read_text().split() == ["3"]

    def test_dnp3_over_udp(self, stage: Stage, start: Start) -> None:
        from dnp3.application.builder import build_cold_restart_request, build_integrity_poll
        from dnp3.datalink.builder import build_unconfirmed_user_data

        text = changed("        master: 1\n", "        master: 1\n        transport: udp\n")
        firewall = start(text)
        ear = stage.network.start(CELL, [sys.executable, "-c", _UDP_SERVER.format(address=RTU, port=20000)])
        assert ear.stdout is not None
        assert ear.stdout.readline().strip() == "ready"
        frames = [
            build_unconfirmed_user_data(
                destination=10, source=master, user_data=b"\xc0" + fragment.to_bytes(), dir_from_master=True
            ).to_bytes()
            for master, fragment in (
                (1, build_integrity_poll(0)),
                (1, build_cold_restart_request(1)),
                (7, build_integrity_poll(2)),
            )
        ]
        script = _UDP_CLIENT.format(source=HMI, address=RTU, port=20000, datagrams=[frame.hex() for frame in frames])
        stage.network.run(SCADA, [sys.executable, "-c", script])
        time.sleep(0.3)
        ear.terminate()
        assert ear.communicate(timeout=10)[0].split() == [frames[0].hex()]
        assert {"no-rule", "no-rule-address"} <= {event["event"].get("code") for event in firewall.events()}

    def test_a_slow_client_is_served(self, stage: Stage, start: Start) -> None:
        """One byte a segment: every head is kept and acknowledged until the request is whole."""
        start(WITHOUT_TESTS)
        request = adu(READ)
        parts = [request[at : at + 1].hex() for at in range(len(request))]
        before = len(stage.executed("plc"))
        assert answered(
            stage, {"kind": "pieces", "source": HMI, "host": PLC, "port": 502, "answers": 1, "parts": parts}
        )
        assert stage.executed("plc")[before:] == [3]

    def test_doctor_and_metrics_beside_it(self, stage: Stage, start: Start) -> None:
        firewall = start(WITHOUT_TESTS)
        done = stage.network.run(
            FIREWALL, [sys.executable, "-m", "conduitfw", "doctor", "--bridge", "br0", "--json"], check=False
        )
        found = json.loads(done.stdout)
        assert (done.returncode, found["ok"]) == (0, True), found
        assert "ports cell0, scada0" in {each["found"] for each in found["findings"]}
        assert "conduitfw_enforcing 1\n" in firewall.command("status", "--metrics").stdout


_UDP_SERVER = """
import socket
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("{address}", {port}))
print("ready", flush=True)
while True:
    print(ear.recv(4096).hex(), flush=True)
"""
_UDP_CLIENT = """
import socket, time
mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mouth.bind(("{source}", 0))
for datagram in {datagrams}:
    mouth.sendto(bytes.fromhex(datagram), ("{address}", {port}))
    time.sleep(0.05)
"""


class TestTags:
    def test_the_last_value_outlives_a_worker_and_a_reload(self, stage: Stage, start: Start, tmp_path: Path) -> None:
        """It is read, the worker dies, the policy comes anew: a step is still measured from what was read."""
        firewall = start(WITHOUT_TESTS)

        def write(number: float) -> bool:
            values = struct.unpack(">HH", struct.pack(">f", number))
            return answered(stage, {**MODBUS_WRITE, "address": SETPOINT, "values": values})

        assert answered(stage, {**MODBUS_READ, "address": SETPOINT})  # it is 42.0, as the server began
        os.kill(firewall.status()["workers"][0]["pid"], signal.SIGKILL)
        assert firewall.command("reload", str(tmp_path / "policy.yaml")).returncode == 0
        assert not write(48.0)
        assert write(43.0)
        assert write(42.0)
        codes = [event["event"].get("code") for event in firewall.events()]
        assert "tag-step" in codes and "tag-unseen" not in codes
