"""packet.py against packets that scapy builds: an encoder of its own."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Raw

from conduitfw import packet
from conduitfw.reasons import Malformed, Reason

ENDS4 = {"src": "10.10.0.11", "dst": "10.20.0.5"}
ENDS6 = {"src": "fd00:10::11", "dst": "fd00:20::5"}


def tcp4(payload: bytes = b"", **fields: object) -> bytes:
    return bytes(IP(**ENDS4) / TCP(**{"sport": 40000, "dport": 502, "flags": "PA", **fields}) / Raw(payload))


def refusal(data: bytes) -> Reason:
    with pytest.raises(Malformed) as caught:
        packet.decode(data)
    return caught.value.reason


def corrupt(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


@pytest.mark.parametrize("ip", [IP(**ENDS4), IPv6(**ENDS6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("payload", [b"", b"x", b"even", os.urandom(1399)], ids=["none", "odd", "even", "long"])
def test_reads_tcp(ip: IP, payload: bytes) -> None:
    tcp = TCP(sport=40000, dport=502, seq=1, ack=0xFFFFFFFF, flags="PA", window=501, options=[("Timestamp", (7, 9))])
    read = packet.decode(bytes(ip / tcp / Raw(payload)))
    assert (read.source_port, read.destination_port, read.sequence, read.ack) == (40000, 502, 1, 0xFFFFFFFF)
    assert (read.window, read.ts_value, read.ts_echo, read.payload) == (501, 7, 9, payload)
    assert read.key == read.source + read.destination + struct.pack("!HH", 40000, 502)


def test_padding_and_trailers_are_not_data() -> None:
    read = packet.decode(tcp4(flags="A") + b"\x00" * 6)
    assert read.payload == b""
    assert packet.decode(tcp4(b"unit") + b"PRP trailer").payload == b"unit"


REFUSED = [
    ("no bytes", b"", Reason.TRUNCATED),
    ("longer than it is", tcp4(b"abc")[:-1], Reason.TRUNCATED),
    ("header checksum", corrupt(tcp4(), 10, 0x55), Reason.BAD_CHECKSUM),
    ("TCP checksum", corrupt(tcp4(b"a"), 40, 0x62), Reason.BAD_CHECKSUM),
    ("UDP checksum", corrupt(bytes(IP(**ENDS4) / UDP(sport=1, dport=20000) / b"a"), 28, 0x62), Reason.BAD_CHECKSUM),
    ("first fragment", bytes(IP(**ENDS4, flags="MF") / TCP(dport=502) / b"a"), Reason.FRAGMENT),
    ("later fragment", bytes(IP(**ENDS4, frag=1, proto=6) / Raw(bytes(20))), Reason.FRAGMENT),
    ("IP options", bytes(IP(**ENDS4, options=[IPOption_RR(length=7)]) / TCP(dport=502)), Reason.IP_OPTIONS),
    ("header length 4", b"\x44" + tcp4()[1:], Reason.BAD_IP_HEADER),
    ("version 5", b"\x55" + tcp4()[1:], Reason.BAD_IP_HEADER),
    ("ICMP", bytes(IP(**ENDS4) / ICMP()), Reason.NOT_INSPECTED),
    ("IPv6 fragment", bytes(IPv6(**ENDS6) / IPv6ExtHdrFragment(m=1) / TCP(dport=502)), Reason.FRAGMENT),
    ("IPv6 options", bytes(IPv6(**ENDS6) / IPv6ExtHdrDestOpt() / TCP(dport=502)), Reason.IP_OPTIONS),
    ("urgent", tcp4(b"a", flags="PAU", urgptr=1), Reason.URGENT),
    ("SYN and FIN", tcp4(flags="SF"), Reason.BAD_FLAGS),
    ("no flags", tcp4(flags=0), Reason.BAD_FLAGS),
    ("FIN without ACK", tcp4(flags="F"), Reason.BAD_FLAGS),
    ("data offset 4", tcp4(dataofs=4), Reason.BAD_TCP_HEADER),
    ("data offset behind the end", tcp4(dataofs=6), Reason.BAD_TCP_HEADER),
    (
        "option of length 1",
        tcp4(options=[(66, b"")], dataofs=6).replace(b"\x42\x02", b"\x42\x01"),
        Reason.BAD_TCP_HEADER,
    ),
    ("TCP MD5", tcp4(options=[(19, bytes(16))]), Reason.TCP_AUTH_OPTION),
    ("UDP length", bytes(IP(**ENDS4) / UDP(sport=1, dport=20000, len=9) / b"abc"), Reason.BAD_UDP_HEADER),
    ("IPv6 UDP without checksum", bytes(IPv6(**ENDS6) / UDP(dport=20000, chksum=0) / b"a"), Reason.BAD_CHECKSUM),
]


@pytest.mark.parametrize(("data", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refuses(data: bytes, reason: Reason) -> None:
    assert refusal(data) is reason


def test_ece_and_cwr_are_good_flags() -> None:
    assert packet.decode(tcp4(flags="SEC")).flags == packet.SYN


def test_options_other_than_the_kept_become_nop() -> None:
    multipath = (30, b"\x00\x81" + bytes(8))
    data = tcp4(flags="S", options=[("MSS", 1460), ("SAckOK", b""), multipath, ("WScale", 7)])
    read = packet.decode(data)
    assert (read.mss, read.sack_ok, read.window_scale) == (1460, True, 7)
    assert read.options is not None
    cleaned = packet.rebuild(
        read, sequence=read.sequence, ack=0, flags=read.flags, window=read.window, options=read.options, payload=b""
    )
    again = TCP(cleaned[20:])
    assert [kind for kind, _ in again.options if kind not in ("NOP", "EOL")] == ["MSS", "SAckOK", "WScale"]
    assert IP(cleaned).ttl == 64
    assert packet.decode(cleaned).options is None


def test_sack_is_taken_out_and_timestamps_stay() -> None:
    read = packet.decode(tcp4(flags="A", options=[("Timestamp", (3, 4)), ("SAck", (10, 20))]))
    options = packet.without_sack(read)
    rebuilt = packet.rebuild(read, sequence=5, ack=6, flags=packet.ACK, window=1, options=options, payload=b"")
    assert dict(TCP(rebuilt[20:]).options)["Timestamp"] == (3, 4)
    assert "SAck" not in dict(TCP(rebuilt[20:]).options)


@given(st.binary(max_size=1460), st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_rebuilt_has_right_checksums(payload: bytes, sequence: int, six: bool) -> None:
    ip = IPv6(**ENDS6) if six else IP(**ENDS4)
    read = packet.decode(bytes(ip / TCP(sport=1, dport=502, flags="A", options=[("Timestamp", (1, 2))]) / b"old"))
    rebuilt = packet.rebuild(read, sequence=sequence, ack=9, flags=packet.ACK, window=8, options=None, payload=payload)
    layer = (IPv6 if six else IP)(rebuilt)
    claimed = layer[TCP].chksum
    del layer[TCP].chksum
    if not six:
        del layer.chksum
    fresh = type(layer)(bytes(layer))
    assert claimed % 0xFFFF == fresh[TCP].chksum % 0xFFFF
    assert packet.decode(rebuilt).payload == payload
    assert packet.decode(rebuilt).sequence == sequence


@given(st.binary(max_size=80))
def test_never_raises_anything_else(data: bytes) -> None:
    for prefix in (b"", b"\x45\x00\x00\x28", b"\x60\x00\x00\x00\x00\x14\x06\x40"):
        try:
            packet.decode(prefix + data)
        except Malformed:
            continue


def test_our_own_packets_are_whole() -> None:
    for source, destination in ((bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))), (bytes(16), bytes(15) + b"\x01")):
        data = packet.build(
            source, destination, 502, 40000, sequence=1, ack=2, flags=packet.ACK, window=3, timestamps=(4, 5)
        )
        read = packet.decode(data)
        assert (read.source, read.sequence, read.ack, read.ts_value, read.ts_echo) == (source, 1, 2, 4, 5)
