"""`python -m bench.accept_all QUEUE`: NetfilterQueue from Python, letting everything go on."""

from __future__ import annotations

import sys

import netfilterqueue

from conduitfw.kernel.netlink_queue import LENGTH, SOCKET_BYTES


def main() -> None:
    queue = netfilterqueue.NetfilterQueue()
    queue.bind(int(sys.argv[1]), netfilterqueue.Packet.accept, max_len=LENGTH, sock_len=SOCKET_BYTES)
    print("ready", flush=True)
    queue.run()


if __name__ == "__main__":
    main()
