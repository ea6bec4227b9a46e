"""Before the network comes up: the closed ruleset of the last good policy, else one that shuts everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conduitfw.kernel import nft, shut
from conduitfw.kernel.ruleset import BRIDGE, INET, TABLE
from conduitfw.runtime.store import Store


@dataclass(frozen=True)
class Booted:
    """What was loaded, and what was tried before and failed."""

    what: str
    problems: tuple[str, ...] = ()
    shut: bool = False  # no policy: everything but management is shut


def boot(store: Store, management: Sequence[str]) -> Booted:
    """Load what there is. Raises OSError where not even the shut ruleset could be loaded.

    Needs no interface to exist, reads no YAML, and touches nothing where a ruleset of conduitfw is there already.
    """
    for family in (BRIDGE, INET):
        try:
            nft.run(["nft", "list", "table", family, TABLE])
        except OSError:
            continue
        return Booted("a ruleset of conduitfw is loaded already: it stays")
    problems: list[str] = []
    for entry, text in store.closed_rulesets():
        try:
            nft.load(text + shut.removal())
        except OSError as error:
            problems.append(f"the ruleset of {entry.digest[:12]} ({entry.since}) was not loaded: {error}")
            continue
        return Booted(f"closed, by the policy {entry.site} {entry.revision}, {entry.digest[:12]}", tuple(problems))
    problems.append(f"no policy is kept in {store.folder}")
    nft.load(shut.shut(management))
    heard = f"all but {', '.join(management)}" if management else "everything between zones"
    return Booted(f"shut: {heard}", tuple(problems), shut=True)
