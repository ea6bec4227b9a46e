"""Loading a ruleset into the kernel: `nft` and, where packets reach the queue by mark, one chain of iptables.

Both are the distribution's own programs (docs/decisions/0002-nft-binary.md). Everything here raises OSError
with what the program said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conduitfw.kernel import marks
from conduitfw.kernel.ruleset import BRIDGE, INET, TABLE, Method, Shape, removal

_PROBE = "conduitfw_probe"
_CHAIN = "CONDUITFW"
_IPTABLES = ("iptables-nft", "ip6tables-nft")
# What makes bridged packets meet iptables: IPv4, IPv6, and either in a VLAN.
_CALLS = tuple(
    Path(f"/proc/sys/net/bridge/bridge-nf-{each}") for each in ("call-iptables", "call-ip6tables", "filter-vlan-tagged")
)
_SECONDS = 60.0
own: deque[int] = deque(maxlen=256)  # the last programs that were run here: what they changed nobody else did


def run(command: Sequence[str], text: str | None = None) -> str:
    """Run a program to its end and give what it printed. Raises OSError with what it said."""
    with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, error = process.communicate(text, _SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise OSError(f"{command[0]} did not end within {_SECONDS:.0f} s") from None
    if process.returncode:
        said = (error or out).strip().splitlines()
        raise OSError(f"{' '.join(command)}: {said[0] if said else f'exit {process.returncode}'}")
    return out


def start(command: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
    """Start a program, and wait for nothing. Raises OSError where it is not installed."""
    try:
        process = subprocess.Popen(
            command, text=True, **streams,
            env={**os.environ, "LC_ALL": "C", "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
        )  # fmt: skip
    except FileNotFoundError:
        raise OSError(f"{command[0]} is not installed") from None
    own.append(process.pid)
    return process


def load(text: str) -> None:
    """Load a ruleset in one transaction."""
    run(["nft", "-f", "-"], text)


def check(text: str) -> None:
    """Whether nft understands a ruleset; nothing is loaded."""
    run(["nft", "-c", "-f", "-"], text)


def can(family: str, rule: str) -> bool:
    """Whether this kernel takes a rule, tried in a chain that no packet meets."""
    try:
        load(f"table {family} {_PROBE} {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n")
    except OSError:
        return False
    finally:
        # An unhooked chain holds no packets: taking it out drops none.
        load(f"table {family} {_PROBE} {{}}\ndelete table {family} {_PROBE}\n")
    return True


def shape_of_host(family: str, queue_base: int) -> Shape:
    """How packets reach the queue on this kernel, and whether it tracks connections for the family."""
    method = Method.STATEMENT if can(family, f"queue num {queue_base}") else Method.MARK
    return Shape(family, method, queue_base, can(family, "ct state new accept"))


def install(text: str, shape: Shape) -> None:
    """Load a ruleset and see to it that what it marks is queued."""
    if shape.method is Method.MARK:
        # The queue first: what is marked and not queued would pass (and, where closed, be dropped behind).
        _install_mark_rules(shape)
    load(text)


def remove(shape: Shape) -> None:
    """Take out all that `install` brought. The sysctls stay: others may have come to need them."""
    load(removal(shape.family))
    if shape.method is Method.MARK:
        for program in _IPTABLES:
            while _jumps(program):  # more than one where somebody had put rules in front of it
                run([program, "-t", "mangle", "-D", "FORWARD", "-j", _CHAIN])
                run([f"{program}-restore", "--noflush"], f"*mangle\n:{_CHAIN} - [0:0]\n-X {_CHAIN}\nCOMMIT\n")


def listing(family: str) -> str:
    """The table as the kernel has it, without its counts. Raises OSError where there is none."""
    return run(["nft", "-s", "list", "table", family, TABLE])


def sets(family: str) -> set[tuple[str, str]]:
    """Kind and name of every set and map in the table; empty where there is none."""
    try:
        listed = run(["nft", "-t", "list", "table", family, TABLE])
    except OSError:
        return set()
    return set(re.findall(r"^\t(set|map) (\S+) \{", listed, re.MULTILINE))


def mark_rules_stand(shape: Shape) -> bool:
    """Whether what is marked is queued, and first."""
    return (shape.family != BRIDGE or calls_on()) and all(
        _has_rules(program, shape) and _jumps_first(program) for program in _IPTABLES
    )


def calls_on() -> bool:
    """Whether bridged packets meet iptables. Cheap: three files."""
    try:
        return all(_content(path).strip() == b"1" for path in _CALLS)
    except OSError:
        return False


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # ten times a second: no file object for a word
    try:
        return os.read(descriptor, 16)
    finally:
        os.close(descriptor)


def counters(family: str, guard: str = "") -> dict[str, dict[str, int]]:
    """The table's counters, and the guard's: name -> packets and bytes. Empty where the table is not loaded."""
    found: dict[str, dict[str, int]] = {}
    tables = [(family, TABLE)] + ([(family, guard)] if guard else []) + ([(INET, TABLE)] if family == BRIDGE else [])
    for each, table in tables:
        try:
            listed = json.loads(run(["nft", "-j", "list", "counters", "table", each, table]))
        except OSError:
            continue
        for entry in listed["nftables"]:
            if "counter" in entry:
                counter = entry["counter"]
                figures = found.setdefault(counter["name"], {"packets": 0, "bytes": 0})
                figures["packets"] += counter["packets"]
                figures["bytes"] += counter["bytes"]
    return found


# --- where the queue is reached by mark ---------------------------------------------------------------


def _rules(shape: Shape) -> list[str]:
    ours = marks.INSPECT | marks.VERDICT | marks.CLOSED | (marks.WORKER_MASK if shape.workers > 1 else 0)
    rules = []
    for worker in range(shape.workers):
        mark = marks.INSPECT | worker << marks.WORKER_SHIFT
        closed, static = marks.queue_numbers(shape.queue_base, worker)
        rules += [
            f"-A {_CHAIN} -m mark --mark {mark | marks.CLOSED:#x}/{ours:#x} -j NFQUEUE --queue-num {closed}",
            f"-A {_CHAIN} -m mark --mark {mark:#x}/{ours:#x} -j NFQUEUE --queue-num {static} --queue-bypass",
        ]
    return rules


def _install_mark_rules(shape: Shape) -> None:
    if shape.family == BRIDGE:
        for path in _CALLS:
            if not path.exists():
                raise OSError(f"{path} is not there: load the kernel module br_netfilter")
            if path.read_text().strip() != "1":
                path.write_text("1\n")
    for program in _IPTABLES:
        if not _has_rules(program, shape):
            lines = [f":{_CHAIN} - [0:0]", *_rules(shape)]
            run([f"{program}-restore", "--noflush"], "\n".join(["*mangle", *lines, "COMMIT", ""]))
        if not _jumps_first(program):
            run([program, "-t", "mangle", "-I", "FORWARD", "1", "-j", _CHAIN])


def _has_rules(program: str, shape: Shape) -> bool:
    try:
        listed = run([program, "-t", "mangle", "-S", _CHAIN]).splitlines()
    except OSError:
        return False
    return listed == [f"-N {_CHAIN}", *_rules(shape)]


def _jumps_first(program: str) -> bool:
    """Nothing in front of our jump may accept what is to be queued."""
    try:
        listed = run([program, "-t", "mangle", "-S", "FORWARD"]).splitlines()
    except OSError:
        return False
    return listed[1:2] == [f"-A FORWARD -j {_CHAIN}"]


def _jumps(program: str) -> bool:
    try:
        run([program, "-t", "mangle", "-C", "FORWARD", "-j", _CHAIN])
    except OSError:
        return False
    return True
