"""A bad line: frames from one interface to another, some lost, some twice, each with a delay of its own.

`python relay.py ONE OTHER` moves every frame between two interfaces. A line of JSON on its input sets what becomes of
TCP and UDP, {"seed", "loss", "twice", "delay"}: shares of 0 to 1, and the longest delay in seconds. It answers each
with what was done since the last one, a line of JSON. Everything else (ARP, neighbours) passes unharmed.

A frame whose checksum is wrong, or that is longer than the way allows, counts as `bad`: then offloads are on.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import sys
import time

ETHERNET, LONGEST = 14, 1514
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17
_ALL = 0x0003  # ETH_P_ALL
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_BUFFER = 4 << 20


def transport(frame: bytes) -> tuple[int, bytes, bytes] | None:
    """Protocol, addresses and segment of a frame with TCP or UDP; None for any other."""
    kind, packet = int.from_bytes(frame[12:14], "big"), frame[ETHERNET:]
    if kind == IPV4 and packet[9] in (TCP, UDP):
        return packet[9], packet[12:20], packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
    if kind == IPV6 and packet[6] in (TCP, UDP):
        return packet[6], packet[8:40], packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    return None


def good(protocol: int, addresses: bytes, segment: bytes) -> bool:
    """Whether the checksum is right: in one's complement the sum of all is 0, which is the remainder of 65,535."""
    summed = int.from_bytes(addresses, "big") + protocol + len(segment)
    return (summed + int.from_bytes(segment + bytes(len(segment) % 2), "big")) % 65535 == 0


class Relay:
    """Both directions, with one generator."""

    def __init__(self, one: str, other: str) -> None:
        self._ends = [self._open(one), self._open(other)]
        self._random = random.Random(0)
        self._loss = self._twice = self._delay = 0.0
        self._late: list[tuple[float, int, int, bytes]] = []  # when, number, to which end, what
        self._number = 0
        self._counts = self._nothing()

    @staticmethod
    def _open(name: str) -> socket.socket:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        end.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        end.bind((name, _ALL))
        end.setblocking(False)
        return end

    @staticmethod
    def _nothing() -> dict[str, int]:
        return {"frames": 0, "lost": 0, "twice": 0, "overtaken": 0, "bad": 0}

    def set(self, seed: int, loss: float, twice: float, delay: float) -> dict[str, int]:
        """Begin anew with other figures; gives what was done before."""
        self._random = random.Random(seed)
        self._loss, self._twice, self._delay = loss, twice, delay
        counts, self._counts = self._counts, self._nothing()
        return counts

    def run(self) -> None:
        """Until the input ends."""
        while True:
            wait = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            ready, _, _ = select.select([*self._ends, sys.stdin], [], [], wait)
            for at, end in enumerate(self._ends):
                if end in ready:
                    self._drain(end, 1 - at)
            self._send()
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(self.set(**json.loads(line))), flush=True)

    def _drain(self, end: socket.socket, to: int) -> None:
        while True:
            try:
                frame = end.recv(65535)
            except BlockingIOError:
                return
            self._take(frame, to)

    def _take(self, frame: bytes, to: int) -> None:
        found = transport(frame)
        if found is None:
            self._queue(0.0, to, frame)
            return
        self._counts["frames"] += 1
        self._counts["bad"] += len(frame) > LONGEST or not good(*found)
        dice = self._random
        if dice.random() < self._loss:
            self._counts["lost"] += 1
            return
        copies = 1 + (dice.random() < self._twice)
        self._counts["twice"] += copies - 1
        for _ in range(copies):
            self._queue(dice.random() * self._delay, to, frame)

    def _queue(self, delay: float, to: int, frame: bytes) -> None:
        self._number += 1
        heapq.heappush(self._late, (time.monotonic() + delay, self._number, to, frame))

    def _send(self) -> None:
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, number, to, frame = heapq.heappop(self._late)
            self._counts["overtaken"] += any(way == to and later < number for _, later, way, _ in self._late)
            self._ends[to].send(frame)


if __name__ == "__main__":
    relay = Relay(*sys.argv[1:3])
    print("ready", flush=True)
    relay.run()
