"""`python -m fuzz --seconds 600`: every target for its share of the time, by atheris. Status 1: it found something.

A finding does not stop a run: its input is made small and kept in fuzz/crashes/, one for each place. What a target has
learnt is kept in fuzz/corpus/ for the next run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
LONGEST = 2000  # octets of an input
TOO_LONG = 20  # seconds that an input may take
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+)")
_FINDING = re.compile(r"^FINDING (.*)")
_STOPPED = re.compile(r"SUMMARY: libFuzzer: (\S+)")


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target in this process, until atheris ends it."""
    import atheris

    with atheris.instrument_imports(include=["conduitfw"]):
        from fuzz import findings, seeds
    run, _ = seeds.TARGETS[target]
    met: set[findings.Signature] = set()

    def once(data: bytes) -> None:
        try:
            run(data)
        except Exception as error:  # noqa: BLE001
            found = findings.signature(error)
            if found in met:
                return
            met.add(found)
            path = findings.keep(target, findings.smaller(run, data, found))
            said = " ".join(str(error).split())
            print(f"FINDING {path.name} {found[0]} at {found[1]}:{found[2]}: {said[:300]}", file=sys.stderr, flush=True)

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


def supervise(target: str, seconds: int) -> bool:
    """Run one target in a process of its own, and tell how it went. False: it found something."""
    from fuzz import seeds
    from fuzz.findings import CRASHES

    corpus = HERE / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        count = seeds.write(Path(folder), seeds.TARGETS[target][1]())
        print(f"{target}: {seconds} s, from {count} seeds and {len(list(corpus.iterdir()))} inputs of earlier runs")
        command = [sys.executable, "-m", "fuzz", "--target", target, "--", str(corpus), folder, str(CRASHES)]
        command += [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            f"-timeout={TOO_LONG}",
            f"-report_slow_units={TOO_LONG}",
            "-print_final_stats=1",
        ]
        command.append(f"-artifact_prefix={CRASHES}/{target}-")
        process = subprocess.Popen(
            command, cwd=HERE.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        # An input that never ends inside of C would not be seen by libFuzzer's alarm.
        late = threading.Timer(seconds + 10 * TOO_LONG, process.kill)
        late.start()
        executed, coverage, begun, findings, log = 0, 0, 0, [], []
        told = time.monotonic()
        assert process.stdout is not None
        for line in process.stdout:
            log = [*log[-40:], line]
            if found := _COVERAGE.match(line):
                executed, coverage = int(found[1]), int(found[3])
                if found[2] == "INITED":
                    begun = coverage
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    print(f"  {executed} executions, coverage {coverage}", flush=True)
            elif found := _EXECUTED.match(line):
                executed = int(found[1])
            elif (found := _FINDING.match(line)) or (found := _STOPPED.search(line)):
                findings.append(found[1])
                print(f"  {line.strip()}", flush=True)
        status = process.wait()
        late.cancel()
    print(f"{target}: {executed} executions, coverage {begun} -> {coverage}, {len(findings)} findings")
    if status and not findings:
        print("".join(log))
    return not findings and status == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--only", choices=("pipeline", "units"))
    parser.add_argument("--target", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.target:
        fuzz(chosen.target, chosen.arguments)
        return 0
    shares = {"pipeline": 2, "units": 1} if chosen.only is None else {chosen.only: 1}
    each = chosen.seconds / sum(shares.values())
    fine = [supervise(target, max(round(share * each), 1)) for target, share in shares.items()]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
