"""`conduitfw bench` on this machine alone: what it asks, counts, prints, keeps and refuses. Through the firewall:
tests/system/test_bench.py."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conduitfw.cli.main import main
from conduitfw.protocols.modbus.requests import adu, pdu
from tests.peers.modbus_on_cue import (
    ANSWER,
    CLOSE,
    ECHO,
    OTHER_FUNCTION,
    OTHER_TRANSACTION,
    OTHER_UNIT,
    PIECES,
    SILENCE,
    TWICE,
    on_cue,
)

LOCAL = "127.0.0.1"


def bench(port: int, *options: str, source: str = LOCAL, host: str = LOCAL) -> Result:
    to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return CliRunner().invoke(main, ["bench", "--from", source, "--to", to, "--rate", "1000", *options])


def found(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    measured = json.loads(result.stdout)
    assert isinstance(measured, dict)
    return measured


class Server:
    """The demo's pymodbus server, and its own record."""

    def __init__(self, address: str, record: Path) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family) as ear:
            self.port: int = ear.getsockname()[1]
        self._record = record
        words = [sys.executable, "-m", "conduitfw.demo.servers", "modbus", address, str(self.port), str(record)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def executed(self) -> list[int]:
        """The functions that came since it was asked last."""
        functions = [int(line) for line in self._record.read_text().split()]
        self._record.write_text("")
        return functions

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(LOCAL, tmp_path_factory.mktemp("bench") / "record")
    yield served
    served.end()


@pytest.mark.parametrize(
    ("asked", "function"), [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("read_input_registers", 4), ("read_coils", 1)]
)
def test_a_real_server_records_reads_and_nothing_else(server: Server, asked: str, function: int) -> None:
    server.executed()
    measured = found(bench(server.port, "--function", asked, "--count", "120", "--json"))
    assert server.executed() == [function] * 121  # one before, which is not counted
    figures = measured["figures"]
    assert (figures["answers"], figures["timeouts"], figures["reconnects"]) == (120, 0, 0)
    assert 0 < figures["round_trip_us"]["p50"] <= figures["round_trip_us"]["p99"] <= figures["max_us"]
    assert figures["round_trip_us"]["p99_9"] is None
    assert measured["asked"]["function"] == function


def test_over_ipv6(tmp_path: Path) -> None:
    served = Server("::1", tmp_path / "record")
    try:
        measured = found(bench(served.port, "--count", "5", "--json", source="::1", host="::1"))
        assert measured["figures"]["server"] == f"[::1]:{served.port}"
        assert served.executed() == [3] * 6
    finally:
        served.end()


@pytest.mark.parametrize("function", ["5", "6", "15", "16", "22", "23", "8", "write_single_register", "0", "x", "٣"])
def test_what_does_not_only_read_is_refused_before_anything_is_sent(server: Server, function: str) -> None:
    server.executed()
    result = bench(server.port, "--function", function)
    assert result.exit_code == 2
    assert f"{function} is refused: this only reads" in result.stderr
    assert server.executed() == []


def test_an_exception_ends_it_at_once(server: Server) -> None:
    server.executed()
    result = bench(server.port, "--register", "9000", "--unit", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "answered with exception 02 (Illegal Data Address); the policy or the server denies this read" in (
        result.stderr
    )
    assert f"--to {LOCAL} --port {server.port} --modbus 3 --unit 1 --register 9000" in result.stderr
    assert server.executed() == [3]


def test_what_is_asked() -> None:
    log: list[tuple[str, bytes]] = []
    with on_cue(ANSWER, log=log) as served:
        found(bench(served.port, "--register", "4660", "--unit", "17", "--count", "2", "--json"))
    assert [request for _, request in log] == [adu(pdu(3, 4660, 1), number, 17) for number in (1, 2, 3)]


def test_the_pause_before_each_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per server at most --rate a second, whoever is polled beside it."""
    pauses: list[float] = []
    with on_cue(ANSWER) as one, on_cue(ANSWER) as two:
        monkeypatch.setattr(time, "sleep", pauses.append)
        found(bench(one.port, "--count", "3", "--rate", "4", "--json"))
        assert pauses == [0.25] * 3
        pauses.clear()
        found(bench(one.port, "--count", "3", "--rate", "4", "--beside", f"{LOCAL}:{two.port}", "--json"))
        assert pauses == [0.125] * 6


def test_in_turn_with_a_server_beside_it() -> None:
    log: list[tuple[str, bytes]] = []
    with on_cue(ANSWER, log=log, name="to") as one, on_cue(ANSWER, log=log, name="beside") as two:
        words = ("--beside", f"{LOCAL}:{two.port}", "--count", "4")
        measured = found(bench(one.port, *words, "--json"))
        printed = bench(one.port, *words)
    assert [name for name, _ in log] == ["to", "beside"] * 10
    compared = measured["compared"]
    assert (compared["how"], compared["other"]["server"]) == ("beside", f"{LOCAL}:{two.port}")
    assert compared["other"]["answers"] == 4
    ours, theirs = (each["round_trip_us"]["p50"] for each in (measured["figures"], compared["other"]))
    assert compared["p50"] == {"difference_us": ours - theirs, "ratio": ours / theirs}
    assert printed.exit_code == 0
    for line in ("difference ", "ratio ", f"round trips of {LOCAL}:{one.port}", f"round trips of {LOCAL}:{two.port}"):
        assert f"\n{line}" in printed.stdout


def test_failures_are_counted_and_it_goes_on() -> None:
    acts = (ANSWER, PIECES, SILENCE, ANSWER, CLOSE, 6, 6, 4, OTHER_TRANSACTION, ECHO, ANSWER)
    with on_cue(*acts) as served:
        measured = found(bench(served.port, "--count", "12", "--timeout", "0.3", "--json"))
    figures = measured["figures"]
    counted = ("answers", "timeouts", "lost_connections", "wrong_answers", "exceptions", "reconnects")
    assert [figures[name] for name in counted] == [5, 1, 1, 2, {"4": 1, "6": 2}, 4]


WRONG = [OTHER_TRANSACTION, OTHER_UNIT, OTHER_FUNCTION, TWICE, ECHO]
FIRST = [
    *((act, "answered is not the answer to this Modbus read") for act in WRONG),
    (SILENCE, "did not answer the read within 0.2 s; the policy or the server denies this read, or unit 1"),
    (CLOSE, "the connection was ended when"),
    (1, "exception 01 (Illegal Function); the policy or the server denies this read"),
    (6, "exception 06 (Server Device Busy)\n"),
    (99, "answered is not the answer to this Modbus read"),
]


@pytest.mark.parametrize(("act", "said"), FIRST)
def test_a_first_poll_that_is_not_answered(act: str | int, said: str, tmp_path: Path) -> None:
    log: list[tuple[str, bytes]] = []
    with on_cue(act, log=log) as served:
        result = bench(served.port, "--timeout", "0.2", "--save", str(tmp_path / "kept"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert len(log) == 1
    assert not (tmp_path / "kept").exists()


def test_a_server_beside_it_is_not_the_policys() -> None:
    with on_cue(ANSWER) as one, on_cue(2) as two:
        result = bench(one.port, "--beside", f"{LOCAL}:{two.port}")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {LOCAL}:{two.port} answered with exception 02 (Illegal Data Address)\n"


def test_a_server_that_stops_answering_is_left_alone(tmp_path: Path) -> None:
    log: list[tuple[str, bytes]] = []
    with on_cue(ANSWER, ANSWER, ANSWER, 6, log=log) as served:
        result = bench(served.port, "--save", str(tmp_path / "kept"), "--json")
    measured = found(result, code=1)
    assert measured["figures"]["answers"] == 2
    assert "in a row had no answer" in result.stderr and "exception 06" in result.stderr
    assert len(log) == 13
    assert not (tmp_path / "kept").exists()


def test_where_one_of_two_stops_answering_neither_is_polled_on() -> None:
    log: list[tuple[str, bytes]] = []
    with on_cue(ANSWER, log=log, name="to") as one, on_cue(ANSWER, ANSWER, 6, log=log, name="beside") as two:
        result = bench(one.port, "--beside", f"{LOCAL}:{two.port}")
    assert result.exit_code == 1
    assert f"stopped: 10 polls of {LOCAL}:{two.port} in a row had no answer" in result.stderr
    assert [name for name, _ in log] == ["to", "beside"] * 12


def test_nobody_listens() -> None:
    with socket.create_server((LOCAL, 0)) as ear:
        port = ear.getsockname()[1]
    result = bench(port)
    assert result.exit_code == 1
    assert f"no connection from {LOCAL} to {LOCAL}:{port}: it was refused" in result.stderr


ADDRESSES = [
    ("192.0.2.1", f"{LOCAL}:502", 1, "192.0.2.1 is not an address of this machine"),
    (LOCAL, "::1", 1, "::1 has no IPv4 address, which 127.0.0.1, to poll from, is"),
    ("::1", LOCAL, 1, "127.0.0.1 has no IPv6 address, which ::1, to poll from, is"),
    ("hmi-a", LOCAL, 1, "'hmi-a' is no IP address to poll from"),
    *(
        (LOCAL, bad, 2, f"{bad!r} is not HOST, HOST:PORT or [IPv6]:PORT")
        for bad in ("", ":502", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]502", "[]:502", "a:٥")
    ),
]


@pytest.mark.parametrize(("source", "to", "code", "said"), ADDRESSES)
def test_addresses_that_cannot_be(source: str, to: str, code: int, said: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--from", source, "--to", to])
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_kept_and_compared_with(tmp_path: Path) -> None:
    kept = tmp_path / "before.json"
    with on_cue(ANSWER) as served:
        assert bench(served.port, "--count", "10", "--save", str(kept)).exit_code == 0
        before = json.loads(kept.read_text())
        measured = found(bench(served.port, "--count", "20", "--against", str(kept), "--json"))
        assert measured["compared"]["how"] == "before"
        assert measured["compared"]["other"] == before["figures"]
        printed = bench(served.port, "--count", "20", "--against", str(kept), "--save", str(kept))
        assert f"before: the same, measured {before['began']}\n" in printed.stdout
        assert json.loads(kept.read_text())["figures"]["answers"] == 20
        otherwise = bench(served.port, "--unit", "2", "--against", str(kept))
    assert otherwise.exit_code == 1
    assert "cannot be compared with, since it was asked otherwise: unit 1, now 2" in otherwise.stderr


NO_MEASUREMENT = [
    b"",
    b"{",
    b"{}",
    b"[]",
    b"\xff\xfe",
    b'{"format": "conduitfw bench 9"}',
    b'{"format": "conduitfw bench 1", "began": "", "asked": {}, "figures": {}}',
]


@pytest.mark.parametrize("text", NO_MEASUREMENT)
def test_a_file_that_is_no_measurement(server: Server, tmp_path: Path, text: bytes) -> None:
    server.executed()
    path = tmp_path / "before.json"
    path.write_bytes(text)
    result = bench(server.port, "--against", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{path} is not what `conduitfw bench --save` wrote: " in result.stderr
    assert server.executed() == []


def test_a_measurement_that_nobody_can_have_made(tmp_path: Path) -> None:
    """No ratio to a round trip that took no time."""
    path = tmp_path / "before.json"
    with on_cue(ANSWER) as served:
        bench(served.port, "--count", "10", "--save", str(path))
        kept = json.loads(path.read_text())
        kept["figures"]["round_trip_us"]["p50"] = 0
        path.write_text(json.dumps(kept))
        result = bench(served.port, "--count", "10", "--against", str(path))
    assert result.exit_code == 1
    assert f"{path} is not what `conduitfw bench --save` wrote" in result.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text("{}")
    words = ("--beside", "x", "--against", str(path))
    assert "give one" in bench(502, *words).stderr
    assert bench(502, *words).exit_code == 2
    nowhere = bench(502, "--save", str(tmp_path / "no" / "such"))
    assert (nowhere.exit_code, "there is no folder" in nowhere.stderr) == (2, True)
    for rate in ("0", "1001"):
        assert bench(502, "--rate", rate).exit_code == 2
