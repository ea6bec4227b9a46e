"""The control process: the operators' socket, and the events' way to their file.

It may be killed, stopped or stuck on a full disk at any time: no verdict waits for it. What it shows
it reads from shared memory, what should change it asks of the supervisor.

The socket speaks JSON lines. Request: {"command": "status" | "reload" | "confirm" | "rollback" | "stop"}, with reload
"policy": [PATH, ...] and "confirm": SECONDS, with rollback "number"; answer: one object with `ok`, and `error` and
`problems` where it is false.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import itertools
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import msgspec

from conduitfw.runtime import child
from conduitfw.runtime.messages import EngineKind, EngineNotice, Sink, decode, receive, send
from conduitfw.runtime.shared import Counter, Shared

GROUP = "conduitfw"
DEFAULT_SOCKET = "/run/conduitfw/control.sock"
TICK = 0.5  # seconds
ORPHANED = signal.SIGUSR1  # the supervisor is dead: what is known is written, and that is the end
LINE_MAX = 65536  # bytes of a request
CLIENTS_MAX = 32
WAIT = {
    "status": 15.0,  # nft is asked for its counters, three times, and a small machine takes seconds for each
    "reload": 120.0,
    "confirm": 5.0,
    "rollback": 120.0,
    "upgrade": 90.0,
    "stop": 15.0,
}  # seconds for the supervisor's answer
_NOTICES_AT_ONCE = 500  # then the operators' socket has its turn
_SO_PEERGROUPS = 59
_QUEUE_FILE = "/proc/net/netfilter/nfnetlink_queue"


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator asks."""

    command: Literal["status", "reload", "confirm", "rollback", "upgrade", "stop"]
    policy: list[str] | None = None
    confirm: Annotated[float, msgspec.Meta(gt=0, le=86400)] | None = None  # seconds within which to confirm a reload
    number: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None  # of policies to roll back


def listen(path: str) -> socket.socket:
    """The listening socket at `path`: root and the group conduitfw (where it exists) may open it.

    Raises OSError where another conduitfw listens there, or the folder cannot be made.
    """
    os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)
    if _is_held(path):
        raise OSError(f"another conduitfw is running: it listens at {path}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # left by one that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    group = _group_id()
    if group is not None and os.stat(path).st_gid != group and os.geteuid() == 0:
        os.chown(path, 0, group)
    os.chmod(path, 0o660)
    listener.listen(CLIENTS_MAX)
    listener.setblocking(False)
    return listener


def _is_held(path: str) -> bool:
    """Whether the supervisor that listens at `path` lives: its control process may outlive it, hung at a dead disk."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # so many wait already
            return True
        except OSError:
            return False
        # unix(7): the credentials are of the process that called listen(), whoever accepts.
        pid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return child.is_alive(pid)


def _group_id() -> int | None:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def peer(connection: socket.socket) -> tuple[int, frozenset[int]]:
    """Who is at the other end: user id and all group ids, as the kernel knows them."""
    _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = {gid}
    with contextlib.suppress(OSError):
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4096)
        groups.update(struct.unpack(f"{len(data) // 4}I", data))
    return uid, frozenset(groups)


def queue_figures() -> list[dict[str, int]]:
    """The kernel's own counters of each queue in this network namespace; empty where it tells none."""
    figures = []
    try:
        with open(_QUEUE_FILE, encoding="ascii") as file:
            lines = file.readlines()
    except OSError:
        return []
    for line in lines:
        fields = [int(word) for word in line.split()]
        if len(fields) >= 8:
            number, _, waiting, _, copy_range, full, socket_full, last = fields[:8]
            figures.append(
                {"queue": number, "waiting": waiting, "copy_range": copy_range, "dropped_queue_full": full,
                 "dropped_socket_full": socket_full, "last_id": last}
            )  # fmt: skip
    return figures


class Control:
    """One control process."""

    def __init__(
        self,
        listener: socket.socket,
        supervisor: socket.socket,
        notices: socket.socket,
        shared: Shared,
        sink: Callable[[], Sink],
    ) -> None:
        self._listener = listener
        self._supervisor = supervisor
        self._notices = notices
        self._shared = shared
        self._sink = sink()
        counters = shared.control.counters
        # What a predecessor had taken and not written died with it.
        counters[Counter.NOTICES_LOST] += max(0, counters[Counter.TAKEN] - counters[Counter.SETTLED])
        if not counters[Counter.STARTS] and not counters[Counter.TAKEN]:
            # The memory is new: what died with an earlier service stands beside the log.
            counters[Counter.NOTICES_LOST] += self._sink.owed()
        counters[Counter.STARTS] += 1
        counters[Counter.TAKEN] = counters[Counter.SETTLED]
        self._settled_before = counters[Counter.SETTLED]
        self._told_before = counters[Counter.LOSSES_TOLD]
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # Answers to a predecessor's requests may still come: its numbers are not ours.
        self._numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))
        self._clients = 0

    def run(self) -> None:
        """Serve until the supervisor says finish. Runs in the forked process."""
        runner, self._loop_name = _runner()
        with contextlib.suppress(asyncio.CancelledError):
            runner(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, self._sink.reopen)
        loop.add_reader(self._supervisor.fileno(), self._hear_supervisor)
        loop.add_reader(self._notices.fileno(), self._hear_notices)
        # Kept: a server that nobody refers to is closed by the garbage collector.
        self._server = await asyncio.start_unix_server(self._serve, sock=self._listener, limit=LINE_MAX)
        loop.add_signal_handler(ORPHANED, self._be_orphaned)
        if self._loop_name != "uvloop":
            detail = {"name": self._loop_name, "wanted": "uvloop"}
            self._sink.put(EngineNotice(EngineKind.EVENT_LOOP, time.monotonic(), detail))
        while not self._finished.is_set():
            self._shared.control.beat(time.monotonic())
            self._sink.tick(self._shared.notices_lost - self._told_before)
            self._settle()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), TICK)
        while self._hear_notices():
            pass
        self._sink.close()
        self._settle()

    def _be_orphaned(self) -> None:
        """Nobody answers the operators any more: the next supervisor may listen there at once."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._finished.set()

    # --- events -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Note in shared memory what is safe by now, and beside the log what is not: that outlives the service."""
        counters = self._shared.control.counters
        counters[Counter.SETTLED] = self._settled_before + self._sink.settled
        counters[Counter.LOSSES_TOLD] = self._told_before + self._sink.losses_told
        unsettled = counters[Counter.TAKEN] - counters[Counter.SETTLED]
        self._sink.owe(max(0, unsettled + self._shared.notices_lost - counters[Counter.LOSSES_TOLD]))

    def _hear_notices(self) -> bool:
        """Take what has come, up to a bound; gives whether there may be more."""
        counters = self._shared.control.counters
        for _ in range(_NOTICES_AT_ONCE):
            counters[Counter.TAKEN] += 1  # before it is: if this process dies in here, one too many counts as lost
            data = receive(self._notices)
            if not data:
                counters[Counter.TAKEN] -= 1
                return False
            try:
                message = decode(data)
            except msgspec.DecodeError:
                counters[Counter.NOTICES_LOST] += 1
                counters[Counter.TAKEN] -= 1
                continue
            self._sink.put(message)
            self._settle()
        return True

    # --- the supervisor ---------------------------------------------------------------------------

    def _hear_supervisor(self) -> None:
        while data := receive(self._supervisor):
            answer = msgspec.msgpack.decode(data, type=dict[str, Any])
            if answer.get("command") == "finish":
                self._finished.set()
                continue
            future = self._pending.pop(answer.pop("id"), None)
            if future is not None and not future.done():
                future.set_result(answer)

    async def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            if not send(self._supervisor, msgspec.msgpack.encode({"id": number, "command": command, **fields})):
                return {"ok": False, "error": "the supervisor takes no requests"}
            return await asyncio.wait_for(future, WAIT[command])
        except TimeoutError:
            return {"ok": False, "error": f"the supervisor did not answer within {WAIT[command]:.0f} s"}
        finally:
            self._pending.pop(number, None)

    # --- operators --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= CLIENTS_MAX:
                await self._converse(reader, writer)
        except (OSError, ValueError):  # gone, or a line that is too long
            pass
        finally:
            self._clients -= 1
            with contextlib.suppress(OSError):
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid, groups = peer(writer.get_extra_info("socket"))
        while line := await reader.readline():
            answer = await self._handle(line, uid, groups)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()

    async def _handle(self, line: bytes, uid: int, groups: frozenset[int]) -> dict[str, Any]:
        privileged = uid in (0, os.geteuid())
        if not privileged and _group_id() not in groups:
            return {"ok": False, "error": f"only root and members of the group {GROUP} may ask"}
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.DecodeError as error:
            return {"ok": False, "error": f"not a request: {error}"}
        by = f"uid {uid}"
        if request.command == "status":
            answer = await self._ask("status")
            if answer.get("ok"):
                answer["status"].update(self._figures())
            return answer
        if request.command == "reload":
            if request.policy and not privileged:
                # The files are read as root, and an error message may quote them.
                return {"ok": False, "error": "only root may name another policy; the group may reload the running one"}
            return await self._ask("reload", policy=request.policy, confirm=request.confirm, by=by)
        if request.command == "upgrade" and not privileged:
            return {"ok": False, "error": "only root may have another program run"}
        if request.command == "rollback":
            return await self._ask("rollback", number=request.number, by=by)
        return await self._ask(request.command, by=by)

    def _figures(self) -> dict[str, Any]:
        shared = self._shared
        engine: dict[str, int] = {}
        totals: dict[str, int] = {}
        for slot in shared.workers:
            for name, value in slot.published().items():
                engine[name] = max(engine.get(name, 0), value) if name in _SAME else engine.get(name, 0) + value
            for name, value in slot.totals().items():
                totals[name] = totals.get(name, 0) + value
        return {
            "worker_counters": totals,
            "engine_counters": engine,
            "queue_counters": queue_figures(),
            "events": {"lost": shared.notices_lost, **self._sink.figures()},
            "event_loop": self._loop_name,
        }


# Of each worker, not to be added up: the largest.
_SAME = frozenset(("flows_of_one_source", "flows_of_one_source_at_most"))


def _runner() -> tuple[Callable[[Coroutine[Any, Any, None]], None], str]:
    """uvloop where it is installed, else the standard loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run, "asyncio"
    return uvloop.run, "uvloop"
