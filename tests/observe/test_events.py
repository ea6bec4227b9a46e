"""Events as documents, folding, and what a bad disk costs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conduitfw.observe.ecs import ENGINE, document
from conduitfw.observe.events import EventLog, Folding
from conduitfw.observe.metrics import prometheus
from conduitfw.runtime.messages import EngineKind, EngineNotice, FlowNotice

DENIED = FlowNotice(
    "denied", 100.0, 6, "10.0.1.11", 40000, "10.0.2.5", 502, True, "scada-to-cell", False, "modbus", "", "no-rule",
    "request", (3,), {"function": 16, "name": "write_multiple_registers", "unit": 3}, "", "reset", ("scada", "cell"),
)  # fmt: skip


def changed(**fields: Any) -> FlowNotice:
    return msgspec.structs.replace(DENIED, **fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_denial_in_ecs() -> None:
    found = document(DENIED)
    assert found["event"]["kind"] == "alert"
    assert found["event"]["category"] == ["network"]
    assert found["event"]["type"] == ["connection", "denied"]
    assert (found["event"]["action"], found["event"]["outcome"]) == ("reset", "failure")
    assert (found["event"]["code"], found["event"]["dataset"]) == ("no-rule", "conduitfw.denials")
    assert found["event"]["reason"].startswith("No rule of the conduit")
    assert found["source"] == {"ip": "10.0.1.11", "port": 40000}
    assert found["destination"] == {"ip": "10.0.2.5", "port": 502}
    assert found["network"] == {"transport": "tcp", "type": "ipv4", "protocol": "modbus"}
    assert found["rule"] == {"ruleset": "scada-to-cell"}
    assert found["observer"]["type"] == "firewall"
    assert found["conduitfw"]["zones"] == {"from": "scada", "to": "cell"}
    assert found["conduitfw"]["unit"] == {
        "kind": "request",
        "address": {"unit": 3},
        "function": {"code": 16, "name": "write_multiple_registers"},
    }


def test_a_denial_says_what_it_is_about() -> None:
    described = {**DENIED.described, "items": [{"table": "holding_registers", "address": 120, "quantity": 2}]}
    found = document(
        changed(reason="tag-limit", described=described, detail="setpoint TIC-101 42.0 -> 95.0 C is above 80")
    )
    assert found["event"]["reason"] == (
        "The value to be written is outside of the point's limits: setpoint TIC-101 42.0 -> 95.0 C is above 80"
    )
    assert found["conduitfw"]["unit"]["items"] == described["items"]


def test_the_time_is_the_wall_clock_in_utc() -> None:
    stamp = document(changed(time=time.monotonic()))["@timestamp"]
    assert stamp.endswith("+00:00")
    import datetime

    assert abs(datetime.datetime.fromisoformat(stamp).timestamp() - time.time()) < 2


def test_a_denied_answer_comes_from_the_server() -> None:
    found = document(changed(from_client=False))
    assert found["source"]["ip"] == "10.0.2.5"
    assert found["destination"]["ip"] == "10.0.1.11"


def test_a_monitored_conduit_says_what_would_have_been() -> None:
    found = document(changed(monitor=True, action="monitor"))
    assert found["event"]["action"] == "would-deny"
    assert "denied" not in found["event"]["type"]
    assert found["event"]["kind"] == "event"


def test_start_and_end_of_a_flow() -> None:
    start = document(changed(kind="flow-start", reason="", unit="", described={}, action=""))
    end = document(changed(kind="flow-end", reason="", unit="", described={}, action=""))
    assert start["event"]["type"] == ["connection", "start"]
    assert end["event"]["type"] == ["connection", "end"]
    assert start["event"]["dataset"] == "conduitfw.flows"
    assert "unit" not in start["conduitfw"]


def test_ipv6() -> None:
    assert document(changed(client="fd00::1", server="fd00::2"))["network"]["type"] == "ipv6"


@pytest.mark.parametrize("kind", EngineKind)
def test_every_kind_of_engine_notice_has_a_sentence(kind: EngineKind) -> None:
    found = document(EngineNotice(kind, time.monotonic(), {"place": 0}))
    assert found["message"].endswith(".")
    assert found["event"]["action"] == kind.value
    assert found["conduitfw"]["engine"] == {"place": 0}
    assert set(ENGINE) == set(EngineKind)


def test_equal_denials_are_folded_and_counted() -> None:
    folding = Folding(window=10.0)
    assert len(folding.take(DENIED)) == 1
    for step in range(5):  # other ports of the client, the same in all else
        assert folding.take(changed(time=101.0 + step, client_port=41000 + step)) == []
    assert folding.expire(109.0) == []
    (summary,) = folding.expire(110.5)
    assert summary["conduitfw"]["repeated"] == 5
    assert summary["source"]["port"] == 41004  # the last one's
    assert summary["event"]["start"] < summary["event"]["end"]
    assert folding.expire(1000.0) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"described": {"function": 6}},
        {"address": (4,)},
        {"client": "10.0.1.12"},
        {"reason": "gap"},
        {"from_client": False},
    ],
    ids=str,
)
def test_other_denials_are_not_folded(fields: dict[str, Any]) -> None:
    folding = Folding()
    folding.take(DENIED)
    assert len(folding.take(changed(**fields))) == 1


def test_one_that_comes_after_its_window_is_written_again() -> None:
    folding = Folding(window=10.0)
    folding.take(DENIED)
    folding.take(changed(time=105.0))
    found = folding.take(changed(time=120.0))
    assert [one["conduitfw"].get("repeated") for one in found] == [1, None]


def test_folding_is_bounded_and_loses_no_count() -> None:
    folding = Folding(limit=100)
    written = []
    for number in range(1000):
        for _ in range(2):
            written += folding.take(changed(client=f"10.1.{number // 250}.{number % 250}"))
    assert len(folding._known) == 100
    written += folding.expire(float("inf"))
    assert sum(one["conduitfw"].get("repeated", 1) for one in written) == 2000


def test_the_log_is_json_lines(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "new" / "events.jsonl"))
    log.put(DENIED)
    log.put(DENIED)
    log.put(EngineNotice(EngineKind.ENGINE_STOP, time.monotonic(), {}))
    log.close()
    found = lines(tmp_path / "new" / "events.jsonl")
    assert [one["event"]["action"] for one in found] == ["reset", "engine-stop", "reset"]
    assert found[2]["conduitfw"]["repeated"] == 1
    assert log.figures() == {"written": 3, "folded": 1, "unwritten": 0}


def test_losses_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    log.tick(0)
    log.tick(3)
    log.tick(3)
    log.tick(5)
    assert [one["conduitfw"]["engine"]["lost"] for one in lines(path)] == [3, 2]


def test_a_full_disk_loses_events_and_says_so_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("/dev/full")
    log.put(DENIED)
    log.put(changed(described={"function": 6}))
    log.tick(0)
    assert log.figures() == {"written": 0, "folded": 0, "unwritten": 2}
    log._path = str(path)  # space again
    log.reopen()
    log.tick(1)
    (found,) = lines(path)
    assert found["event"]["action"] == "events-lost"
    assert found["conduitfw"]["engine"] == {"lost": 3, "on_the_way": 1, "unwritten": 2}
    log.tick(1)
    assert len(lines(path)) == 1


def test_a_folder_that_cannot_be_made_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = EventLog(str(tmp_path / "file" / "events.jsonl"))
    log.put(DENIED)
    log.tick(0)
    log.close()
    assert log.figures()["unwritten"] == 1


def test_a_line_cut_by_a_full_disk_stays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    log.put(DENIED)
    monkeypatch.undo()
    log.put(changed(described={"function": 6}))
    first, second = path.read_text().splitlines()
    assert len(first) == 20 and json.loads(second)["conduitfw"]["unit"]["function"]["code"] == 6


def test_a_file_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    log.put(DENIED)
    path.rename(tmp_path / "events.jsonl.old")
    log.tick(0)
    log.put(changed(described={"function": 6}))
    assert len(lines(path)) == 1 and len(lines(tmp_path / "events.jsonl.old")) == 1


def test_the_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path), file_max=20000)
    for number in range(400):
        log.put(changed(described={"function": number}))
        log.tick(0)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 45000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.jsonl", "events.jsonl.1", "events.jsonl.owed"]


def test_metrics_are_prometheus_text() -> None:
    text = prometheus(
        {
            "version": "1.2",
            "enforcing": True,
            "conduits": [{"name": 'a"b', "mode": "enforce", "state": "enforcing"}],
            "workers": [{"place": 0, "restarts": 2}],
            "worker_counters": {"packets": 5},
            "engine_counters": {"refused_no-conduit": 3, "flows": 1},
            "queue_counters": [{"queue": 6200, "waiting": 0, "dropped_queue_full": 4}],
            "events": {"lost": 0},
        }
    )
    assert 'conduitfw_conduit_enforcing{conduit="a\\"b",mode="enforce"} 1\n' in text
    assert "# TYPE conduitfw_worker_packets_total counter\nconduitfw_worker_packets_total 5\n" in text
    assert "conduitfw_engine_refused_no_conduit_total 3\n" in text
    assert "# TYPE conduitfw_engine_flows gauge\nconduitfw_engine_flows 1\n" in text
    assert 'conduitfw_queue_dropped_queue_full_total{queue="6200"} 4\n' in text
    assert 'conduitfw_worker_restarts_total{place="0"} 2\n' in text


REMARK = changed(kind="remark", from_client=False, reason="", unit="response", action="other-unit-answer")


def test_an_answer_that_is_not_as_expected() -> None:
    found = document(REMARK)
    assert (found["event"]["kind"], found["event"]["severity"]) == ("event", 6)
    assert (found["event"]["action"], found["event"]["outcome"]) == ("other-unit-answer", "success")
    assert "another unit id" in found["event"]["reason"]
    assert found["source"]["ip"] == "10.0.2.5"


def test_a_gateway_that_always_answers_so_fills_no_log(tmp_path: Path) -> None:
    path = tmp_path / "events"
    log = EventLog(str(path))
    for number in range(1000):
        log.put(msgspec.structs.replace(REMARK, time=100.0 + number / 100))
    log.close()
    first, last = lines(path)
    assert (first["event"]["action"], last["conduitfw"]["repeated"]) == ("other-unit-answer", 999)


def test_the_group_may_read_whatever_the_services_umask(tmp_path: Path) -> None:
    path = tmp_path / "events"
    mask = os.umask(0o077)
    try:
        log = EventLog(str(path))
        log.put(msgspec.structs.replace(REMARK, time=100.0))
        log.close()
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)  # an administrator's own choice stays
    EventLog(str(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_owed_outlives_the_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    assert log.owed() == 0
    log.owe(817)
    assert EventLog(str(path)).owed() == 817  # whoever owed it was killed
    log.owe(0)
    assert EventLog(str(path)).owed() == 0
    assert EventLog("-").owed() == 0
