"""What names and numbers in a rule stand for: functions, sub-functions, control codes, ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable

from conduitfw.policy.source import Report, Text
from conduitfw.protocols import Definition
from conduitfw.protocols.catalogue import Catalogue

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_RANGE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)\s*-\s*(0[xX][0-9a-fA-F]+|[0-9]+)")

_QUANTITY = r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_QUANTITIES = re.compile(rf"({_QUANTITY})(?:\s*(?:-|to)\s*({_QUANTITY}))?")


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


def quantities(texts: Iterable[Text], what: str, report: Report) -> tuple[tuple[float, float], ...]:
    """Numbers and ranges of any sign and with fractions (`20-80`, `-50 to 50`, `0.5`) as inclusive pairs, sorted."""
    found: list[tuple[float, float]] = []
    for text in texts:
        match = _QUANTITIES.fullmatch(text.value.strip())
        if match is None:
            report.error(text.place, f"{what} cannot be {text.value!r}", "a number or a range: 0-1000, -50 to 50, 1.5")
            continue
        low, high = float(match[1]), float(match[2] or match[1])
        if low > high:
            report.error(text.place, f"the range {text.value} runs backwards", f"{match[2]} to {match[1]}")
        else:
            found.append((low, high))
    return tuple(sorted(found))


def numbers(texts: Iterable[Text], what: str, lowest: int, highest: int, report: Report) -> frozenset[int]:
    """The same as a set of numbers."""
    found = ranges(texts, what, lowest, highest, report)
    return frozenset(value for low, high in found for value in range(low, high + 1))


def functions_of(texts: Iterable[Text], protocol: Definition, report: Report) -> frozenset[int]:
    """The numbers that names, groups, numbers and ranges of functions stand for. `all`: every number there is."""
    return entries_of(texts, protocol.functions, protocol.title, report)


def entries_of(texts: Iterable[Text], catalogue: Catalogue, whose: str, report: Report) -> frozenset[int]:
    """The same of any catalogue. `whose`: what the numbers belong to, for people."""
    found: set[int] = set()
    for text in texts:
        found |= _entries(text, catalogue, whose, report)
    return frozenset(found)


def _entries(text: Text, catalogue: Catalogue, whose: str, report: Report) -> frozenset[int]:
    word = text.value.strip()
    if word == "all":
        return frozenset(range(catalogue.highest + 1))
    if word in catalogue.by_name:
        return frozenset((catalogue.by_name[word].number,))
    if word in catalogue.groups:
        return catalogue.groups[word]
    match = _RANGE.fullmatch(word)
    low, high = (number(match[1]), number(match[2])) if match else (number(word), number(word))
    if low is None or high is None:
        report.error(text.place, f"unknown {catalogue.what} {word!r}", _nearest(word, catalogue))
        return frozenset()
    lowest = 0 if 0 in catalogue.by_number else 1
    if not lowest <= low <= high <= catalogue.highest:
        report.error(text.place, f"{whose} has no {catalogue.what} {word}", f"{lowest} to {catalogue.highest}")
        return frozenset()
    return frozenset(range(low, high + 1))


def _nearest(word: str, catalogue: Catalogue) -> str:
    meant = catalogue.nearest(word)
    if meant in catalogue.by_name:
        return f"did you mean {meant} ({catalogue.by_name[meant].number})?"
    if meant is not None:
        return f"did you mean the group {meant} ({catalogue.group_titles[meant]})?"
    groups = f", or one of the groups {', '.join(catalogue.groups)}" if catalogue.groups else ""
    return f"a name, a number{groups}"


def entry_of(text: Text, catalogue: Catalogue, whose: str, report: Report) -> int | None:
    """One number, by name or number; None with the problem reported."""
    found = _entries(text, catalogue, whose, report)
    if len(found) > 1:
        report.error(text.place, f"{text.value} stands for several {catalogue.what}s", "name one of them")
    return next(iter(found)) if len(found) == 1 else None


def function_of(text: Text, protocol: Definition, report: Report) -> int | None:
    """One function, by name or number; None with the problem reported."""
    return entry_of(text, protocol.functions, protocol.title, report)
