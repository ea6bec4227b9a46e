"""`conduitfw bench`: round trips of Modbus reads between two hosts, and what they are more than others."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from conduitfw.observe.latency import (
    Asked,
    Change,
    Comparison,
    Figures,
    Measurement,
    compare,
    encode,
    figures,
    load,
    mismatch,
)
from conduitfw.observe.polls import GIVEN_UP, Failure, Poller, PollError, Read, Server, Tally, measure
from conduitfw.protocols.modbus.catalogue import FUNCTIONS, READS

_PORT = 502
# An IPv6 address as it is, or in brackets, or what has no colon; and a port.
_SERVER = re.compile(
    r"(?P<bare>[^\[\]]*:[^\[\]]*:[^\[\]]*)|(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?"
)
_BAR = 30  # characters of the histogram's longest bar
_DENIED = {1, 2, 3}  # exceptions that say that this read is not allowed, or not there
_LIMITS = """\
A round trip is the network's, the server's and this host's own time, and the firewall's. A difference is the
firewall's as far as all else is the same in both. Where p50 differs less from the other's than the tenths of one
run differ, it is noise."""


def _server(ctx: click.Context, param: click.Parameter, value: str | None) -> Server | None:
    if value is None:
        return None
    match = _SERVER.fullmatch(value)
    port = int(match["port"] or _PORT) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise click.BadParameter(f"{value!r} is not HOST, HOST:PORT or [IPv6]:PORT, with a port from 1 to 65535")
    return Server(match["bare"] or match["bracketed"] or match["host"], port)


def _function(ctx: click.Context, param: click.Parameter, value: str) -> int:
    entry = FUNCTIONS.by_name.get(value)
    number = entry.number if entry is not None else int(value) if re.fullmatch("[0-9]{1,3}", value) else -1
    if number not in READS:
        known = ", ".join(f"{each} ({FUNCTIONS.name(each)})" for each in READS)
        raise click.BadParameter(f"{value} is refused: this only reads, by {known}")
    return number


@click.command()
@click.option("--from", "source", required=True, metavar="IP", help="The address of this host to poll from.")
@click.option(
    "--to",
    "server",
    required=True,
    callback=_server,
    metavar="HOST[:PORT]",
    help="The Modbus server behind the firewall.",
)
@click.option(
    "--beside",
    callback=_server,
    metavar="HOST[:PORT]",
    help="Poll this server in turn with it: its like, on another host on this side.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Compare with what --save wrote, when the firewall was not there.",
)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="Keep this measurement.")
@click.option(
    "--function",
    callback=_function,
    default="3",
    show_default=True,
    metavar="FUNCTION",
    help="1, 2, 3 or 4, or its name.",
)
@click.option("--register", type=click.IntRange(0, 0xFFFF), default=0, show_default=True, help="Address, from 0.")
@click.option("--unit", type=click.IntRange(0, 255), default=1, show_default=True, help="Modbus unit id.")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="Polls that count.")
@click.option(
    "--rate", type=click.IntRange(1, 1000), default=50, show_default=True, help="Polls a second, at most, per server."
)
@click.option(
    "--timeout", type=click.FloatRange(0.05, 60), default=2.0, show_default=True, help="Seconds to wait for an answer."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    source: str,
    server: Server,
    beside: Server | None,
    against: Path | None,
    save: Path | None,
    function: int,
    register: int,
    unit: int,
    count: int,
    rate: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Measure round trips of Modbus reads from this host to a server behind the firewall.

    Run it on a host of the client's zone (the firewall has no address there); it needs no rights. It only reads: one
    register or coil at a time, over one connection, one request outstanding, and a pause before each. What is read has
    to be allowed by the policy.

    A round trip is the network's, the server's and this host's own time, and the firewall's: alone it does not say
    what the firewall adds. For that, compare in one of two ways:

    \b
    --beside   with a server of the same kind on another host on this side of
               the firewall, polled in turn: what disturbs one disturbs both
    --against  with the same server before the firewall was put in, or while
               `conduitfw stop` has left a conduit of `fail: static` (which
               is not inspected meanwhile)

    The difference is the firewall's as far as all else is the same in both, and holds for this rate: hosts that have
    slept answer later than busy ones. What differs between the tenths of a run, or between two runs, is noise. p99 is
    shown of 100 answers and more, p99.9 of 1,000 and more; of so few, both are rough.

    Exit status: 0 measured (polls without an answer are counted), 1 no connection, the read is denied or answers
    stopped, 2 wrong usage.
    """
    if beside is not None and against is not None:
        raise click.UsageError("--beside and --against are two comparisons: give one")
    if save is not None and not save.parent.is_dir():
        raise click.UsageError(f"--save: there is no folder {save.parent}")
    read = Read(function, register, unit)
    asked = Asked(source, str(server), function, register, unit, rate)
    before = _before(against, asked) if against is not None else None
    began = datetime.now(UTC).isoformat(timespec="seconds")
    servers = [server] if beside is None else [server, beside]
    try:
        with ExitStack() as stack:
            pollers = [stack.enter_context(Poller(source, each, read, timeout)) for each in servers]
            tallies = _measure(pollers, count, rate)
            found = [
                figures(str(poller.server), tally, poller.reconnects)
                for poller, tally in zip(pollers, tallies, strict=True)
            ]
    except PollError as error:
        advice = _advice(error, source, read) if error.server == server else ""
        raise click.ClickException(f"{error}{advice}") from None
    compared = None
    if beside is not None:
        compared = compare("beside", found[0], found[1])
    elif before is not None:
        compared = compare("before", found[0], before.figures)
    measurement = Measurement(began, asked, found[0], compared)
    if as_json:
        click.echo(encode(measurement))
    else:
        _print(measurement, count, before)
    _refuse_given_up(pollers, tallies)
    if save is not None:
        try:
            save.write_bytes(encode(measurement) + b"\n")
        except OSError as error:
            raise click.ClickException(f"{save} could not be written: {error.strerror}") from None


def _before(path: Path, asked: Asked) -> Measurement:
    try:
        before = load(path)
    except OSError as error:
        raise click.ClickException(f"{path} could not be read: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    differs = mismatch(asked, before.asked)
    if differs is not None:
        raise click.ClickException(f"{path} cannot be compared with, since it was asked otherwise: {differs}")
    return before


def _measure(pollers: list[Poller], count: int, rate: int) -> list[Tally]:
    if not sys.stderr.isatty():
        return measure(pollers, count, rate, lambda: None)
    with click.progressbar(length=count, file=sys.stderr) as progress:
        return measure(pollers, count, rate, lambda: progress.update(1))


def _advice(error: PollError, source: str, read: Read) -> str:
    """What stands behind the sentence about a first poll that was not answered."""
    server = error.server
    port = f" --port {server.port}" if server.port != _PORT else ""
    ask = (
        "\nWhat the policy says, on the firewall:"
        f" conduitfw explain POLICY --from {source} --to {server.host}{port}"
        f" --modbus {read.function} --unit {read.unit} --register {read.register}"
    )
    if error.failure is Failure.CONNECT:
        return f"; is the server there, and does a rule name this client?{ask}"
    if error.failure in (Failure.ENDED, Failure.TIMEOUT) or error.code in _DENIED:
        return f"; the policy or the server denies this read, or unit {read.unit} is not there.{ask}"
    return ""


def _refuse_given_up(pollers: list[Poller], tallies: list[Tally]) -> None:
    for poller, tally in zip(pollers, tallies, strict=True):
        if tally.given_up:
            raise click.ClickException(
                f"stopped: {GIVEN_UP} polls of {poller.server} in a row had no answer, the last since {tally.last}"
            )


def _print(measurement: Measurement, count: int, before: Measurement | None) -> None:
    asked, compared = measurement.asked, measurement.compared
    what = f"{FUNCTIONS.name(asked.function)} ({asked.function}), address {asked.register}, unit {asked.unit}"
    click.echo(f"{what}; from {asked.source}, {count} polls, at most {asked.rate:g} a second")
    if before is not None:
        click.echo(f"before: the same, measured {before.began}")
    named = [(measurement.figures.server, measurement.figures)]
    if compared is not None:
        label = "before" if before is not None else compared.other.server
        named.append((label, compared.other))
    width = max(10, *(len(label) for label, _ in named))
    click.echo(f"\n{'':{width}}" + "".join(f"{title:>10}" for title in ("p50", "p99", "p99.9", "max")))
    for label, each in named:
        trip = each.round_trip_us
        times = (trip.p50, trip.p99, trip.p99_9, each.max_us)
        click.echo(f"{label:{width}}" + "".join(f"{_time(took):>10}" for took in times))
    if compared is not None:
        _print_changes(compared, width)
    click.echo()
    for label, each in named:
        click.echo(f"{label}: {_counts(each)}")
    for label, each in named:
        _print_histogram(label, each)
    click.echo()
    click.echo(_LIMITS)


def _print_changes(compared: Comparison, width: int) -> None:
    changes: list[Change | None] = [compared.p50, compared.p99, compared.p99_9]
    differences = (f"{_time(each.difference_us, sign='+'):>10}" if each else f"{'-':>10}" for each in changes)
    ratios = (f"{f'x {each.ratio:.2f}':>10}" if each else f"{'-':>10}" for each in changes)
    click.echo(f"{'difference':{width}}{''.join(differences)}\n{'ratio':{width}}{''.join(ratios)}")


def _counts(found: Figures) -> str:
    exceptions = ", ".join(f"{count} x exception {int(code):02}" for code, count in found.exceptions.items())
    tenths = (
        f"; p50 of its tenths {_time(found.p50_of_tenths[0])} to {_time(found.p50_of_tenths[1])}"
        if found.p50_of_tenths
        else ""
    )
    return (
        f"{found.answers} answers, {found.timeouts} time-outs, {found.lost_connections} lost connections,"
        f" {found.wrong_answers} wrong answers, {exceptions or '0 exceptions'}; {found.reconnects} reconnects{tenths}"
    )


def _print_histogram(label: str, found: Figures) -> None:
    if not found.histogram:
        return
    most = max(bucket.answers for bucket in found.histogram)
    click.echo(f"\nround trips of {label}")
    gap = False
    for bucket in found.histogram:
        if bucket.answers:
            bar = "#" * -(-bucket.answers * _BAR // most)
            click.echo(f"{_time(bucket.low):>10} -{_time(bucket.high):>8} {bucket.answers:>8} {bar}")
        elif not gap:
            click.echo(f"{'...':>10}")
        gap = not bucket.answers


def _time(microseconds: float | None, sign: str = "") -> str:
    """Three digits, in us, ms or s."""
    if microseconds is None:
        return "-"
    rounded = float(f"{microseconds:.3g}")
    for factor, unit in ((1, "us"), (1000, "ms")):
        if abs(rounded) < 1000 * factor:
            return f"{rounded / factor:{sign}g} {unit}"
    return f"{rounded / 1e6:{sign}g} s"
