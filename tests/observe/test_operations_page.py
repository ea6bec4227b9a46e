"""docs/operations.md names every event about the firewall itself, with its severity and its sentence."""

from __future__ import annotations

import re
from pathlib import Path

from conduitfw.observe.ecs import ENGINE

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_every_event_is_on_the_page() -> None:
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| (\d) \| ([^|]+) \|", PAGE)
    told = {name: (int(severity), sentence.strip()) for name, severity, sentence in rows}
    assert told == {kind.value: (severity, sentence) for kind, (_, _, _, severity, sentence) in ENGINE.items()}
