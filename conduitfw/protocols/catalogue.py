"""A protocol's published functions: numbers, the standard's names, and the groups a policy may use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """One function of a protocol."""

    number: int
    name: str  # snake_case of the standard's name: read_holding_registers
    title: str  # as the standard prints it
    groups: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Catalogue:
    """Functions by number and name, and groups of them. Names are unique over all of these."""

    def __init__(self, functions: Iterable[Function], groups: Mapping[str, str], highest: int) -> None:
        """`groups`: name -> what it means, for people. `highest`: the largest number a rule may give."""
        self.by_number: dict[int, Function] = {}
        self.by_name: dict[str, Function] = {}
        self.group_titles = dict(groups)
        self.groups: dict[str, frozenset[int]] = {}
        self.highest = highest
        members: dict[str, set[int]] = {name: set() for name in groups}
        for function in functions:
            if function.number in self.by_number:
                raise ValueError(f"function {function.number} is listed twice")
            self.by_number[function.number] = function
            for name in (function.name, *function.aliases):
                if name in self.by_name or name in members:
                    raise ValueError(f"the name {name} is used twice")
                self.by_name[name] = function
            for group in function.groups:
                members[group].add(function.number)
        self.groups = {name: frozenset(numbers) for name, numbers in members.items()}

    def name(self, number: int) -> str:
        """The standard's name, or `function_N` where the catalogue has none."""
        function = self.by_number.get(number)
        return function.name if function else f"function_{number}"

    def nearest(self, word: str) -> str | None:
        """The name of a function or group that `word` was most likely meant to be."""
        matches = difflib.get_close_matches(word, [*self.by_name, *self.groups], n=1)
        return matches[0] if matches else None
