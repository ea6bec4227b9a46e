"""The option that says where policies are kept. On its own: `boot` loads as little as it can."""

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
