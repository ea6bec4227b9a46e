"""Can this machine enforce? One check for each thing that has gone wrong somewhere, with what to do about it."""

from __future__ import annotations

import ctypes
import enum
import fcntl
import platform
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conduitfw import build
from conduitfw.kernel import libnftables, nft
from conduitfw.kernel.bridges import ports_of
from conduitfw.kernel.netlink_queue import COPY_RANGE, TRANSPORT
from conduitfw.kernel.ruleset import BRIDGE, INET, Method

_NET_ADMIN, _NET_RAW = 12, 13
_NET = Path("/sys/class/net")
_ETHTOOL = 0x8946  # SIOCETHTOOL
_GGRO = 0x2B  # ETHTOOL_GGRO


class State(enum.Enum):
    """How a check came out."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it is, and what to do where it is not good."""

    what: str
    state: State
    found: str
    remedy: str = ""


def examine(bridge: str | None) -> list[Finding]:
    """All checks. `bridge`: the bridge that will be used; None where the machine routes."""
    findings: list[Finding] = []
    for check in _CHECKS:
        findings += check(bridge)
    return findings


def _python(bridge: str | None) -> Iterator[Finding]:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    found = f"Python {platform.python_version()}"
    yield Finding("Python", State.GOOD if good else State.WARNING, found, "" if good else "3.11 to 3.13 are tested")
    yield Finding("the queue's transport", State.GOOD, TRANSPORT)
    engine = build.how()
    whole = engine in (build.COMPILED, build.PLAIN)
    remedy = "" if whole else "install it anew: a part of its build failed"
    yield Finding("engine", State.GOOD if whole else State.WARNING, engine, remedy)


def _capabilities(bridge: str | None) -> Iterator[Finding]:
    line = next(
        (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("CapEff")), "CapEff: 0"
    )
    held = int(line.split()[1], 16)
    missing = [name for name, bit in (("CAP_NET_ADMIN", _NET_ADMIN), ("CAP_NET_RAW", _NET_RAW)) if not held >> bit & 1]
    yield Finding(
        "capabilities", State.BAD if missing else State.GOOD,
        "missing " + ", ".join(missing) if missing else "CAP_NET_ADMIN, CAP_NET_RAW",
        "run as root, or by the service's unit" if missing else "",
    )  # fmt: skip


def _nftables(bridge: str | None) -> Iterator[Finding]:
    try:
        version = nft.run(["nft", "--version"]).split()[1].lstrip("v")
    except (OSError, IndexError) as error:
        yield Finding("nft", State.BAD, str(error), "install nftables 1.0 or later")
        return
    good = tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= (1, 0)
    yield Finding("nft", State.GOOD if good else State.BAD, version, "" if good else "nftables 1.0 or later is needed")
    family = BRIDGE if bridge else INET
    try:
        shape = nft.shape_of_host(family, 6200)
    except OSError as error:
        yield Finding(f"nftables, {family} family", State.BAD, str(error), "run as root; the kernel needs nf_tables")
        return
    yield from _transport(bridge, shape.method)
    yield _guard(family)
    tracked = "by connection tracking" if shape.tracking else "by flags and ports"
    yield Finding(
        "tcp and udp rules", State.GOOD if shape.tracking else State.WARNING, tracked,
        "" if shape.tracking else "this kernel does not track connections for the family: udp rules are open both ways",
    )  # fmt: skip


def _guard(family: str) -> Finding:
    try:
        libnftables.load()
    except OSError as error:
        return Finding("the guard", State.BAD, str(error), "install libnftables1")
    try:
        nft.check(f"table {family} conduitfw_probe {{ flags owner; }}")
    except OSError as error:
        return Finding("the guard", State.BAD, str(error), "tables with an owner need Linux 5.12 or later")
    return Finding("the guard", State.GOOD, "a table with an owner, by libnftables")


def _transport(bridge: str | None, method: Method) -> Iterator[Finding]:
    if method is Method.STATEMENT:
        yield Finding("the way to the queue", State.GOOD, "nftables queue statement")
        if bridge:
            yield from _receive_offload(bridge)
        return
    for program in ("iptables-nft", "ip6tables-nft"):
        try:
            nft.run([program, "--version"])
        except OSError as error:
            yield Finding("the way to the queue", State.BAD, str(error), "install iptables, or a kernel with nft_queue")
            return
    yield Finding("the way to the queue", State.GOOD, "mark and iptables (this kernel has no nft_queue)")
    if bridge and not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        yield Finding("br_netfilter", State.BAD, "not loaded", "modprobe br_netfilter")


def _receive_offload(bridge: str) -> Iterator[Finding]:
    """In the bridge family the kernel splits large packets before it queues them, and their Ethernet header is lost."""
    for port in ports_of(bridge):
        if _ethtool(port, _GGRO):
            yield Finding(
                f"receive offload of {port}",
                State.BAD,
                "on",
                f"ethtool -K {port} gro off lro off: pieces would lose their header",
            )


def _bridge(bridge: str | None) -> Iterator[Finding]:
    if bridge is None:
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
        state = State.GOOD if forwarding else State.WARNING
        yield Finding(
            "routing", state, "IPv4 forwarding is " + ("on" if forwarding else "off"),
            "" if forwarding else "sysctl net.ipv4.ip_forward=1, or name a bridge with --bridge",
        )  # fmt: skip
        return
    if not (_NET / bridge / "bridge").is_dir():
        yield Finding(f"bridge {bridge}", State.BAD, "there is none", f"ip link add {bridge} type bridge")
        return
    ports = ports_of(bridge)
    yield Finding(
        f"bridge {bridge}", State.GOOD if len(ports) > 1 else State.BAD, f"ports {', '.join(ports) or 'none'}",
        "" if len(ports) > 1 else "give it a port to each zone",
    )  # fmt: skip
    yield from _switching(ports)
    filters = _NET / bridge / "bridge" / "vlan_filtering"  # not there where the kernel cannot filter
    if filters.exists() and filters.read_text().strip() == "1":
        yield Finding(
            f"VLANs of {bridge}", State.WARNING, "the bridge filters: it puts tags on and takes them off",
            "vlan_filtering 0: the policy's `vlans` are the tags that frames arrive and leave with",
        )  # fmt: skip
    for port in (bridge, *ports):
        size = int((_NET / port / "mtu").read_text())
        if size > COPY_RANGE:
            yield Finding(
                f"MTU of {port}",
                State.BAD,
                f"{size} bytes",
                f"at most {COPY_RANGE}: longer packets reach the queue cut short",
            )


def _switching(ports: list[str]) -> Iterator[Finding]:
    """Ports of one switch chip may forward among themselves, where no chain sees it."""
    by_switch: dict[str, list[str]] = {}
    for port in ports:
        try:
            switch = (_NET / port / "phys_switch_id").read_text().strip()
        except OSError:
            continue
        if switch:
            by_switch.setdefault(switch, []).append(port)
    for switch, members in by_switch.items():
        if len(members) > 1:
            yield Finding(
                "switch hardware", State.BAD, f"{', '.join(members)} are ports of one switch ({switch})",
                "it may forward by itself, past the firewall: use ports of different cards",
            )  # fmt: skip


def _others(bridge: str | None) -> Iterator[Finding]:
    try:
        flowtables = nft.run(["nft", "list", "flowtables"])
    except OSError:
        return
    names = re.findall(r"flowtable (\S+)", flowtables)
    if names:
        yield Finding("flowtables", State.BAD, ", ".join(names), "offloaded flows pass no chain: delete them")
    if bridge is not None and (_NET / bridge / "bridge").is_dir():
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
        if forwarding:
            yield Finding(
                "routing", State.WARNING, "IPv4 forwarding is on beside a bridge",
                "what is routed between zones is dropped; turn it off where nothing else needs it",
            )  # fmt: skip


def _ethtool(interface: str, command: int) -> bool:
    """A yes-or-no setting of an interface (linux/ethtool.h, struct ethtool_value)."""
    value = (ctypes.c_uint32 * 2)(command, 0)
    request = interface.encode().ljust(16, b"\0") + ctypes.addressof(value).to_bytes(8, sys.byteorder) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _ETHTOOL, request)
        except OSError:
            return False
    return bool(value[1])


_CHECKS: tuple[Callable[[str | None], Iterator[Finding]], ...] = (_python, _capabilities, _nftables, _bridge, _others)
