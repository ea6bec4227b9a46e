"""DNP3 over UDP: a datagram holds whole frames. Rows of datagrams, to a model and to an outstation of dnp3py's parts."""

from __future__ import annotations

from dataclasses import dataclass

from conduitfw.flow import FlowTable
from conduitfw.packet import UDP, build_udp, decode
from conduitfw.policy.compile import Tables
from conduitfw.verdict import Pipeline
from tests.evasion.family import DNP3
from tests.evasion.link import frame, request, segments, whole
from tests.evasion.model import Dnp3

BAD, GOOD, MORE = DNP3.forbidden, DNP3.allowed, DNP3.first
FORBIDDEN, ALLOWED = DNP3.codes
_ENDS = bytes((10, 10, 0, 11)), bytes((10, 20, 0, 9))
_FLOOD = request(ALLOWED, b"\x3c\x01\x06" * 30)


@dataclass(frozen=True)
class Row:
    """Datagrams in their order. `control`: allowed ones in the same shape, and how many requests have to execute."""

    name: str
    datagrams: tuple[bytes, ...]
    control: tuple[bytes, ...] | None = None
    executes: int = 1
    note: str = ""
    often: bool = False  # whether it runs on the bridge in every test run


def cut(at: int) -> Row:
    return Row(
        f"a frame over two datagrams, cut at {at}",
        (BAD[:at], BAD[at:]),
        note="no datagram ends in a frame",
        often=at == 12,
    )


def frames(fragment: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(frame(each) for each in segments(fragment, size))


ROWS = [
    Row("as it is", (BAD,), (GOOD,)),
    Row("two frames in a datagram, it first", (BAD + MORE,), (GOOD + MORE,), 2),
    Row("two frames in a datagram, it second", (MORE + BAD,), (MORE + GOOD,), 2, often=True),
    Row("eight frames in a datagram, it the last", (MORE * 7 + BAD,), (MORE * 7 + GOOD,), 8),
    *(cut(at) for at in (1, 2, 5, 10, 12, len(BAD) - 1)),
    Row("an allowed frame and its head, its tail", (MORE + BAD[:12], BAD[12:]), note="no datagram ends in a frame"),
    Row("its head, an allowed frame, its tail", (BAD[:10], MORE, BAD[10:]), note="no datagram ends in a frame"),
    Row("an octet of junk in front", (b"\x00" + BAD,), note="nothing stands before a frame"),
    Row("junk behind an allowed one, then it", (MORE + b"\x05", BAD), note="nothing stands behind a frame"),
    Row("fragment over two frames in a datagram", (b"".join(frames(request(FORBIDDEN, b"\x3c\x01\x06"), 3)),),
        (b"".join(frames(request(ALLOWED, b"\x3c\x01\x06"), 3)),)),
    Row("fragment over two datagrams", frames(request(FORBIDDEN, b"\x3c\x01\x06"), 3),
        frames(request(ALLOWED, b"\x3c\x01\x06"), 3)),
    Row("an allowed fragment's first frame, its last one behind",
        (frames(_FLOOD, 60)[0], frame(b"\x81" + request(FORBIDDEN, b"\x3c\x01\x06"))), note="one of both is read"),
    Row("an empty datagram, then it", (b"", BAD), (b"", GOOD)),
    Row("from another master", (whole(request(FORBIDDEN, b"\x3c\x01\x06"), master=2),), note="addresses are the policy's"),
    Row("broadcast", tuple(whole(request(FORBIDDEN, b"\x3c\x01\x06"), to=each) for each in (0xFFFD, 0xFFFE, 0xFFFF)),
        note="addresses are the policy's"),
    Row("the master's direction turned", (whole(request(FORBIDDEN, b"\x3c\x01\x06"), control=0x44),), note="DIR is 0"),
    Row("confirmed user data", (whole(request(FORBIDDEN, b"\x3c\x01\x06"), control=0xF3),),
        note="confirmed data need a rule of their own"),
    Row("twice", (BAD, BAD), (GOOD, GOOD), 2),
]  # fmt: skip


def to_model(row: Row, tables: Tables | None, *, control: bool = False) -> list[int]:
    """What the model executed, behind the pipeline or nothing."""
    server = Dnp3()
    pipeline = None
    if tables is not None:
        pipeline = Pipeline(tables, FlowTable(bytearray(FlowTable.memory_size(16))), lambda notice: None)
    for number, datagram in enumerate((row.control or ()) if control else row.datagrams):
        packet = build_udp(*_ENDS, 40000, 20001, datagram)
        if pipeline is None or pipeline.decide(packet, 100.0 + number / 100).forward:
            assert decode(packet).transport == UDP
            answer = server(datagram)
            if answer and pipeline is not None:
                pipeline.decide(build_udp(*_ENDS[::-1], 20001, 40000, answer), 100.005 + number / 100)
    assert pipeline is None or pipeline.counters["engine_errors"] == 0
    return server.executed
