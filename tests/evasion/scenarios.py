"""Rows that need more than packets: the firewall starts, stops or is flooded in mid-session, or its bridge is abused.

Real sockets in the client's zone, and a server on libmodbus that records what it executes.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from conduitfw.demo.network import BRIDGE, CELL, FIREWALL, SCADA
from conduitfw.demo.show import Firewall, Stage
from conduitfw.packet import ACK, PSH, build
from tests.evasion import udp
from tests.evasion.cases import DNP3_PORTS, MODBUS_PORTS, policy
from tests.evasion.level2 import PLC, RTU, Served, packet_socket
from tests.peers import firewalled
from tests.pipeline.modbus_units import carrying, forbidden, read
from tests.system.frames import mac

HMI, HMI_TOO = "10.10.0.11", "10.10.0.20"
READ, WRITE, FORBIDDEN = 3, 16, 6
PORT = MODBUS_PORTS[0]
_SETTLE = 0.3
_numbers = itertools.count()

# One TCP connection, told what to do by lines: "open PROTOCOL ADDRESS PORT SOURCE", "send HEX", "ask HEX", "close".
_TALKER = """
import socket, sys
line = None
for words in map(str.split, sys.stdin):
    try:
        if words[0] == "open":
            line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(words[1]))
            line.settimeout(3)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.bind((words[4], 0))
            line.connect((words[2], int(words[3])))
            said = "open"
        elif words[0] == "close":
            line.close()
            said = "closed"
        else:
            line.sendall(bytes.fromhex(words[1]))
            said = (line.recv(512).hex() or "end") if words[0] == "ask" else "sent"
    except OSError as error:
        said = type(error).__name__
    print(said, flush=True)
"""
_DATAGRAMS = """
import socket, sys, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind((sys.argv[1], 0))
for datagram in sys.argv[4:]:
    line.sendto(bytes.fromhex(datagram), (sys.argv[2], int(sys.argv[3])))
    time.sleep(0.05)
"""
# A server that speaks Multipath TCP and records the function codes of what its stream holds.
_MULTIPATH_SERVER = """
import socket, sys
ear = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
ear.bind((sys.argv[1], int(sys.argv[2])))
ear.listen()
print("ready", flush=True)
while True:
    line, _ = ear.accept()
    data = b""
    with open(sys.argv[3], "a", 1) as record:
        try:
            while more := line.recv(4096):
                data += more
                while len(data) > 7 and len(data) >= 6 + data[5]:
                    request, data = data[: 6 + data[5]], data[6 + data[5] :]
                    print(request[7], file=record)
                    line.sendall(request[:4] + b"\\0\\3" + request[6:7] + bytes((request[7] | 128, 2)))
        except OSError:
            pass
        line.close()
"""


class Talker:
    """A client of the zone with one connection at a time."""

    def __init__(self, stage: Stage) -> None:
        self._process = stage.network.start(SCADA, [sys.executable, "-c", _TALKER])

    def __call__(self, *words: object) -> str:
        """Have it do something; gives what came of it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        return self._process.stdout.readline().strip()

    def open(self, protocol: int = 0, port: int = PORT) -> None:
        assert self("open", protocol, PLC, port, HMI) == "open"

    def ask(self, request: bytes) -> bool:
        """Whether it was answered by anything but an end."""
        said = self("ask", request.hex())
        return not said.endswith(("end", "Error")) and said != "timeout"

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


class Ground:
    """What a scenario runs on."""

    def __init__(self, stage: Stage, server: Path, way: str) -> None:
        """`way`: none, or the firewall's `on_deny`."""
        self.stage, self.way, self._program = stage, way, server
        number = next(_numbers)
        self.folder = stage.folder / f"scenario-{number}"
        self.folder.mkdir()
        self.record = self.folder / "record"
        self.server = self._serve()
        self.talker = Talker(stage)

    def _serve(self) -> Served:
        served = Served(self.stage.network, [str(self._program), PLC, str(PORT)], self.record)
        served.ready()
        return served

    @contextmanager
    def firewall(self, fail: str = "closed") -> Iterator[Firewall | None]:
        """The firewall from here on, where there is to be one."""
        if self.way == "none":
            yield None
            return
        with firewalled(
            self.stage.network, self.folder, policy(self.way).replace("fail: closed", f"fail: {fail}")
        ) as run:
            yield run

    def executed(self, function: int) -> int:
        """How often the server has executed a function by now."""
        time.sleep(_SETTLE)
        return self.server.executed().count(function)

    def anew(self) -> bool:
        """The control: a new session's allowed read is executed."""
        self.talker("close")
        time.sleep(0.1)
        before = self.server.executed().count(READ)
        self.talker.open()
        return self.talker.ask(read(70)) and self.executed(READ) == before + 1

    def end(self) -> None:
        self.talker.end()
        self.server.end()


@dataclass(frozen=True)
class Came:
    """What came of a scenario: whether the forbidden thing happened, and whether the allowed did."""

    forbidden: bool
    allowed: bool
    note: str = ""


@dataclass(frozen=True)
class Scenario:
    name: str
    note: str
    play: Callable[[Ground], Came]
    often: bool = True  # whether it runs in every test run


# --- without state ----------------------------------------------------------------------------------


def _starts_in_mid_session(fail: str, *, same: bool) -> Callable[[Ground], Came]:
    """`same`: the control is a read on the session itself, before the forbidden request."""

    def play(ground: Ground) -> Came:
        talk = ground.talker
        talk.open()
        assert talk.ask(read(1))
        with ground.firewall(fail):
            allowed = talk.ask(read(2)) if same else True
            talk.ask(forbidden(3))
            done = ground.executed(FORBIDDEN) > 0
            return Came(done, allowed and ground.anew())

    return play


def _server_speaks_first(fail: str) -> Callable[[Ground], Came]:
    """An answer is the first packet that the firewall sees of the session."""

    def play(ground: Ground) -> Came:
        talk = ground.talker
        talk.open()
        assert talk.ask(read(1))
        ground.server.process.send_signal(signal.SIGSTOP)
        talk("send", read(2).hex())
        with ground.firewall(fail):
            ground.server.process.send_signal(signal.SIGCONT)
            time.sleep(_SETTLE)
            talk.ask(forbidden(3))
            return Came(ground.executed(FORBIDDEN) > 0, ground.anew())

    return play


def _half_before(fail: str, cut: int) -> Callable[[Ground], Came]:
    """The head went through before the firewall began; the tail comes when it is there."""

    def play(ground: Ground) -> Came:
        talk = ground.talker
        talk.open()
        assert talk.ask(read(1))
        talk("send", forbidden(2)[:cut].hex())
        with ground.firewall(fail):
            talk.ask(forbidden(2)[cut:])
            return Came(ground.executed(FORBIDDEN) > 0, ground.anew())

    return play


def _while_static(first: bytes, then: bytes) -> Callable[[Ground], Came]:
    """The supervisor is killed, the kernel goes on by addresses; a half is sent, and the rest when the engine is back."""

    def play(ground: Ground) -> Came:
        talk = ground.talker
        with ground.firewall("static") as before:
            talk.open()
            assert talk.ask(read(1))
            if before is not None:
                os.kill(before.status()["pid"], signal.SIGKILL)
                before.process.wait(10)
                time.sleep(_SETTLE)
            assert talk("send", first.hex()) == "sent"
            time.sleep(_SETTLE)
            with ground.firewall("static"):
                talk.ask(then)
                return Came(ground.executed(FORBIDDEN) > 0, ground.anew())

    return play


# --- too much at once -------------------------------------------------------------------------------


def _flood(fail: str) -> Callable[[Ground], Came]:
    """As many packets as one can send in the client's name, and a forbidden request among them."""

    def play(ground: Ground) -> Came:
        talk, stage = ground.talker, ground.stage
        out = packet_socket(stage.network, SCADA)
        out.setblocking(True)
        source, destination = socket.inet_aton(HMI), socket.inet_aton(PLC)
        stray = build(
            source, destination, 9, PORT, sequence=7, ack=7, flags=ACK | PSH, window=500, timestamps=None,
            payload=forbidden(1),
        )  # fmt: skip
        addresses = b"".join(bytes.fromhex(mac(stage.network, zone).replace(":", "")) for zone in (CELL, SCADA))
        over = threading.Event()

        def pour() -> None:
            while not over.is_set():
                with suppress(OSError):
                    out.send(addresses + b"\x08\x00" + stray)

        with ground.firewall(fail) as firewall:
            talk.open()
            assert talk.ask(read(1))
            sources = [threading.Thread(target=pour) for _ in range(2)]
            for each in sources:
                each.start()
            talk.ask(forbidden(2))  # before anybody has noticed
            time.sleep(1)
            talk("close")
            with suppress(AssertionError):
                talk.open()
                talk.ask(forbidden(3))
            talk("close")
            over.set()
            for each in sources:
                each.join()
            out.close()
            time.sleep(2)  # what the flood has lost of the sessions' ends is sent again: this server has one at a time
            note = ""
            if firewall is not None:
                counted = {name: firewall.counter(name) for name in ("flooded_flow", "flooded", "uninspected")}
                note = ", ".join(f"{count} {name}" for name, count in counted.items())
            return Came(ground.executed(FORBIDDEN) > 0, ground.anew(), note)

    return play


# --- around the bridge's chain ----------------------------------------------------------------------


def _routed_by_the_bridge(ground: Ground) -> Came:
    """An address on the bridge, forwarding on: a host that routes by it never meets the bridge's forward hook."""
    network = ground.stage.network

    def ip(zone: str, *words: str) -> None:
        network.run(zone, ["ip", *words])

    with ground.firewall():
        for address in ("10.10.0.254/24", "10.20.0.254/24"):
            ip(FIREWALL, "address", "add", address, "dev", BRIDGE)
        network.sysctl(FIREWALL, "net.ipv4.ip_forward", "1")
        ip(SCADA, "route", "add", f"{PLC}/32", "via", "10.10.0.254")
        try:
            with suppress(AssertionError):
                ground.talker.open()
                ground.talker.ask(forbidden(1))
            done = ground.executed(FORBIDDEN) > 0
        finally:
            ip(SCADA, "route", "del", f"{PLC}/32")
            network.sysctl(FIREWALL, "net.ipv4.ip_forward", "0")
            ip(FIREWALL, "address", "flush", "dev", BRIDGE)
        return Came(done, ground.anew())


def _servers_mac_address(ground: Ground) -> Came:
    """The bridge must not look for the server where the attacker is. Forbidden here: that it does."""
    network = ground.stage.network
    real = mac(network, CELL)
    out = packet_socket(network, SCADA)
    with ground.firewall():
        ground.talker.open()
        ground.talker.ask(read(1))
        for _ in range(3):
            packet = build(
                socket.inet_aton("10.20.0.77"), socket.inet_aton(HMI), 9, 9, sequence=1, ack=1, flags=ACK, window=1,
                timestamps=None, payload=b"",
            )  # fmt: skip
            out.send(b"\xff" * 6 + bytes.fromhex(real.replace(":", "")) + b"\x08\x00" + packet)
        time.sleep(_SETTLE)
        hello = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('10.10.0.11', 9))"
        entries = network.run(FIREWALL, ["bridge", "fdb", "show", "br", BRIDGE]).stdout.splitlines()
        out.close()
        network.run(CELL, [sys.executable, "-c", hello])  # the bridge learns anew, as soon as the server says anything
        return Came(any(each.startswith(f"{real} dev scada0") for each in entries), ground.anew())


STRANGER, STRANGER_6 = "10.20.0.77", "fd00:20::77"  # a neighbour of the server's
_ITS_MAC, _FORGED_MAC = "02:00:00:00:00:77", "02:00:00:00:00:66"


def _neighbours_of_the_server(ground: Ground) -> Came:
    """ARP and a neighbour advertisement in the name of one of the servers' zone. Forbidden here: that they are believed."""
    network = ground.stage.network
    real = mac(network, CELL)
    frames = (
        Ether(src=_FORGED_MAC, dst=real) / ARP(op=2, psrc=STRANGER, hwsrc=_FORGED_MAC, pdst=PLC, hwdst=real),
        Ether(src=_FORGED_MAC, dst=real) / IPv6(src=STRANGER_6, dst="fd00:20::5", hlim=255)
        / ICMPv6ND_NA(tgt=STRANGER_6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=_FORGED_MAC),
    )  # fmt: skip
    out = packet_socket(network, SCADA)
    try:
        for address in (STRANGER, STRANGER_6):
            words = ["ip", "neigh", "replace", address, "lladdr", _ITS_MAC, "dev", "eth0", "nud", "stale"]
            network.run(CELL, words)
        with ground.firewall():
            ground.talker.open()
            ground.talker.ask(read(1))
            for frame in frames * 3:
                out.send(bytes(frame))
            time.sleep(_SETTLE)
            told = network.run(CELL, ["ip", "neigh", "show", "dev", "eth0"]).stdout
            return Came(_FORGED_MAC in told, ground.anew(), f"{told.count(_FORGED_MAC)} of 2 believed")
    finally:
        out.close()
        for address in (STRANGER, STRANGER_6):
            network.run(CELL, ["ip", "neigh", "del", address, "dev", "eth0"], check=False)


def _forged_icmp(ground: Ground) -> Came:
    """ICMP to the server about its session, from the client's side, in the client's name and in a router's; then it."""
    network, talk = ground.stage.network, ground.talker
    out = packet_socket(network, SCADA)
    with ground.firewall():
        talk.open()
        allowed = talk.ask(read(1))
        told = network.run(SCADA, ["ss", "-Htn", "dst", PLC, "dport", "=", str(PORT)]).stdout
        port = int(told.split()[3].rpartition(":")[2])
        quoted = IP(src=PLC, dst=HMI) / TCP(sport=PORT, dport=port, seq=1, ack=1, flags="PA") / forbidden(1)
        for source in (HMI, "10.20.0.1"):
            for kind in (
                ICMP(type=3, code=3), ICMP(type=3, code=4, nexthopmtu=552), ICMP(type=4), ICMP(type=5, code=1, gw=HMI),
                ICMP(type=11, code=0), ICMP(type=12, ptr=20),
            ):  # fmt: skip
                out.send(
                    bytes(Ether(src=_FORGED_MAC, dst=mac(network, CELL)) / IP(src=source, dst=PLC) / kind / quoted)
                )
        out.close()
        time.sleep(_SETTLE)
        allowed = allowed and talk.ask(read(2))
        talk.ask(forbidden(3))
        done = ground.executed(FORBIDDEN) > 0
        talk("close")
        return Came(done, allowed and ground.anew())


def _multipath(ground: Ground) -> Came:
    """Linux's own Multipath TCP at both ends, with a second subflow from another address of the client."""
    network, port = ground.stage.network, MODBUS_PORTS[1]
    words = [sys.executable, "-c", _MULTIPATH_SERVER, PLC, str(port)]
    served = Served(network, words, ground.folder / "multipath")
    for zone in (SCADA, CELL):
        network.run(zone, ["ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2"])
    network.run(SCADA, ["ip", "mptcp", "endpoint", "add", HMI_TOO, "dev", "eth0", "subflow"])
    try:
        served.ready()
        with ground.firewall():
            talk = ground.talker
            talk.open(262, port)
            allowed = talk.ask(read(1))
            time.sleep(_SETTLE)  # the second subflow joins
            subflows = network.run(SCADA, ["ss", "-HtniM", "dst", PLC]).stdout
            talk.ask(forbidden(2))
            time.sleep(_SETTLE)
            executed = served.executed()
            note = "Multipath TCP is in use" if "token:" in subflows else "plain TCP is in use"
            return Came(FORBIDDEN in executed, allowed and READ in executed, note)
    finally:
        network.run(SCADA, ["ip", "mptcp", "endpoint", "flush"])
        served.end()


def _datagrams(row: udp.Row) -> Callable[[Ground], Came]:
    """DNP3 over UDP, to an outstation of dnp3py's parts."""

    def play(ground: Ground) -> Came:
        port = DNP3_PORTS[0]
        words = [sys.executable, "-m", "tests.peers.dnp3_udp", RTU, str(port)]
        served = Served(ground.stage.network, words, ground.folder / "udp")
        try:
            served.ready()
            with ground.firewall():

                def executed(datagrams: tuple[bytes, ...]) -> tuple[int, ...]:
                    served.forget()
                    words = [sys.executable, "-c", _DATAGRAMS, HMI, RTU, str(port), *(each.hex() for each in datagrams)]
                    ground.stage.network.run(SCADA, words)
                    time.sleep(_SETTLE)
                    return served.executed()

                control = executed(row.control or (udp.GOOD,))
                done = udp.FORBIDDEN in executed(row.datagrams)
                return Came(done, control.count(udp.ALLOWED) == (row.executes if row.control else 1))
        finally:
            served.end()

    return play


HALF = forbidden(2)
# Its last six octets of data, and what would follow them.
CARRIER = carrying(forbidden(4))
SCENARIOS = [
    Scenario("starts in mid-session, `fail: closed`", "the session is reset", _starts_in_mid_session("closed", same=False)),
    Scenario("starts in mid-session, `fail: static`", "control: also a read on it", _starts_in_mid_session("static", same=True)),
    Scenario("starts in mid-session, an answer is under way, `fail: closed`", "", _server_speaks_first("closed")),
    Scenario("starts in mid-session, an answer is under way, `fail: static`", "", _server_speaks_first("static")),
    Scenario("starts between head and tail, `fail: closed`", "", _half_before("closed", 7)),
    Scenario("starts between head and tail, `fail: static`", "", _half_before("static", 7)),
    Scenario("a head while static, its tail behind", "", _while_static(HALF[:7], HALF[7:])),
    Scenario("half of the function's data while static, the rest behind", "", _while_static(HALF[:10], HALF[10:])),
    Scenario("an allowed write's head while static, it as the data", "", _while_static(CARRIER[:13], forbidden(4))),
    Scenario("a flood in the client's name, `fail: closed`", "", _flood("closed")),
    Scenario("a flood in the client's name, `fail: static`", "", _flood("static"),
),
    Scenario("routed by an address of the bridge", "", _routed_by_the_bridge),
    Scenario("a frame with the server's MAC address", "counted: the bridge learns it", _servers_mac_address),
    Scenario("ARP and a neighbour advertisement in the name of the server's neighbour", "counted: they are believed",
             _neighbours_of_the_server),
    Scenario("behind forged ICMP about the session", "control: also a read on it, behind them", _forged_icmp),
    Scenario("Multipath TCP of two subflows", "", _multipath),
    *(Scenario(f"DNP3 over UDP: {row.name}", row.note, _datagrams(row), often=row.often) for row in udp.ROWS),
]  # fmt: skip


def play(scenario: Scenario, stage: Stage, server: Path, way: str) -> Came:
    """A scenario, and nothing of it afterwards."""
    ground = Ground(stage, server, way)
    try:
        return scenario.play(ground)
    finally:
        ground.end()
