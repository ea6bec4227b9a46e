"""`conduitfw nft` and `doctor`: the kernel's part."""

from __future__ import annotations

from pathlib import Path

import click

from conduitfw.cli.output import AS_JSON, POLICY, print_json, read_policy
from conduitfw.kernel.bridges import find_bridge
from conduitfw.kernel.doctor import State, examine
from conduitfw.kernel.marks import DEFAULT_QUEUE_BASE, WORKERS_MAX
from conduitfw.kernel.ruleset import BRIDGE, INET, Method, Shape, render


@click.command()
@POLICY
@click.option("--router", is_flag=True, help="For a router (inet family) instead of a bridge.")
@click.option("--static", is_flag=True, help="As it is while no engine runs: conduits that fail static go by ports.")
@click.option(
    "--by-mark", is_flag=True, help="For kernels without nft_queue: packets are marked, and iptables queues them."
)
@click.option("--tracking", is_flag=True, help="With connection tracking, where the kernel has it for the family.")
@click.option("--queue-base", default=DEFAULT_QUEUE_BASE, show_default=True, type=click.IntRange(0, 65534))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, WORKERS_MAX), help="As `run` has them.")
@AS_JSON
def nft(
    policy: tuple[Path, ...],
    router: bool,
    static: bool,
    by_mark: bool,
    tracking: bool,
    queue_base: int,
    workers: int,
    as_json: bool,
) -> None:
    """Print the nftables ruleset of POLICY; `run` loads the same, as this kernel can take it.

    Exit status: 0 printed, 1 the policy is bad, 2 wrong usage.
    """
    found = read_policy(policy, as_json)
    method = Method.MARK if by_mark else Method.STATEMENT
    shape = Shape(INET if router else BRIDGE, method, queue_base, tracking, workers=workers)
    text = render(found, shape, static=static)
    if as_json:
        print_json({"ruleset": text})
    else:
        click.echo(text, nl=False)


@click.command()
@click.option("--bridge", metavar="NAME", help="The bridge that will be used (the machine's only one, if it has one).")
@AS_JSON
def doctor(bridge: str | None, as_json: bool) -> None:
    """Check whether this machine can enforce, and say what to do where it cannot.

    Exit status: 0 it can (there may be warnings), 1 it cannot, 2 wrong usage.
    """
    if bridge is None:
        try:
            bridge = find_bridge(())
        except OSError as error:
            raise click.UsageError(str(error)) from None
    findings = examine(bridge)
    bad = any(each.state is State.BAD for each in findings)
    if as_json:
        listed = [
            {"what": each.what, "state": each.state.value, "found": each.found, "remedy": each.remedy}
            for each in findings
        ]
        print_json({"ok": not bad, "findings": listed})
    else:
        for each in findings:
            click.echo(f"{each.state.value:<8} {each.what}: {each.found}{'; ' + each.remedy if each.remedy else ''}")
    if bad:
        raise SystemExit(1)
