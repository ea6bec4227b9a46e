"""`python -m tests.evasion.table`: every row, without the firewall and behind it, as docs/evasion.md.

Rows of the bridge run there, to real servers; the few that need a server which does as it is told (its window, its own
packets) run through the pipeline, to models. Status 1: something forbidden was executed, or a control was not.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from scapy.packet import Packet

from conduitfw.demo.network import SCADA
from conduitfw.demo.show import staged
from tests.evasion import level1
from tests.evasion.cases import CASES, policy, tables
from tests.evasion.level2 import Bench, Job, bench, servers_of
from tests.evasion.scenarios import SCENARIOS, Came, play
from tests.evasion.steps import Case
from tests.peers import firewalled, libmodbus_server
from tests.system import test_below_ip as below_ip
from tests.system.frames import arriving

PAGE = Path(__file__).parents[2] / "docs" / "evasion.md"
WAYS = ("none", "reset", "reject")
# Jobs to one set of servers and one firewall: a client's share of the flow table is 1,024, and abandoned sessions stay.
AT_ONCE = 300
SCENARIO_HEAD = """
## The firewall starts, stops or is flooded in mid-session; its bridge is abused

Real sockets, a server on libmodbus. 1: the forbidden request was executed (or what the note says); controls: an allowed
one was, on a session that began afterwards where the first was ended.

"""
FRAME_HEAD = """

## Frames

1: a frame arrived in the other zone. The control: ARP, neighbour discovery, a ping and a connection that are allowed.

"""
# (case's group and name, way, whether it is the control) -> the servers, and of each whether it executed: the forbidden
# request, or all that the control asks for.
Found = dict[tuple[str, str, str, bool], dict[str, bool]]

HEAD = """# Ways around it, tried

A row is a forbidden request in a shape that has deceived firewalls or servers: a Modbus write of a register (function
6), a DNP3 DIRECT_OPERATE or restart. The control is an allowed request in the same shape. A table cell says at how many
of the servers the request was *executed*, as the servers themselves recorded it:

- **no firewall**: the same packets with nothing between. More than 0 shows that the row bites. 0 means that these
  servers, or Linux's TCP in front of them, do not take it (or that a row before left the server unable to answer);
  others may.
- **reset**, **reject**: behind conduitfw, with that `on_deny`. It has to be 0.
- **controls**: how many of the servers executed all that is allowed, as `no firewall / reset / reject`. "-": the shape
  itself is nothing that a conforming client sends, so it has no allowed twin; the note says why.

Servers: libmodbus; libmodbus that takes what one read returns as one request; pymodbus; dnp3py's outstation. They run on
a bridge, and the attacker sends raw frames. Rows marked *model* run through the pipeline to model servers.

"""


def on_the_bridge(found: Found) -> None:
    cases = [case for case in CASES if "bridge" in case.levels]
    jobs = [Job(case, server) for case in cases for server in servers_of(case)]
    jobs += [Job(case, server, True) for case in cases if case.control is not None for server in servers_of(case)]
    for way in WAYS:
        for first in range(0, len(jobs), AT_ONCE):
            some = jobs[first : first + AT_ONCE]
            with bench() as lanes, behind(lanes, way):
                for job, ran in zip(some, lanes.run(some, all_answer=way != "none").values(), strict=True):
                    executed = ran.complete(job) if job.control else ran.forbidden(job)
                    found[job.case.group, job.case.name, way, job.control][job.server] = executed
            print(f"\r{way}: {min(first + AT_ONCE, len(jobs))} of {len(jobs)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)


def behind(lanes: Bench, way: str) -> AbstractContextManager[object]:
    return nullcontext() if way == "none" else firewalled(lanes.stage.network, lanes.stage.folder, policy(way))


def to_models(found: Found) -> None:
    for case in (case for case in CASES if "bridge" not in case.levels):
        for way in WAYS:
            rules = None if way == "none" else tables(way)
            for server in level1.MODELS[case.protocol]:
                found[case.group, case.name, way, False][server] = level1.run(case, server, rules).forbidden(case)
                if case.control is not None:
                    ran = level1.run(case, server, rules, control=True)
                    found[case.group, case.name, way, True][server] = ran.complete(case, server)


# (scenario's or frame's name, way) -> what came of it
Others = dict[tuple[str, str], Came]


def scenarios() -> Others:
    """Those that need more than packets."""
    came: Others = {}
    with staged() as stage:
        server = libmodbus_server(stage.folder)
        for scenario in SCENARIOS:
            for way in WAYS:
                came[scenario.name, way] = play(scenario, stage, server, way)
            print(f"{scenario.name}: {[came[scenario.name, way].forbidden for way in WAYS]}", file=sys.stderr)
    return came


def frames() -> Others:
    """Frames that no conduit allows, and some that pass: whether any of three arrives on the other side."""
    came: Others = {}

    def arrives(frame: Packet, sender: str = SCADA) -> bool:
        return arriving(stage.network, [frame] * 3, below_ip.MARKER, sender=sender) > 0

    with staged() as stage:
        while not arrives(below_ip.CONTROLS[0][2]):
            pass  # a bridge's new port takes a moment to forward
        for way in WAYS:
            text = below_ip.POLICY.replace("on_deny: reset", f"on_deny: {way}")
            with nullcontext() if way == "none" else firewalled(stage.network, stage.folder, text):
                allowed = all(arrives(frame, sender) for _, sender, frame in below_ip.CONTROLS)
                for name, frame, _ in below_ip.CASES:
                    came[name, way] = Came(arrives(frame), allowed)
    return came


def other_lines(others: Others, notes: dict[str, str]) -> list[str]:
    """Rows of a table of these."""
    lines = ["| row | no firewall | reset | reject | controls | note |", "| --- " * 6 + "|"]
    for name in dict.fromkeys(name for name, _ in others):
        came = [others[name, way] for way in WAYS]
        controls = " / ".join(str(int(each.allowed)) for each in came)
        note = "; ".join(filter(None, (notes.get(name, ""), *dict.fromkeys(each.note for each in came))))
        lines.append(
            f"| {name} | " + " | ".join(str(int(each.forbidden)) for each in came) + f" | {controls} | {note} |"
        )
    return lines


def other_problems(others: Others) -> list[str]:
    return [
        f"{name}, {way}: {each}"
        for (name, way), each in others.items()
        if way != "none" and (each.forbidden or not each.allowed)
    ]


def wrong(case: Case, found: Found) -> list[str]:
    """What of a row is not as it has to be."""
    problems = []
    for way in WAYS[1:]:
        executed = [name for name, each in found[case.group, case.name, way, False].items() if each]
        if executed:
            problems.append(f"{case.group}: {case.name}, {way}: executed at {', '.join(executed)}")
        lacking = [name for name, each in found[case.group, case.name, way, True].items() if not each]
        if case.control is not None and lacking:
            problems.append(f"{case.group}: {case.name}, {way}: the control was not executed at {', '.join(lacking)}")
    return problems


def line(case: Case, found: Found) -> str:
    """A row of the table."""

    def count(way: str, control: bool) -> str:
        return str(sum(found[case.group, case.name, way, control].values()))

    controls = "-" if case.control is None else " / ".join(count(way, True) for way in WAYS)
    notes = [case.note, *(f"{server} {why}" for server, why in case.fewer.items())]
    notes += ["IPv6"] * (case.version == 6 and case.group != "IPv6") + ["*model*"] * ("bridge" not in case.levels)
    servers = len(found[case.group, case.name, "none", False])
    cells = (case.name, servers, *(count(way, False) for way in WAYS), controls, "; ".join(filter(None, notes)))
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def page(found: Found, played: Others, arrived: Others) -> str:
    """The whole page."""
    bites = sum(any(found[case.group, case.name, "none", False].values()) for case in CASES)
    passed = sum(any(found[case.group, case.name, way, False].values()) for case in CASES for way in WAYS[1:])
    controls = sum(case.control is not None for case in CASES)
    parts = [
        HEAD,
        f"Made by `make evasion` on {datetime.now(UTC):%Y-%m-%d}. {len(CASES)} rows, {controls} of them with a control. "
        f"Without a firewall the forbidden request was executed in {bites} of them; behind conduitfw in {passed}.\n",
    ]
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in CASES:
        groups[case.group].append(case)
    for group, cases in groups.items():
        parts.append(f"\n## {group[0].upper()}{group[1:]}\n")
        parts.append(
            "\n| row | servers | no firewall | reset | reject | controls | note |\n| --- " + "| --- " * 6 + "|\n"
        )
        parts += [line(case, found) + "\n" for case in cases]
    notes = {each.name: each.note for each in SCENARIOS}
    parts += [
        SCENARIO_HEAD,
        "\n".join(other_lines(played, notes)),
        FRAME_HEAD,
        "\n".join(other_lines(arrived, {})),
        "\n",
    ]
    return "".join(parts)


def main() -> int:
    found: Found = defaultdict(dict)
    to_models(found)
    on_the_bridge(found)
    played, arrived = scenarios(), frames()
    PAGE.write_text(page(found, played, arrived))
    problems = [each for case in CASES for each in wrong(case, found)] + other_problems(played | arrived)
    print(
        "\n".join(
            [*problems, f"{PAGE.relative_to(Path.cwd())}: {len(CASES)} rows, {len(problems)} not as they have to be"]
        )
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
