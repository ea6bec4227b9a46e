"""`python -m bench.hand [ROUNDS]`: a packet's way through a worker, from its message to its verdict, without a kernel.

The queue's socket is one end of a pair here, and the other end writes what the kernel would. Prints nanoseconds of a
packet, its part of a burst's system calls with it, for one packet at a time and for eight. Under `valgrind
--tool=callgrind --collect-atstart=no --toggle-collect='*NetlinkQueue_service*'` instructions are counted instead.
"""

from __future__ import annotations

import gc
import json
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from bench.decision import ANSWER, READ, Session, _modbus, policy
from conduitfw.flow import FlowTable
from conduitfw.kernel.netlink_queue import NetlinkQueue
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.ledger import SIZE
from conduitfw.policy.load import load_policy
from conduitfw.runtime.messages import wide_pair
from conduitfw.runtime.shared import Shared
from conduitfw.runtime.worker import Post, Worker

FLOWS = 8


class Nobody:
    """Sends nothing."""

    def send(self, emission: object) -> bool:
        return False


def message(number: int, ifindex: int, payload: bytes) -> bytes:
    """As the kernel writes it for a packet of a bridge, through br_netfilter."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    body = struct.pack(">BBH", 2, 0, 6200)
    body += attribute(1, struct.pack(">IHB", number, 0x800, 2)) + attribute(5, struct.pack(">I", 9))
    body += attribute(7, struct.pack(">I", ifindex)) + attribute(3, struct.pack(">I", 0x5000_0000))
    body += attribute(9, struct.pack(">HH", 6, 0) + bytes((2, 0, 0, 0, 0, ifindex)) + bytes(2))
    body += attribute(10, payload)
    return struct.pack("=IHHII", 16 + len(body), 0x300, 0, 0, 0) + body


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy(1000, 10))
        loaded = load_policy([path])
    assert loaded.policy is not None
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    queue = NetlinkQueue(6200, fail_open=False, descriptor=other.detach())
    shared = Shared(1)
    memory = bytearray(FlowTable.memory_size(FLOWS))
    notices = wide_pair()
    post = Post(shared.workers[0], [queue], memory, bytearray(SIZE))
    worker = Worker([post], compile_policy(loaded.policy), notices[0], Nobody())
    worker._begin(post, after_death=False)
    gc.collect()
    gc.disable()
    end.recv(65536)
    sessions = [Session(number, 10, 502) for number in range(FLOWS)]
    for data, from_client in (each for session in sessions for each in session.opening()):
        end.send(message(1, 1 + from_client, data))
        queue.service()
        end.recv(65536)
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
                    end.send(message(number + 1, index, each))
                began = time.perf_counter_ns()
                queue.service()
                took = time.perf_counter_ns() - began
                end.recv(65536)
                if number > 1:
                    times.setdefault(f"{name}, {at_once} at a time", []).append(took / at_once)
    packets_decided = sum(shared.workers[0].counters[counter] for counter in (1, 2)) // 2
    assert packets_decided == FLOWS * (3 + 2 * rounds), packets_decided
    print(json.dumps({name: sorted(each)[len(each) // 2] for name, each in times.items()}))


if __name__ == "__main__":
    main()
