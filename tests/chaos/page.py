"""docs/reliability.md, of the results of a long run."""

from __future__ import annotations

import os
import platform
from typing import Any

from tests.chaos.faults import FAULTS, Fault

HEAD = """# What it survives

Faults made on purpose, under load, and counted. Between two zones with the firewall on a bridge between them: a client
that polls a Modbus server on libmodbus all the time, one that sends each request (reads, and an allowed write) in two
pieces, one whose every third request is a forbidden write, one that opens a connection for each forbidden write; a
DNP3 master that polls an outstation (dnp3py), and one that sends its fragments in two frames with a forbidden restart
every third time. The Modbus conduit is `fail: closed`, the DNP3 conduit `fail: static`; both `on_deny: reject`.

- **forbidden executed**: requests that no rule names in the servers' own record. On the closed conduit it has to be 0,
  always. The static conduit is open by address and port while no engine decides: that is what `static` says.
- **sessions lost**: reset, or without an answer for over 3 s. In brackets: those of sessions that the design keeps; any
  other number than 0 there is a broken promise, and a defect until it is explained.
- **sent again**: how often TCP, on either side, waited in vain for an acknowledgement: 200 ms and more, a few ms where
  two packets of one side are under way. Packets lost on the way, or late. `-`: not counted in that run.
- **longest gap**: between two answers of one session that is kept, in ms. What a dead worker had in hand is sent again
  by TCP, after 200 ms and more.
- **events lost**: denials that the clients met and the event log does not tell, as the log itself counts them, and
  those that nobody counted (has to be 0).
- **memory**: resident, before and after, MB: supervisor, worker, control.

"""
FOOT = """
*Another serves* is the time from the signal until the next worker takes packets from the queue, by its own word: until
somebody sees that the one before is dead, the order to the one that waits, and what that one has to read first. Clients
and servers stand for other machines, so they run at nice 10. *All is new* and *started again* end when a worker of the
new program serves.

Events fold what repeats for 10 s. Where the supervisor is killed, control writes what it has folded and ends; how many
events are neither written nor told as lost stands beside the log (events.jsonl.owed), and the next start tells it.
Where control alone is killed, what it had folded is lost, and counted.

Known and open: where a static conduit goes on without an engine, a session in which the firewall had answered in the
server's place loses its step, since its numbers are translated no more.

`make chaos` makes all of it again (an hour and a half), `make chaos FAULTS=worker-kill,reload` a part, `make chaos
COUNTS=worker-kill=100` fewer. The results are kept in reliability.json beside this page. A short version runs in every
`make test`.
"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    lines = [
        "| fault | times | forbidden tried | executed, closed | executed, static | sessions lost | sent again "
        "| longest gap, ms | back after (median, 99 %, longest), ms | events lost, counted / not | memory, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [_row(fault, results[fault.name]) for fault in FAULTS if fault.name in results]
    missing = [fault.name for fault in FAULTS if fault.name not in results]
    made = sorted({found["date"] for found in results.values()})
    by_revision: dict[str, list[str]] = {}
    for fault in FAULTS:
        if fault.name in results:
            by_revision.setdefault(results[fault.name].get("revision") or "not recorded", []).append(fault.name)
    revisions = "; ".join(f"{revision}: {', '.join(names)}" for revision, names in by_revision.items())
    where = f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    tail = ["Not made yet."]
    if made:
        loads = sorted(found["load"] for found in results.values() if "load" in found)
        shared = f", shared with other work: load averages of {loads[0]:.0f} to {loads[-1]:.0f}" if loads else ""
        tail = [
            f"Made {' to '.join(sorted({made[0], made[-1]}))}, the last on {where}{shared}. Revisions: {revisions}."
        ]
    tail += [
        f"{fault.what}: {results[fault.name]['note']}" for fault in FAULTS if results.get(fault.name, {}).get("note")
    ]
    if missing:
        tail.append(f"Not yet run: {', '.join(missing)}.")
    return HEAD + "\n".join([*lines, "", *tail]) + "\n" + FOOT


def _row(fault: Fault, found: dict[str, Any]) -> str:
    kept = [gap for name, gap in found["gaps"].items() if name in fault.keeps] or list(found["gaps"].values())
    back = "-"
    if times := found["recovery"]:
        back = f"{fault.recovery}: " + ", ".join(_ms(times[each]) for each in ("median", "p99", "longest"))
    memory = "; ".join(f"{before / 1024:.0f}, {after / 1024:.0f}" for before, after in _memory(found))
    lost = sum(found["lost"].values())
    return (
        f"| {fault.what} | {found['count']} | {found['tried']} "
        f"| {found['executed_closed']} | {found['executed_static']} "
        f"| {lost} ({found['broken']}) | {found.get('sent_again', '-')} | {max(kept) * 1000:.0f} | {back} "
        f"| {found['lost_counted']} / {found['lost_uncounted']} | {memory} |"
    )


def _memory(found: dict[str, Any]) -> list[list[int]]:
    return [found["memory"].get(name, [0, 0]) for name in ("supervisor", "worker", "control")]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds < 0.1 else f"{seconds * 1000:.0f}"
