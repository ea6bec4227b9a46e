"""What the processes say to each other: typed, bounded, and never waited for by a worker.

Three ways, all `AF_UNIX` sockets that keep message boundaries (SOCK_SEQPACKET: unlike SOCK_DGRAM its
room is counted in bytes, where the kernel lets only ten datagrams wait by default):

- notices: any process -> control; a full socket loses the notice, and counts it;
- orders: supervisor <-> worker, one byte each;
- requests: control <-> supervisor.
"""

from __future__ import annotations

import enum
import socket
import time
from ipaddress import ip_address
from typing import Any, Protocol

import msgspec

from conduitfw.outcome import Notice
from conduitfw.policy.model import Policy
from conduitfw.runtime.shared import Counter, Slot

MESSAGE_MAX = 1 << 20  # bytes of one request or answer
_SO_SNDBUFFORCE = 32  # the socket module does not name it
_NOTICE_ROOM = 1 << 20  # bytes that may wait for control


class Order(bytes, enum.Enum):
    """Supervisor -> worker."""

    SERVE = b"s"  # begin: nothing was served before, or all of it was decided
    TAKE_OVER = b"t"  # begin after a dead one: drop what it had in hand
    LEAVE = b"l"  # finish the packet in hand, say LEFT, end


class Report(bytes, enum.Enum):
    """Worker -> supervisor."""

    READY = b"r"  # prepared, waits for an order
    SERVING = b"s"  # and has served what waited; since when, the slot says (`Slot.served_since`)
    LEFT = b"l"


class EngineKind(enum.Enum):
    """What an EngineNotice tells; observe/ecs.py has a sentence for each."""

    ENGINE_START = "engine-start"
    ENGINE_STOP = "engine-stop"
    ENGINE_UPGRADE = "engine-upgrade"
    ENGINE_ERROR = "engine-error"
    ENGINE_BACK = "engine-back"
    NO_ENGINE = "no-engine"
    WORKER_DEATH = "worker-death"
    WORKER_SILENT = "worker-silent"
    CONTROL_DEATH = "control-death"
    EVENT_LOOP = "event-loop"
    POLICY_CHANGE = "policy-change"
    POLICY_REFUSED = "policy-refused"
    POLICY_CONFIRMED = "policy-confirmed"
    POLICY_WENT_BACK = "policy-went-back"
    POLICY_FALLBACK = "policy-fallback"
    POLICY_NOT_KEPT = "policy-not-kept"
    OVERLOAD = "overload"
    OVERLOAD_OVER = "overload-over"
    QUARANTINE = "quarantine"
    RULESET_FAILED = "ruleset-failed"
    RULESET_RESTORED = "ruleset-restored"
    EVENTS_LOST = "events-lost"


class FlowNotice(msgspec.Struct, array_like=True, tag="flow", frozen=True):
    """A denial, or a flow's start or end (verdict.Notice). Addresses are text, time CLOCK_MONOTONIC."""

    kind: str
    time: float
    transport: int
    client: str
    client_port: int
    server: str
    server_port: int
    from_client: bool
    conduit: str
    monitor: bool
    protocol: str
    rule: str
    reason: str  # the Reason's code, or ""
    unit: str  # kind of the unit: request, response, ...
    address: tuple[int, ...]
    described: dict[str, Any]  # the unit, as its protocol describes it
    detail: str  # what the reason was about in this very unit
    action: str
    zones: tuple[str, str]  # the conduit's: from, to


class EngineNotice(msgspec.Struct, array_like=True, tag="engine", frozen=True):
    """Something about the firewall itself. `detail`: plain data, by name."""

    kind: EngineKind
    time: float
    detail: dict[str, Any]


Message = FlowNotice | EngineNotice
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Sink(Protocol):
    """Where control puts events. It must bound itself, and never raise for a full or broken disk."""

    def put(self, message: Message) -> None:
        """Take one event."""

    def tick(self, lost: int) -> None:
        """Called about once a second. `lost`: events lost on their way here so far, in all processes."""

    def reopen(self) -> None:
        """Begin a new file where the old one was moved away."""

    def close(self) -> None:
        """Write what is still held back."""

    def figures(self) -> dict[str, int]:
        """Counters for `status`."""

    def owe(self, count: int) -> None:
        """Note where it outlives all of us how many events are neither written nor told as lost."""

    def owed(self) -> int:
        """What was noted last, by whoever wrote here before."""

    @property
    def settled(self) -> int:
        """How many of the events that it took are written, or told as lost: they are safe if this process dies."""

    @property
    def losses_told(self) -> int:
        """How many of the events that `tick` was last told to be lost are told of."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection that keeps message boundaries; neither end ever blocks."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def wide_pair() -> tuple[socket.socket, socket.socket]:
    """As `pair`, with room for large messages or for many."""
    ends = pair()
    for end in ends:
        try:  # beyond the system's limit for others: this needs CAP_NET_ADMIN
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * _NOTICE_ROOM)
        except PermissionError:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _NOTICE_ROOM)
    return ends


def receive(end: socket.socket) -> bytes | None:
    """The next message, b"" where the other end is gone, None where there is none now."""
    try:
        return end.recv(MESSAGE_MAX)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


def send(end: socket.socket, data: bytes) -> bool:
    """Send without waiting. False where it had no room, or nobody is there."""
    try:
        return end.send(data, socket.MSG_NOSIGNAL) == len(data)
    except OSError:
        return False


def decode(data: bytes) -> Message:
    """A notice from its bytes; raises msgspec.DecodeError for others."""
    return _decoder.decode(data)


class Notifier:
    """One process's way to tell control. Never blocks, never raises."""

    def __init__(self, end: socket.socket, slot: Slot, policy: Policy | None = None) -> None:
        """`policy`: what names the zones of a conduit; needed for `flow` only."""
        self._end = end
        self._slot = slot
        conduits = policy.conduits if policy is not None else ()
        self._zones = {conduit.name: (conduit.from_zone, conduit.to_zone) for conduit in conduits}

    def engine(self, kind: EngineKind, **detail: Any) -> None:
        """Tell an EngineNotice of now."""
        self._send(EngineNotice(kind, time.monotonic(), detail))

    def flow(self, notice: Notice) -> None:
        """Tell what the pipeline noticed."""
        self._send(
            FlowNotice(
                notice.kind.value,
                notice.time,
                notice.transport,
                str(ip_address(notice.client)),
                notice.client_port,
                str(ip_address(notice.server)),
                notice.server_port,
                notice.from_client,
                notice.conduit,
                notice.monitor,
                notice.protocol,
                notice.rule,
                notice.reason.code if notice.reason is not None else "",
                notice.kind_of_unit,
                tuple(notice.address),
                notice.described,
                notice.detail,
                notice.action,
                self._zones.get(notice.conduit, ("", "")),
            )
        )

    def _send(self, message: Message) -> None:
        if send(self._end, _encoder.encode(message)):
            self._slot.counters[Counter.NOTICES] += 1
        else:
            self._slot.counters[Counter.NOTICES_LOST] += 1
