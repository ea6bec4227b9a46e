"""What the engine costs beside its decisions: a policy's check and compilation, pauses, memory of a flow.

`python -m bench.engine` prints JSON; `bench/__main__.py` runs it for each build in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from array import array
from pathlib import Path

from bench.decision import ANSWER, READ, Session, _modbus
from bench.policies import CLIENT, SERVER, policy

DECISIONS = 1_000_000


def _resident() -> int:
    """Bytes of memory of this process that are in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def loading(rules: int) -> dict[str, float]:
    """Seconds to check and to compile a policy."""
    from conduitfw.policy.compile import compile_policy
    from conduitfw.policy.load import load_policy

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(rules))
        began = time.perf_counter()
        loaded = load_policy([path])
        checked = time.perf_counter()
        assert loaded.policy is not None, loaded.problems
        compile_policy(loaded.policy)
    assert len(loaded.policy.rules) == rules
    return {"rules": rules, "check": checked - began, "compile": time.perf_counter() - checked}


def _pipeline(flows: int):  # type: ignore[no-untyped-def]
    from conduitfw.flow import FlowTable
    from conduitfw.policy.compile import compile_policy
    from conduitfw.policy.load import load_policy
    from conduitfw.verdict import Pipeline

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(1))
        loaded = load_policy([path])
    assert loaded.policy is not None
    table = FlowTable(bytearray(FlowTable.memory_size(flows)), flows)
    return Pipeline(compile_policy(loaded.policy), table, lambda notice: None)


def _sessions(flows: int) -> list[Session]:
    from ipaddress import ip_address

    found = []
    for number in range(flows):
        session = Session(number, 1, 502)
        session.client, session.server = ip_address(CLIENT).packed, ip_address(SERVER).packed
        session.ports = (1024 + number, 502)
        found.append(session)
    return found


def pauses(decisions: int) -> dict[str, float]:
    """Microseconds of single decisions, each with its own packet, over 100 flows."""
    pipeline = _pipeline(100)
    sessions = _sessions(100)
    macs = b"\x02\0\0\0\0\x14", b"\x02\0\0\0\0\x0a"
    for session in sessions:
        for data, from_client in session.opening():
            assert pipeline.decide(data, 1.0, 1 + from_client, macs[from_client], 0).forward
    gc.collect()
    gc.freeze()
    gc.disable()
    times = array("q", bytes(8 * decisions))
    clock, decide = time.perf_counter_ns, pipeline.decide
    done = number = 0
    while done < decisions:
        number += 1
        ask, tell = _modbus(number, READ), _modbus(number, ANSWER)
        packets = [(session.request(ask), 2, macs[1]) for session in sessions]
        packets += [(session.answer(tell), 1, macs[0]) for session in sessions]
        now = 2.0 + number * 0.01
        for data, index, mac in packets:
            began = clock()
            decide(data, now, index, mac, 0)
            times[done] = clock() - began
            done += 1
    gc.enable()
    counters = pipeline.counters
    assert counters["units"] == done and not counters["denied"], counters
    ordered = sorted(times)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
    found = {name: ordered[int(share * done)] / 1000 for name, share in shares.items()}
    return {"decisions": done, **found, "max": ordered[-1] / 1000}


def memory(flows: int) -> dict[str, float]:
    """Bytes a flow: of its record in shared memory, and of what a worker has of it beside that."""
    from conduitfw.flow import FlowTable

    pipeline = _pipeline(flows)
    gc.collect()
    before = _resident()
    sessions = ((port, address) for address in range(-(-flows // 60000)) for port in range(60000))
    macs = b"\x02\0\0\0\0\x14", b"\x02\0\0\0\0\x0a"
    for number, (port, address) in zip(range(flows), sessions, strict=False):
        session = Session(number, 1, 502)
        session.client, session.server = bytes((10, 10, 0, 11)), bytes((10, 20, 0, 5))
        session.ports = (1024 + port, 502)
        assert address == 0, "one client's ports are all that is used"
        for data, from_client in session.opening():
            assert pipeline.decide(data, 1.0, 1 + from_client, macs[from_client], 0).forward
    gc.collect()
    return {
        "flows": flows,
        "record": FlowTable.memory_size(100_000) / 100_000,
        "resident": (_resident() - before) / flows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    given = parser.parse_args()
    print(json.dumps({"loading": loading(10_000), "memory": memory(50_000), "pauses": pauses(given.decisions)}))


if __name__ == "__main__":
    main()
