"""The load: sessions that poll all the time, and forbidden requests that are tried all the while.

`python -m tests.chaos.load SESSIONS SECONDS` runs in the clients' zone. SESSIONS is JSON: a list of {"name", "kind",
"source", "host", "port", "every": seconds}. A line on standard input asks for the figures since the last one ("quiet"
also ends, "loud" begins forbidden requests). The answer is a line of JSON, by session: `answers`; `refused`, answered
with an exception, as a denied request should be; `resets`; `stuck`, no answer for SECONDS; `unconnected`, tries to
connect that failed; `gap`, the longest time between two answers, in seconds; `tried`, forbidden requests sent; `taken`,
of these: answered as if the server had executed them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from conduitfw.protocols.modbus.requests import adu, pdu

TICK = 0.05
FROZEN = 0.5  # seconds between two ticks from which on this process itself stood still
READ = struct.pack(">BHH", 3, 0, 10)
FORBIDDEN = struct.pack(">BHH", 6, 7, 0xBEEF)
ALLOWED_WRITE = pdu(16, 100, 2, data=b"\x04\x00\x01\x00\x02")


@dataclass
class Figures:
    """What came of a session since the last question."""

    answers: int = 0
    refused: int = 0
    resets: int = 0
    stuck: int = 0
    unconnected: int = 0
    gap: float = 0.0
    tried: int = 0
    taken: int = 0


@dataclass
class Session:
    """One client's session, which is opened again whenever it is lost."""

    name: str
    kind: str
    source: str
    host: str
    port: int
    every: float
    figures: Figures = field(default_factory=Figures)
    last: float = 0.0  # when the last answer came
    spoke: bool = False  # whether one came on this connection

    def answered(self, *, refused: bool = False) -> None:
        """An answer has come."""
        now = time.monotonic()
        if self.last:
            self.figures.gap = max(self.figures.gap, now - self.last)
        self.last, self.spoke = now, True
        self.figures.answers += 1
        self.figures.refused += refused


class Mood:
    """Whether forbidden requests are sent, and how many seconds without an answer lose a session."""

    quiet = False
    patience = 3.0


class Clock:
    """Knows whether this process itself stood still: then nobody else was slow."""

    thawed = 0.0

    async def run(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - before > FROZEN:
                Clock.thawed = now
            before = now


async def within(reading: asyncio.Task[bytes]) -> bytes:
    """What is read, or TimeoutError after Mood.patience seconds in which this process did run."""
    while True:
        began = time.monotonic()
        done, _ = await asyncio.wait((reading,), timeout=Mood.patience)
        if done:
            return reading.result()
        await asyncio.sleep(2 * TICK)  # the clock has its turn
        if Clock.thawed < began:
            reading.cancel()
            raise TimeoutError


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(session: Session) -> Streams:
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(session.host, session.port, local_addr=(session.source, 0)), Mood.patience
    )
    end = writer.get_extra_info("socket")
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What is given up is given up at once: no port of this side waits for it.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return reader, writer


async def modbus_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(6)
    return head + await reader.readexactly(int.from_bytes(head[4:], "big"))


async def dnp3_answer(reader: asyncio.StreamReader) -> bytes:
    """Link frames up to the one that ends the fragment; gives the application's bytes."""
    fragment = b""
    while True:
        head = await reader.readexactly(10)
        size = head[2] - 5
        if head[:2] != b"\x05\x64" or size < 0:
            raise ConnectionError("out of step")  # numbers were translated, and are no more: the session is lost
        body = await reader.readexactly(size + 2 * -(-size // 16)) if size else b""
        data = b"".join(body[at : at + 18][: min(16, size - at // 18 * 16)] for at in range(0, len(body), 18))
        fragment += data[1:]
        if data and data[0] & 0x80:
            return fragment


def modbus_requests(kind: str) -> Iterator[tuple[list[bytes], bool]]:
    """Requests one after the other: the parts each is sent in, and whether it is forbidden."""
    for number in itertools.count(1):
        transaction = number % 65536
        if kind == "polls":
            yield [adu(READ, transaction)], False
        elif kind == "cut":
            request = adu(READ if number % 2 else ALLOWED_WRITE, transaction)
            at = number % (len(request) - 1) + 1
            yield [request[:at], request[at:]], False
        else:  # mixed: what is denied is answered by the firewall, and the session goes on
            forbidden = number % 3 == 0 and not Mood.quiet
            body = FORBIDDEN if forbidden else ALLOWED_WRITE if number % 3 == 1 else READ
            yield [adu(body, transaction)], forbidden


def dnp3_requests(kind: str) -> Iterator[tuple[list[bytes], bool]]:
    from dnp3.application.builder import build_cold_restart_request, build_integrity_poll
    from dnp3.datalink.builder import build_unconfirmed_user_data

    def frame(data: bytes) -> bytes:
        return build_unconfirmed_user_data(destination=10, source=1, user_data=data, dir_from_master=True).to_bytes()

    transport = itertools.count()
    for number in itertools.count():
        forbidden = kind == "dnp3-mixed" and number % 3 == 2 and not Mood.quiet
        fragment = (build_cold_restart_request if forbidden else build_integrity_poll)(number % 16).to_bytes()
        if kind == "dnp3-mixed" and not forbidden:  # a fragment in two frames
            first, second = next(transport) % 64, next(transport) % 64
            yield [frame(bytes((0x40 | first,)) + fragment[:5]), frame(bytes((0x80 | second,)) + fragment[5:])], False
        else:
            yield [frame(bytes((0xC0 | next(transport) % 64,)) + fragment)], forbidden


def modbus_refused(answer: bytes) -> bool:
    return bool(answer[7] & 0x80)


def dnp3_refused(answer: bytes) -> bool:
    return len(answer) >= 4 and bool(answer[3] & 0x01)  # IIN2.0


async def converse(session: Session) -> None:
    """One connection: ask, wait, ask again, until it is lost."""
    dnp3 = session.kind.startswith("dnp3")
    read: Callable[[asyncio.StreamReader], Any] = dnp3_answer if dnp3 else modbus_answer
    refused = dnp3_refused if dnp3 else modbus_refused
    reader, writer = await connected(session)
    try:
        for parts, forbidden in (dnp3_requests if dnp3 else modbus_requests)(session.kind):
            session.figures.tried += forbidden
            reading = asyncio.ensure_future(read(reader))
            try:
                for index, part in enumerate(parts):
                    if index:
                        await asyncio.sleep(0.002)
                    writer.write(part)
                answer = await within(reading)
            finally:
                reading.cancel()
            session.answered(refused=refused(answer))
            if forbidden and not refused(answer):
                session.figures.taken += 1
            await asyncio.sleep(session.every)
    finally:
        writer.transport.abort()


async def poll(session: Session) -> None:
    """A session for ever."""
    while True:
        session.spoke = False
        try:
            await converse(session)
        except TimeoutError:
            session.figures.stuck += session.spoke
            session.figures.unconnected += not session.spoke
        except (OSError, asyncio.IncompleteReadError):
            session.figures.resets += session.spoke
            session.figures.unconnected += not session.spoke
        await asyncio.sleep(0.05)


async def attack(session: Session) -> None:
    """A connection of its own for each forbidden write, every second one cut in two."""
    for number in itertools.count():
        while Mood.quiet:
            await asyncio.sleep(TICK)
        writer = None
        request = adu(FORBIDDEN)
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            reader, writer = await connected(session)
            session.figures.tried += 1
            for part in (request,) if number % 2 else (request[:9], request[9:]):
                writer.write(part)
                await asyncio.sleep(0.002)
            answer = await asyncio.wait_for(modbus_answer(reader), 1.0)
            session.figures.answers += 1
            session.figures.refused += modbus_refused(answer)
            session.figures.taken += not modbus_refused(answer)
        if writer is not None:
            writer.transport.abort()
        await asyncio.sleep(session.every)


async def main() -> None:
    sessions = [Session(**words) for words in json.loads(sys.argv[1])]
    Mood.patience = float(sys.argv[2])
    tasks = [asyncio.create_task((attack if each.kind == "attack" else poll)(each)) for each in sessions]
    tasks.append(asyncio.create_task(Clock().run()))
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    while question := (await questions.readline()).decode():
        Mood.quiet = {"quiet": True, "loud": False}.get(question.strip(), Mood.quiet)
        now = time.monotonic()
        for each in sessions:
            if each.last and each.kind != "attack":
                each.figures.gap = max(each.figures.gap, now - each.last)  # one that has not ended
        print(json.dumps({each.name: asdict(each.figures) for each in sessions}), flush=True)
        for each in sessions:
            each.figures = Figures()
            each.last = each.last and now
        for task in tasks:
            if task.done():
                task.result()


if __name__ == "__main__":
    asyncio.run(main())
