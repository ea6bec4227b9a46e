"""A reload of 10,000 rules under polls: how long it takes, and how long a packet waits meanwhile.

`python -m bench.reload [--tree NAME=PATH ...] [--rounds N]`: every tree (another commit, `build/compiled`) has a
firewall of its own that stands throughout; each round reloads all of them in turn, between 1,000 and 10,000 rules, and
polls go on from before until the last of it is done. The swap of the rules is in the last of that (END). Beside both
stand polls for as long without a reload: the longer one waits, the longer is the longest. Needs root and a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.policies import policy
from bench.variants import Way, Ways
from conduitfw.demo.show import Firewall

RULES = (10_000, 1000)
PART = 0.2  # seconds
POLLS = f"throughput {PART * 1000:.0f} 1"  # to the poller: one connection, for so many milliseconds
END = 3  # parts, in which the ruleset is loaded, listed, and the heirs take over
KEYS = ("seconds", "longest_us", "longest_without_us", "end_us", "end_without_us", "p99_us", "p99_without_us")


def reload(way: Way, rules: int) -> dict[str, float]:
    """Seconds that it takes, and the longest round trip meanwhile (us), beside polls without it."""
    assert way.firewall is not None
    way.policy.write_text(policy(rules))
    under = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_timed, way.firewall)
        while not waiting.done():
            under.append(way.measure(POLLS))
    took, answer = waiting.result()
    assert int(answer["policy"]["rules"]) == rules
    still = [way.measure(POLLS) for _ in under]
    return {
        "seconds": took,
        "rules": rules,
        "longest_us": max(each["max"] for each in under),
        "longest_without_us": max(each["max"] for each in still),
        "end_us": max(each["max"] for each in under[-END:]),
        "end_without_us": max(each["max"] for each in still[-END:]),
        "p99_us": statistics.median(each["p99"] for each in under),
        "p99_without_us": statistics.median(each["p99"] for each in still),
    }


def _timed(firewall: Firewall) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    answer = firewall.command("reload", "--json")
    took = time.perf_counter() - began
    if answer.returncode:
        raise OSError(f"the reload was refused: {answer.stderr or answer.stdout}")
    return took, json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    trees = {"here": Path.cwd()} | {each.partition("=")[0]: Path(each.partition("=")[2]) for each in given.tree}
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, Ways(Path(folder)) as ways:
        standing = [ways.conduitfw(name, policy(RULES[1]), 100, tree=tree) for name, tree in trees.items()]
        for number in range(given.rounds):
            for rules in RULES:
                for way in standing if number % 2 else standing[::-1]:
                    found.setdefault((way.name, rules), []).append(reload(way, rules))
    print(f"load {os.getloadavg()[0]:.1f}; medians of {given.rounds} rounds, and all of `seconds` and `longest_us`")
    for (name, rules), runs in found.items():
        medians = ", ".join(f"{key} {statistics.median(run[key] for run in runs):.2f}" for key in KEYS)
        each = ", ".join(f"{run['seconds']:.2f} s {run['longest_us']:.0f} us" for run in runs)
        print(f"{name}, to {rules} rules: {medians} ({each})")


if __name__ == "__main__":
    main()
