"""One policy after another: what changes is told, a bad one changes nothing, an unconfirmed one goes back by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conduitfw.demo.network import PACE
from conduitfw.demo.show import Firewall, Stage
from tests.system.hands import until
from tests.system.test_sessions import MODBUS_READ, MODBUS_WRITE, WITHOUT_TESTS, Start, answered, changed

pytestmark = pytest.mark.system
WIDER = changed("functions: read\n", "functions: [read, 16]\n")
BROKEN = changed("functions: read\n", "functions: reed\n")


def said(firewall: Firewall, kind: str) -> list[dict[str, Any]]:
    return [event for event in firewall.events() if event["event"]["action"] == kind]


def digest(firewall: Firewall) -> str:
    return str(firewall.status()["policy"]["digest"])


@pytest.fixture
def kept(start: Start, tmp_path: Path) -> Firewall:
    """A firewall that keeps its policies."""
    return start(WITHOUT_TESTS, "--state", str(tmp_path / "state"))


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    path = tmp_path / "wider.yaml"
    path.write_text(WIDER)
    return path


def history(firewall: Firewall, tmp_path: Path) -> list[dict[str, Any]]:
    done = firewall._network.run(
        "fw", [sys.executable, "-m", "conduitfw", "history", "--json", "--state", str(tmp_path / "state")], check=False
    )
    found = json.loads(done.stdout)["policies"]
    assert isinstance(found, list)
    return found


def test_a_reload_says_what_became_allowed_and_what_denied(kept: Firewall, wider: Path, tmp_path: Path) -> None:
    done = kept.command("reload", str(wider))
    line = (
        "allowed  scada-to-cell: hmi-a -> plc-b: Modbus/TCP write_multiple_registers (16), unit 1, "
        "holding_registers 0-119, 122-65535 (rule 'HMI reads the PLC')"
    )
    assert line in done.stdout.splitlines()
    done = kept.command("reload", str(tmp_path / "policy.yaml"), "--json")
    (change,) = json.loads(done.stdout)["changes"]
    assert (change["effect"], change["detail"]["functions"][0]["code"]) == ("denied", 16)
    assert [event["conduitfw"]["engine"]["changes"][0][:7] for event in said(kept, "policy-change")] == [
        "allowed",
        "denied ",
    ]


def test_an_unconfirmed_policy_goes_back_though_control_dies(
    stage: Stage, kept: Firewall, wider: Path, tmp_path: Path
) -> None:
    before = digest(kept)
    control = kept.status()["control"]["pid"]
    done = kept.command("reload", str(wider), "--confirm", "2")
    assert "goes back by itself in 2 s" in done.stdout
    os.kill(control, signal.SIGKILL)
    until(lambda: said(kept, "policy-went-back"))
    assert digest(kept) == before
    assert not answered(stage, MODBUS_WRITE)
    assert answered(stage, MODBUS_READ)
    assert kept.command("confirm").returncode == 1  # too late
    assert "was not confirmed in time" in kept.status()["policy"]["notice"]
    until(lambda: [entry["digest"] for entry in history(kept, tmp_path)] == [before])


def test_while_one_waits_to_be_confirmed_no_other_is_taken(stage: Stage, kept: Firewall, wider: Path) -> None:
    before = digest(kept)
    assert kept.command("reload", str(wider), "--confirm", "900").returncode == 0
    assert answered(stage, MODBUS_WRITE)
    status = kept.status()["policy"]
    assert 0 < status["confirm_within"] <= 900 and status["digest"] != before
    refused = kept.command("reload", str(wider))
    assert refused.returncode == 1 and "not confirmed yet" in refused.stderr
    # Whoever does not want to wait goes back at once.
    assert kept.command("rollback").returncode == 0
    assert digest(kept) == before
    assert not answered(stage, MODBUS_WRITE)


def test_a_large_policy_comes_in_pieces_and_goes_at_once(stage: Stage, kept: Firewall, tmp_path: Path) -> None:
    """Its sets are brought before the rules that ask for them; polls go on, and nobody takes it for somebody else's."""
    large, path = tmp_path / "large.yaml", tmp_path / "policy.yaml"
    rules = (
        f"      - {{name: web {n}, allow: tcp, clients: 10.10.0.{n % 200 + 20}, servers: 10.20.0.{n // 200 + 100}, "
        "port: 80}\n"
        for n in range(800)
    )
    large.write_text(WIDER + "".join(rules))

    def sets() -> dict[str, str]:
        """Words of the sets that are named by what is in them, and those names."""
        listed = stage.network.run("fw", ["nft", "-t", "list", "table", "bridge", "conduitfw"]).stdout
        return dict(re.findall(r"\t(?:set|map) (\w+)_([0-9a-f]{12}) \{", listed))

    before = sets()
    assert kept.command("reload", str(large)).returncode == 0
    assert answered(stage, MODBUS_WRITE)
    assert {word for word, name in sets().items() if before[word] != name} == {"opened_hosts4"}
    assert kept.command("reload", str(path)).returncode == 0
    assert sets() == before
    assert not answered(stage, MODBUS_WRITE)
    assert answered(stage, MODBUS_READ)
    assert said(kept, "ruleset-restored") == said(kept, "ruleset-failed") == []


def test_a_confirmed_policy_stays(stage: Stage, kept: Firewall, wider: Path, tmp_path: Path) -> None:
    before = digest(kept)
    assert kept.command("reload", str(wider), "--confirm", str(10 * PACE)).returncode == 0
    assert kept.command("confirm").returncode == 0
    time.sleep(10 * PACE + 1)
    assert answered(stage, MODBUS_WRITE)
    until(lambda: len(history(kept, tmp_path)) == 2)
    assert [entry["digest"] for entry in history(kept, tmp_path)] == [digest(kept), before]
    assert said(kept, "policy-confirmed") and not said(kept, "policy-went-back")


def test_a_rollback_and_one_back_again(stage: Stage, kept: Firewall, wider: Path, tmp_path: Path) -> None:
    before = digest(kept)
    assert kept.command("reload", str(wider)).returncode == 0
    until(lambda: len(history(kept, tmp_path)) == 2)
    done = kept.command("rollback")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("denied ")
    assert digest(kept) == before
    assert not answered(stage, MODBUS_WRITE)
    until(lambda: history(kept, tmp_path)[0]["digest"] == before)
    assert kept.command("rollback").returncode == 0
    assert answered(stage, MODBUS_WRITE)
    assert kept.command("rollback", "7").returncode == 1


def test_without_a_confirmation_pending_nothing_is_confirmed(kept: Firewall) -> None:
    done = kept.command("confirm")
    assert done.returncode == 1
    assert "nothing waits" in done.stderr


def test_a_bad_policy_changes_nothing_and_waits_for_nothing(stage: Stage, kept: Firewall, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BROKEN)
    before = digest(kept)
    rules = ruleset(stage)
    assert kept.command("reload", str(bad), "--confirm", "1").returncode == 1
    assert ruleset(stage) == rules
    assert kept.status()["policy"]["confirm_within"] is None
    time.sleep(1.5)
    assert digest(kept) == before
    assert not said(kept, "policy-went-back")


def ruleset(stage: Stage) -> str:
    """What is in the kernel, without its counters."""
    return stage.network.run("fw", ["nft", "-s", "list", "ruleset"]).stdout


def test_a_killed_firewall_starts_with_the_confirmed_policy(
    stage: Stage, start: Start, wider: Path, tmp_path: Path
) -> None:
    """Its own file is overwritten, reloaded and not confirmed; the supervisor is killed, and started anew."""
    state = ("--state", str(tmp_path / "state"))
    firewall = start(WITHOUT_TESTS, *state)
    before = digest(firewall)
    until(lambda: history(firewall, tmp_path))
    (tmp_path / "policy.yaml").write_text(WIDER)
    assert firewall.command("reload", "--confirm", "600").returncode == 0
    until((tmp_path / "state" / "unconfirmed.json").exists)
    os.kill(firewall.status()["pid"], signal.SIGKILL)
    firewall.process.wait(10)
    again = start(WIDER, *state)
    assert digest(again) == before
    assert "was not confirmed" in again.status()["policy"]["notice"]
    assert not answered(stage, MODBUS_WRITE)
    assert said(again, "policy-fallback")
    # Whoever wants it takes it: a reload is a decision.
    assert again.command("reload").returncode == 0
    assert answered(stage, MODBUS_WRITE)
    until(lambda: not (tmp_path / "state" / "unconfirmed.json").exists())


def test_a_start_with_a_broken_policy_enforces_the_last_good_one(stage: Stage, start: Start, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    firewall = start(WITHOUT_TESTS, *state)
    before = digest(firewall)
    until(lambda: history(firewall, tmp_path))
    firewall.command("stop")
    firewall.process.wait(10)
    again = start(BROKEN, *state)
    assert digest(again) == before
    assert answered(stage, MODBUS_READ) and not answered(stage, MODBUS_WRITE)
    assert "was refused" in again.status()["policy"]["notice"]
    assert "NOTICE" in again.command("status").stdout


def test_a_state_folder_that_cannot_be_written_costs_the_history_only(
    stage: Stage, start: Start, wider: Path, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("in the way: no folder can be made here")
    firewall = start(WITHOUT_TESTS, "--state", str(tmp_path / "state"))
    until(lambda: said(firewall, "policy-not-kept"))
    assert firewall.command("reload", str(wider)).returncode == 0
    assert answered(stage, MODBUS_WRITE)
