"""Cuts what a TCP client and a server write into pieces: a proxy in front of either.

`python cutter.py SEED WAYS`, where WAYS is JSON: a list of [listen address, port, source address or "", target
address, port]. What it reads it writes onwards in random pieces, each in a segment of its own as far as TCP lets it.
Each connection has a generator of its own, by the seed, the port and its number, so that connections do not mix.
A side that was reset is reset on the other side as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
from collections.abc import Iterator

_RST_ON_CLOSE = struct.pack("ii", 1, 0)


def cuts(data: bytes, dice: random.Random) -> Iterator[bytes]:
    """All of it in pieces: whole, in two or three, or with a head of single bytes."""
    how = dice.randrange(4)
    places = set()
    if how in (1, 2) and len(data) > 1:
        places = {dice.randrange(1, len(data)) for _ in range(how)}
    elif how == 3:
        at = 0
        while at < min(len(data), 40):
            at += dice.randint(1, 9)
            places.add(at)
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    for begin, end in itertools.pairwise(edges):
        yield data[begin:end]


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> None:
    """One direction, to its end."""
    while data := await reader.read(4096):
        for piece in cuts(data, dice):
            writer.write(piece)
            await writer.drain()
            if dice.random() < 0.15:
                await asyncio.sleep(dice.random() * 0.02)
    writer.write_eof()


async def serve(seed: int, listen: str, port: int, source: str, target: str, target_port: int) -> None:
    count = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        number = count
        writers = [writer]
        try:
            local = (source, 0) if source else None
            far_reader, far_writer = await asyncio.open_connection(target, target_port, local_addr=local)
            writers.append(far_writer)
            for each in writers:
                each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dice = [random.Random(f"{seed} {port} {number} {way}") for way in ("on", "back")]
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, far_writer, dice[0]))
                group.create_task(carry(far_reader, writer, dice[1]))
        except (OSError, ExceptionGroup):
            for each in writers:
                with contextlib.suppress(OSError):  # the one that was reset has no socket any more
                    each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
                each.transport.abort()
        for each in writers:
            each.close()

    await asyncio.start_server(connected, listen, port)


async def main() -> None:
    seed, ways = int(sys.argv[1]), json.loads(sys.argv[2])
    for way in ways:
        await serve(seed, *way)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
