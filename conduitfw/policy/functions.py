"""What `functions:` and lists of numbers in a rule stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from conduitfw.policy.source import Report, Text
from conduitfw.protocols import Definition

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_RANGE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)\s*-\s*(0[xX][0-9a-fA-F]+|[0-9]+)")


def number(word: str) -> int | None:
    """A number as the policy writes it, decimal or 0x..., or None."""
    return int(word, 0 if word[:2].lower() == "0x" else 10) if _NUMBER.fullmatch(word) else None


def ranges(texts: Iterable[Text], what: str, lowest: int, highest: int, report: Report) -> tuple[tuple[int, int], ...]:
    """Numbers and ranges (`1`, `10-14`) as inclusive pairs, sorted; what does not fit is reported."""
    found: list[tuple[int, int]] = []
    for text in texts:
        word = text.value.strip()
        match = _RANGE.fullmatch(word)
        low, high = (number(match[1]), number(match[2])) if match else (number(word), number(word))
        if low is None or high is None:
            report.error(text.place, f"{what} cannot be {word!r}", f"a number or a range, {lowest} to {highest}")
        elif low > high:
            report.error(text.place, f"the range {word} runs backwards", f"{high}-{low}")
        elif low < lowest or high > highest:
            report.error(text.place, f"{what} cannot be {word}", f"{lowest} to {highest}")
        else:
            found.append((low, high))
    return tuple(sorted(found))


def numbers(texts: Iterable[Text], what: str, lowest: int, highest: int, report: Report) -> frozenset[int]:
    """The same as a set of numbers."""
    found = ranges(texts, what, lowest, highest, report)
    return frozenset(value for low, high in found for value in range(low, high + 1))


def functions_of(texts: Iterable[Text], protocol: Definition, report: Report) -> frozenset[int]:
    """The numbers that names, groups, numbers and ranges of functions stand for. `all`: every number there is."""
    found: set[int] = set()
    for text in texts:
        found |= _functions(text, protocol, report)
    return frozenset(found)


def _functions(text: Text, protocol: Definition, report: Report) -> frozenset[int]:
    catalogue, word = protocol.functions, text.value.strip()
    if word == "all":
        return frozenset(range(catalogue.highest + 1))
    if word in catalogue.by_name:
        return frozenset((catalogue.by_name[word].number,))
    if word in catalogue.groups:
        return catalogue.groups[word]
    match = _RANGE.fullmatch(word)
    low, high = (number(match[1]), number(match[2])) if match else (number(word), number(word))
    if low is None or high is None:
        meant = catalogue.nearest(word)
        hint = f"a name, a number, or one of the groups {', '.join(catalogue.groups)}"
        if meant in catalogue.by_name:
            hint = f"did you mean {meant} ({catalogue.by_name[meant].number})?"
        elif meant is not None:
            hint = f"did you mean the group {meant} ({catalogue.group_titles[meant]})?"
        report.error(text.place, f"unknown function {word!r}", hint)
        return frozenset()
    lowest = 0 if 0 in catalogue.by_number else 1
    if not lowest <= low <= high <= catalogue.highest:
        report.error(text.place, f"{protocol.title} has no function {word}", f"{lowest} to {catalogue.highest}")
        return frozenset()
    return frozenset(range(low, high + 1))


def function_of(text: Text, protocol: Definition, report: Report) -> int | None:
    """One function, by name or number; None with the problem reported."""
    found = _functions(text, protocol, report)
    if len(found) > 1:
        report.error(text.place, f"{text.value} stands for several functions", "name one of them")
    return next(iter(found)) if len(found) == 1 else None
