"""Which bridge a policy is meant for, read from the machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_NET = Path("/sys/class/net")


def ports_of(bridge: str) -> list[str]:
    """The ports of a bridge, by name; empty where there is no such bridge."""
    folder = _NET / bridge / "brif"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def find_bridge(interfaces: Sequence[str]) -> str | None:
    """The bridge that these interfaces are ports of; None where they are none: the machine routes.

    A policy that names no interfaces means the machine's only bridge. Raises OSError where that is not clear.
    """
    if interfaces:
        masters = {name: _bridge_with(name) for name in interfaces if (_NET / name).exists()}
        found = set(masters.values())
        if len(found) > 1:
            listed = ", ".join(f"{name}: {master or 'no bridge'}" for name, master in sorted(masters.items()))
            raise OSError(f"the policy's interfaces are not ports of one bridge ({listed}); name it with --bridge")
        return found.pop() if found else None
    bridges = [
        path.name for path in sorted(_NET.iterdir()) if (path / "bridge").is_dir() and len(ports_of(path.name)) > 1
    ]
    if len(bridges) > 1:
        raise OSError(
            f"the policy names no interfaces, and there are bridges {', '.join(bridges)}; name one with --bridge"
        )
    return bridges[0] if bridges else None


def _bridge_with(port: str) -> str | None:
    link = _NET / port / "brport" / "bridge"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None
