"""Polls a second through one firewall with more and more workers: what several processors are good for.

Eight servers, each with a poller of its own, all at once; nobody is tied to a processor. Pollers, servers and workers
share the machine's processors, so with few of them there is nothing to gain: say how many there were.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.policies import policy, servers
from bench.variants import Ways
from conduitfw.kernel.marks import WORKERS_MAX

RULES, SERVERS, CONNECTIONS, MILLIS = 1000, 8, 4, 1500


def measure(tree: Path, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """By number of workers, 1 to the machine's processors: polls a second, and the ratio to one worker in a round."""
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16) if count <= min(max(2, cores), WORKERS_MAX)]
    with tempfile.TemporaryDirectory() as folder, Ways(Path(folder)) as ways:
        text = policy(RULES)
        crowds = {n: ways.sharing(n, text, servers(RULES, SERVERS), CONNECTIONS, tree) for n in counts}
        runs: dict[int, list[float]] = {count: [] for count in counts}
        shares: dict[int, list[int]] = {}
        for number in range(rounds):
            for count in counts[number % len(counts) :] + counts[: number % len(counts)]:
                progress(f"workers, round {number + 1} of {rounds}: {count}")
                for way in crowds[count]:
                    way.begin(f"throughput {MILLIS} {CONNECTIONS}")
                runs[count].append(sum(way.end()["per_second"] for way in crowds[count]))
        for count, crowd in crowds.items():
            assert crowd[0].firewall is not None
            shares[count] = [worker["packets"] for worker in crowd[0].firewall.status()["workers"]]
    return {
        str(count): {
            "per_second": statistics.median(each),
            "ratio": statistics.median(a / b for a, b in zip(each, runs[1], strict=True)),
            "packets": shares[count],
        }
        for count, each in runs.items()
    }
