"""A reload, step by step, beside the supervisor's other work (docs/decisions/0004-reload.md).

checking: a candidate process reads the files; preparing: heirs are forked with the new tables, and what
the new ruleset asks for and takes long is brought into the kernel; exchanging: the ruleset is in the
kernel, and one worker after the other finishes its packet and leaves its place to its heir. Until the
ruleset is loaded, whatever goes wrong leaves everything as it was.
"""

from __future__ import annotations

import enum
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

from conduitfw.kernel.staging import Staging
from conduitfw.policy.compile import Tables, compile_policy
from conduitfw.policy.load import no_collections
from conduitfw.policy.model import Policy
from conduitfw.runtime.candidate import Candidate, Examine, Trial
from conduitfw.runtime.pool import Pool

PREPARE_WITHIN = 30.0  # seconds
EXCHANGE_WITHIN = 10.0
HAND_OVER_WITHIN = 0.1


class Phase(enum.Enum):
    """What a reload is waiting for."""

    CHECKING = "checking"
    PREPARING = "preparing"
    EXCHANGING = "exchanging"


class Reload:
    """One reload. `step` until it gives the answer."""

    def __init__(
        self,
        paths: Sequence[str],
        examine: Examine,
        pool: Pool,
        stage: Callable[[Policy], Staging],
        install: Callable[[Policy], None],
        in_force: Policy,
        ready: Trial | None = None,
    ) -> None:
        """`stage` begins to bring what a policy's ruleset needs (kernel/staging.py), which `install` builds on.

        `install` loads a policy's ruleset in one transaction, and raises OSError where the kernel refuses it.

        `ready`: a policy that was in force before, so it is not read and checked again.
        """
        self.paths = tuple(paths)
        self.trial = ready or Trial()
        self.policy: Policy | None = None  # of the new rules, from the checking on
        self.in_force = False  # whether the new policy has become the policy
        self.phase = Phase.CHECKING
        self._candidate = None if ready is not None else Candidate(paths, examine, in_force)
        self._pool = pool
        self._stage, self._install = stage, install
        self._staging: Staging | None = None
        self._tables: Tables | None = None
        self._problems: list[dict[str, Any]] = []
        self._deadline = 0.0

    def step(self, now: float) -> dict[str, Any] | None:
        """The answer (`ok`, `problems`, `error`) as soon as there is one. `now`: seconds of CLOCK_MONOTONIC."""
        if self.phase is Phase.CHECKING:
            trial = self._candidate.result(now) if self._candidate is not None else self.trial
            return self._prepare(trial, now) if trial is not None else None
        if self.phase is Phase.PREPARING:
            return self._exchange(now)
        if self._pool.exchanged():
            return {"ok": True, "problems": self._problems, "changes": self.trial.changes}
        if now > self._deadline:
            return {
                "ok": False,
                "problems": self._problems,
                "changes": self.trial.changes,
                "error": "the new policy is loaded, but no worker serves with it yet",
            }
        return None

    def _prepare(self, trial: Trial, now: float) -> dict[str, Any] | None:
        self.trial = trial
        self._problems = trial.problems
        if trial.policy is None:
            return {"ok": False, "problems": trial.problems, "error": "the policy was refused; nothing was changed"}
        self.policy = trial.policy
        with no_collections():  # what is there now is kept, and a fork takes it out of the collector's sight
            self._tables = compile_policy(trial.policy)
            self._pool.prepare(self._tables, now)
            self._staging = self._stage(trial.policy)
        self.phase, self._deadline = Phase.PREPARING, now + PREPARE_WITHIN
        return None

    def _exchange(self, now: float) -> dict[str, Any] | None:
        assert self.policy is not None and self._tables is not None and self._staging is not None
        prepared, staged = self._pool.prepared(), self._staging.step()
        if prepared is None or (not prepared and now > self._deadline):
            return self._give_up("a worker with the new policy could not start; nothing was changed")
        if not prepared or (not staged and now < self._deadline):
            return None
        self._staging.cancel()  # where it is late
        try:
            self._install(self.policy)
        except OSError as error:
            return self._give_up(f"the kernel refused the new ruleset; nothing was changed: {error}")
        self.in_force = True
        now = time.monotonic()  # the ruleset took a while
        self._pool.exchange(self._tables, now)
        self.phase, self._deadline = Phase.EXCHANGING, now + EXCHANGE_WITHIN
        self._hand_over(now + HAND_OVER_WITHIN)
        return None

    def _hand_over(self, until: float) -> None:
        """See the heirs serve before anything else is done: packets wait for them. For a moment at the most."""
        poll = select.poll()
        for descriptor in self._pool.descriptors():
            poll.register(descriptor, select.POLLIN)
        while not self._pool.exchanged():
            now = time.monotonic()
            if now > until:
                return
            poll.poll(1)
            self._pool.step(now, on_time_since=now)

    def _give_up(self, error: str) -> dict[str, Any]:
        self._pool.cancel()
        if self._staging is not None:
            self._staging.cancel()
        return {"ok": False, "problems": self._problems, "error": error}
