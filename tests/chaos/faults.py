"""The faults, each with how often it is made by default and what the design promises meanwhile."""

from __future__ import annotations

import contextlib
import difflib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conduitfw.demo.network import FIREWALL, SCADA
from tests.chaos.bench import CLOSED, PLC, POLICY, SESSIONS, Bench

EVERY = tuple(str(session["name"]) for session in SESSIONS)
# Gives after each repetition how long it took until all was as before (seconds), or None where that means nothing.
Make = Callable[[Bench, int, random.Random], Iterator[float | None]]


@dataclass(frozen=True)
class Fault:
    """One kind of fault. `keeps`: sessions that may not be lost. `opens`: the static conduit goes on uninspected."""

    name: str
    what: str
    count: int
    short: int  # in the test run
    make: Make
    keeps: tuple[str, ...] = EVERY
    opens: bool = False
    recovery: str = ""  # what the times mean


def _replaced(bench: Bench, pid: int, since: float) -> float:
    """Seconds until another worker served."""
    time.sleep(0.1)  # asking takes the processor from those who are to be measured
    while (worker := bench.firewall.serving())["pid"] == pid:
        time.sleep(0.05)
    return float(worker["since"]) - since


def _signal_worker(bench: Bench, number: signal.Signals, dice: random.Random) -> tuple[int, float]:
    """Send it to whoever serves; gives its process id, and when."""
    while True:
        pid = int(bench.firewall.serving()["pid"])
        # Who answers for `status`, a process that asks nft, has ended by then. At any moment after that: the supervisor
        # steps 0.1 s after it was asked, and is to be met in its step neither each time nor never.
        time.sleep(dice.uniform(0.1, 0.2))
        began = time.monotonic()
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # replaced in this very moment
            continue
        return pid, began


def worker_kill(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        time.sleep(dice.uniform(0.1, 0.4))
        yield _replaced(bench, *_signal_worker(bench, signal.SIGKILL, dice))


def worker_stop(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        time.sleep(dice.uniform(0.3, 1.0))
        yield _replaced(bench, *_signal_worker(bench, signal.SIGSTOP, dice))


def control_kill(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        time.sleep(dice.uniform(0.05, 0.5))
        pid = bench.firewall.status()["control"]["pid"]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while bench.firewall.status()["control"]["pid"] == pid:
            time.sleep(0.01)
        yield time.monotonic() - began


def control_stop(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        pid = bench.firewall.status()["control"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2.0)
        os.kill(pid, signal.SIGCONT)
        yield None


def reload(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    bad = bench.folder / "bad.yaml"
    bad.write_text(POLICY.replace("functions: read", "functions: reed"))
    for number in range(1, count + 1):
        refused = number % 10 == 0 or (count < 10 and number == count)
        bench.firewall.policy.write_text(POLICY.replace("REVISION", str(number)))
        began = time.monotonic()
        answer = bench.firewall.ask("reload", policy=[str(bad if refused else bench.firewall.policy)])
        assert answer["ok"] is not refused, answer
        yield time.monotonic() - began


def supervisor_kill(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        time.sleep(dice.uniform(0.5, 1.0))
        began = time.monotonic()
        bench.firewall.kill()
        time.sleep(dice.uniform(0.1, 0.6))  # a service manager's RestartSec
        bench.firewall.start()
        yield time.monotonic() - began
        bench.settle()


def restart(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    """`conduitfw upgrade`: to the program that is installed, which is the same here."""
    for _ in range(count):
        time.sleep(dice.uniform(0.5, 1.0))
        began, before = time.monotonic(), bench.firewall.status()["started"]
        answer = bench.firewall.ask("upgrade")
        assert answer["ok"], answer
        while (status := bench.firewall.status())["started"] == before or status["taking_up"]:
            assert time.monotonic() - began < 60, "the new program does not decide"
            time.sleep(0.1)
        yield time.monotonic() - began


def service_restart(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    """The service manager's restart: the old program has ended before the new one begins."""
    for _ in range(count):
        time.sleep(dice.uniform(0.5, 1.0))
        began = time.monotonic()
        bench.firewall.restart()
        yield time.monotonic() - began


def stop_and_start(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for _ in range(count):
        time.sleep(dice.uniform(0.5, 1.0))
        began = time.monotonic()
        bench.firewall.end()
        bench.firewall.start()
        yield time.monotonic() - began
        bench.settle()


_TAMPER = (
    "nft flush table bridge conduitfw",
    "nft delete table bridge conduitfw",
    "nft flush chain bridge conduitfw forward",
    "nft insert rule bridge conduitfw forward accept",
    "nft flush ruleset",
    "iptables-nft -t mangle -F CONDUITFW",
    "iptables-nft -t mangle -D FORWARD -j CONDUITFW",
    "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
)


def tamper(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    for number in range(count):
        time.sleep(dice.uniform(0.3, 0.8))
        while any(each["now"] for each in bench.firewall.status()["overload"]):  # its limit is about to go
            time.sleep(0.5)
        before = _ruleset(bench)
        command = _TAMPER[number % len(_TAMPER)].split()
        began = time.monotonic()
        bench.network.run(FIREWALL, command)
        while not _as_before(bench, before):
            if time.monotonic() - began > 10:
                now = _ruleset(bench)
                changes = "\n".join(difflib.unified_diff(before.splitlines(), now.splitlines(), lineterm="", n=0))
                raise AssertionError(f"{' '.join(command)}: nobody put it right:\n{changes}")
            time.sleep(0.05)
        yield time.monotonic() - began


def _ruleset(bench: Bench) -> str:
    """Without what packets put into it: a limited source is forgotten after some seconds."""
    listed = bench.network.run(FIREWALL, ["nft", "-s", "list", "ruleset"]).stdout
    return re.sub(r"\s+elements = \{[^}]* limit rate over [^}]*\}", "", listed)


def _as_before(bench: Bench, before: str) -> bool:
    now = _ruleset(bench)
    on = bench.network.run(FIREWALL, ["sysctl", "-n", "net.bridge.bridge-nf-call-iptables"]).stdout.strip()
    return on == "1" and sorted(now.splitlines()) == sorted(before.splitlines())


def freeze(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    """The machine stands still: firewall and peers alike."""
    seconds = 10.0 if count > 1 else 2.0
    for _ in range(count):
        stopped = [*bench.peers(), *bench.firewall.processes()]
        dice.shuffle(stopped)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        dice.shuffle(stopped)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        time.sleep(1.0)
        yield None


def disk_full(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    ballast = bench.events.parent / "ballast"
    for _ in range(count):
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(65536)):
                pass
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"0"):
                pass
        time.sleep(2.0)
        ballast.unlink()
        time.sleep(1.0)
        yield None


_FLOOD = """
import itertools, random, socket, sys, time
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sources = sys.argv[4].split(",")
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def packet(source):
    segment = TCP(sport=random.randrange(1024, 65000), dport=port, flags="PA", seq=1, ack=1) / Raw(bytes(12))
    return bytes(IP(src=source, dst=host) / segment)
packets = [packet(source) for source in sources for _ in range(int(sys.argv[5]))]
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + seconds
for number in itertools.count():
    try:
        out.sendto(packets[number % len(packets)], (host, 0))
    except BlockingIOError:
        pass
    if number % 100 == 0 and time.monotonic() > end:
        break
print(number)
"""


def flood(
    bench: Bench, host: str, port: int, seconds: float, sources: list[str], flows: int = 4
) -> subprocess.Popen[str]:
    """Packets of no session, as fast as they go, for so long, from the next line on its standard input on.

    `flows`: of each source.
    """
    words = [sys.executable, "-c", _FLOOD, host, str(port), str(seconds), ",".join(sources), str(flows)]
    process = bench.network.start(SCADA, words)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


MANY = [f"10.10.0.{number}" for number in range(128, 254)]


def overflow(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    """Nobody reads for a moment, and so much comes from many sources that the queue is full."""
    for _ in range(count):
        before = _full(bench)
        sender = flood(bench, PLC, 502, 0.5, MANY)
        stopped = bench.firewall.processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            sender.communicate("go\n", 30)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        time.sleep(2.0)
        assert _full(bench) > before, "the queue was never full"
        yield None


def _full(bench: Bench) -> int:
    text = bench.network.run(FIREWALL, ["cat", "/proc/net/netfilter/nfnetlink_queue"]).stdout
    return sum(int(line.split()[5]) for line in text.splitlines())


def mixed(bench: Bench, count: int, dice: random.Random) -> Iterator[float | None]:
    """`count` seconds of all faults that cost no session of a closed conduit, in any order."""
    end = time.monotonic() + count
    apart = ("mixed", "freeze", "overflow")
    kinds = [fault for fault in FAULTS if set(CLOSED) <= set(fault.keeps) and fault.name not in apart]
    while time.monotonic() < end:
        for _ in dice.choice(kinds).make(bench, 1, dice):
            yield None


FAULTS = (
    Fault("worker-kill", "kill -9 of the worker", 1000, 8, worker_kill, recovery="another serves"),
    Fault("worker-stop", "SIGSTOP of the worker", 50, 2, worker_stop, recovery="another serves"),
    Fault("control-kill", "kill -9 of control", 200, 4, control_kill, recovery="control answers"),
    Fault("control-stop", "SIGSTOP of control for 2 s", 20, 1, control_stop),
    Fault("reload", "reload, a tenth of them bad policies", 1000, 4, reload, recovery="in force, or refused"),
    Fault(
        "supervisor-kill", "kill -9 of the supervisor, started again", 50, 1, supervisor_kill,
        ("DNP3 polls",), opens=True, recovery="started again",
    ),
    Fault("restart", "planned restart (conduitfw upgrade)", 50, 2, restart, recovery="all is new"),
    Fault("service-restart", "planned restart (the service manager's)", 50, 2, service_restart, recovery="all is new"),
    Fault("stop-start", "stop and start", 10, 1, stop_and_start, (), opens=True, recovery="started again"),
    # What is static goes on uninspected where its way to the queue is cut, and may not be taken up again.
    Fault("tamper", "ruleset flushed, deleted, changed; sysctl at 0", 24, 8, tamper, CLOSED, opens=True,
          recovery="put right"),
    Fault("freeze", "all processes stopped for 10 s, peers too", 3, 1, freeze),
    Fault("disk-full", "disk full for 2 s", 20, 1, disk_full),
    Fault("overflow", "queue full", 10, 1, overflow, opens=True),
    Fault("mixed", "seconds of those that cost no closed session, in any order", 900, 6, mixed, CLOSED, opens=True),
)  # fmt: skip
BY_NAME = {fault.name: fault for fault in FAULTS}
