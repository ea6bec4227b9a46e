"""`conduitfw boot`: before the network comes up."""

from __future__ import annotations

import json

import click

from conduitfw.cli.state import MANAGEMENT, STATE
from conduitfw.runtime.boot import boot as load
from conduitfw.runtime.store import DEFAULT_STATE, Store


@click.command()
@STATE
@MANAGEMENT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def boot(state: str | None, management: tuple[str, ...], as_json: bool) -> None:
    """Load the closed ruleset of the last good policy; for the boot-time unit, before the network.

    What needs inspection is dropped until `conduitfw run` decides it. Without a kept policy, nothing passes, and
    only management interfaces are heard. Exit status: 0 loaded, 1 nothing could be loaded.
    """
    store = Store(state or DEFAULT_STATE)
    try:
        found = load(store, management)
    except OSError as error:
        raise click.ClickException(f"nothing could be loaded: {error}") from None
    if as_json:
        click.echo(json.dumps({"loaded": found.what, "shut": found.shut, "problems": list(found.problems)}))
        return
    for problem in found.problems:
        click.echo(f"warning: {problem}", err=True)
    click.echo(found.what)
