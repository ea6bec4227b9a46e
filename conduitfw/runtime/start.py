"""Which policy a start begins with: the one that was asked for, else the last that was in force and good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduitfw.runtime.candidate import Examine, Trial
from conduitfw.runtime.store import Store


def first_policy(
    paths: Sequence[str], examine: Examine, store: Store | None
) -> tuple[Trial, str, list[dict[str, Any]]]:
    """The policy to begin with, why it is not the one that was asked for ("" where it is), and all problems found.

    The trial has no policy where there is none at all. A policy that was taken back, or that nobody confirmed before
    the machine went down, is not begun with as long as there is another one.
    """
    trial = examine(paths)
    if store is None:
        return trial, "", trial.problems
    problems = list(trial.problems)
    withheld = store.withheld()
    why = ""
    if trial.policy is None:
        why = f"the policy in {', '.join(paths)} was refused"
    elif trial.policy.digest == withheld.get("digest"):
        why = f"the policy in {', '.join(paths)} is not taken: {withheld.get('why', '')}"
    else:
        return trial, "", problems
    for entry in store.entries():
        if entry.digest == withheld.get("digest"):
            continue
        kept = examine((str(entry.sources),))
        if kept.policy is not None:
            return kept, f"{why}; in force is the one of {entry.since}; `conduitfw reload` takes it again", problems
    return trial, "", problems
