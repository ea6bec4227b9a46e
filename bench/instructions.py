"""How many instructions a decision takes, by callgrind: the same on any machine, however busy it is.

`python -m bench.instructions [--tree PATH]` (by default `build/compiled` where it was built, else plain Python)
counts, for each kind of packet, the instructions of a decision with few and many rules, conduits and flows. What a
cache that is too small costs does not show in it: `--caches` counts that (of flows, or `--scale rules`), with all flows
in turn, in caches of a size (valgrind's model of them: the misses of a machine without counters that anybody may
read). Needs valgrind and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = {"rules": 100, "conduits": 1, "flows": 100}
STEPS = {"rules": (2, 100, 10_000), "conduits": (1, 100, 1000), "flows": (100, 1000, 10_000)}
COUNTED = 50  # flows that are asked, spread over all: as many at every size
ROUNDS = 3
# A first level of 32 KB and a second one of 1 MB, as one core of the development machine has them.
CACHES = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64")
MISSES = {"first level": ("D1mr", "D1mw"), "second": ("DLmr", "DLmw")}


def count(tree: Path, sizes: dict[str, int]) -> dict[str, float]:
    """Instructions of one decision by kind of packet, with the package in `tree`. Raises OSError."""
    return {kind: events["Ir"] for kind, events in profile(tree, sizes).items()}


def profile(tree: Path, sizes: dict[str, int], *, caches: bool = False) -> dict[str, dict[str, float]]:
    """Callgrind's events of one decision by kind of packet. `caches`: with misses, and all flows in turn.

    Raises OSError.
    """
    from bench import programs

    library = programs.build("callgrind")
    counted = sizes["flows"] if caches else COUNTED
    words = [sys.executable, str(HERE / "instructions.py"), "--inside", str(library), json.dumps(sizes), str(counted)]
    options = ["--instr-atstart=no", *(CACHES if caches else ())]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", *options, f"--callgrind-out-file={folder}/out", *words],
            env={**os.environ, "PYTHONPATH": f"{tree}:{HERE.parent}", "PYTHONHASHSEED": "0"},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise OSError(done.stderr.strip()[-2000:])
        asked = int(done.stdout.split()[-1])
        found: dict[str, list[dict[str, int]]] = {}
        for path in Path(folder).iterdir():
            text = path.read_text(errors="replace")
            name = re.search(r"desc: Trigger: Client Request: (.*)", text)
            events = re.search(r"^events: (.*)", text, re.MULTILINE)
            total = re.search(r"^(?:totals|summary): (.*)", text, re.MULTILINE)
            if name and events and total:  # what is written at the end has no name
                numbers = [int(each) for each in total[1].split()]
                numbers += [0] * (len(events[1].split()) - len(numbers))
                found.setdefault(name[1], []).append(dict(zip(events[1].split(), numbers, strict=True)))
    # Now and then a table grows: the round with the fewest is what a decision takes.
    least = {name: {key: min(each[key] for each in rounds) for key in rounds[0]} for name, rounds in found.items()}
    nothing = least.pop("nothing")
    return {
        name: {key: (number - nothing[key]) / asked for key, number in each.items()}
        for name, each in sorted(least.items())
    }


def _inside(library: str, sizes: dict[str, int], counted: int) -> None:
    """Runs under callgrind, and prints how many decisions each number is of."""
    from bench.decision import ANSWER, READ, Session, _dnp3_answer, _dnp3_read, _modbus, policy
    from conduitfw.flow import FlowTable
    from conduitfw.policy.compile import compile_policy
    from conduitfw.policy.load import load_policy
    from conduitfw.verdict import Pipeline

    callgrind = ctypes.CDLL(library)
    conduits, flows = sizes["conduits"], sizes["flows"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(max(sizes["rules"], 2 * conduits), conduits))
        loaded = load_policy([path])
    assert loaded.policy is not None, loaded.problems
    macs = {True: b"\x02\0\0\0\0\x0a", False: b"\x02\0\0\0\0\x14"}
    gc.disable()
    for protocol, port in (("modbus", 502), ("dnp3", 20000)):
        pipeline = Pipeline(
            compile_policy(loaded.policy),
            FlowTable(bytearray(FlowTable.memory_size(flows)), flows),
            lambda notice: None,
        )
        decide = pipeline.decide
        every = [Session(number, conduits, port) for number in range(flows)]
        for session in every:
            for data, from_client in session.opening():
                assert decide(data, 1.0, 1 + from_client, macs[from_client], 0).forward
        sessions = every[:: max(1, flows // counted)][:counted]
        for number in range(1 + ROUNDS):
            ask, tell = (
                (_modbus(number, READ), _modbus(number, ANSWER))
                if protocol == "modbus"
                else (_dnp3_read(number), _dnp3_answer(number))
            )
            now = 2.0 + number * 0.01
            for name, packets, from_client in (
                ("request", [session.request(ask) for session in sessions], True),
                ("answer", [session.answer(tell) for session in sessions], False),
                ("acknowledgement", [session.packet(True, 0x10) for session in sessions], True),
                ("", [], True),
            ):
                index, mac = 1 + from_client, macs[from_client]
                if number:  # the first request of a flow always goes through all stages
                    callgrind.begin()
                    callgrind.zero()
                for data in packets:
                    decide(data, now, index, mac, 0)
                if number:
                    callgrind.write_down(f"{protocol} {name}".encode() if packets else b"nothing")
        callgrind.end()
        assert not pipeline.counters["denied"], pipeline.counters
    print(len(sessions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--scale", choices=STEPS, action="append")
    parser.add_argument("--caches", action="store_true")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        library, sizes, counted = given.inside
        _inside(library, json.loads(sizes), int(counted))
        return
    compiled = HERE.parent / "build/compiled"
    tree = (given.tree or (compiled if compiled.is_dir() else HERE.parent)).resolve()
    if given.caches:
        for what in given.scale or ["flows"]:
            _tell_misses(tree, what)
        return
    print(f"{tree}: instructions of a decision")
    for what in given.scale or STEPS:
        runs = {step: count(tree, {**SIZES, what: step}) for step in STEPS[what]}
        print(f"\n{'':24}" + "".join(f"{step:>10} {what}" for step in runs))
        for kind in next(iter(runs.values())):
            print(f"{kind:24}" + "".join(f"{found[kind]:>{11 + len(what)}.0f}" for found in runs.values()))


def _tell_misses(tree: Path, what: str) -> None:
    print(f"{tree}: what a decision does not find in the caches, all flows in turn")
    least, most = STEPS[what][0], STEPS[what][-1]
    runs = {step: profile(tree, {**SIZES, what: step}, caches=True) for step in (least, most)}
    print(f"\n{'':24}" + "".join(f"{f'{level}, {step} {what}':>26}" for level in MISSES for step in runs))
    for kind in runs[least]:
        misses = [sum(found[kind][event] for event in events) for events in MISSES.values() for found in runs.values()]
        print(f"{kind:24}" + "".join(f"{each:>26.1f}" for each in misses))


if __name__ == "__main__":
    main()
