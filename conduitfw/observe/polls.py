"""Modbus reads of one server over one connection, each timed: what `conduitfw bench` and the demo measure with.

Only reads, one outstanding at a time, and a pause before each in `measure`: a PLC that controls something is not to
notice. The clock runs from before the request is sent until its answer is there whole.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from conduitfw.protocols.modbus.adu import HEADER, RESPONSES, agrees, exception, expected_answer, frame
from conduitfw.protocols.modbus.catalogue import EXCEPTIONS, READS
from conduitfw.protocols.modbus.requests import adu, pdu
from conduitfw.reasons import Malformed, Reason

GIVEN_UP = 10  # polls in a row without an answer end a measurement: whatever is wrong there, more do not help it
_MOST = 0xFFFF  # transaction ids


class Failure(enum.Enum):
    """Why a poll has no round trip."""

    ADDRESS = "the addresses cannot be used"
    CONNECT = "no connection"
    ENDED = "the connection was ended"
    TIMEOUT = "no answer in time"
    EXCEPTION = "an exception was answered"
    WRONG = "what came is not the answer"


class PollError(Exception):
    """A poll without an answer. Its text is a sentence without the full stop."""

    def __init__(self, failure: Failure, server: Server, sentence: str, code: int = 0) -> None:
        """`server`: who was asked. `code`: the exception's, where one was answered."""
        super().__init__(sentence)
        self.failure = failure
        self.server = server
        self.code = code


@dataclass(frozen=True)
class Read:
    """What is asked: one coil, input or register."""

    function: int = 3  # 1 to 4: coils, discrete inputs, holding registers, input registers
    register: int = 0  # its address, from 0
    unit: int = 1

    def __post_init__(self) -> None:
        if self.function not in READS:
            raise ValueError(f"function {self.function} does not only read")


@dataclass(frozen=True)
class Server:
    """Whom to ask. `str` of it is HOST:PORT."""

    host: str  # an address or a name
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Poller:
    """A connection to one server, made when it is needed. A context manager."""

    def __init__(self, source: str, server: Server, read: Read, patience: float) -> None:
        """`source`: the address to poll from, one of this machine's. `patience`: seconds for an answer.

        Raises PollError where `source` is no address, or the server's name has none of its family.
        """
        self.server = server
        self.reconnects = -1  # the first connection is none
        self._read = read
        self._patience = patience
        self._body = pdu(read.function, read.register, 1)
        self._expected = expected_answer(self._body, 0, len(self._body))
        self._transaction = 0
        self._connection: socket.socket | None = None
        try:
            own = socket.getaddrinfo(source, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        except OSError:
            raise PollError(Failure.ADDRESS, server, f"{source!r} is no IP address to poll from") from None
        self._family, self._from = own[0], own[4]
        version = "IPv6" if self._family == socket.AF_INET6 else "IPv4"
        try:
            self._to = socket.getaddrinfo(server.host, server.port, self._family, socket.SOCK_STREAM)[0][4]
        except (OSError, UnicodeError):
            sentence = f"{server.host} has no {version} address, which {source}, to poll from, is"
            raise PollError(Failure.ADDRESS, server, sentence) from None

    def __enter__(self) -> Poller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def poll(self) -> int:
        """One read. Gives its round trip in nanoseconds; connects before, where there is no connection.

        Raises PollError. But for an exception the connection is closed then: a late answer must not be taken for
        the next one's.
        """
        connection = self._connection or self._connect()
        self._transaction = self._transaction % _MOST + 1
        request = adu(self._body, self._transaction, self._read.unit)
        try:
            began = time.perf_counter_ns()
            connection.sendall(request)
            answer = self._receive(connection)
            took = time.perf_counter_ns() - began
            self._judge(request, answer)
        except TimeoutError:
            self._close()
            raise PollError(
                Failure.TIMEOUT, self.server, f"{self.server} did not answer the read within {self._patience:g} s"
            ) from None
        except OSError:
            self._close()
            raise PollError(
                Failure.ENDED, self.server, f"the connection was ended when {self.server} was to answer"
            ) from None
        except Malformed:
            self._close()
            raise PollError(
                Failure.WRONG, self.server, f"what {self.server} answered is not the answer to this Modbus read"
            ) from None
        return took

    def _connect(self) -> socket.socket:
        connection = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._patience)
            connection.bind(self._from)
            connection.connect(self._to)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise self._unreached(error) from None
        self._connection = connection
        self.reconnects += 1
        return connection

    def _unreached(self, error: OSError) -> PollError:
        if error.errno == errno.EADDRNOTAVAIL:
            return PollError(Failure.ADDRESS, self.server, f"{self._from[0]} is not an address of this machine")
        if isinstance(error, TimeoutError):
            why = f"nobody answered within {self._patience:g} s"
        elif isinstance(error, ConnectionRefusedError):
            why = "it was refused"
        else:
            why = (error.strerror or str(error)).lower()
        return PollError(Failure.CONNECT, self.server, f"no connection from {self._from[0]} to {self.server}: {why}")

    def _receive(self, connection: socket.socket) -> bytes:
        """The next ADU, and whatever stands behind it."""
        answer = b""
        while not (size := frame(answer, 0, len(answer))) or len(answer) < size:
            more = connection.recv(4096)
            if not more:
                raise ConnectionResetError
            answer += more
        return answer

    def _judge(self, request: bytes, answer: bytes) -> None:
        """Raises PollError for an exception, Malformed where it is not the answer to this request."""
        end, function = len(answer), answer[HEADER]
        same = answer[:2] == request[:2] and answer[6] == request[6]
        if same and function == self._read.function | 0x80 and exception(answer, HEADER, end) is None:
            code = answer[HEADER + 1]
            title = EXCEPTIONS.by_number[code].title
            raise PollError(
                Failure.EXCEPTION, self.server, f"{self.server} answered with exception {code:02} ({title})", code
            )
        if (
            not same
            or function != self._read.function
            or RESPONSES[function](answer, HEADER, end) is not None
            or not agrees(self._expected, answer, HEADER, end)
        ):
            raise Malformed(Reason.MODBUS_ANSWER_DIFFERS)

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


@dataclass
class Tally:
    """What came of the polls of one server."""

    times: list[int] = field(default_factory=list)  # round trips in nanoseconds, as they came
    failures: Counter[Failure] = field(default_factory=Counter)
    exceptions: Counter[int] = field(default_factory=Counter)  # by code
    failed_in_a_row: int = 0
    last: PollError | None = None  # the last failure

    def add(self, poller: Poller) -> None:
        """Poll once, and count what comes of it."""
        try:
            self.times.append(poller.poll())
            self.failed_in_a_row = 0
        except PollError as error:
            self.last = error
            self.failures[error.failure] += 1
            self.failed_in_a_row += 1
            if error.code:
                self.exceptions[error.code] += 1

    @property
    def given_up(self) -> bool:
        """Whether too many polls in a row had no answer."""
        return self.failed_in_a_row >= GIVEN_UP


def measure(pollers: Sequence[Poller], count: int, rate: float, tell: Callable[[], None]) -> list[Tally]:
    """Poll each server `count` times, in turn, each at most `rate` times a second. `tell` is called after each round.

    One poll of each comes before and is not counted: it connects, and raises PollError where this read is not
    answered. Ends early where a server is given up.
    """
    for poller in pollers:
        poller.poll()
    tallies = [Tally() for _ in pollers]
    pause = 1 / (rate * len(pollers))
    for _ in range(count):
        for poller, tally in zip(pollers, tallies, strict=True):
            time.sleep(pause)
            tally.add(poller)
        tell()
        if any(tally.given_up for tally in tallies):
            break
    return tallies
