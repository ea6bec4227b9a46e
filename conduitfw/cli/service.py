"""`conduitfw run`, `status` and `stop`: the running firewall."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from conduitfw.cli.output import AS_JSON
from conduitfw.cli.running import SOCKET, ask, problem_line, refuse
from conduitfw.cli.state import MANAGEMENT, STATE
from conduitfw.kernel.marks import DEFAULT_QUEUE_BASE, LAST_QUEUE, WORKERS_MAX, queue_numbers
from conduitfw.observe.events import DEFAULT_PATH, EventLog
from conduitfw.observe.metrics import prometheus
from conduitfw.runtime import child
from conduitfw.runtime.handover import deposited, inherited
from conduitfw.runtime.host import KernelHost
from conduitfw.runtime.keeping import InForce, Keeping
from conduitfw.runtime.service_manager import ServiceManager
from conduitfw.runtime.start import first_policy
from conduitfw.runtime.store import Store
from conduitfw.runtime.supervisor import Settings, Supervisor

_TAKES_UP_WITHIN = 60.0  # seconds


@click.command()
@click.argument("policy", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bridge", metavar="NAME", help="The bridge (found by the policy's interfaces).")
@click.option("--router", is_flag=True, help="Route between the zones, whatever bridges there are.")
@click.option("--queue-base", default=DEFAULT_QUEUE_BASE, show_default=True, type=click.IntRange(0, 65534),
              help="The first of the queue numbers that are used: two for each worker.")  # fmt: skip
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, WORKERS_MAX),
              help="Processes that decide, each for a share of the servers.")  # fmt: skip
@SOCKET
@click.option("--events", "events_path", default=DEFAULT_PATH, show_default=True, metavar="FILE",
              help='The event log (JSON lines), or "-" for standard output.')  # fmt: skip
@click.option("--silence", default=0.2, show_default=True, type=click.FloatRange(0.2, 60.0), metavar="SECONDS",
              help="A worker without a sign of life for so long is replaced.")  # fmt: skip
@click.option("--max-flows", default=4096, show_default=True, type=click.IntRange(16, 1_000_000),
              help="Sessions that a worker can follow at a time (1 KB of memory each).")  # fmt: skip
@click.option("--flood-limit", default=500, show_default=True, type=click.IntRange(0, 1_000_000), metavar="PACKETS",
              help="What one source may have inspected per second while a queue is too long; 0: any.")  # fmt: skip
@click.option("--busy-poll", default=0, show_default=True, type=click.IntRange(0, 10_000), metavar="MICROSECONDS",
              help="After a packet, ask again and again for the next for so long before it sleeps.")  # fmt: skip
@MANAGEMENT
@click.option("--remove-on-exit", is_flag=True,
              help="Take the ruleset out at the end: what the conduits protected is then open. For tests.")  # fmt: skip
@STATE
@AS_JSON
def run(
    policy: tuple[Path, ...],
    bridge: str | None,
    router: bool,
    queue_base: int,
    workers: int,
    socket_path: str,
    events_path: str,
    silence: float,
    max_flows: int,
    flood_limit: int,
    busy_poll: int,
    management: tuple[str, ...],
    remove_on_exit: bool,
    state: str | None,
    as_json: bool,
) -> None:
    """Enforce POLICY, in the foreground, until told to stop.

    What ends it leaves each conduit as its `fail` says: closed stays dropped, static goes on by
    addresses and ports. With --state, policies are kept: where POLICY cannot be used, or was taken back, the
    last good one is enforced instead, and `status` says so. Exit status: 0 stopped as told, 1 refused, 2 wrong usage.
    """
    if bridge and router:
        raise click.UsageError("--bridge or --router, not both")
    if queue_numbers(queue_base, workers - 1)[-1] > LAST_QUEUE:
        raise click.UsageError(f"--queue-base: the last queue number would be more than {LAST_QUEUE}")
    # Before anything can be refused: what is not taken, a queue above all, must not stay with the service manager.
    manager = ServiceManager()
    old = inherited() or deposited(manager)
    host = KernelHost(bridge, queue_base, router=router, management=management, workers=workers)
    paths = tuple(str(path.resolve()) for path in policy)
    store = Store(state) if state else None
    try:
        # In a process of its own: what reading a policy needs would lie in the memory of all others for ever.
        trial, notice, problems = child.ask("cfw-candidate", lambda: first_policy(paths, host.examine, store))
    except OSError as error:
        raise click.ClickException(str(error)) from None

    def say_what_is_wrong() -> None:
        for each in problems:
            click.echo(problem_line(each), err=True)
        if notice and trial.policy is not None:
            click.echo(f"warning: {notice}", err=True)

    if trial.policy is None:
        say_what_is_wrong()
        raise click.ClickException("the policy was refused; nothing was changed")
    keeping = Keeping(InForce(trial, paths), store, notice)

    def announce(status: dict[str, Any]) -> None:
        # Not before packets are decided: whoever reads this may be stuck (runtime/supervisor.py).
        say_what_is_wrong()
        click.echo(json.dumps({"running": status}) if as_json else _headline(status))
        sys.stdout.flush()

    settings = Settings(
        paths,
        socket_path,
        workers=workers,
        silence=silence,
        max_flows=max_flows,
        flood_limit=flood_limit,
        busy_poll=busy_poll / 1e6,
        remove_on_exit=remove_on_exit,
    )
    try:
        host.find_bridge(trial.policy)
        Supervisor(settings, keeping, host, host.examine, lambda: EventLog(events_path), announce, manager, old).run()
    except OSError as error:
        say_what_is_wrong()
        raise click.ClickException(str(error)) from None


@click.command()
@SOCKET
@AS_JSON
@click.option("--metrics", is_flag=True, help="Print the figures as Prometheus text.")
def status(socket_path: str, as_json: bool, metrics: bool) -> None:
    """Show whether conduits are enforced, and by which policy.

    Exit status: 0 everything that should be enforced is, 1 it is not, or nothing runs.
    """
    answer = ask(socket_path, {"command": "status"})
    if not answer["ok"]:
        refuse(answer, as_json)
    found = answer["status"]
    if metrics:
        click.echo(prometheus(found), nl=False)
    elif as_json:
        click.echo(json.dumps(found))
    else:
        _print_status(found)
    # A conduit that only watches is as it should be; one that should be enforced and is not, is not.
    unenforced = [c for c in found["conduits"] if c["mode"] == "enforce" and c["state"] != "enforcing"]
    if unenforced or found["engine"] != "serving":
        raise SystemExit(1)


@click.command()
@SOCKET
@AS_JSON
def upgrade(socket_path: str, as_json: bool) -> None:
    """Go on with the program as it is installed now. No session is reset, and no packet lost.

    The policy's files are read as they are, as at a start. Exit status: 0 the new program decides, 1 it does not:
    the old one goes on.
    """
    before = ask(socket_path, {"command": "status"})
    answer = ask(socket_path, {"command": "upgrade"}) if before["ok"] else before
    if not answer["ok"]:
        refuse(answer, as_json)
    deadline = time.monotonic() + _TAKES_UP_WITHIN
    while True:
        time.sleep(0.1)
        with contextlib.suppress(click.ClickException):  # control is being replaced, too
            found = ask(socket_path, {"command": "status"})
            now = found.get("status", before["status"])
            ready = now["engine"] == "serving" and not now["taking_up"]
            if ready and now["started"] > before["status"]["started"]:
                break
        if time.monotonic() > deadline:
            raise click.ClickException("the new program does not say that it decides; see `conduitfw status`")
    answer["version"] = now["version"]
    click.echo(json.dumps(answer) if as_json else f"conduitfw {answer['version']} decides")


@click.command()
@SOCKET
@AS_JSON
def stop(socket_path: str, as_json: bool) -> None:
    """Stop the firewall. Each conduit is left as its `fail` says; there is no way to leave them open.

    Exit status: 0 stopped, 1 nothing runs or it did not stop.
    """
    answer = ask(socket_path, {"command": "stop"})
    if not answer["ok"]:
        refuse(answer, as_json)
    if as_json:
        click.echo(json.dumps(answer))
    elif answer.get("removed"):
        click.echo("stopped; the ruleset was removed, as `run --remove-on-exit` asked for")
    else:
        click.echo("stopped; the ruleset stays: closed conduits drop, static ones go on by addresses and ports")


def _headline(found: dict[str, Any]) -> str:
    policy = found["policy"]
    watched = sum(conduit["mode"] == "monitor" for conduit in found["conduits"])
    how = "enforcing" if found["enforcing"] else "NOT ENFORCING"
    only = f", {watched} of them only watched" if watched else ""
    return (
        f"conduitfw {how}: {policy['site']} {policy['revision']}, {policy['conduits']} conduits{only}, "
        f"{policy['rules']} rules, {found['where']}"
    )


def _print_status(found: dict[str, Any]) -> None:
    click.echo(_headline(found))
    policy, events = found["policy"], found["events"]
    click.echo(f"engine    {found['engine']}, {found['build']}")
    click.echo(f"queue     {found['transport']}")
    click.echo(f"policy    {', '.join(policy['paths'])}  sha256 {policy['digest'][:12]}")
    if policy["notice"]:
        click.echo(f"NOTICE    {policy['notice']}")
    if policy["confirm_within"] is not None:
        click.echo(f"CONFIRM   goes back by itself in {policy['confirm_within']:g} s; `conduitfw confirm` keeps it")
    for conduit in found["conduits"]:
        click.echo(f"conduit   {conduit['name']}: {conduit['state']} (mode {conduit['mode']}, fail {conduit['fail']})")
    for worker in found["workers"]:
        click.echo(
            f"worker    {worker['place']}: {worker['state']}, pid {worker['pid']}, {worker['restarts']} restarts, "
            f"{worker['packets']} packets"
        )
    packets, engine = found["worker_counters"], found["engine_counters"]
    click.echo(
        f"packets   {packets['packets']} decided: {packets['forwarded']} forwarded, {packets['dropped']} dropped "
        f"({engine.get('denied', 0)} denied), {packets['engine_errors']} engine errors"
    )
    click.echo(
        f"flows     {engine.get('flows', 0)} of at most {engine.get('flow_capacity', 0)}, of one source "
        f"{engine.get('flows_of_one_source', 0)} of at most {engine.get('flows_of_one_source_at_most', 0)}; "
        f"{engine.get('tombstones', 0)} ended by us"
    )
    click.echo(
        f"held      {engine.get('octets_kept', 0)} octets kept back, "
        f"{engine.get('octets_unacknowledged', 0)} sent on and not acknowledged"
    )
    bounds = ("flows_refused_table_full", "flows_refused_source_full", "flow_blocks_refused", "values_forgotten")
    met = [f"{name.replace('_', ' ')} {engine[name]}" for name in (*bounds, "uses_forgotten") if engine.get(name)]
    click.echo(f"bounds    {', '.join(met) or 'none was ever met'}")
    for each in found["overload"]:
        if each["times"]:
            now = "OVERLOADED" if each["now"] else "not now"
            click.echo(
                f"overload  queue {each['queue']}: {now}, {each['times']} times, at most {each['longest']} waiting"
            )
    for queue in found["queue_counters"]:
        click.echo(
            f"queue     {queue['queue']}: {queue['waiting']} waiting, "
            f"dropped {queue['dropped_queue_full']} by a full queue, {queue['dropped_socket_full']} by a full socket"
        )
    click.echo(
        f"events    {events['written']} written, {events['folded']} folded, {events['lost'] + events['unwritten']} lost"
    )
