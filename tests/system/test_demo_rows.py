"""Every row of the demo: real clients, real servers, the server's own record."""

from __future__ import annotations

import pytest

from conduitfw.demo.rows import ROWS, Row
from conduitfw.demo.show import Firewall, Stage, try_row

pytestmark = pytest.mark.system


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.by}: {row.tried}")
def test_row(stage: Stage, firewall: Firewall, row: Row) -> None:
    result = try_row(row, stage, firewall)
    assert result.good, f"{result.why}; the client says {result.detail}"


def test_everything_was_told(firewall: Firewall) -> None:
    """Runs behind the rows: the events name each denial's conduit, client, function and reason."""
    denied = [event for event in firewall.events() if event["event"].get("type") == ["connection", "denied"]]
    functions = {event["conduitfw"]["unit"]["function"]["code"] for event in denied if "unit" in event["conduitfw"]}
    assert {5, 6, 8, 13, 15, 16, 22} <= functions
    for event in denied:
        assert event["@timestamp"] and event["source"]["ip"] and event["destination"]["port"]
        detail = event["conduitfw"].get("detail", "")
        assert event["event"]["reason"].endswith(f": {detail}" if detail else ".")
        assert event["conduitfw"]["conduit"] == "scada-to-cell"
    assert firewall.events()[0]["event"]["action"] == "engine-start"


def test_status_counts(firewall: Firewall) -> None:
    status = firewall.status()
    assert status["enforcing"] is True
    assert [conduit["state"] for conduit in status["conduits"]] == ["enforcing"]
    assert status["worker_counters"]["engine_errors"] == 0
    assert status["engine_counters"]["denied"] >= 9
    assert status["kernel_counters"]["unjudged"]["packets"] == 0
