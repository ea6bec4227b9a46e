"""A Modbus server that does with each request what it is told, for what no real server does when a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

ANSWER, PIECES, SILENCE, CLOSE = "answer", "pieces", "silence", "close"
OTHER_TRANSACTION, OTHER_UNIT, OTHER_FUNCTION, TWICE, ECHO = "transaction", "unit", "function", "twice", "echo"


class OnCue:
    """Serves one connection after the other; the last act goes on for ever. An int is an exception of that code."""

    def __init__(self, acts: Sequence[str | int], log: list[tuple[str, bytes]], name: str) -> None:
        self._acts = iter(acts)
        self._act: str | int = ANSWER
        self._log = log
        self._name = name
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._ear.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ear.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._ear.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._ear.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := connection.recv(260)) and self._do(connection, request):
                    pass

    def _do(self, connection: socket.socket, request: bytes) -> bool:
        self._log.append((self._name, request))
        self._act = act = next(self._acts, self._act)
        answer = request[:5] + b"\x05" + request[6:8] + b"\x02\x00\x11"  # one register: 17
        if isinstance(act, int):
            answer = request[:5] + b"\x03" + request[6:7] + bytes((request[7] | 0x80, act))
        elif act == OTHER_TRANSACTION:
            answer = bytes((answer[0] ^ 1,)) + answer[1:]
        elif act == OTHER_UNIT:
            answer = answer[:6] + bytes((answer[6] ^ 1,)) + answer[7:]
        elif act == OTHER_FUNCTION:
            answer = answer[:7] + b"\x04" + answer[8:]
        elif act == TWICE:
            answer *= 2
        elif act == ECHO:
            answer = request
        if act == PIECES:
            for octet in answer:
                connection.sendall(bytes((octet,)))
        elif act not in (SILENCE, CLOSE):
            connection.sendall(answer)
        return act != CLOSE


@contextmanager
def on_cue(*acts: str | int, log: list[tuple[str, bytes]] | None = None, name: str = "") -> Iterator[OnCue]:
    """The server, listening on 127.0.0.1. `log` gets the requests as they come, with the server's name."""
    server = OnCue(acts, [] if log is None else log, name)
    try:
        yield server
    finally:
        server.end()
