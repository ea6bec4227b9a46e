"""`conduitfw demo`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from conduitfw.cli.output import AS_JSON, print_json

_PROGRAMS = {"ip": "iproute2", "nft": "nftables", "iptables-nft": "iptables", "mbpoll": "mbpoll", "sysctl": "procps"}
_MODULES = {"pymodbus": "pymodbus", "dnp3": "dnp3py"}


@click.command()
@AS_JSON
def demo(as_json: bool) -> None:
    """Show it at work: two zones in network namespaces, real clients and servers, the example policy.

    Every row says what was tried, what had to come of it, and what the server itself recorded. Nothing
    outside of its own namespaces is touched. Exit status: 0 every row as expected, 1 not, 2 wrong usage.
    """
    missing = [f"{name} (Debian: {package})" for name, package in _PROGRAMS.items() if shutil.which(name) is None]
    missing += [
        f"{name} (pip: {package})" for name, package in _MODULES.items() if importlib.util.find_spec(name) is None
    ]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    if missing:
        raise click.ClickException(f"the demo needs {', '.join(missing)}; `make demo` brings all of it")
    from conduitfw.demo.show import show

    signal.signal(signal.SIGTERM, _end)  # so that namespaces are removed then, too
    console = Console(stderr=True)
    try:
        with console.status("") as status:
            shown = show(lambda line: status.update(line) if console.is_terminal else console.print(f"  {line}"))
    except OSError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(_json(shown))
    else:
        _print(shown)
    if not shown.good:
        raise SystemExit(1)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(1)


def _json(shown: Any) -> dict[str, Any]:
    return {
        "good": shown.good,
        "rows": [
            {
                "tried": each.row.tried,
                "by": each.row.by,
                "expected": each.row.expected,
                "answered": each.answered,
                "detail": each.detail,
                "executed": list(each.executed),
                "good": each.good,
                "why": each.why,
                "told": each.told,
            }
            for each in shown.results
        ],
        "latency_us": {"without": shown.without, "with": shown.with_firewall},
    }


def _print(shown: Any) -> None:
    table = Table("by", "tried", "expected", "at the client", "executed by the server", "")
    for each in shown.results:
        executed = ", ".join(str(code) for code in each.executed) or "nothing"
        told = f", {each.told}" if each.told else ""
        mark = f"[green]as expected[/]{told}" if each.good else f"[red]NOT as expected: {each.why}[/]"
        table.add_row(each.row.by, each.row.tried, each.row.expected, each.detail, executed, mark)
    console = Console(width=None if Console().is_terminal else 170)
    console.print(table)
    good = sum(each.good for each in shown.results)
    console.print(f"{good} of {len(shown.results)} rows as expected")
    bare, through = shown.without, shown.with_firewall
    for name in ("p50", "p99"):
        console.print(
            f"an allowed poll, {name}: {bare[name]:.0f} us over the bare bridge, "
            f"{through[name]:.0f} us through the firewall, {through[name] - bare[name]:.0f} us added"
        )
