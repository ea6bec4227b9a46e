"""Before anything else (tcp-rules.md, 2): checksums, TCP options, data on a SYN."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from conduitfw.packet import ACK, SYN
from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import read, read_answer
from tests.pipeline.wire import CLIENT6, SERVER6, Wire

OTHERS = [(30, b"\x00\x81" + bytes(8)), (34, b""), (253, b"\x01\x02")]  # Multipath TCP, Fast Open, an experiment
MD5, AO = (19, bytes(16)), (29, bytes(14))


def segment(
    wire: Wire, from_client: bool, flags: str, options: list[tuple[object, object]], payload: bytes = b""
) -> bytes:
    """A segment at the place where that side is, with these options."""
    six = len(wire.ends[0]) == 16
    ends = {"src": "10.10.0.11", "dst": "10.20.0.5"} if not six else {"src": "fd00:10::11", "dst": "fd00:20::5"}
    ports = dict(zip(("sport", "dport"), wire.ports, strict=True))
    numbers = {"seq": wire.client_next, "ack": wire.server_next}
    if not from_client:
        ends = {"src": ends["dst"], "dst": ends["src"]}
        ports = {"sport": ports["dport"], "dport": ports["sport"]}
        numbers = {"seq": wire.server_next, "ack": wire.received}
    if flags == "S":
        numbers["ack"] = 0
    header = TCP(flags=flags, window=64000, options=options, **ports, **numbers)
    return bytes((IPv6 if six else IP)(**ends) / header / Raw(payload))


def kinds(data: bytes) -> set[str]:
    """The options of a packet, but for padding."""
    layer = IP(data) if data[0] >> 4 == 4 else IPv6(data)
    return {str(kind) for kind, _ in layer[TCP].options} - {"NOP", "EOL"}


@pytest.mark.parametrize("ends", [{}, {"ends": (CLIENT6, SERVER6)}], ids=["IPv4", "IPv6"])
def test_what_a_handshake_keeps_and_loses(ends: dict[str, tuple[bytes, bytes]]) -> None:
    wire = Wire(**ends)  # type: ignore[arg-type]
    kept = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (900, 0)), ("WScale", 7)]
    for from_client, flags, other in ((True, "S", OTHERS[0]), (True, "S", OTHERS[1]), (False, "SA", OTHERS[0])):
        wire.send(segment(wire, from_client, flags, [*kept, other]), from_client)
        arrived = (wire.at_server if from_client else wire.at_client)[-1]
        assert kinds(arrived.data) == {"MSS", "SAckOK", "Timestamp", "WScale"}
        assert (arrived.mss, arrived.sack_ok, arrived.ts_value, arrived.window_scale) == (1400, True, 900, 7)
    flow = next(iter(wire.flows))
    assert (flow.server_mss, flow.sack, flow.timestamps, flow.window_scale) == (1400, True, True, 7)


def test_what_later_segments_keep_and_lose() -> None:
    wire = Wire(stamps=True, sack=True).open()
    kept = [("Timestamp", (1001, 2001)), ("SAck", (wire.server_next + 100, wire.server_next + 200))]
    others = [OTHERS[2], ("MSS", 536)]
    wire.send(segment(wire, True, "PA", [*kept, *others], read(1)), True)
    assert wire.reads == [read(1)]
    assert kinds(wire.at_server[-1].data) == {"Timestamp", "SAck"}
    wire.send(segment(wire, False, "PA", [*kept, *others], read_answer(1)), False)
    assert wire.at_client[-1].payload == read_answer(1)
    assert kinds(wire.at_client[-1].data) == {"Timestamp", "SAck"}


@pytest.mark.parametrize("option", [MD5, AO], ids=["MD5", "AO"])
def test_the_authentication_option_is_denied(option: tuple[int, bytes]) -> None:
    wire = Wire().open()
    assert wire.send(segment(wire, True, "PA", [option], read(1)), True).reason is Reason.TCP_AUTH_OPTION
    assert wire.reads == []


def test_data_on_a_syn_ack_are_denied() -> None:
    wire = Wire()
    wire.send(wire.packet(True, wire.client_next, 0, SYN), True)
    with_data = wire.packet(False, wire.server_next, wire.client_next + 1, SYN | ACK, read_answer(1))
    assert wire.send(with_data, False).reason is Reason.SYN_DATA
    assert wire.at_client == []


@pytest.mark.parametrize("wrong", [0, 1], ids=["head", "tail"])
def test_a_head_or_a_tail_with_a_wrong_checksum_changes_nothing(wrong: int) -> None:
    wire = Wire().open()
    unit = read(1)
    for number, piece in enumerate((unit[:5], unit[5:])):
        good = wire.packet(True, wire.client_next, wire.server_next, 0x18, piece)
        if number == wrong:
            before = bytes(wire.memory)
            assert wire.send(good[:-1] + bytes((good[-1] ^ 0x55,)), True).reason is Reason.BAD_CHECKSUM
            assert bytes(wire.memory) == before
            assert wire.reads == []
        wire.client(piece)
    assert wire.reads == [unit]
