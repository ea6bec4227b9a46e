"""The firewall does no harm: sessions that the policy allows end as they would have without it.

Random sessions of pymodbus and dnp3py go over a line that loses, repeats, delays and reorders packets, and are cut into
random segments. The answers, in their order, and what the servers say they executed have to be the same without the
firewall and with it, however it denies. HARM_SEEDS=1,2,3 tries other seeds than the usual one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conduitfw.demo.network import CELL, SCADA
from conduitfw.demo.show import Firewall
from tests.harm.bad_line import HERE, BadLine, TaggedBadLine
from tests.peers import firewalled, libmodbus_server
from tests.system.tagged import in_vlan

pytestmark = pytest.mark.system

SEEDS = [int(each) for each in os.environ.get("HARM_SEEDS", "1").split(",")]
VLAN = 10
LINE = {"loss": 0.02, "twice": 0.05, "delay": 0.03}

# A client whose SYN-ACK was lost sends again only after 3 s, and then after 6 (RFC 6298, 5.7): the default of 5 s for
# the rest of a cut Modbus request would end sessions on a line as bad as this one.
POLICY = """
policy: {{version: 1, site: A bad line}}
zones:
  scada:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    interfaces: [scada0]
    assets: {{hmi: 10.10.0.11, hmi-6: "fd00:10::11"}}
  cell:
    networks: [10.20.0.0/24, "fd00:20::/64"]
    interfaces: [cell0]
    assets:
      plc: {{address: 10.20.0.5, units: [1]}}
      plc-6: {{address: "fd00:20::5", units: [1]}}
      rtu: {{address: 10.20.0.9, link_address: 10}}
conduits:
  line:
    from: scada
    to: cell
    fail: closed
    on_deny: {on_deny}
    mode: {mode}
    rules:
      - {{name: four, allow: modbus, clients: hmi, servers: plc, port: 502-509, functions: [read, write],
         transaction_timeout: 15 s}}
      - {{name: six, allow: modbus, clients: hmi-6, servers: plc-6, port: 502-509, functions: [read, write],
         transaction_timeout: 15 s}}
      - name: rtu
        allow: dnp3
        clients: hmi
        servers: rtu
        port: 20000-20009
        master: 1
        functions: [read, select, operate, direct_operate]
        transaction_timeout: 15 s
"""


@dataclass(frozen=True)
class Session:
    """One client at one server of its own. `share` of what it asks is denied."""

    name: str
    kind: str
    client: str
    server: str
    port: int
    requests: int
    points: int
    share: float = 0.0


HMI, PLC, RTU = "10.10.0.11", "10.20.0.5", "10.20.0.9"
SESSIONS = [
    Session("modbus", "modbus", HMI, PLC, 502, 25, 400),
    Session("modbus over IPv6", "modbus", "fd00:10::11", "fd00:20::5", 503, 25, 400),
    Session("several at once", "plain", HMI, PLC, 504, 50, 400),
    Session("dnp3", "dnp3", HMI, RTU, 20000, 15, 40),
    Session("dnp3 of several fragments", "dnp3", HMI, RTU, 20001, 8, 300),
]
MIXED = [
    Session("modbus with denials", "modbus", HMI, PLC, 505, 25, 400, 0.3),
    Session("dnp3 with denials", "dnp3", HMI, RTU, 20002, 15, 40, 0.3),
]


@dataclass(frozen=True)
class Ran:
    """By session: what the client was told, and what the server executed."""

    answers: dict[str, list[str]]
    executed: dict[str, list[str]]
    connections: dict[str, int]
    seconds: dict[str, tuple[float, float]]  # all of it, and its longest answer
    line: dict[str, int]


def run(network: BadLine, libmodbus: Path, folder: Path, seed: int, sessions: list[Session], denied: str) -> Ran:
    """All sessions at once, with servers of their own, which end with them."""
    servers, near, far, asked, processes = [], [], [], [], []
    for number, each in enumerate(sessions):
        behind = 10000 + number
        if each.kind == "plain":  # pymodbus's server answers one request at a time, and forgets others
            processes.append(network.begin(CELL, str(libmodbus), "127.0.0.1", str(behind), str(folder / each.name)))
        else:
            servers.append([each.name, each.kind, "127.0.0.1", behind, each.points])
        far.append([each.server, each.port, "", "127.0.0.1", behind])
        near.append(["127.0.0.1", 11000 + number, each.client, each.server, each.port])
        asked.append(
            [each.name, each.kind, 11000 + number, seed * 100000 + each.port, each.requests, each.points, each.share]
        )
    processes += [
        network.begin(CELL, "servers.py", str(folder), json.dumps(servers)),
        network.begin(CELL, "cutter.py", str(seed), json.dumps(far)),
        network.begin(SCADA, "cutter.py", str(seed), json.dumps(near)),
    ]
    try:
        network.be_bad(seed, **LINE)
        words = [sys.executable, str(HERE / "clients.py"), json.dumps(asked), denied]
        told = json.loads(network.run(SCADA, words, timeout=120).stdout)
    finally:
        line = network.be_bad(seed)
        for process in processes:
            process.terminate()
            process.wait(10)
    executed = {each.name: (folder / each.name).read_text().splitlines() for each in sessions}
    columns = [{name: found[key] for name, found in told.items()} for key in ("answers", "connections", "seconds")]
    return Ran(columns[0], executed, columns[1], columns[2], line)


@pytest.fixture(scope="module")
def network() -> Iterator[BadLine]:
    with BadLine() as found:
        yield found


@pytest.fixture(scope="module")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server on libmodbus, which takes several requests from one read."""
    return libmodbus_server(tmp_path_factory.mktemp("peers"))


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def without(
    request: pytest.FixtureRequest, network: BadLine, libmodbus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Ran]:
    """A seed, and what comes of its sessions without a firewall; what would be denied is left out."""
    seed = int(request.param)
    return seed, run(network, libmodbus, tmp_path_factory.mktemp("without"), seed, SESSIONS + MIXED, "skip")


def same(ran: Ran, without: Ran, sessions: list[Session]) -> list[str]:
    """What is not as without the firewall."""
    wrong = []
    for session in sessions:
        name = session.name
        for what, found, expected in (
            ("told", ran.answers[name], without.answers[name]),
            ("executed", ran.executed[name], without.executed[name]),
        ):
            if found != expected:
                at = next((at for at, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), -1)
                pair = (found[at], expected[at]) if at >= 0 else (len(found), len(expected))
                wrong.append(f"{name}: {what} at {at} of {len(expected)}: {pair[0]!s:.200} instead of {pair[1]!s:.200}")
    return wrong


def stopped(firewall: Firewall) -> list[Any]:
    """Events of anything that was, or would have been, denied."""
    return [
        (event["event"].get("code"), event["conduitfw"].get("detail"), event.get("source"))
        for event in firewall.events()
        if "code" in event["event"]
    ]


def test_the_line_is_bad(without: tuple[int, Ran]) -> None:
    """Without a firewall: everything arrives in the end, though the relay does what it is for."""
    _, ran = without
    print(ran.line, ran.seconds)
    assert ran.line["bad"] == 0
    assert min(ran.line[each] for each in ("lost", "twice", "overtaken")) > ran.line["frames"] / 100
    assert set(ran.connections.values()) == {1}
    assert [len(ran.answers[each.name]) >= each.requests for each in SESSIONS + MIXED] == [True] * 7
    assert not [said for answers in ran.answers.values() for said in answers if "Error" in said or "reset" in said]


@pytest.mark.parametrize(
    ("on_deny", "mode"), [("reject", "enforce"), ("reset", "enforce"), ("drop", "enforce"), ("reset", "monitor")]
)
def test_nothing_changes(
    network: BadLine, libmodbus: Path, without: tuple[int, Ran], tmp_path: Path, on_deny: str, mode: str
) -> None:
    """Legal sessions, and beside them two whose denied requests are answered, or end the connection and no more."""
    judged(network, libmodbus, without, tmp_path, POLICY.format(on_deny=on_deny, mode=mode), on_deny, mode)


def test_nothing_changes_in_a_vlan(libmodbus: Path, without: tuple[int, Ran], tmp_path: Path) -> None:
    """What comes of the same sessions is the same in a tag."""
    with TaggedBadLine(VLAN) as network:
        policy = in_vlan(POLICY.format(on_deny="reject", mode="enforce"), VLAN)
        judged(network, libmodbus, without, tmp_path, policy, "reject", "enforce")


def judged(
    network: BadLine,
    libmodbus: Path,
    without: tuple[int, Ran],
    tmp_path: Path,
    policy: str,
    on_deny: str,
    mode: str,
) -> None:
    """Run the sessions under a policy, and hold what came of them against what came without."""
    seed, expected = without
    mixed = MIXED if mode == "enforce" and on_deny != "drop" else []
    denied = "reset" if on_deny == "reset" else "answered"
    with firewalled(network, tmp_path, policy) as firewall:
        ran = run(network, libmodbus, tmp_path, seed, SESSIONS + mixed, denied)
        events = stopped(firewall)
    print(ran.line, ran.seconds, ran.connections, *events, sep="\n")
    assert same(ran, expected, SESSIONS + mixed) == []
    assert ran.line["bad"] == 0
    assert {ran.connections[session.name] for session in SESSIONS} == {1}
    assert {code for code, *_ in events} == ({"no-rule"} if mixed else set())
    for session in mixed:
        count = ran.answers[session.name].count("denied")
        assert count > 2
        assert ran.connections[session.name] <= (1 if on_deny == "reject" else 1 + count)
