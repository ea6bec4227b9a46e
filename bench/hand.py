"""`python -m bench.hand [ROUNDS]`: a packet's way through a worker, from its message to its verdict, without a kernel.

The queue's socket is one end of a pair, and the other end writes what the kernel would (runtime/rehearsal.py). Prints
nanoseconds of a packet, its part of a burst's system calls with it, for one packet at a time and for eight. Under
`valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*NetlinkQueue_service*'` instructions are counted.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.decision import ANSWER, READ, Session, _modbus, policy
from conduitfw.flow import FlowTable
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.ledger import SIZE
from conduitfw.policy.load import load_policy
from conduitfw.runtime.messages import wide_pair
from conduitfw.runtime.rehearsal import Nobody, Stage
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker

FLOWS = 8


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(1000, 10))
        loaded = load_policy([path])
    assert loaded.policy is not None
    stage = Stage()
    queue = stage.queue
    shared = Shared(1)
    memory = bytearray(FlowTable.memory_size(FLOWS))
    notices = wide_pair()
    post = Post(shared.workers[0], [queue], memory, bytearray(SIZE))
    worker = Worker([post], compile_policy(loaded.policy), notices[0], Nobody())
    worker._begin(post, after_death=False)
    gc.collect()
    gc.disable()
    sessions = [Session(number, 10, 502) for number in range(FLOWS)]
    for data, from_client in (each for session in sessions for each in session.opening()):
        stage.show(data, 1 + from_client)
        queue.service()
        stage.clear()
    times: dict[str, list[float]] = {}
    for number in range(rounds):
        ask, tell = _modbus(number, READ), _modbus(number, ANSWER)
        at_once = FLOWS if number % 2 else 1
        for name, packets, index in (
            ("poll", [session.request(ask) for session in sessions], 2),
            ("answer", [session.answer(tell) for session in sessions], 1),
        ):
            for at in range(0, FLOWS, at_once):
                for each in packets[at : at + at_once]:
                    stage.show(each, index)
                began = time.perf_counter_ns()
                queue.service()
                took = time.perf_counter_ns() - began
                stage.clear()
                if number > 1:
                    times.setdefault(f"{name}, {at_once} at a time", []).append(took / at_once)
    packets_decided = sum(shared.workers[0].counters[counter] for counter in (1, 2)) // 2
    assert packets_decided == FLOWS * (3 + 2 * rounds), packets_decided
    print(json.dumps({name: sorted(each)[len(each) // 2] for name, each in times.items()}))


if __name__ == "__main__":
    main()
