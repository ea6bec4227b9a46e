"""Whole units only (tcp-rules.md, 4): what becomes of a unit's head, and what the client is told of it."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.inet import IP, TCP

from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import read, read_answer, write, write_answer
from tests.pipeline.wire import Wire, tables


def with_block(wire: Wire, first: int, last: int) -> bytes:
    """A bare acknowledgement of the server with a block of a selective acknowledgement."""
    plain = IP(wire.packet(False, wire.server_next, wire.received, 16))
    plain[TCP].options = [("NOP", None), ("NOP", None), ("SAck", (first & 0xFFFFFFFF, last & 0xFFFFFFFF))]
    for layer, name in ((IP, "len"), (IP, "chksum"), (TCP, "chksum"), (TCP, "dataofs")):
        delattr(plain[layer], name)
    return bytes(plain)


def test_the_units_before_a_head_go_on_without_it() -> None:
    wire = Wire().open()
    for number in range(1, len(read(3))):
        before = len(wire.reads)
        wire.client(read(1) + read(2) + read(3)[:number])
        assert wire.reads[before:] == [read(1) + read(2)]
        wire.client(read(3)[number:])
        assert wire.reads[before + 1 :] == [read(3)]
        for transaction in (1, 2, 3):
            wire.server(read_answer(transaction))


def test_a_packet_that_is_only_a_head_still_acknowledges() -> None:
    """The server may be waiting for it: an outstation's Nagle."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server(read_answer(1))
    start = wire.client_next
    wire.client(read(2)[:5])
    bare = wire.at_server[-1]
    assert (bare.payload, bare.sequence, bare.ack) == (b"", start, wire.server_next)


def test_an_acknowledgement_of_less_is_not_raised() -> None:
    wire = Wire().open()
    start = wire.client_next
    wire.client(read(1) + read(2) + read(3)[:5])
    wire.server(ack=start + len(read(1)))
    assert wire.at_client[-1].ack == start + len(read(1))
    wire.server(read_answer(1), ack=start + len(read(1)))
    assert wire.at_client[-1].ack == start + len(read(1))
    wire.server()
    assert wire.at_client[-1].ack == wire.client_next


def test_an_old_acknowledgement_is_not_raised() -> None:
    """Overtaken on its way: it says nothing of the head, and the client has heard more by then."""
    wire = Wire().open()
    start = wire.client_next
    wire.client(read(1) + read(2)[:5])
    wire.server()
    outcome = wire.server(ack=start)
    assert outcome.payload is None and wire.at_client[-1].ack == start


def test_units_that_wait_are_not_acknowledged() -> None:
    """The server may have no room for them, and the client be told to wait by nothing else."""
    wire = Wire().open()
    wire.client(read(1))
    wire.server()
    taken = wire.received
    wire.client(write(2))
    assert wire.reads == [read(1)]
    assert wire.client_acknowledged == taken
    outcome = wire.server()
    assert outcome.payload is None and wire.client_acknowledged == taken


@pytest.mark.parametrize(("scale", "window"), [(0, 64000), (7, 502), (14, 65535)])
def test_every_packet_of_the_server_is_raised_and_lowered(scale: int, window: int) -> None:
    """So that its right edge stays the server's, in the units of the handshake's scale."""
    wire = Wire(scale=scale, window=window).open()
    wire.server()  # the window on a SYN-ACK is never scaled
    wire.client(read(1))
    wire.server(read_answer(1))
    wire.client(write(2)[:9])
    for payload in (b"", b"", read_answer(1)[:0]):
        wire.server(payload)
        told = wire.at_client[-1]
        edge = wire.received + (window << scale)
        assert told.ack == wire.client_next
        assert 0 <= edge - (told.ack + (told.window << scale)) < 1 << scale
    wire.server(window=window - 3)
    told = wire.at_client[-1]
    assert told.ack == wire.client_next
    assert 0 <= wire.received + (window - 3 << scale) - (told.ack + (told.window << scale)) < 1 << scale


def test_blocks_below_the_raised_number_are_taken_out() -> None:
    wire = Wire(sack=True).open()
    wire.client(read(1)[:9])
    wire.send(with_block(wire, wire.received + 2, wire.received + 4), False)
    told = wire.at_client[-1]
    assert told.ack == wire.client_next
    assert b"\x05\x0a" + struct.pack("!I", wire.received + 2) not in told.data
    assert all(kind != "SAck" for kind, _ in IP(told.data)[TCP].options)


def test_nothing_is_changed_once_the_unit_is_taken() -> None:
    wire = Wire().open()
    wire.client(read(1)[:5])
    wire.client(read(1)[5:])
    outcome = wire.server(read_answer(1))
    assert outcome.payload is None
    assert (wire.at_client[-1].ack, wire.at_client[-1].window) == (wire.client_next, wire.window)
    wire.client(read(2))
    assert wire.server(read_answer(2)).payload is None
    assert wire.at_client[-1].ack == wire.client_next


def test_a_head_that_was_acknowledged_stays_acknowledged() -> None:
    """Also while the whole unit is on its way, and the server says that it does not have it yet."""
    wire = Wire().open()
    wire.client(read(1)[:5])
    acknowledged = wire.client_next
    wire.losing = True
    wire.client(read(1)[5:])
    wire.losing = False
    wire.server()
    assert wire.at_client[-1].ack == acknowledged
    assert wire.at_client[-1].ack + wire.at_client[-1].window == wire.received + wire.window


def test_without_a_handshake_a_head_ends_the_session() -> None:
    wire = Wire(tables(fail="static"))
    wire.client_next = wire.received
    wire.client()
    wire.server()
    assert wire.client(read(1)[:5]).reason is Reason.NO_WINDOW_SCALE
    assert wire.reset_to_server and wire.reset_to_client and wire.reads == []


def test_a_unit_that_never_fits_the_window_ends_the_flow() -> None:
    """The client may send no more of it than the window has room for: that is a head, and its window is closed."""
    wire = Wire(window=9).open()
    wire.client(write(1)[:9])
    told = wire.at_client[-1]
    assert (told.ack, told.window) == (wire.client_next, 0)
    for _ in range(20):
        wire.client(b"", at=-1)  # what a client asks whose window is closed
        wire.server()
        assert wire.at_client[-1].window == 0 or wire.denials
        wire.tick(0.5)
    assert wire.denials == ["head-timeout"] and wire.reads == []


def test_a_unit_waits_for_room_and_then_goes_on_whole() -> None:
    wire = Wire(window=len(write(1)) - 1).open()
    wire.client(write(1))
    wire.server(window=500)
    assert wire.reads == [write(1)]
    assert wire.server(write_answer(1)).reason is None
