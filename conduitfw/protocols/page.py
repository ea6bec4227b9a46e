"""The documentation's page of names and numbers, from the same tables that the engine reads.

`python -m conduitfw.protocols.page` prints it; `make docs` writes it to docs/names.md, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator

from conduitfw.protocols import Definition
from conduitfw.protocols.catalogue import Catalogue
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Reason

_HEAD = """\
# Names and numbers

What rules, `explain`, `replay` and events call things. This page is made from the tables that the engine reads
(`make docs`); a policy takes the name, an alias or the number.
"""


def page() -> str:
    """The page, as Markdown."""
    return "\n".join((_HEAD, *(line for protocol in PROTOCOLS.values() for line in _protocol(protocol)), *_reasons()))


def _protocol(protocol: Definition) -> Iterator[str]:
    yield f"## {protocol.title}\n"
    for title, catalogue in protocol.published.items():
        yield f"### {title}\n"
        yield from _catalogue(catalogue)
    if len(protocol.encodings) > 1:
        yield "### Types of values\n"
        yield "| type | registers | from | to |\n| --- | --- | --- | --- |"
        for each in protocol.encodings.values():
            yield f"| `{each.name}` | {each.width} | {each.lowest:.8g} | {each.highest:.8g} |"
        yield ""


def _catalogue(catalogue: Catalogue) -> Iterator[str]:
    yield f"| | {catalogue.what} | | |\n| --- | --- | --- | --- |"
    wide = catalogue.highest > 0xFF
    for entry in sorted(catalogue.by_number.values(), key=lambda entry: entry.number):
        number = (
            ""
            if not catalogue.highest
            else f"{entry.number} (0x{entry.number:02x})"
            if wide and entry.number > 0xFF
            else str(entry.number)
        )
        names = ", ".join(f"`{name}`" for name in (entry.name, *entry.aliases))
        yield f"| {number} | {names} | {entry.title} | {', '.join(entry.groups)} |"
    yield ""
    for name, title in catalogue.group_titles.items():
        yield f"- `{name}`: {title}"
    if catalogue.group_titles:
        yield ""


def _reasons() -> Iterator[str]:
    yield "## Reasons of denials\n"
    yield "| code | |\n| --- | --- |"
    for reason in Reason:
        yield f"| `{reason.code}` | {reason.sentence} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
