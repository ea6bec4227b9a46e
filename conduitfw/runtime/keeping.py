"""What the supervisor remembers of policies: which one to go back to, until when, and what is kept on disk.

The supervisor waits for no disk: writing is done by a child of its own, one step after the other. Going back needs no
file and no other process: the policy before is in memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from conduitfw.runtime import child
from conduitfw.runtime.candidate import Examine, Trial
from conduitfw.runtime.messages import EngineKind, Notifier
from conduitfw.runtime.store import Store

WRITE_WITHIN = 30.0  # seconds: a disk that takes longer is given up, until the next change
TRY_AGAIN = 2.0  # seconds between two tries to go back


@dataclass(frozen=True)
class InForce:
    """A policy that is, or was, in force, and the paths that a plain reload reads again."""

    trial: Trial
    paths: tuple[str, ...]


@dataclass
class Unconfirmed:
    """The policy in force waits for `confirm`. `until`: seconds of CLOCK_MONOTONIC."""

    before: InForce
    until: float
    seconds: float
    by: str


class Keeping:
    """The policy in force, the one to go back to, and the store."""

    def __init__(self, first: InForce, store: Store | None, notice: str = "") -> None:
        """`store` None: nothing is kept. `notice`: why it is not the policy that was asked for, or ""."""
        self.current = first
        self.notice = notice
        self._store = store
        self._unconfirmed: Unconfirmed | None = None
        self._todo: deque[Callable[[], object]] = deque()
        self._pid = 0
        self._deadline = 0.0

    def begin(self, notifier: Notifier) -> None:
        """The first policy is in force."""
        self._notifier = notifier
        if self.notice:
            notifier.engine(EngineKind.POLICY_FALLBACK, reason=self.notice, digest=self._digest(self.current))
        else:
            self._keep(self.current, "start")

    # --- a new policy ---------------------------------------------------------------------------------

    @property
    def refusal(self) -> str:
        """Why no other policy can be taken now, or ""."""
        if self._unconfirmed is None:
            return ""
        return "the policy in force is not confirmed yet: `conduitfw confirm` it, or `conduitfw rollback`"

    def took_over(self, new: InForce, by: str, confirm: float, now: float) -> None:
        """`new` is in force. `confirm`: seconds within which somebody has to say that it is good; 0: it is."""
        before, self.current, self.notice = self.current, new, ""
        if not confirm:
            self._release()
            self._keep(new, by)
            return
        self._unconfirmed = Unconfirmed(before, now + confirm, confirm, by)
        self._withhold(new, "it was not confirmed")

    def confirm(self, by: str) -> dict[str, Any]:
        """Somebody says that the policy in force is good: the answer."""
        if self._unconfirmed is None:
            return {"ok": False, "error": "nothing waits to be confirmed"}
        self._unconfirmed = None
        self._release()
        self._keep(self.current, by)
        digest = self._digest(self.current)
        self._notifier.engine(EngineKind.POLICY_CONFIRMED, digest=digest, by=by)
        return {"ok": True, "digest": digest}

    # --- going back -----------------------------------------------------------------------------------

    def overdue(self, now: float) -> InForce | None:
        """The policy to go back to, where nobody confirmed in time. Asked again after a while if that failed."""
        if self._unconfirmed is None or now < self._unconfirmed.until:
            return None
        self._unconfirmed.until = now + TRY_AGAIN
        return self._unconfirmed.before

    @property
    def waiting_before(self) -> InForce | None:
        """The policy before one that waits to be confirmed; None where none waits."""
        return self._unconfirmed.before if self._unconfirmed is not None else None

    def examine_before(self, number: int, examine: Examine) -> Examine:
        """What reads the kept policy that `rollback NUMBER` goes back to: 1 is the one before the policy in force.

        For the candidate process: the supervisor waits for no disk.
        """
        store, current = self._store, self._digest(self.current)

        def read(_: Sequence[str]) -> Trial:
            entries = store.entries() if store is not None else []
            earlier = [entry for entry in entries if entry.digest != current]
            if number > len(earlier):
                said = f"{len(earlier)} are kept" if store is not None else "none are kept (`run --state`)"
                message = f"there is no policy {number} before this one: {said}"
                return Trial(problems=[{"severity": "error", "message": message}])
            return examine((str(earlier[number - 1].sources),))

        return read

    def went_back(self, target: InForce, by: str, why: str) -> None:
        """`target` is in force again; what it replaced is not started with."""
        left, self.current, self._unconfirmed = self.current, target, None
        self.notice = f"the policy {self._digest(left)[:12]} is not in force: {why}; `conduitfw reload` takes it again"
        self._withhold(left, "it was taken back")
        self._keep(target, by)

    # --- the disk -------------------------------------------------------------------------------------

    def _digest(self, policy: InForce) -> str:
        return policy.trial.policy.digest if policy.trial.policy is not None else ""

    def _keep(self, kept: InForce, by: str) -> None:
        store, trial = self._store, kept.trial
        policy = trial.policy
        if store is not None and policy is not None and trial.sources:
            self._todo.append(
                lambda: store.keep(
                    digest=policy.digest, site=policy.site, revision=policy.revision, by=by, sources=trial.sources,
                    closed=trial.closed,
                )
            )  # fmt: skip

    def _withhold(self, withheld: InForce, why: str) -> None:
        if (store := self._store) is not None:
            self._todo.append(lambda: store.withhold(self._digest(withheld), why))

    def _release(self) -> None:
        if self._store is not None:
            self._todo.append(self._store.release)

    def step(self, now: float) -> None:
        """Write what is to be written. Never waits."""
        if self._pid:
            late = now > self._deadline
            if late:
                child.kill(self._pid)
            ended = child.reap(self._pid)
            if ended is None:
                return
            self._pid = 0
            if ended != "exit 0":
                why = f"not written within {WRITE_WITHIN:.0f} s" if late else f"see the service's log ({ended})"
                self._notifier.engine(EngineKind.POLICY_NOT_KEPT, error=why)
        if self._todo:
            work = self._todo.popleft()
            self._pid, self._deadline = child.fork("cfw-keeper", lambda: _discard(work())), now + WRITE_WITHIN

    def finish(self, within: float) -> None:
        """Write what is left, for at most so many seconds."""
        deadline = time.monotonic() + within
        while (self._pid or self._todo) and time.monotonic() < deadline:
            self.step(time.monotonic())
            time.sleep(0.005)
        if self._pid:
            child.kill(self._pid)
            child.reap(self._pid)

    def status(self, now: float) -> dict[str, Any]:
        """For `status`."""
        waiting = self._unconfirmed
        return {
            "confirm_within": round(max(waiting.until - now, 0.0), 1) if waiting is not None else None,
            "notice": self.notice,
        }


def _discard(value: object) -> None:
    """Work is done for what it does."""
