"""What a row of the table of rules says: a rule, the tests that show it, and how it is taken away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """The smallest change that takes a rule away: in this file of conduitfw/ the one text becomes the other."""

    file: str
    before: str  # occurs exactly once
    after: str


@dataclass(frozen=True)
class Entry:
    """A behaviour that tcp-rules.md states, in short."""

    section: str  # of tcp-rules.md
    rule: str
    tests: tuple[str, ...]  # pytest's names; a parametrised test without its brackets means all of its cases
    mutation: Mutation | None  # None: there is nothing to take away, and `note` says why
    note: str = ""

    @property
    def title(self) -> str:
        """For reports."""
        return f"{self.section:>3}  {self.rule}"


def rule(section: int, text: str, tests: str | tuple[str, ...], file: str, before: str, after: str) -> Entry:
    """A rule that the code keeps."""
    return Entry(str(section), text, (tests,) if isinstance(tests, str) else tests, Mutation(file, before, after))


def without_mutation(section: int, text: str, tests: str | tuple[str, ...], note: str) -> Entry:
    """A rule that is kept in a way that no change of a line takes away; `note` says how."""
    return Entry(str(section), text, (tests,) if isinstance(tests, str) else tests, None, note)
