"""Reload (tcp-rules.md, 11): a new policy in the midst of a message, and what follows a denied part of one."""

from __future__ import annotations

from pathlib import Path

from conduitfw.packet import build_udp
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import read
from tests.pipeline.test_limits import HEAD, RTU, compiled, crobs, frame, message
from tests.pipeline.wire import Wire


def test_a_session_that_is_no_longer_allowed_ends(tmp_path: Path) -> None:
    wire = Wire().open()
    wire.client(read(1)[:5])
    wire.swap(compiled(tmp_path, "allow: dnp3, clients: hmi, servers: rtu, functions: read"))
    assert wire.denials == ["policy-changed"]
    assert wire.reset_to_server and wire.reset_to_client
    assert wire.client(read(1)[5:]).reason is not None
    assert wire.reads == []


OBJECTS = crobs(1, 5, 2)
BEGIN = frame(b"\x40\xc0\x05" + OBJECTS[:18])
DENIED = frame(b"\x01" + OBJECTS[18:31])
REST = frame(b"\x82" + crobs(1, 2, 3)[18:])
INSTEAD = frame(b"\x81" + crobs(1, 2, 3)[18:])  # in the place of the denied one
NEXT = frame(b"\xc3\xc1\x05" + crobs(3))
POINTS = "clients: hmi, servers: rtu, functions: direct_operate, points: {g12: 0-3}"


def test_a_message_that_began_under_another_policy_does_not_end_under_this(tmp_path: Path) -> None:
    """The new one would not have allowed its beginning, and does allow its end."""
    rule = "name: low, allow: dnp3, clients: hmi, servers: rtu, functions: direct_operate, points: {g12: %s}"
    wire = Wire(compiled(tmp_path, rule % "1-2"), ends=RTU, ports=(40000, 20000)).open()
    first, last = message(5, crobs(1, 2), 5 + 13)
    wire.client(first)
    wire.server()
    wire.swap(compiled(tmp_path, rule % "2-3"))
    wire.client(last)
    assert wire.reads == [first] and wire.reset_to_server


def test_nothing_of_a_denied_fragment_goes_on_until_the_next(tmp_path: Path) -> None:
    """`drop`: the session lives, but TCP stalls it at what was denied."""
    head = HEAD.replace("    rules:\n", "    on_deny: drop\n    rules:\n")
    wire = Wire(compiled(tmp_path, "allow: dnp3, " + POINTS, head=head), ends=RTU, ports=(40000, 20000)).open()
    wire.client(BEGIN)
    wire.server()
    assert wire.client(DENIED).reason is Reason.POINT
    for at in (0, -len(DENIED)):
        wire.client(REST, at=at)
    assert wire.reads == [BEGIN]


class TestDatagrams:
    def passed(self, tmp_path: Path, *frames: bytes) -> list[bytes]:
        """Those of the frames that go on, each in a datagram."""
        wire = Wire(compiled(tmp_path, "allow: dnp3, transport: udp, " + POINTS))
        return [each for each in frames if wire.pipeline.decide(build_udp(*RTU, 40000, 20000, each), wire.now).forward]

    def test_nothing_of_a_denied_fragment_goes_on_until_the_next(self, tmp_path: Path) -> None:
        assert self.passed(tmp_path, BEGIN, DENIED, REST, NEXT) == [BEGIN, NEXT]
        assert self.passed(tmp_path, BEGIN, INSTEAD) == [BEGIN, INSTEAD]

    def test_nor_another_end_of_it(self, tmp_path: Path) -> None:
        assert self.passed(tmp_path, BEGIN, DENIED, INSTEAD, NEXT) == [BEGIN, NEXT]
