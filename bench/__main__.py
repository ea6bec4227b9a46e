"""`make bench`: everything that bench/README.md tells, measured on this machine, in a few minutes.

Needs root (network namespaces, NFQUEUE) and a C compiler. What has no decision in it stands in the same rounds, and
ratios are of the same round, since times differ between machines and moments.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import decision, onbridge, table, workers

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
BUILDS = {"plain Python": ROOT, "compiled": ROOT / "build/compiled"}
PARTS = ("decision", "scaling", "engine", "bridge", "workers")
STEPS = {"rules": (1, 100, 10_000), "conduits": (1, 100, 1000), "flows": (1, 100, 10_000, 100_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of the bridge; of decisions a few less")
    parser.add_argument("--only", choices=PARTS, action="append")
    given = parser.parse_args()
    wanted = given.only or PARTS
    RESULTS.mkdir(exist_ok=True)
    found: dict[str, Any] = {"machine": _machine(), "rounds": given.rounds}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = progress.add_task("building", total=len(wanted) + 1)
        subprocess.run([str(ROOT / "tools/compiled"), "--build"], check=True, stdout=subprocess.DEVNULL)
        progress.advance(whole)

        def say(what: str) -> None:
            progress.update(whole, description=what)

        for part in wanted:
            say(part)
            if part == "decision":
                found[part] = decision.compare(BUILDS, _sizes())
                for name, tree in BUILDS.items():
                    _by_pytest(name, tree)
            elif part == "scaling":
                found[part] = _scaling(say)
            elif part == "engine":
                found[part] = {name: _engine(name, tree, say) for name, tree in BUILDS.items()}
            elif part == "workers":
                found[part] = workers.measure(BUILDS["compiled"], given.rounds, say)
            else:
                found[part] = onbridge.measure(
                    {f"conduitfw, {name}": tree for name, tree in BUILDS.items()}, given.rounds, say
                )
            progress.advance(whole)
    path = RESULTS / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    text = table.markdown(found)
    (RESULTS / "table.md").write_text(text)
    print(text)
    print(f"written: {path.relative_to(ROOT)}")
    try:
        from bench import plots
    except ImportError:
        print("no plots: matplotlib is not installed (the dependency group bench)", file=sys.stderr)
        return
    for each in plots.draw(found, RESULTS):
        print(f"written: {each.relative_to(ROOT)}")


def _by_pytest(name: str, tree: Path) -> None:
    """The decision alone once more, by pytest-benchmark: for comparisons with other runs."""
    path = RESULTS / f"decision-{name.replace(' ', '-')}.json"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "bench/test_decision.py", f"--benchmark-json={path}"]
    done = subprocess.run([sys.executable, *words], cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:])


def _machine() -> dict[str, Any]:
    """What the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _sizes(rules: int = 1000, conduits: int = 10, flows: int = 100, packets: int = 20_000) -> list[str]:
    return [
        f"--{name}={value}"
        for name, value in {"rules": rules, "conduits": conduits, "flows": flows, "packets": packets}.items()
    ]


def _scaling(say: onbridge.Progress) -> dict[str, dict[str, dict[str, float]]]:
    """Nanoseconds of a decision, compiled, at each size, interleaved; of three rounds. The longest part."""
    runs: dict[str, dict[str, list[dict[str, float]]]] = {what: {} for what in STEPS}
    for number in range(3):
        for what, steps in STEPS.items():
            for step in steps:
                say(f"scaling, round {number + 1} of 3: {step} {what}")
                if what == "rules":
                    sizes = _sizes(rules=step, conduits=1, packets=10_000)
                elif what == "conduits":
                    sizes = _sizes(rules=2000, conduits=step, packets=10_000)
                else:
                    sizes = _sizes(flows=step, packets=10_000)
                found = decision.once(BUILDS["compiled"], sizes)
                runs[what].setdefault(str(step), []).append(found)
    return {what: {step: decision.together(each) for step, each in of.items()} for what, of in runs.items()}


def _engine(name: str, tree: Path, say: onbridge.Progress) -> dict[str, Any]:
    say(f"a million decisions, {name}")
    environment = {**os.environ, "PYTHONPATH": f"{tree}", "PYTHONSAFEPATH": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "bench.engine"], env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise SystemExit(process.stderr)
    result = json.loads(process.stdout)
    assert isinstance(result, dict)
    return result


if __name__ == "__main__":
    main()
