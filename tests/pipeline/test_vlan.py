"""A session belongs to the VLAN that it was opened in (DESIGN.md, 3, "Below IP"): its own packets leave there, too."""

from __future__ import annotations

import pytest

from conduitfw.reasons import Reason
from tests.pipeline.modbus_units import forbidden, read, read_answer
from tests.pipeline.wire import Wire, tables

VLAN, OTHER = 10, 20


def tagged(**words: str) -> Wire:
    wire = Wire(rules=tables(**words))
    wire.vlan = VLAN
    return wire.open()


def test_packets_of_our_own_leave_in_the_sessions_vlan() -> None:
    """The wire's ends take nothing else."""
    wire = tagged(on_deny="reject")
    wire.client(read(1)[:5])
    wire.client(read(1)[5:])
    wire.server(read_answer(1))
    wire.client(forbidden(2))
    assert wire.reads == [read(1)]
    assert any(each.payload[7:8] > b"\x80" for each in wire.at_client)


@pytest.mark.parametrize("vlan", [OTHER, 0])
def test_another_vlan_is_none_of_the_sessions(vlan: int) -> None:
    wire = tagged()
    wire.vlan = vlan
    outcome = wire.client(read(1))
    assert (outcome.forward, outcome.reason) == (False, Reason.OTHER_VLAN)
    assert wire.pipeline.counters["refused_other-vlan"] == 1
    wire.vlan = VLAN
    wire.client_next -= len(read(1))
    assert wire.client(read(1)).forward
    assert wire.server(read_answer(1)).forward


def test_who_only_watches_follows_a_session_into_any() -> None:
    """A capture of a trunk and of its access port holds both."""
    wire = tagged(mode="monitor")
    wire.vlan = OTHER
    assert wire.client(read(1)).forward
    assert wire.reads == [read(1)]
