"""A policy on trial: read, checked, compiled and printed as a ruleset in a process of its own.

Whatever a file does to the reader (an error, a thousand errors, all of the memory) happens there. The
supervisor gets the checked policy, or the problems, and has read no YAML.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conduitfw.policy.changes import changes
from conduitfw.policy.compile import compile_policy
from conduitfw.policy.load import no_collections
from conduitfw.policy.model import Policy
from conduitfw.runtime import child

TIME_ALLOWED = 60.0  # seconds
IDLE_FOR = 5.0  # seconds on time that nobody else wants; then it is begun again as one of many
CHANGES_TOLD = 1000  # lines of an answer


@dataclass(frozen=True)
class Trial:
    """What came of it. `problems` are plain data for people and `--json`; `policy` is None where it was refused."""

    policy: Policy | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    sources: tuple[tuple[str, bytes], ...] = ()  # name and content of the files that were read
    closed: str = ""  # the ruleset for a machine on which no engine runs yet
    changes: list[dict[str, Any]] = field(default_factory=list)  # against the policy in force (policy/changes.py)
    more_changes: int = 0  # beside the first CHANGES_TOLD


# Reads and checks files, and proves that the host's ruleset can be made of them; raises nothing.
Examine = Callable[[Sequence[str]], Trial]


def _told(old: Policy, new: Policy) -> list[dict[str, Any]]:
    """What changes. A failure in here refuses no policy: it is told in place of the changes."""
    try:
        return [each.plain() for each in changes(old, new)]
    except Exception as error:  # noqa: BLE001
        text = f"what changes could not be told: {type(error).__name__}: {error}"
        return [{"effect": "changed", "conduit": "", "rule": "", "text": text, "line": f"changed  {text}"}]


class Candidate:
    """The process, and its result.

    It runs on what the engine and everybody else leave of the processors (SCHED_IDLE), so that no packet waits for it.
    On a machine that leaves nothing it is begun again with the rights of any other process: a policy can always be
    changed. (It cannot be given them while it runs: that takes a privilege which the service does not have.)
    """

    def __init__(self, paths: Sequence[str], examine: Examine, in_force: Policy) -> None:
        """Fork it. It writes into memory, so it never waits for a reader. `in_force`: what changes are told against."""
        self._memory = os.memfd_create("conduitfw-candidate")
        self._examine = examine
        self._paths = paths
        self._before = in_force
        began = time.monotonic()
        self._hurry_at, self._deadline = began + IDLE_FOR, began + TIME_ALLOWED
        self._start(idle=True)

    def _start(self, *, idle: bool) -> None:
        self._idle = idle
        os.lseek(self._memory, 0, os.SEEK_SET)
        os.ftruncate(self._memory, 0)
        self._pid = child.fork("cfw-candidate", self._run)

    def _run(self) -> None:
        if self._idle:
            with contextlib.suppress(OSError):  # not everywhere allowed
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        gc.disable()  # what it reads is kept to its end, which is near
        trial = self._examine(self._paths)
        if trial.policy is not None:
            compile_policy(trial.policy)
            told = _told(self._before, trial.policy)
            trial = replace(trial, changes=told[:CHANGES_TOLD], more_changes=len(told[CHANGES_TOLD:]))
        with os.fdopen(os.dup(self._memory), "wb") as file:
            pickle.dump(trial, file, pickle.HIGHEST_PROTOCOL)

    def result(self, now: float) -> Trial | None:
        """What came of it, once; None while it works. `now`: seconds of CLOCK_MONOTONIC."""
        hurry = self._idle and now > self._hurry_at
        if hurry or now > self._deadline:
            child.kill(self._pid)
        ended = child.reap(self._pid)
        if ended is None:
            return None
        if hurry and ended != "exit 0":
            self._start(idle=False)
            return None
        try:
            if ended != "exit 0":
                late = f" after {TIME_ALLOWED:.0f} s" if now > self._deadline else ""
                return Trial(problems=[{"severity": "error", "message": f"the check ended by itself{late}: {ended}"}])
            os.lseek(self._memory, 0, os.SEEK_SET)
            with no_collections(), os.fdopen(os.dup(self._memory), "rb") as file:
                trial = pickle.load(file)  # noqa: S301  (written by our own child)
            assert isinstance(trial, Trial)
            return trial
        finally:
            os.close(self._memory)
