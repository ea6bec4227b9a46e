"""Frames that try to get around the rules for addresses: raw, from a zone, watched on the other side."""

# ruff: noqa: E501  (a case a line)

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.show import POLICY as EXAMPLE
from conduitfw.demo.show import Firewall, Stage
from tests.peers import firewalled
from tests.system.frames import arriving, mac

pytestmark = pytest.mark.system
POLICY = EXAMPLE.read_text()
MARKER = b"conduitfw-was-here"
HMI, EWS, PLC, RTU = "10.10.0.11", "10.10.0.20", "10.20.0.5", "10.20.0.9"


def ether(**more: object) -> Ether:
    return Ether(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff", **more)


def segment(source: str = HMI, destination: str = PLC, port: int = 502, flags: str = "PA") -> Packet:
    return IP(src=source, dst=destination) / TCP(sport=4444, dport=port, flags=flags, seq=7, ack=7) / Raw(MARKER)


CASES = [
    ("VLAN 0", ether() / Dot1Q(vlan=0) / segment(), "tagged"),
    ("VLAN 5", ether() / Dot1Q(vlan=5) / segment(), "tagged"),
    ("VLAN 0 twice", ether() / Dot1Q(vlan=0) / Dot1Q(vlan=0) / segment(), "tagged"),
    ("802.1ad", ether() / Dot1AD(vlan=0) / segment(), "tagged"),
    ("LLC and SNAP around IP", Dot3(src="02:00:00:00:00:66", dst="ff:ff:ff:ff:ff:ff") / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
     / SNAP(OUI=0, code=0x0800) / segment(), "ethertype"),
    ("another EtherType", ether(type=0x88B8) / Raw(MARKER + bytes(46)), "ethertype"),
    ("an address of the other side", ether() / segment(source="10.20.0.77"), "wrong_side"),
    ("an address of no side", ether() / segment(source="10.99.0.1"), "wrong_side"),
    ("an IPv6 address of the other side", ether() / IPv6(src="fd00:20::77", dst="fd00:20::5") / UDP() / Raw(MARKER), "wrong_side"),
    ("ARP in the server's name", ether() / ARP(op=2, psrc=PLC, pdst=PLC, hwsrc="02:00:00:00:00:66") / Raw(MARKER), "wrong_side"),
    ("ARP request in the server's name", ether() / ARP(op=1, psrc=PLC, pdst=RTU) / Raw(MARKER), "wrong_side"),
    ("neighbour advertisement for the server", ether() / IPv6(src="fe80::66", dst="ff02::1", hlim=255)
     / ICMPv6ND_NA(tgt="fd00:20::5", R=0) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:66") / Raw(MARKER), "wrong_side"),
    ("a first fragment", ether() / IP(src=HMI, dst=PLC, flags="MF") / TCP(sport=4444, dport=502) / Raw(MARKER + bytes(6)), "fragment"),
    ("a later fragment", ether() / IP(src=HMI, dst=PLC, frag=3, proto=6) / Raw(MARKER), "fragment"),
    ("an IPv6 fragment", ether() / IPv6(src="fd00:10::11", dst="fd00:20::5") / IPv6ExtHdrFragment(m=1)
     / UDP(dport=20000) / Raw(MARKER), "fragment"),
    ("a port that nobody named", ether() / segment(port=503), "unnamed"),
    ("a client that nobody named", ether() / segment(source="10.10.0.66"), "unnamed"),
    ("a ping that nobody named", ether() / IP(src=HMI, dst=RTU) / ICMP() / Raw(MARKER), "unnamed"),
    ("a redirect", ether() / IP(src=HMI, dst=PLC) / ICMP(type=5) / Raw(MARKER), "unnamed"),
    ("word of a packet too big, to somebody without a session", ether() / IP(src=HMI, dst="10.20.0.77")
     / ICMP(type=3, code=4, nexthopmtu=1000) / segment(source="10.20.0.77", destination=HMI), "unnamed"),
    ("word of an unreachable port, to the server", ether() / IP(src=HMI, dst=PLC)
     / ICMP(type=3, code=3) / segment(source=PLC, destination="10.10.0.12"), "unnamed"),
    ("another transport", ether() / IP(src=HMI, dst=PLC, proto=132) / Raw(MARKER), "unnamed"),
]  # fmt: skip


# More networks on each side than are compared one by one.
MANY = POLICY
for _side in (10, 20):
    _more = ", ".join(f"10.{_side}.{number}.0/24, 'fd00:{_side}:{number}::/64'" for number in range(1, 10))
    MANY = MANY.replace(f'"fd00:{_side}::/64"]', f'"fd00:{_side}::/64", {_more}]')


@pytest.fixture(scope="module", params=[POLICY, MANY], ids=["few networks", "many networks"])
def firewall(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Firewall]:
    with firewalled(stage.network, stage.folder, request.param) as found:
        yield found


@pytest.mark.parametrize(("frame", "counter"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_it_does_not_arrive(stage: Stage, firewall: Firewall, frame: Packet, counter: str) -> None:
    before = firewall.counter(counter)
    assert arriving(stage.network, [frame] * 3, MARKER) == 0
    assert firewall.counter(counter) >= before + 3


CONTROLS = [
    ("ARP request for the server", SCADA, ether() / ARP(op=1, psrc=HMI, pdst=PLC) / Raw(MARKER)),
    ("ARP probe", SCADA, ether() / ARP(op=1, psrc="0.0.0.0", pdst=HMI) / Raw(MARKER)),
    ("ARP answer of the server", CELL, ether() / ARP(op=2, psrc=PLC, pdst=HMI) / Raw(MARKER)),
    ("neighbour advertisement of its own", SCADA, ether() / IPv6(src="fd00:10::11", dst="ff02::1", hlim=255)
     / ICMPv6ND_NA(tgt="fd00:10::11", R=0) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:66") / Raw(MARKER)),
    ("a ping that is named", SCADA, ether() / IP(src=HMI, dst=PLC) / ICMP() / Raw(MARKER)),
    ("word of a packet too big, to the client", CELL, ether() / IP(src="10.20.0.1", dst=HMI)
     / ICMP(type=3, code=4, nexthopmtu=1000) / segment()),
    ("a connection that is named", SCADA, ether() / segment(source=EWS, port=8080, flags="S")),
]  # fmt: skip


@pytest.mark.parametrize(("sender", "frame"), [case[1:] for case in CONTROLS], ids=[case[0] for case in CONTROLS])
def test_its_like_does_arrive(stage: Stage, firewall: Firewall, sender: str, frame: Packet) -> None:
    """The same way of looking sees what is allowed, so that the cases above can fail."""
    assert arriving(stage.network, [frame] * 3, MARKER, sender=sender) == 3


def test_the_servers_side_opens_nothing(stage: Stage, firewall: Firewall) -> None:
    before = firewall.counter("server_opens")
    frame = ether() / IP(src=PLC, dst=EWS) / TCP(sport=8080, dport=9999, flags="S") / Raw(MARKER)
    assert arriving(stage.network, [frame], MARKER, sender=CELL) == 0
    assert firewall.counter("server_opens") == before + 1


def test_the_bridge_does_not_learn_a_forged_address(stage: Stage, firewall: Firewall) -> None:
    """A dropped frame must not move the server's MAC address to the attacker's port."""
    real = mac(stage.network, CELL)
    stage.network.run(SCADA, ["ip", "neigh", "flush", "all"])  # the ARP answer above may have named another for PLC
    frame = Ether(src=real, dst="ff:ff:ff:ff:ff:ff") / segment(source="10.20.0.77")
    assert stage.ask({"kind": "modbus", "source": HMI, "host": PLC, "port": 502, "function": 3})["answered"]
    arriving(stage.network, [frame] * 3, MARKER)
    entries = stage.network.run("fw", ["bridge", "fdb", "show", "br", "br0"]).stdout
    assert [line.split()[2] for line in entries.splitlines() if line.startswith(real)] == ["cell0"]


@pytest.fixture(scope="class")
def stray(stage: Stage) -> Iterator[str]:
    names = ("other0", "type", "veth", "peer", "name", "stray0", "netns", stage.network.namespace(SCADA))
    for words in (
        ("link", "add", *names),
        ("link", "set", "other0", "master", "br0"),
        ("link", "set", "other0", "up"),
    ):
        stage.network.run("fw", ["ip", *words])
    stage.network.run(SCADA, ["ip", "link", "set", "stray0", "up"])
    yield "stray0"
    stage.network.run("fw", ["ip", "link", "delete", "other0"])


class TestUnnamedPort:
    """A port of the bridge that the policy does not name: no address that has a side may come from there."""

    @pytest.mark.parametrize(
        "frame",
        [
            ether() / segment(source=EWS, port=8080, flags="S"),
            ether() / segment(),
            ether() / IP(src=HMI, dst=PLC) / ICMP() / Raw(MARKER),
            ether() / IPv6(src="fd00:10::11", dst="fd00:20::5") / UDP() / Raw(MARKER),
        ],
        ids=["a client that may open it", "an inspected client", "a ping", "IPv6"],
    )
    def test_it_does_not_arrive(self, stage: Stage, firewall: Firewall, stray: str, frame: Packet) -> None:
        before = firewall.counter("wrong_side")
        assert arriving(stage.network, [frame] * 3, MARKER, interface=stray) == 0
        assert firewall.counter("wrong_side") >= before + 3
