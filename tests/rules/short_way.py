"""Rules that the short way of ordinary packets (ordinary.py) has to keep by itself."""

from __future__ import annotations

from tests.rules.entry import Entry, rule

SHORT = "tests/pipeline/test_short_way.py::"
ORDINARY, VERDICT = "conduitfw/ordinary.py", "conduitfw/verdict.py"
# Several conditions of is_ordinary say that bytes are kept: one less alone changes nothing.
OPEN = "flow.ordinary = flow.state == State.OPEN and flow.transport == TCP"

# fmt: off
ENTRIES: tuple[Entry, ...] = (
    rule(2, "short way: a wrong checksum changes no state", SHORT + "test_a_wrong_checksum_changes_nothing",
         ORDINARY, "        if not _checksums_are_right(data, end):\n            return None\n", ""),
    rule(3, "short way: a gap is not sent on", SHORT + "test_a_gap_is_not_sent_on",
         ORDINARY, "            if sequence != sent or flow.base != sent", "            if flow.base != sent"),
    rule(3, "short way: an acknowledgement of bytes that were not sent on: without state",
         SHORT + "test_an_acknowledgement_of_bytes_that_nobody_inspected_ends_the_flow",
         ORDINARY, "        if advances and ack != flow.sent:\n            return None\n", ""),
    rule(3, "short way: a client that acknowledges what never passed is not believed",
         SHORT + "test_a_client_that_acknowledges_what_never_passed_is_not_believed",
         ORDINARY, "        if 0 < (ack - flow.server_next) & _MASK < _HALF:\n            return None\n", ""),
    rule(3, "short way: nothing goes on behind a FIN", SHORT + "test_nothing_goes_on_behind_a_fin",
         ORDINARY, "            or flow.client_ended\n", ""),
    rule(4, "short way: a kept head is not forgotten", SHORT + "test_a_head_behind_a_poll_is_kept_and_acknowledged",
         VERDICT, "flow.ordinary = is_ordinary(flow)", OPEN),
    rule(4, "short way: a head that was acknowledged stays so",
         SHORT + "test_a_head_that_was_acknowledged_stays_acknowledged",
         ORDINARY, "        and flow.raised_from == flow.raised_to\n", ""),
    rule(4, "short way: a unit goes on only where the server's window has room for all of it",
         SHORT + "test_nothing_is_sent_beyond_the_servers_window",
         ORDINARY, "if flow.scale_known and (flow.edge - (sent + length)) & _MASK >= _HALF:", "if False:"),
    rule(6, "short way: what waits is released by the answer", SHORT + "test_a_request_that_waits_is_released_by_the_answer",
         VERDICT, "flow.ordinary = is_ordinary(flow)", OPEN),
    rule(7, "short way: numbers are translated for ever", SHORT + "test_numbers_are_translated_for_ever",
         ORDINARY, "            or flow.answered_size\n", ""),
    rule(10, "short way: an answer to nothing ends the flow", SHORT + "test_an_answer_to_nothing_ends_the_flow",
         ORDINARY, "allowed.learns or not session.answers(data, at, end):", "allowed.learns:"),
    rule(10, "short way: an answer within another ends the flow", SHORT + "test_an_answer_within_another_ends_the_flow",
         ORDINARY, "            or flow.partial\n", ""),
)
