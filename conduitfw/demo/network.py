"""Two zones with a bridge between them, as network namespaces that go away whatever happens.

    [scada]  eth0 --- scada0 [fw: bridge br0] cell0 --- eth0  [cell]

Names carry the id of the process that made them: what a killed run left behind is found and removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import IO

BRIDGE = "br0"
SCADA, CELL, FIREWALL = "scada", "cell", "fw"
# By zone: its networks, its port of the bridge, the addresses of its hosts.
ZONES: Mapping[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    SCADA: (
        ("10.10.0.0/24", "fd00:10::/64"),
        "scada0",
        ("10.10.0.11/24", "10.10.0.20/24", "10.10.0.66/24", "fd00:10::11/64", "fd00:10::66/64"),
    ),
    CELL: (
        ("10.20.0.0/24", "fd00:20::/64"),
        "cell0",
        ("10.20.0.5/24", "10.20.0.9/24", "fd00:20::5/64"),
    ),
}
PACE = float(os.environ.get("CONDUITFW_PACE", "1"))  # how much more patience a slower, emulated machine needs
_NAME = re.compile(r"cfw-(\d+)-\d+-(?:scada|cell|fw)")
_made = 0


class TwoZones:
    """The namespaces, and the processes that run in them. A context manager."""

    def __init__(self, *, routed: bool = False) -> None:
        """`routed`: a router between the zones instead of a bridge. Entering raises OSError where it cannot be made."""
        global _made  # noqa: PLW0603  (several in one process have names of their own)
        _made += 1
        self._routed = routed
        self._tag = f"cfw-{os.getpid()}-{_made}"
        self._processes: list[subprocess.Popen[str]] = []

    def namespace(self, zone: str) -> str:
        """The name of a zone's namespace, or of the firewall's."""
        return f"{self._tag}-{zone}"

    def __enter__(self) -> TwoZones:
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up()

    def _build(self) -> None:
        for zone in (FIREWALL, *ZONES):
            _ip("netns", "add", self.namespace(zone))
            self._ip(zone, "link", "set", "lo", "up")
        for zone, (_, port, addresses) in ZONES.items():
            self._plug(zone, port)
            for address in addresses:
                self._ip(zone, "address", "add", address, "dev", "eth0", *_no_detection(address))
            self._ip(zone, "link", "set", "eth0", "up")
        if self._routed:
            self._route()
        else:
            self._bridge()

    def _plug(self, zone: str, port: str) -> None:
        """The cable between a zone's host and the firewall's port."""
        peer = ("peer", "name", "eth0", "netns", self.namespace(zone))
        _ip("link", "add", port, "netns", self.namespace(FIREWALL), "type", "veth", *peer)

    def _bridge(self) -> None:
        """One bridge; each zone takes the other's addresses for neighbours."""
        self._ip(FIREWALL, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        # An address of its own would let hosts route through the bridge's machine.
        self.sysctl(FIREWALL, "net.ipv6.conf.all.disable_ipv6", "1")
        for zone, (_, port, addresses) in ZONES.items():
            self._ip(FIREWALL, "link", "set", port, "master", BRIDGE)
            self._ip(FIREWALL, "link", "set", port, "up")
            for network in _others(zone):
                self._ip(zone, "route", "add", network, "dev", "eth0", "src", _first_of(addresses, network))
        self._ip(FIREWALL, "link", "set", BRIDGE, "up")

    def _route(self) -> None:
        """An address on each side, to which each zone sends what is for the other."""
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.sysctl(FIREWALL, name, "1")
        for zone, (networks, port, addresses) in ZONES.items():
            self._ip(FIREWALL, "link", "set", port, "up")
            gateways = []
            for network in networks:
                first = ip_network(network)
                gateways.append(str(first.network_address + 1))
                address = f"{gateways[-1]}/{first.prefixlen}"
                self._ip(FIREWALL, "address", "add", address, "dev", port, *_no_detection(address))
            for network in _others(zone):
                gateway = next(each for each in gateways if (":" in each) == (":" in network))
                self._ip(zone, "route", "add", network, "via", gateway, "src", _first_of(addresses, network))

    def _ip(self, zone: str, *words: str) -> None:
        _ip("-n", self.namespace(zone), *words)

    def sysctl(self, zone: str, name: str, value: str) -> None:
        """Set a sysctl in a namespace."""
        self.run(zone, ["sysctl", "-qw", f"{name}={value}"])

    def run(
        self, zone: str, command: Sequence[str], *, check: bool = True, timeout: float = 60 * PACE
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a zone to its end. Raises OSError where it fails and `check` is set."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(zone), *command],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise OSError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done

    def start(
        self,
        zone: str,
        command: Sequence[str],
        *,
        stderr: IO[str] | int | None = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[str]:
        """Start a command in a zone; it ends with the zones at the latest. Its input and output are pipes.

        `pass_fds`: descriptors that it has, too.
        """
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(zone), *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, bufsize=1, pass_fds=pass_fds,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def _clean_up(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + 5
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        for zone in (FIREWALL, *ZONES):
            _remove(self.namespace(zone))


def remove_leftovers() -> None:
    """Remove namespaces of runs whose process is no more."""
    for name in _namespaces():
        match = _NAME.fullmatch(name)
        if match is not None and not Path("/proc", match[1]).exists():
            _remove(name)


def _namespaces() -> Iterator[str]:
    folder = Path("/run/netns")
    yield from (path.name for path in folder.iterdir()) if folder.is_dir() else ()


def _remove(name: str) -> None:
    """A namespace, and every process that is still in it: by their ids."""
    if not Path("/run/netns", name).exists():
        return
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _others(zone: str) -> list[str]:
    return [network for other in ZONES if other != zone for network in ZONES[other][0]]


def _no_detection(address: str) -> list[str]:
    """IPv6 addresses are usable at once."""
    return ["nodad"] if ":" in address else []


def _first_of(addresses: Sequence[str], network: str) -> str:
    same = [address for address in addresses if (":" in address) == (":" in network)]
    return same[0].split("/")[0]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
