"""`python -m tests.chaos [--faults NAME,...] [--counts NAME=N,...] [--short]`: faults under load, then the page.

Results are kept in docs/reliability.json, fault by fault, so that a long run can be made in parts; docs/reliability.md
is made of them. `--short` is what every test run does, and keeps nothing. Status 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.bench import bench
from tests.chaos.faults import BY_NAME, FAULTS
from tests.chaos.page import page
from tests.chaos.run import Runner

DOCS = Path(__file__).parents[2] / "docs"
RESULTS, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults under load.")
    parser.add_argument("--faults", default=",".join(fault.name for fault in FAULTS), help="which, by name")
    parser.add_argument("--counts", default="", help="how often, where not as by default: NAME=N,...")
    parser.add_argument("--short", action="store_true", help="few of each, and nothing is kept")
    parser.add_argument("--page", action="store_true", help="only make the page of the results there are")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    counts = dict(each.split("=") for each in chosen.counts.split(",") if each)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    good = True
    git = ["git", "-C", str(DOCS.parent), "rev-parse", "--short", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    for name in chosen.faults.split(",") if not chosen.page else ():
        fault = BY_NAME[name]
        count = int(counts.get(name, fault.short if chosen.short else fault.count))
        print(f"{name}: {fault.what}, {count} times, seed {chosen.seed}", file=sys.stderr, flush=True)
        with bench() as running:
            try:
                found = Runner(running, chosen.seed).counted(fault, count).plain()
            except (AssertionError, TimeoutError, OSError) as error:
                print(f"  {type(error).__name__}: {error}", file=sys.stderr)
                print((running.folder / "run.log").read_text()[-2000:], file=sys.stderr)
                good = False
                continue
        found["revision"], found["load"] = revision, os.getloadavg()[1]
        found["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        print(json.dumps(found), flush=True)
        good = good and not (found["executed_closed"] or found["broken"] or found["lost_uncounted"])
        if not chosen.short:
            kept[name] = found
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    if not chosen.short:
        PAGE.write_text(page(kept))
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
