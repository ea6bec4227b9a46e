"""Peers that are compiled, and the firewall as a peer of tests: it runs, and leaves nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conduitfw.demo.network import TwoZones
from conduitfw.demo.show import Firewall


def libmodbus_server(folder: Path, name: str = "modbus_server") -> Path:
    """Compile a server on libmodbus (modbus_server.c, modbus_crowd.c) into a folder. Gives the program."""
    built = folder / name
    source = Path(__file__).parent / f"{name}.c"
    words = ["-I/usr/include/modbus", "-o", str(built), str(source), "-lmodbus"]
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *words], check=True)
    return built


@contextmanager
def firewalled(network: TwoZones, folder: Path, policy: str) -> Iterator[Firewall]:
    """The firewall runs under this policy; its ruleset goes with it."""
    path = folder / "policy.yaml"
    path.write_text(policy)
    firewall = Firewall(network, folder, path, "--remove-on-exit")
    try:
        yield firewall
    finally:
        firewall.command("stop")
        if firewall.process.poll() is None:
            firewall.process.terminate()
        firewall.process.wait(10)
