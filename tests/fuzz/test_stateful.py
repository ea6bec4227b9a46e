"""Both TCP ends and the firewall as a state machine: the fuzzing target's world, driven and made small by hypothesis.

After every step the world itself has looked at what must hold: no octet reaches the server that the policy did not
allow, none that was not inspected, and no read of the server ends in the midst of a unit (fuzz/pipeline.py).
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fuzz.octets import Input
from fuzz.pipeline import STEP_KINDS, World

UNITS = ("_unit", "_cut_unit", "_head", "_units", "_again")
ANSWERS = ("_answer", "_server_acknowledges", "_server_repeats", "_server_reports")
OCTETS = st.binary(min_size=1, max_size=40)
BY_NAME = {kind.__name__: kind for kind in STEP_KINDS}


class Sessions(RuleBasedStateMachine):
    """Four lines between a client and a server, with one pipeline."""

    world: World

    @initialize(chosen=st.binary(min_size=2, max_size=2), lines=st.integers(0, 3))
    def begin(self, chosen: bytes, lines: int) -> None:
        self.world = World(Input(chosen))
        for number in range(lines + 1):
            self.world.line = self.world.lines[number]
            self.take("_opens", b"\0")

    def take(self, name: str, octets: bytes) -> None:
        self.world.source = Input(octets)
        BY_NAME[name](self.world)

    @rule(name=st.sampled_from(UNITS), octets=OCTETS)
    def the_client_asks(self, name: str, octets: bytes) -> None:
        self.take(name, octets)

    @rule(name=st.sampled_from(ANSWERS), octets=OCTETS)
    def the_server_answers(self, name: str, octets: bytes) -> None:
        self.take(name, octets)

    @rule(name=st.sampled_from(sorted(BY_NAME)), octets=OCTETS)
    def anything_happens(self, name: str, octets: bytes) -> None:
        self.take(name, octets)

    @rule()
    def what_is_sent_on_is_lost_or_not(self) -> None:
        self.take("_lose", b"")

    @rule()
    def another_worker_goes_on(self) -> None:
        self.take("_succeed", b"")


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
