"""The generated page of the documentation is what the tables say now."""

from __future__ import annotations

from pathlib import Path

from conduitfw.protocols.page import page
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs" / "names.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_every_name_and_reason_is_on_it() -> None:
    text = PAGE.read_text()
    for protocol in PROTOCOLS.values():
        catalogues = [protocol.functions, protocol.spaces, *protocol.details.values(), *protocol.published.values()]
        for catalogue in catalogues:
            assert all(f"`{name}`" in text for name in (*catalogue.by_name, *catalogue.group_titles))
    assert all(f"`{reason.code}`" in text for reason in Reason)
