"""A protocol's published numbers: their names, the standard's titles, and the groups a policy may use.

One kind of table for functions, sub-functions, tables of points and object groups alike. The parsers, the
policy's words, the names in events and the generated page of the documentation all read the same ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One number and what it is called."""

    number: int
    name: str  # snake_case of the standard's name: read_holding_registers
    title: str  # as the standard prints it
    groups: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Catalogue:
    """Entries by number and name, and groups of them. Names are unique over all of these."""

    def __init__(
        self, what: str, entries: Iterable[Entry], highest: int, groups: Mapping[str, str] | None = None
    ) -> None:
        """`what`: one of them, for people. `highest`: the largest number a rule may give; 0: it gives names.

        `groups`: name -> what it means, for people.
        """
        self.what = what
        self.by_number: dict[int, Entry] = {}
        self.by_name: dict[str, Entry] = {}
        self.group_titles = dict(groups or {})
        self.groups: dict[str, frozenset[int]] = {}
        self.highest = highest
        members: dict[str, set[int]] = {name: set() for name in self.group_titles}
        for entry in entries:
            if entry.number in self.by_number:
                raise ValueError(f"{what} {entry.number} is listed twice")
            self.by_number[entry.number] = entry
            for name in (entry.name, *entry.aliases):
                if name in self.by_name or name in members:
                    raise ValueError(f"the name {name} is used twice")
                self.by_name[name] = entry
            for group in entry.groups:
                members[group].add(entry.number)
        self.groups = {name: frozenset(numbers) for name, numbers in members.items()}

    def name(self, number: int) -> str:
        """The standard's name, or what it is and its number: `function_101`."""
        entry = self.by_number.get(number)
        return entry.name if entry else f"{self.what.replace('-', '_').replace(' ', '_')}_{number}"

    def nearest(self, word: str) -> str | None:
        """The name or group that `word` was most likely meant to be."""
        matches = difflib.get_close_matches(word, [*self.by_name, *self.groups], n=1)
        return matches[0] if matches else None
