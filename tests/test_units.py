"""The service manager's own judgement of systemd/: that it understands the files, and what a service could do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conduitfw.kernel import nft
from conduitfw.kernel.marks import QUEUES, WORKERS_MAX
from conduitfw.kernel.shut import TABLE
from conduitfw.runtime.control import DEFAULT_SOCKET, GROUP
from conduitfw.runtime.privileges import USER
from conduitfw.runtime.store import DEFAULT_STATE

FOLDER = Path(__file__).parents[1] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 2.0

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def settings(unit: Path, name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", unit.read_text())


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    """The programs and files that the package brings stand in for themselves: they are not installed here."""
    for each in UNITS:
        text = each.read_text().replace("/usr/bin/conduitfw", "/bin/true")
        (tmp_path / each.name).write_text(re.sub(r"file://\S+", "file:///dev/null", text))
    done = run("systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / unit.name))
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_line_that_systemd_does_not_understand_is_found(tmp_path: Path) -> None:
    """The check above can fail."""
    bad = tmp_path / "bad.service"
    bad.write_text("[Service]\nExecStart=/bin/true\nNoNewPriviledges=yes\n")
    assert "NoNewPriviledges" in run("systemd-analyze", "verify", "--recursive-errors=no", str(bad)).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_service_could_do(unit: Path) -> None:
    said = run("systemd-analyze", "security", "--offline=yes", str(unit)).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED, said


def test_the_service_is_watched_and_comes_back() -> None:
    unit = FOLDER / "conduitfw.service"
    assert settings(unit, "Type") == ["notify"]
    assert settings(unit, "Restart") == ["always"]
    assert settings(unit, "StartLimitIntervalSec") == ["0"]
    # What a restart leaves (handover.py, deposit): queues and two memories of each worker; slots, guard, description.
    assert int(settings(unit, "FileDescriptorStoreMax")[0]) == WORKERS_MAX * (QUEUES + 2) + 3
    # One that waits for nft is not killed for it: its workers would die with it (tools/boot-check found it).
    assert int(settings(unit, "WatchdogSec")[0]) > nft._SECONDS
    assert settings(unit, "CapabilityBoundingSet") == ["CAP_NET_ADMIN CAP_NET_RAW"]


def test_the_boot_unit_comes_before_the_network() -> None:
    unit = FOLDER / "conduitfw-boot.service"
    assert settings(unit, "DefaultDependencies") == ["no"]
    assert "network-pre.target" in settings(unit, "Before")[0].split()
    assert settings(unit, "Wants") == ["network-pre.target"]
    # Whatever else fails, it runs: a dependency that fails would leave the network open (tools/boot-check found it).
    for hard in ("Requires", "RequiresMountsFor", "BindsTo", "Requisite"):
        assert settings(unit, hard) == []
    # Nothing of Python between the kernel's start and the first thing that is shut.
    assert settings(unit, "ExecStartPre")[0].startswith("-/usr/sbin/nft -f ")
    assert f"table bridge {TABLE}" in (FOLDER / "shut.nft").read_text()


def test_files_and_program_mean_the_same_places() -> None:
    for unit in UNITS:
        assert f"CONDUITFW_STATE={DEFAULT_STATE}" in settings(unit, "Environment")
        assert settings(unit, "User") == [USER] and settings(unit, "Group") == [GROUP]
    assert f"CONDUITFW_SOCKET={DEFAULT_SOCKET}" in settings(FOLDER / "conduitfw.service", "Environment")


def test_the_user_and_its_folders(tmp_path: Path) -> None:
    """systemd's own tools make them in a file system of their own."""
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "conduitfw.sysusers"))
    assert done.returncode == 0, done.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    assert re.search(rf"(?m)^{USER}:", passwd) and re.search(rf"(?m)^{GROUP}:", (tmp_path / "etc/group").read_text())
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(FOLDER / "conduitfw.tmpfiles"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / DEFAULT_STATE.lstrip("/")).stat().st_mode & 0o777 == 0o700


def test_what_a_worker_needs_to_give_up_its_rights_is_not_filtered() -> None:
    """capset is one of @privileged: filtered, no worker could start (tools/boot-check found it)."""
    filters = settings(FOLDER / "conduitfw.service", "SystemCallFilter")
    assert filters[-1] == "capset"
