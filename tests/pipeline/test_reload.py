"""A new policy in the midst of a session: what was not yet sent on is judged by the new one."""

from __future__ import annotations

import pytest

from conduitfw.outcome import Verdict
from tests.pipeline.modbus_units import read, read_answer, write, write_answer
from tests.pipeline.wire import Wire, tables

READS_ONLY = {"functions": "read"}


def reload(wire: Wire, **rules: str) -> None:
    wire.swap(tables(**rules))


@pytest.mark.parametrize("cut", range(1, len(write())))
def test_a_kept_head_is_judged_by_the_new_policy(cut: int) -> None:
    wire = Wire().open()
    assert wire.client(write()[:cut]).verdict is Verdict.HOLD
    reload(wire, **READS_ONLY)
    outcome = wire.client(write()[cut:])
    assert outcome.verdict is Verdict.DENY
    assert wire.reads == []
    assert wire.reset_to_server and wire.reset_to_client


def test_a_kept_head_that_is_still_allowed_goes_on() -> None:
    wire = Wire().open()
    wire.client(write()[:9])
    reload(wire, on_deny="drop")
    assert wire.client(write()[9:]).verdict is Verdict.ACCEPT
    assert wire.reads == [write()]


@pytest.mark.parametrize("how", ["answer", "tick"])
def test_a_request_that_waits_is_judged_by_the_new_policy(how: str) -> None:
    wire = Wire().open()
    wire.client(read(1))
    assert wire.client(write(2)).verdict is Verdict.HOLD  # behind a read that is unanswered
    reload(wire, **READS_ONLY)
    if how == "answer":
        wire.server(read_answer(1))
    else:
        wire.server()
        wire.tick(0.2)
    assert wire.reads == [read(1)]
    assert wire.denials == ["no-rule"]
    assert wire.reset_to_server and wire.reset_to_client


def test_an_answer_to_what_went_on_before_passes() -> None:
    wire = Wire().open()
    wire.client(write(1))
    reload(wire, **READS_ONLY)
    assert wire.server(write_answer(1)).verdict is Verdict.ACCEPT
    assert wire.client(read(2)).verdict is Verdict.ACCEPT
    assert wire.denials == []


def test_a_segment_behind_a_gap_is_judged_by_the_new_policy() -> None:
    wire = Wire(sack=True).open()
    wire.client(write(2), at=len(read(1)))
    reload(wire, **READS_ONLY)
    wire.client(read(1))
    wire.server(read_answer(1))
    assert wire.reads == [read(1)]
    wire.client(write(2))
    assert wire.reads == [read(1)]
    assert wire.denials == ["no-rule"]


def test_a_session_that_no_rule_allows_ends_at_once() -> None:
    wire = Wire(tables()).open()
    wire.client(write()[:9])
    empty = tables()
    empty._shapes.clear()  # no rule of it is inspected any more
    wire.swap(empty)
    assert wire.reset_to_server and wire.reset_to_client
    assert wire.denials == ["policy-changed"]
    assert wire.reads == []
    assert wire.client(write()[9:]).verdict is Verdict.DENY


def test_what_the_server_has_not_taken_is_not_repeated_under_a_policy_that_denies_it() -> None:
    """It went on under the old policy and was lost behind the firewall: the client's repeat would reach the server."""
    wire = Wire().open()
    wire.losing = True
    assert wire.client(write(1)).verdict is Verdict.ACCEPT
    wire.losing = False
    reload(wire, **READS_ONLY)
    wire.client(write(1), at=-len(write(1)))
    assert wire.denials == ["policy-changed"] and wire.reset_to_client and wire.reset_to_server
    assert wire.reads == []


def test_what_the_server_has_not_taken_ends_nothing_where_it_is_still_allowed() -> None:
    wire = Wire().open()
    wire.losing = True
    wire.client(read(1) + read(2))
    wire.losing = False
    reload(wire, **READS_ONLY)
    wire.client(read(1) + read(2), at=-2 * len(read(1)))
    assert (b"".join(wire.reads), wire.denials) == (read(1) + read(2), [])
