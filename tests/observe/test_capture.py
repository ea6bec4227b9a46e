"""The capture reader against files that scapy writes, and against damaged ones."""

# ruff: noqa: E501  (a case a line)

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether, Loopback
from scapy.packet import Packet, Raw
from scapy.utils import PcapNgWriter, PcapWriter

from conduitfw.observe.capture import CaptureError, Datagram, Frame, datagrams, read_capture

IP4 = IP(src="10.10.0.11", dst="10.20.0.5") / TCP(sport=4000, dport=502) / Raw(b"payload")
IP6 = IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=4000, dport=502) / Raw(b"payload")


def written(path: Path, packets: list[Packet], **options: object) -> list[Frame]:
    with PcapWriter(str(path), sync=True, **options) as writer:
        for packet in packets:
            writer.write(packet)
    return list(read_capture(path))


LINKS = [
    ("Ethernet", 1, Ether() / IP4, 0x0800, ()),
    ("Ethernet, IPv6", 1, Ether() / IP6, 0x86DD, ()),
    ("a VLAN tag", 1, Ether() / Dot1Q(vlan=7) / IP4, 0x0800, (7,)),
    ("two VLAN tags", 1, Ether() / Dot1AD(vlan=3) / Dot1Q(vlan=7) / IP6, 0x86DD, (3, 7)),
    ("LLC and SNAP", 1, Dot3() / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800) / IP4, 0x0800, ()),
    ("raw IP", 101, IP4, 0x0800, ()),
    ("raw IPv6", 101, IP6, 0x86DD, ()),
    ("raw, the BSDs' number", 12, IP4, 0x0800, ()),
    ("IPv4", 228, IP4, 0x0800, ()),
    ("IPv6", 229, IP6, 0x86DD, ()),
    ("Linux cooked", 113, CookedLinux() / IP4, 0x0800, ()),
    ("Linux cooked v2", 276, CookedLinuxV2(proto=0x86DD) / IP6, 0x86DD, ()),
    ("loopback", 0, Loopback(type=2) / IP4, 0x0800, ()),
]


@pytest.mark.parametrize(
    ("link_type", "packet", "ethertype", "vlans"), [c[1:] for c in LINKS], ids=[c[0] for c in LINKS]
)
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_link_types(
    tmp_path: Path, link_type: int, packet: Packet, ethertype: int, vlans: tuple[int, ...], endianness: str, nano: bool
) -> None:
    packet.time = 1_700_000_000.25
    (frame,) = written(tmp_path / "c.pcap", [packet], linktype=link_type, endianness=endianness, nano=nano)
    assert (frame.number, frame.time, frame.link_type, frame.data) == (1, 1_700_000_000.25, link_type, bytes(packet))
    inner = bytes(IP4 if ethertype == 0x0800 else IP6)
    assert datagrams(frame) == Datagram(ethertype, inner, vlans)


def test_padding_stays_for_the_decoder_to_cut() -> None:
    frame = Frame(1, 0.0, 1, bytes(Ether() / IP4) + bytes(9))
    datagram = datagrams(frame)
    assert datagram is not None
    assert datagram.data == bytes(IP4) + bytes(9)


NOTHING = [
    (1, b"", None),
    (1, bytes(13), None),
    (1, bytes(12) + b"\x81\x00\x00", None),
    (1, bytes(12) + b"\x00\x20\x42\x42\x03" + bytes(40), None),
    (101, b"", None),
    (101, b"\x50", None),
    (0, b"\x02\x00", None),
    (0, b"\x63\x00\x00\x00" + bytes(20), None),
    (276, bytes(19), None),
]


@pytest.mark.parametrize(("link_type", "data", "expected"), NOTHING)
def test_frames_without_a_datagram(link_type: int, data: bytes, expected: None) -> None:
    assert datagrams(Frame(1, 0.0, link_type, data)) is expected


def test_arp_is_given(tmp_path: Path) -> None:
    (frame,) = written(tmp_path / "c.pcap", [Ether() / ARP(psrc="10.10.0.11", pdst="10.20.0.5")])
    datagram = datagrams(frame)
    assert datagram is not None
    assert datagram.ethertype == 0x0806


def test_pcapng_by_scapy(tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    with PcapNgWriter(str(path)) as writer:
        for payload in (b"a", b"bb", b"ccc"):
            packet = Ether() / IP(dst="10.0.0.1") / Raw(payload)
            packet.time = 1_700_000_000.5
            writer.write(packet)
    frames = list(read_capture(path))
    assert [frame.number for frame in frames] == [1, 2, 3]
    assert {frame.time for frame in frames} == {1_700_000_000.5}
    assert frames[2].data.endswith(b"ccc")


# --- pcapng blocks by hand, after the draft -----------------------------------------------------------


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link_type: int, *options: tuple[int, bytes], snap: int = 0) -> bytes:
    body = struct.pack(order + "HHI", link_type, 0, snap)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body)


def enhanced(order: str, index: int, stamp: int, data: bytes) -> bytes:
    return block(
        order, 6, struct.pack(order + "IIIII", index, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data)) + data
    )


def test_pcapng_sections_interfaces_and_resolutions(tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    path.write_bytes(
        section("<")
        + interface("<", 1, (2, b"eth0"), (9, b"\x09"))
        + block("<", 0x0BAD, b"unknown blocks are skipped")
        + interface("<", 101, (9, b"\x8a"), (14, struct.pack("<q", 100)))
        + enhanced("<", 0, 5_500_000_000, b"nanoseconds")
        + enhanced("<", 1, 3 * 1024 + 512, b"E-1024ths")
        + section(">")
        + interface(">", 113, snap=3)
        + block(">", 3, struct.pack(">I", 5) + b"sim")
        + block(">", 2, struct.pack(">HHIIII", 0, 0, 0, 7_000_000, 3, 3) + b"old")
    )
    assert [(frame.number, frame.link_type, frame.time, frame.data) for frame in read_capture(path)] == [
        (1, 1, 5.5, b"nanoseconds"),
        (2, 101, 103.5, b"E-1024ths"),
        (3, 113, 0.0, b"sim"),
        (4, 113, 7.0, b"old"),
    ]


PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
DAMAGED = [
    ("empty", b"", 0, "ends within the magic number"),
    ("something else", b"GIF89a", 0, "is of no capture"),
    ("gzip", gzip.compress(PCAP), 0, "it is gzip"),
    ("a header cut short", PCAP[:20], 0, "ends within the file header"),
    ("an unknown link type", PCAP[:20] + struct.pack("<I", 147), 0, "link type 147 is not known here"),
    ("a record header cut short", PCAP + bytes(10), 0, "ends within a record header"),
    ("a frame cut short", PCAP + struct.pack("<IIII", 1, 0, 4, 4) + b"good" + struct.pack("<IIII", 1, 0, 9, 9) + b"cut", 1, "ends within a frame"),
    ("a frame too large", PCAP + struct.pack("<IIII", 1, 0, 1 << 30, 1), 0, "a frame of 1073741824 bytes"),
    ("no byte order", section("<").replace(b"\x4d\x3c\x2b\x1a", b"\x00\x00\x00\x00"), 0, "byte-order magic"),
    ("a block length", section("<") + struct.pack("<II", 1, 13), 0, "a block of 13 bytes"),
    ("a block of nothing", section("<") + struct.pack("<II", 1, 8), 0, "a block of 8 bytes"),
    ("lengths that differ", section("<") + interface("<", 1)[:-4] + b"\x04\x00\x00\x00", 0, "the block's lengths differ"),
    ("no interface", section("<") + enhanced("<", 0, 0, b"x"), 0, "a packet of interface 0, of which 0 are described"),
    ("a packet longer than its block", section("<") + interface("<", 1) + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), 0, "has room for 0"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "before", "said"), [c[1:] for c in DAMAGED], ids=[c[0] for c in DAMAGED])
def test_damage_is_told_with_its_place(tmp_path: Path, data: bytes, before: int, said: str) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(data)
    frames = []
    with pytest.raises(CaptureError) as raised:
        frames.extend(frame for frame in read_capture(path))
    frames_before = sum(1 for _ in _until_damage(path))
    assert frames_before == before
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{path}: at byte ")


def _until_damage(path: Path) -> list[Frame]:
    frames = []
    try:
        for frame in read_capture(path):
            frames.append(frame)
    except CaptureError:
        pass
    return frames


@given(
    st.sampled_from((b"", PCAP, section("<") + interface("<", 1), section(">") + interface(">", 101))),
    st.binary(max_size=200),
)
def test_arbitrary_bytes_raise_nothing_else(start: bytes, rest: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(start + rest)
        file.flush()
        for frame in _until_damage(Path(file.name)):
            datagrams(frame)
