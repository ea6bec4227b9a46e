"""Rows on the bridge that need more than packets. `make evasion` shows them without the firewall, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conduitfw.demo.show import Stage, staged
from tests.evasion.scenarios import SCENARIOS, Scenario, play
from tests.peers import libmodbus_server

pytestmark = pytest.mark.system
HERE = [each for each in SCENARIOS if each.often]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return libmodbus_server(tmp_path_factory.mktemp("peers"))


@pytest.mark.parametrize("scenario", HERE, ids=[each.name for each in HERE])
def test_nothing_forbidden_happens(stage: Stage, server: Path, scenario: Scenario) -> None:
    came = play(scenario, stage, server, "reset")
    assert (came.forbidden, came.allowed) == (False, True), came


def test_they_bite(stage: Stage, server: Path) -> None:
    """The same way of looking sees what happens without the firewall."""
    came = {each.name: play(each, stage, server, "none") for each in SCENARIOS if each.often}
    print(*came.items(), sep="\n")
    assert all(each.allowed for each in came.values()), came
    assert sum(each.forbidden for each in came.values()) > len(came) / 2, came
