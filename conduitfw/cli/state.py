"""Options of `boot` and `run`. On their own: `boot` loads as little as it can."""

from __future__ import annotations

import click

from conduitfw.runtime.store import DEFAULT_STATE

STATE = click.option(
    "--state",
    "state",
    envvar="CONDUITFW_STATE",
    metavar="FOLDER",
    help=f"Where policies are kept (also by the environment: CONDUITFW_STATE; the service's is {DEFAULT_STATE}).",
)

MANAGEMENT = click.option(
    "--management",
    multiple=True,
    envvar="CONDUITFW_MANAGEMENT",
    metavar="INTERFACE",
    help="Where this machine is managed: by no other interface is it spoken to. Not named: by any, where a policy "
    "is kept (also by the environment: CONDUITFW_MANAGEMENT, several with spaces between).",
)
