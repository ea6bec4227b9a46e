"""The control process over its real sockets; the test plays the supervisor."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conduitfw.runtime import child, control
from conduitfw.runtime.messages import EngineKind, Message, Notifier, receive, send, wide_pair
from conduitfw.runtime.shared import Counter, Shared

GROUP = "games"  # stands for the group conduitfw, which exists only where the package is installed


class FileSink:
    """Writes what it is asked to, so that the test's process can read it."""

    def __init__(self, path: Path, owed: int) -> None:
        self._path, self._owed = path, owed

    def _note(self, *words: object) -> None:
        with self._path.open("a") as file:
            print(*words, file=file)

    def put(self, message: Message) -> None:
        self._note("put", message.kind.value if isinstance(message.kind, EngineKind) else message.kind)

    def tick(self, lost: int) -> None:
        self._note("tick", lost)

    def reopen(self) -> None:
        self._note("reopen")

    def close(self) -> None:
        self._note("close")

    def figures(self) -> dict[str, int]:
        return {"written": 7}

    def owe(self, count: int) -> None:
        self._note("owes", count)

    def owed(self) -> int:
        return self._owed

    settled = losses_told = 0  # nothing is safe before `close`


class Bench:
    def __init__(self, folder: Path, owed: int = 0) -> None:
        self.path = str(folder / "control.sock")
        self.seen = folder / "seen"
        self.seen.touch()
        self.shared = Shared(workers=1)
        self.supervisor, end = wide_pair()
        self.near, notices = wide_pair()
        self.notifier = Notifier(self.near, self.shared.supervisor)
        self.listener = control.listen(self.path)

        def main() -> None:
            control.Control(self.listener, end, notices, self.shared, lambda: FileSink(self.seen, owed)).run()

        self.start = lambda: child.fork("test-control", main)
        self.pid = self.start()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        connection.connect(self.path)
        return connection

    def request(self) -> dict[str, Any]:
        """What control asks the supervisor."""
        began = time.monotonic()
        while time.monotonic() - began < 5:
            if data := receive(self.supervisor):
                return msgspec.msgpack.decode(data, type=dict[str, Any])
            time.sleep(0.005)
        raise AssertionError("control asked nothing")

    def until_seen(self, words: str) -> None:
        began = time.monotonic()
        while words not in self.seen.read_text().splitlines():
            assert time.monotonic() - began < 5, f"{words!r} was not seen"
            time.sleep(0.01)


def read(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as lines:
        answer = json.loads(lines.readline())
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(control, "GROUP", GROUP)
    bench = Bench(tmp_path)
    yield bench
    child.kill(bench.pid)
    os.waitpid(bench.pid, 0)


def test_status_joins_the_supervisors_answer_with_the_counters(bench: Bench) -> None:
    bench.shared.workers[0].counters[Counter.PACKETS] = 12
    bench.shared.workers[0].publish({"denied": 3, "flow_capacity": 64})
    bench.shared.workers[0].counters[Counter.NOTICES_LOST] = 2
    connection = bench.connect()
    connection.sendall(b'{"command": "status"}\n')
    asked = bench.request()
    assert asked["command"] == "status"
    send(bench.supervisor, msgspec.msgpack.encode({"id": asked["id"], "ok": True, "status": {"engine": "serving"}}))
    found = read(connection)["status"]
    assert found["engine"] == "serving"
    assert found["worker_counters"]["packets"] == 12
    assert found["engine_counters"] == {"denied": 3, "flow_capacity": 64}
    assert found["events"] == {"lost": 2, "written": 7}
    assert found["event_loop"] == "uvloop"


def test_reload_and_stop_say_who_asked(bench: Bench) -> None:
    connection = bench.connect()
    connection.sendall(b'{"command": "reload", "policy": ["/etc/p.yaml"]}\n')
    asked = bench.request()
    assert (asked["command"], asked["policy"], asked["by"]) == ("reload", ["/etc/p.yaml"], "uid 0")
    send(bench.supervisor, msgspec.msgpack.encode({"id": asked["id"], "ok": False, "error": "no", "problems": []}))
    assert read(connection) == {"ok": False, "error": "no", "problems": []}
    connection.sendall(b'{"command": "stop"}\n')
    asked = bench.request()
    assert (asked["command"], asked["by"]) == ("stop", "uid 0")


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"{}\n", b'{"command": "open"}\n', b'{"command": "stop", "open": true}\n', b"[]\n", b"\xff\n"],
)
def test_what_is_no_request_is_answered_and_asks_nothing(bench: Bench, line: bytes) -> None:
    connection = bench.connect()
    connection.sendall(line)
    answer = read(connection)
    assert not answer["ok"] and answer["error"].startswith("not a request")
    assert receive(bench.supervisor) is None


def test_an_endless_line_costs_its_connection_only(bench: Bench) -> None:
    connection = bench.connect()
    try:
        connection.sendall(b"x" * 300000 + b"\n")
        assert connection.recv(1) == b""
    except ConnectionError:
        pass
    other = bench.connect()
    other.sendall(b"nonsense\n")
    assert not read(other)["ok"]


def test_an_answer_to_a_predecessor_is_nobodys(bench: Bench) -> None:
    send(bench.supervisor, msgspec.msgpack.encode({"id": 1, "ok": True}))
    connection = bench.connect()
    connection.sendall(b'{"command": "stop"}\n')
    asked = bench.request()
    send(bench.supervisor, msgspec.msgpack.encode({"id": asked["id"], "ok": True, "removed": False}))
    assert read(connection) == {"ok": True, "removed": False}


def test_notices_reach_the_sink_and_losses_are_told(bench: Bench) -> None:
    bench.notifier.engine(EngineKind.ENGINE_START)
    bench.until_seen("put engine-start")
    bench.shared.workers[0].counters[Counter.NOTICES_LOST] += 5
    bench.until_seen("tick 5")


def test_a_stopped_control_stops_nobody_and_goes_on_where_it_was(bench: Bench) -> None:
    bench.until_seen("tick 0")
    os.kill(bench.pid, signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(5000):
        bench.notifier.engine(EngineKind.ENGINE_ERROR, error="x" * 1000)
    assert time.monotonic() - began < 2
    lost = bench.shared.notices_lost
    assert 0 < lost < 5000
    os.kill(bench.pid, signal.SIGCONT)
    bench.until_seen(f"tick {lost}")


def test_a_client_waits_while_control_is_replaced(bench: Bench) -> None:
    child.kill(bench.pid)
    os.waitpid(bench.pid, 0)
    connection = bench.connect()
    connection.sendall(b"nonsense\n")
    bench.pid = bench.start()
    assert not read(connection)["ok"]


def test_sighup_reopens_and_finish_closes(bench: Bench) -> None:
    bench.until_seen("tick 0")
    os.kill(bench.pid, signal.SIGHUP)
    bench.until_seen("reopen")
    bench.notifier.engine(EngineKind.ENGINE_STOP)
    send(bench.supervisor, msgspec.msgpack.encode({"id": -1, "command": "finish"}))
    bench.until_seen("close")
    seen = bench.seen.read_text().splitlines()
    assert seen.index("put engine-stop") < seen.index("close")
    bench.pid = bench.start()  # for the fixture


# --- who may ask ----------------------------------------------------------------------------------


def as_other(uid: int, gid: int, action: Callable[[], object]) -> str:
    """Run `action` as another user; gives what it returned or raised, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            text = str(action())
        except BaseException as error:  # noqa: BLE001
            text = type(error).__name__
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users: needs root")
def test_the_group_may_reload_and_may_not_name_files(bench: Bench, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    group = grp.getgrnam(GROUP).gr_gid
    mode = os.stat(bench.path)
    assert stat.S_IMODE(mode.st_mode) == 0o660 and (mode.st_uid, mode.st_gid) == (0, group)

    def ask(line: bytes) -> str:
        connection = bench.connect()
        connection.sendall(line)
        return str(read(connection)["error"])

    named = as_other(65534, group, lambda: ask(b'{"command": "reload", "policy": ["/etc/shadow"]}\n'))
    assert named.startswith("only root may name another policy")
    assert as_other(65534, group, lambda: ask(b'{"command": 1}\n')).startswith("not a request")
    assert as_other(65534, 65534, bench.connect) == "PermissionError"
    os.chmod(bench.path, 0o666)  # the file's mode is not the only guard
    assert as_other(65534, 65534, lambda: ask(b'{"command": "stop"}\n')).startswith("only root and members")
    assert receive(bench.supervisor) is None


def test_a_socket_left_by_a_dead_one_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    first = control.listen(path)
    with pytest.raises(OSError, match="another conduitfw is running"):
        control.listen(path)
    first.close()
    control.listen(path).close()


def test_a_socket_that_a_stuck_orphan_keeps_is_replaced(tmp_path: Path) -> None:
    """Its supervisor was killed while control hung: operators would wait there for ever, and no other could start."""
    path = str(tmp_path / "s")
    told, tell = os.pipe()

    def supervisor() -> None:
        listener = control.listen(path)
        pid = os.fork()  # not child.fork: nobody tells it that its parent has died
        if not pid:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(listener.fileno())
        os.waitpid(pid, os.WUNTRACED)
        os.write(tell, str(pid).encode())
        signal.pause()

    pid = child.fork("supervisor", supervisor)
    orphan = int(os.read(told, 16))
    try:
        with pytest.raises(OSError, match="another conduitfw is running"):
            control.listen(path)
        os.kill(pid, signal.SIGKILL)
        while child.is_alive(pid):  # dead, and not yet waited for
            time.sleep(0.01)
        with control.listen(path), socket.socket(socket.AF_UNIX) as operator:
            operator.connect(path)
            with pytest.raises(OSError, match="another conduitfw is running"):
                control.listen(path)
    finally:
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(told)
        os.close(tell)


def test_a_socket_where_too_many_wait_is_somebodys(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with control.listen(path), contextlib.ExitStack() as stack:
        for _ in range(control.CLIENTS_MAX + 1):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        with pytest.raises(OSError, match="another conduitfw is running"):
            control.listen(path)


def test_what_an_earlier_service_owed_is_lost_and_counted_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, owed=5)
    for _ in range(2):
        bench.until_seen("tick 5")
        bench.seen.write_text("")
        child.kill(bench.pid)
        os.waitpid(bench.pid, 0)
        bench.pid = bench.start()
    bench.until_seen("tick 5")
    child.kill(bench.pid)
    os.waitpid(bench.pid, 0)


def test_what_is_not_safe_is_noted_where_it_outlives_the_service(bench: Bench) -> None:
    bench.notifier.engine(EngineKind.ENGINE_BACK)
    bench.until_seen("owes 1")


def test_an_orphan_writes_all_that_has_come_and_answers_nobody(bench: Bench) -> None:
    """The supervisor has been killed: the next one may start at once."""
    bench.until_seen("tick 0")
    os.kill(bench.pid, signal.SIGSTOP)
    for _ in range(1200):  # more than it hears in one go
        bench.notifier.engine(EngineKind.ENGINE_BACK)
    os.kill(bench.pid, control.ORPHANED)
    os.kill(bench.pid, signal.SIGCONT)
    assert os.waitpid(bench.pid, 0)[1] == 0
    seen = bench.seen.read_text().splitlines()
    assert seen.count("put engine-back") == 1200 and "close" in seen
    with pytest.raises(ConnectionRefusedError):
        bench.connect()
    bench.pid = bench.start()
