"""The decision alone: bytes in, verdict out, no queue and no kernel.

`python -m bench.decision` times, packet by packet of one kind at a time over many flows, what a Modbus poll, a DNP3
read, their answers and bare acknowledgements cost. Times differ between machines and moments, so beside each stands
how many look-ups in a plain dictionary it costs, measured around it in the same moment; and what it costs in the quarter
of the time in which these look-ups were quickest ("calm", of the calmest of several processes).

`--tree NAME=PATH` (again and again) measures other trees than this one, in processes of their own, in turn, and prints
ratios to the first: an older commit, or build/compiled. `--scale rules|conduits|flows` shows whether cost grows.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 5  # of each process; of them the median counts
CALM = ", calm"  # behind the name of a kind of packet
YARDSTICK = "yardstick"
SPAN = 100  # decisions of a kind from one yardstick to the next, at least
READ = bytes.fromhex("0006 01 03 0000 000a")  # behind transaction and protocol id: unit 1, ten registers
ANSWER = bytes.fromhex("0017 01 03 14") + bytes(20)


def policy(rules: int, conduits: int) -> str:
    """Of a client and a server with a Modbus and a DNP3 rule each, and as many others as are asked for."""
    cells = range(conduits)
    others = max(rules - 2 * conduits, 0)
    zones = "".join(
        f"  cell-{n}:\n    security_level: 3\n    networks: [10.{100 + n // 250}.{n % 250}.0/24]\n"
        f"    interfaces: [right{n}]\n    assets: {{plc-{n}: {{address: 10.{100 + n // 250}.{n % 250}.5, link_address: 10}}"
        + "".join(
            f", other-{n}-{m}: {{address: 10.{100 + n // 250}.{n % 250}.{6 + m % 240}}}"
            for m in range(min(240, -(-others // conduits)))
        )
        + "}\n"
        for n in cells
    )
    share = [others // conduits + (n < others % conduits) for n in cells]
    lines = "".join(
        f"  line-{n}:\n    from: scada\n    to: cell-{n}\n    purpose: bench\n    owner: bench\n    approved_by: bench\n"
        f"    on_deny: reject\n    rules:\n"
        f"      - {{name: polls, allow: modbus, clients: scada, servers: plc-{n}, functions: read, units: 1-4}}\n"
        f"      - {{name: rtu, allow: dnp3, clients: scada, servers: plc-{n}, master: 1, functions: read}}\n"
        + "".join(
            f"      - {{name: r{m}, allow: modbus, clients: scada, servers: other-{n}-{m % 240}, functions: [{m % 60 + 1}]}}\n"
            for m in range(share[n])
        )
        for n in cells
    )
    return (
        'policy: {version: 1, site: bench, owner: bench, revision: "1"}\nzones:\n  scada:\n    security_level: 2\n'
        f"    networks: [10.0.0.0/11]\n    interfaces: [left0]\n{zones}conduits:\n{lines}"
    )


class Session:
    """Both ends of one TCP session, and the packets that they exchange."""

    def __init__(self, number: int, conduits: int, port: int) -> None:
        cell = number % conduits
        self.client = bytes((10, number >> 14 & 31, number >> 7 & 127, 1 + (number & 127)))
        self.server = bytes((10, 100 + cell // 250, cell % 250, 5))
        self.ports = (40000 + number % 20000, port)
        self.sequence, self.ack = 1000 + number, 2_000_000 + number
        self.transaction = number & 0xFFFF

    def packet(self, from_client: bool, flags: int, payload: bytes = b"") -> bytes:
        from conduitfw.packet import build

        ends = (self.client, self.server) if from_client else (self.server, self.client)
        ports = self.ports if from_client else self.ports[::-1]
        numbers = (self.sequence, self.ack) if from_client else (self.ack, self.sequence)
        stamps = None if flags & 2 else (1000, 2000)
        return build(
            *ends, *ports, sequence=numbers[0], ack=numbers[1], flags=flags, window=64000, timestamps=stamps,
            payload=payload,
        )  # fmt: skip

    def opening(self) -> list[tuple[bytes, bool]]:
        syn = self.packet(True, 0x02), True
        self.sequence += 1
        answer = self.packet(False, 0x12), False
        self.ack += 1
        return [syn, answer, (self.packet(True, 0x10), True)]

    def request(self, unit: bytes) -> bytes:
        data = self.packet(True, 0x18, unit)
        self.sequence += len(unit)
        return data

    def answer(self, unit: bytes) -> bytes:
        data = self.packet(False, 0x18, unit)
        self.ack += len(unit)
        return data


def _dnp3_read(sequence: int) -> bytes:
    return _dnp3(
        0xC4,
        10,
        1,
        bytes((0xC0 | sequence & 63, 0xC0 | sequence & 15, 1)) + bytes.fromhex("3c0206 3c0306 3c0406 3c0106"),
    )


def _dnp3_answer(sequence: int) -> bytes:
    """Sixteen binary inputs and five analog ones."""
    objects = bytes.fromhex("0101 00 00 0f 5aa5 1e02 00 00 04") + bytes.fromhex("01 3412") * 5
    return _dnp3(0x44, 1, 10, bytes((0xC0 | sequence & 63, 0xC0 | sequence & 15, 129, 0, 0)) + objects)


def _dnp3(control: int, destination: int, source: int, user: bytes) -> bytes:
    from conduitfw.protocols.dnp3.link import crc

    head = (
        b"\x05\x64" + bytes((5 + len(user), control)) + destination.to_bytes(2, "little") + source.to_bytes(2, "little")
    )
    blocks = [head, *(user[at : at + 16] for at in range(0, len(user), 16))]
    return b"".join(block + crc(block).to_bytes(2, "little") for block in blocks)


def _modbus(transaction: int, rest: bytes) -> bytes:
    return (transaction & 0xFFFF).to_bytes(2, "big") + b"\0\0" + rest


def yardstick() -> float:
    """Seconds of one look-up in a plain dictionary."""
    table = {number: number for number in range(1000)}
    keys = list(table) * 20
    began = time.perf_counter()
    for key in keys:
        table[key]
    return (time.perf_counter() - began) / len(keys)


class Line:
    """Sessions of one protocol over a pipeline, opened, and what they say in turn."""

    KINDS = ("request", "answer", "acknowledgement")

    def __init__(self, protocol: str, rules: int, conduits: int, flows: int) -> None:
        """`protocol`: modbus or dnp3. Raises SystemExit where the policy is not what it should be."""
        import tempfile

        from conduitfw.flow import FlowTable
        from conduitfw.policy.compile import compile_policy
        from conduitfw.policy.load import load_policy
        from conduitfw.verdict import Pipeline

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.yaml"
            path.write_text(policy(rules, conduits))
            loaded = load_policy([path])
        if loaded.policy is None:
            raise SystemExit("\n".join(str(problem) for problem in loaded.problems[:5]))
        if len(loaded.policy.rules) < rules:
            raise SystemExit(f"{len(loaded.policy.rules)} rules instead of {rules}")
        self._modbus = protocol == "modbus"
        memory = bytearray(FlowTable.memory_size(flows))
        self.record = len(memory) / (flows + 1)  # bytes of a flow
        self.pipeline = Pipeline(compile_policy(loaded.policy), FlowTable(memory, flows), lambda notice: None)
        self._decide: Callable[..., object] = self.pipeline.decide
        self._sessions = [Session(number, conduits, 502 if self._modbus else 20000) for number in range(flows)]
        self._macs = {True: b"\x02\0\0\0\0\x0a", False: b"\x02\0\0\0\0\x14"}
        for session in self._sessions:
            for data, from_client in session.opening():
                assert self.pipeline.decide(data, 1.0, 1 + from_client, self._macs[from_client]).forward

    def packets(self, kind: str, number: int) -> list[bytes]:
        """What each session sends next, in turn the KINDS of round `number`."""
        if kind == "acknowledgement":
            return [session.packet(True, 0x10) for session in self._sessions]
        if kind == "request":
            ask = _modbus(number, READ) if self._modbus else _dnp3_read(number)
            return [session.request(ask) for session in self._sessions]
        tell = _modbus(number, ANSWER) if self._modbus else _dnp3_answer(number)
        return [session.answer(tell) for session in self._sessions]

    def decide(self, packets: list[bytes], kind: str, number: int) -> None:
        """Have all of them decided."""
        from_client = kind != "answer"
        decide, now, index, mac = self._decide, 2.0 + number * 0.01, 1 + from_client, self._macs[from_client]
        for each in packets:
            decide(each, now, index, mac, 0)

    def check(self, rounds: int) -> None:
        """That all of it was allowed, and read. Raises SystemExit."""
        counters = self.pipeline.counters
        if counters["denied"] or counters["held"] or counters["units"] != 2 * rounds * len(self._sessions):
            raise SystemExit(f"not what was to be measured: {counters}")


def measure(rules: int, conduits: int, flows: int, packets: int) -> dict[str, float]:
    """Nanoseconds of a decision by kind of packet, and of the yardstick; bytes of memory a flow.

    A kind's name and CALM: of the quarter of the time in which the yardstick was shortest, so while others had the least
    of the core's caches; a protocol's name and YARDSTICK: how short it was then. No figure is chosen by what it says.
    """
    found: dict[str, float] = {}
    ticks: list[float] = []
    for protocol in ("modbus", "dnp3"):
        line = Line(protocol, rules, conduits, flows)
        found["record"] = line.record
        gc.collect()
        gc.freeze()
        gc.disable()
        spans: list[tuple[float, dict[str, list[float]]]] = []  # the yardstick, and what was measured right behind it
        repeats = 1 + max(3, packets // flows)
        for number in range(repeats):
            if number % max(1, SPAN // flows) == 0:
                ticks.append(yardstick())
                spans.append((ticks[-1], {}))
            for kind in Line.KINDS:
                data = line.packets(kind, number)
                began = time.perf_counter()
                line.decide(data, kind, number)
                took = (time.perf_counter() - began) / len(data)
                if number:  # the first request of a flow always goes through all stages
                    spans[-1][1].setdefault(kind, []).append(took)
        line.check(repeats)
        spans = sorted((span for span in spans if span[1]), key=lambda span: span[0])
        calm = spans[: -(-len(spans) // 4)]
        found[f"{protocol} {YARDSTICK}"] = statistics.median(tick for tick, _ in calm) * 1e9
        for words, some in (("", spans), (CALM, calm)):
            for kind in Line.KINDS:
                times = [each for _, of_kind in some for each in of_kind[kind]]
                found[f"{protocol} {kind}{words}"] = statistics.median(times) * 1e9
        gc.enable()
    found[YARDSTICK] = statistics.median(ticks) * 1e9
    return found


def together(runs: list[dict[str, float]]) -> dict[str, float]:
    """Medians of several processes' figures; those of the calm from the process that had most of it."""
    found = {}
    for key in runs[0]:
        calmest = min(runs, key=lambda run: run[f"{key.split()[0]} {YARDSTICK}"]) if key.endswith(CALM) else None
        found[key] = statistics.median(run[key] for run in runs) if calmest is None else calmest[key]
    return found


def once(tree: Path, arguments: list[str]) -> dict[str, float]:
    """One measurement in a process of its own, with the package in `tree`."""
    process = subprocess.run(
        [sys.executable, __file__, "--json", *arguments],
        env={**os.environ, "PYTHONPATH": str(tree)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if process.returncode:
        raise SystemExit(process.stderr)
    found = json.loads(process.stdout)
    assert isinstance(found, dict)
    return found


def compare(trees: dict[str, Path], arguments: list[str]) -> dict[str, dict[str, float]]:
    """Each tree in turn, in a process of its own; medians."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for _ in range(ROUNDS):
        for name, tree in trees.items():
            runs[name].append(once(tree, arguments))
    return {name: together(each) for name, each in runs.items()}


def show(results: dict[str, dict[str, float]]) -> None:
    """A table; ratios are to the first column."""
    first = next(iter(results.values()))
    print(f"{'':24}" + "".join(f"{name:>30}" for name in results))
    for kind in first:
        cells = []
        for found in results.values():
            if kind == "record":
                cells.append(f"{found[kind]:.0f} bytes a flow")
            elif kind.endswith(YARDSTICK):
                cells.append(f"{found[kind]:.1f} ns")
            else:
                cells.append(
                    f"{found[kind] / 1000:6.2f} us {found[kind] / found[YARDSTICK]:5.0f} y {found[kind] / first[kind]:5.2f} x"
                )
        print(f"{kind:24}" + "".join(f"{cell:>30}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--conduits", type=int, default=10)
    parser.add_argument("--flows", type=int, default=100)
    parser.add_argument("--packets", type=int, default=20000, help="of each kind, over all flows")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--scale", choices=("rules", "conduits", "flows"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes = {"rules": given.rules, "conduits": given.conduits, "flows": given.flows}
    if given.json:
        print(json.dumps(measure(**sizes, packets=given.packets)))
        return
    trees = {name: Path(path).resolve() for name, _, path in (each.partition("=") for each in given.tree)}
    trees = trees or {"here": Path.cwd()}
    steps = {"rules": (1, 100, 10_000), "conduits": (1, 100, 1000), "flows": (1, 1000, 100_000)}
    for value in steps[given.scale] if given.scale else (None,):
        if value is not None:
            sizes[given.scale] = value
            if given.scale == "rules":
                sizes["conduits"] = 1
            else:
                sizes["rules"] = max(given.rules, 2 * sizes["conduits"])
            print(f"\n{value} {given.scale}")
        flat = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
        show(compare(trees, [*flat, "--packets", str(given.packets)]))


if __name__ == "__main__":
    main()
