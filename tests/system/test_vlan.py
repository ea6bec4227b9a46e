"""Zones on trunks: sessions in their VLAN are inspected, answered and ended as without; other tags lead nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from conduitfw.demo.clients import READ
from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.rows import ROWS, Row
from conduitfw.demo.show import Firewall, Stage, try_row
from conduitfw.protocols.modbus.requests import adu
from tests.peers import firewalled
from tests.system.frames import arriving, mac
from tests.system.tagged import in_vlan, staged
from tests.system.test_sessions import TEXT, WITHOUT_TESTS

pytestmark = pytest.mark.system
VLAN, OTHER, UNNAMED = 10, 20, 30
MARKER = b"conduitfw-in-a-tag"
HMI, EWS, PLC = "10.10.0.11", "10.10.0.20", "10.20.0.5"
HMI6, PLC6 = "fd00:10::11", "fd00:20::5"
# Two more zones on the same trunks, in a VLAN of their own.
MORE = """
  office: {security_level: 2, networks: [10.30.0.0/24], interfaces: [scada0], vlans: [20], assets: {desk: 10.30.0.5}}
  printers: {security_level: 2, networks: [10.40.0.0/24], interfaces: [cell0], vlans: [20], assets: {p: 10.40.0.5}}
"""
V6 = "{name: over IPv6, allow: modbus, clients: hmi-6, servers: plc-6, functions: read}"
PRINTING = """
  printing:
    from: office
    to: printers
    rules: [{name: print, allow: tcp, clients: desk, servers: p, port: 9100}]
"""


def tagged_policy(text: str) -> str:
    text = in_vlan(text, VLAN)
    text = text.replace("      ews-a: 10.10.0.20\n", f'      ews-a: 10.10.0.20\n      hmi-6: "{HMI6}"\n')
    text = text.replace("      plc-b:", f'      plc-6: {{address: "{PLC6}", units: [1]}}\n      plc-b:')
    text = text.replace("    rules:\n", f"    rules:\n      - {V6}\n", 1)
    return text.replace("\ntags:", MORE + "\ntags:").replace("\nconduits:", "\nconduits:" + PRINTING)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("tagged"), VLAN) as found:
        yield found


@pytest.fixture(scope="class", params=["reset", "reject"])
def denying(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Firewall]:
    text = tagged_policy(TEXT if request.param == "reset" else WITHOUT_TESTS)
    with firewalled(stage.network, stage.folder, text.replace("on_deny: reset", f"on_deny: {request.param}")) as found:
        yield found


class TestSessions:
    """The demo's rows, with every frame in the VLAN: kept heads, answers and resets are tagged as well."""

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.by}: {row.tried}")
    def test_row(self, stage: Stage, denying: Firewall, row: Row, request: pytest.FixtureRequest) -> None:
        result = try_row(row, stage, denying)
        if "reject" in request.node.name:  # denials are answered, so that only what was executed is as it is there
            assert list(result.executed) == list(row.executed), result
        else:
            assert result.good, f"{result.why}; the client says {result.detail}"

    def test_one_byte_a_segment(self, stage: Stage, denying: Firewall) -> None:
        """Kept heads are acknowledged by frames of our own, which have to be in the VLAN."""
        request = adu(READ)
        parts = [request[at : at + 1].hex() for at in range(len(request))]
        before = denying.status()["worker_counters"]["emissions"]
        asked = {"kind": "pieces", "source": HMI, "host": PLC, "port": 502, "answers": 1, "parts": parts}
        assert stage.ask(asked)["answered"]
        assert denying.status()["worker_counters"]["emissions"] > before

    def test_ipv6(self, stage: Stage, denying: Firewall) -> None:
        """Neighbours find each other in the VLAN, too."""
        record = stage.folder / f"ipv6-{denying.process.pid}.record"
        words = [sys.executable, "-m", "conduitfw.demo.servers", "modbus", PLC6, "502", str(record)]
        server = stage.network.start(CELL, words)
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        try:
            ask = {"kind": "modbus", "source": HMI6, "host": PLC6, "port": 502}
            assert stage.ask({**ask, "function": 3})["answered"]
            stage.ask({**ask, "function": 16})
            assert record.read_text().split() == ["3"]
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="class")
def firewall(stage: Stage) -> Iterator[Firewall]:
    with firewalled(stage.network, stage.folder, tagged_policy(TEXT)) as found:
        yield found


def ether(*vlans: int, **more: object) -> Packet:
    frame: Packet = Ether(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff", **more)
    for vlan in vlans:
        frame = frame / Dot1Q(vlan=vlan)
    return frame


def segment(source: str = HMI, destination: str = PLC, port: int = 502, flags: str = "PA") -> Packet:
    return IP(src=source, dst=destination) / TCP(sport=4444, dport=port, flags=flags, seq=7, ack=7) / Raw(MARKER)


ADVERTISED = ICMPv6ND_NA(tgt=PLC6, R=0) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:66") / Raw(MARKER)
CASES = [
    ("no tag, where the zone has one", ether() / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("VLAN 0", ether(0) / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("a tag that nobody named", ether(UNNAMED) / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("the zone's tag around another", ether(VLAN, VLAN) / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("the zone's tag around VLAN 0", ether(VLAN, 0) / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("the zone's id in an 802.1ad tag", Ether(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff") / Dot1AD(vlan=VLAN)
     / segment(EWS, PLC, 8080, "S"), "tagged"),
    ("another zone's tag", ether(OTHER) / segment(EWS, PLC, 8080, "S"), "wrong_side"),
    ("another zone's address", ether(VLAN) / segment("10.30.0.5", "10.40.0.5", 9100, "S"), "wrong_side"),
    ("an address of the other side", ether(VLAN) / segment("10.20.0.77", HMI), "wrong_side"),
    ("an IPv6 address of the other side", ether(VLAN) / IPv6(src="fd00:20::77", dst=PLC6) / UDP() / Raw(MARKER),
     "wrong_side"),
    ("ARP in the server's name", ether(VLAN) / ARP(op=2, psrc=PLC, pdst=PLC, hwsrc="02:00:00:00:00:66") / Raw(MARKER),
     "wrong_side"),
    ("ARP in another zone's tag", ether(OTHER) / ARP(op=1, psrc=HMI, pdst=PLC) / Raw(MARKER), "wrong_side"),
    ("a neighbour advertisement for the server", ether(VLAN) / IPv6(src="fe80::66", dst="ff02::1", hlim=255)
     / ADVERTISED, "wrong_side"),
    ("a fragment", ether(VLAN) / IP(src=HMI, dst=PLC, flags="MF") / TCP(sport=4444, dport=502) / Raw(MARKER + bytes(6)),
     "fragment"),
    ("a port that nobody named", ether(VLAN) / segment(EWS, PLC, 503, "S"), "unnamed"),
    ("another EtherType in the tag", ether(VLAN) / Raw(b"\x88\xb8" + MARKER + bytes(46)), "ethertype"),
]  # fmt: skip


CONTROLS = [
    ("a connection that is named", ether(VLAN) / segment(EWS, PLC, 8080, "S")),
    ("one of the other zones, in theirs", ether(OTHER) / segment("10.30.0.5", "10.40.0.5", 9100, "S")),
    ("a tag with a priority", Ether(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=VLAN, prio=6)
     / segment(EWS, PLC, 8080, "S")),
    ("ARP request for the server", ether(VLAN) / ARP(op=1, psrc=HMI, pdst=PLC) / Raw(MARKER)),
    ("a neighbour advertisement of its own", ether(VLAN) / IPv6(src=HMI6, dst="ff02::1", hlim=255)
     / ICMPv6ND_NA(tgt=HMI6, R=0) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:66") / Raw(MARKER)),
]  # fmt: skip


class TestFrames:
    """By the cable itself, with tags of the test's own making."""

    @pytest.mark.parametrize(("frame", "counter"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
    def test_it_does_not_arrive(self, stage: Stage, firewall: Firewall, frame: Packet, counter: str) -> None:
        if counter == "ethertype":
            frame[Dot1Q].type = 0x88B8
        before = firewall.counter(counter)
        assert arriving(stage.network, [frame] * 3, MARKER, interface="wire0", seen_at="wire0") == 0
        assert firewall.counter(counter) >= before + 3

    @pytest.mark.parametrize("frame", [case[1] for case in CONTROLS], ids=[case[0] for case in CONTROLS])
    def test_its_like_does_arrive(self, stage: Stage, firewall: Firewall, frame: Packet) -> None:
        assert arriving(stage.network, [frame] * 3, MARKER, interface="wire0", seen_at="wire0") == 3


# A session that polls once more when the test has done something in its name.
HOLD = """
import socket, sys
s = socket.create_connection(("10.20.0.5", 502), 5, source_address=("10.10.0.11", 47777))
s.settimeout(3)
read = bytes.fromhex("000100000006010300000001")
s.sendall(read)
print(s.recv(64).hex(), flush=True)
sys.stdin.readline()
s.sendall(read)
print(s.recv(64).hex(), flush=True)
"""


def test_a_session_stays_in_its_vlan(stage: Stage, tmp_path: Path) -> None:
    """Where a zone is in two VLANs, a segment in the other one is none of the session's."""
    text = tagged_policy(WITHOUT_TESTS).replace(f"vlans: [{VLAN}]", f"vlans: [{VLAN}, {UNNAMED}]")
    ends = {"src": mac(stage.network, SCADA), "dst": mac(stage.network, CELL)}
    reset = IP(src=HMI, dst=PLC) / TCP(sport=47777, dport=502, flags="R", seq=1) / Raw(MARKER)
    for zone in (SCADA, CELL):  # what the frames above have told
        stage.network.run(zone, ["ip", "neigh", "flush", "all"])
    with firewalled(stage.network, tmp_path, text) as firewall:
        client = stage.network.start(SCADA, [sys.executable, "-c", HOLD])
        assert client.stdin is not None and client.stdout is not None
        assert client.stdout.readline().startswith("0001")
        assert (
            arriving(
                stage.network, [Ether(**ends) / Dot1Q(vlan=UNNAMED) / reset], MARKER, interface="wire0", seen_at="wire0"
            )
            == 0
        )
        assert firewall.status()["engine_counters"]["refused_other-vlan"] == 1
        client.stdin.write("\n")
        client.stdin.flush()
        assert client.stdout.readline().startswith("0001")


@pytest.fixture(scope="class")
def stray(stage: Stage) -> Iterator[str]:
    names = ("other0", "type", "veth", "peer", "name", "stray0", "netns", stage.network.namespace(SCADA))
    for words in (("add", *names), ("set", "other0", "master", "br0"), ("set", "other0", "up")):
        stage.network.run("fw", ["ip", "link", *words])
    stage.network.run(SCADA, ["ip", "link", "set", "stray0", "up"])
    yield "stray0"
    stage.network.run("fw", ["ip", "link", "delete", "other0"])


class TestWideZone:
    """A zone of two ports: what stays in it may be anything, what leaves it may not."""

    @pytest.mark.parametrize(
        "frame",
        [ether(UNNAMED) / segment(port=9), ether(0) / segment(port=9), ether(type=0x88B8) / Raw(MARKER + bytes(46))],
    )
    def test_within(self, stage: Stage, stray: str, tmp_path: Path, frame: Packet) -> None:
        text = WITHOUT_TESTS.replace("interfaces: [cell0]", "interfaces: [cell1]")
        text = text.replace("interfaces: [scada0]", "interfaces: [scada0, cell0]")
        with firewalled(stage.network, tmp_path, text):
            assert arriving(stage.network, [frame] * 3, MARKER, interface="wire0", seen_at="wire0") == 3

    @pytest.mark.parametrize("vlan", [0, UNNAMED, VLAN])
    def test_not_out_of_it(self, stage: Stage, stray: str, tmp_path: Path, vlan: int) -> None:
        """Through br_netfilter a tagged packet might not meet the queue, and a static conduit would pass it."""
        text = WITHOUT_TESTS.replace("interfaces: [scada0]", "interfaces: [scada0, other0]")
        with firewalled(stage.network, tmp_path, text.replace("fail: closed", "fail: static")) as firewall:
            before = firewall.counter("tagged")
            frames = [ether(vlan) / segment()] * 3
            assert arriving(stage.network, frames, MARKER, interface="wire0", seen_at="wire0") == 0
            assert firewall.counter("tagged") >= before + 3


class TestTagTakenOff:
    """A bridge that filters VLANs takes a tag off behind prerouting: the frame still is of the VLAN that it came in."""

    @pytest.fixture
    def filtering(self, stage: Stage) -> Iterator[None]:
        fw = stage.network
        try:
            fw.run("fw", ["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1"])
        except OSError as error:
            pytest.skip(f"this kernel's bridges do not filter VLANs: {error}")
        fw.run("fw", ["bridge", "vlan", "add", "vid", str(VLAN), "dev", "scada0"])
        fw.run("fw", ["bridge", "vlan", "add", "vid", str(VLAN), "dev", "cell0", "untagged"])
        yield
        fw.run("fw", ["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "0"])

    def test_it_does_not_arrive(self, stage: Stage, filtering: None, tmp_path: Path) -> None:
        frames = [ether(VLAN) / segment(EWS, PLC, 8080, "S")] * 3
        assert arriving(stage.network, frames, MARKER, interface="wire0", seen_at="wire0") == 3
        text = in_vlan(WITHOUT_TESTS, VLAN).replace(f"vlans: [{VLAN}]", f"vlans: [untagged, {VLAN}]", 1)
        text = text.replace(f"    vlans: [{VLAN}]\n", "")
        with firewalled(stage.network, tmp_path, text) as firewall:
            before = firewall.counter("tagged")
            assert arriving(stage.network, frames, MARKER, interface="wire0", seen_at="wire0") == 0
            assert firewall.counter("tagged") >= before + 3
