"""Policies on disk: whole or not there, the newest first, the same one once."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from conduitfw.policy.load import load_policy
from conduitfw.runtime import child
from conduitfw.runtime.candidate import Trial
from conduitfw.runtime.start import first_policy
from conduitfw.runtime.store import Store
from tests.policy.text import GOOD, changed, load, with_rule


def keep(store: Store, text: str, folder: Path, by: str = "test") -> str:
    loaded = load(folder, text)
    assert loaded.policy is not None
    found = loaded.policy
    store.keep(
        digest=found.digest, site=found.site, revision=found.revision, by=by, sources=loaded.sources, closed=f"# {text}"
    )
    return found.digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state", keep=3)


TEXTS = [with_rule(f"name: r{n}, allow: icmp, clients: ews-a, servers: 10.20.0.{n}") for n in range(20, 25)]


def test_what_is_kept_is_the_same_policy(store: Store, tmp_path: Path) -> None:
    digest = keep(store, GOOD, tmp_path, by="uid 0")
    (entry,) = store.entries()
    assert (entry.digest, entry.site, entry.by) == (digest, "works", "uid 0")
    again = load_policy([entry.sources])
    assert again.policy is not None and again.policy.digest == digest
    assert [text for _, text in store.closed_rulesets()] == [f"# {GOOD}"]


def test_a_policy_of_several_files_keeps_their_order(store: Store, tmp_path: Path) -> None:
    head, zones, conduits = (part for part in re.split(r"(?m)^(?=zones:|groups:)", GOOD))
    paths = []
    for name, text in (("z.yaml", head), ("b.yaml", zones), ("a.yml", conduits)):
        (tmp_path / name).write_text(text)
        paths.append(tmp_path / name)
    loaded = load_policy(paths)
    assert loaded.policy is not None
    store.keep(digest=loaded.policy.digest, site="", revision="", by="", sources=loaded.sources, closed="")
    again = load_policy([store.entries()[0].sources]).policy
    assert again is not None and again.digest == loaded.policy.digest


def test_the_newest_first_and_no_more_than_so_many(store: Store, tmp_path: Path) -> None:
    digests = [keep(store, text, tmp_path) for text in TEXTS]
    assert [entry.digest for entry in store.entries()] == digests[:-4:-1]
    keep(store, TEXTS[3], tmp_path)  # in force again
    assert [entry.digest for entry in store.entries()] == [digests[3], digests[4], digests[2]]


def test_nobody_else_reads_what_is_kept(store: Store, tmp_path: Path) -> None:
    keep(store, GOOD, tmp_path)
    for path in store.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("damage", ["cut", "changed", "no head", "bad head", "no ruleset"])
def test_what_is_damaged_is_not_there(store: Store, tmp_path: Path, damage: str) -> None:
    older = keep(store, TEXTS[0], tmp_path)
    keep(store, TEXTS[1], tmp_path)
    folder = store.entries()[0].folder
    source = next((folder / "sources").iterdir())
    if damage == "cut":
        source.write_text(source.read_text()[:-5])
    elif damage == "changed":
        (folder / "closed.nft").write_text("accept\n")
    elif damage == "no head":
        (folder / "policy.json").unlink()
    elif damage == "bad head":
        (folder / "policy.json").write_text('{"files": []}')
    else:
        (folder / "closed.nft").unlink()
    assert [entry.digest for entry in store.entries()] == [older]
    assert len(list(store.closed_rulesets())) == 1


def test_killed_at_any_moment_it_leaves_whole_policies_only(store: Store, tmp_path: Path) -> None:
    """A child that keeps one policy after the other is killed again and again."""
    kept = {keep(store, text, tmp_path) for text in TEXTS[:2]}

    def work() -> None:
        while True:
            for text in TEXTS[:2]:
                keep(store, text, tmp_path)

    for number in range(40):
        pid = child.fork("test-keeper", work)
        time.sleep(0.002 + number * 0.0007)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = store.entries()
        assert found and {entry.digest for entry in found} <= kept
        for entry in found:
            assert load_policy([entry.sources]).policy is not None
    keep(store, GOOD, tmp_path)
    assert len(store.entries()) <= 3


def test_what_is_withheld_until_it_is_released(store: Store) -> None:
    assert store.withheld() == {}
    store.withhold("abc", "it was not confirmed")
    assert store.withheld()["digest"] == "abc"
    store.release()
    store.release()
    assert store.withheld() == {}
    (store.folder / "unconfirmed.json").write_text("nonsense")
    assert store.withheld() == {}


# --- which policy a start begins with -----------------------------------------------------------------------------


def examine(paths: Sequence[str]) -> Trial:
    loaded = load_policy([Path(path) for path in paths])
    problems = [{"severity": each.severity, "message": each.message} for each in loaded.problems]
    return Trial(loaded.policy, problems, loaded.sources)


def test_a_start_takes_what_it_is_given(store: Store, tmp_path: Path) -> None:
    keep(store, TEXTS[0], tmp_path)
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    trial, notice, _ = first_policy([str(path)], examine, store)
    assert trial.policy is not None and trial.policy.digest != store.entries()[0].digest
    assert notice == ""


@pytest.mark.parametrize(
    "broken",
    ["zones: [", changed("functions: read}\n      - {name: poll", "functions: reed}\n      - {name: poll"), None],
)
def test_a_start_with_a_broken_policy_takes_the_last_good_one(store: Store, tmp_path: Path, broken: str | None) -> None:
    keep(store, TEXTS[0], tmp_path)
    last = keep(store, TEXTS[1], tmp_path)
    path = tmp_path / "broken.yaml"
    if broken is not None:
        path.write_text(broken)
    trial, notice, problems = first_policy([str(path)], examine, store)
    assert trial.policy is not None and trial.policy.digest == last
    assert "was refused" in notice and problems
    assert first_policy([str(path)], examine, None)[0].policy is None


def test_a_start_does_not_take_what_nobody_confirmed(store: Store, tmp_path: Path) -> None:
    good = keep(store, GOOD, tmp_path)
    path = tmp_path / "policy.yaml"
    path.write_text(TEXTS[0])
    loaded = load_policy([path]).policy
    assert loaded is not None
    store.withhold(loaded.digest, "it was not confirmed")
    trial, notice, _ = first_policy([str(path)], examine, store)
    assert trial.policy is not None and trial.policy.digest == good
    assert "it was not confirmed" in notice
    path.write_text(TEXTS[1])  # another one is another matter
    assert first_policy([str(path)], examine, store)[1] == ""


def test_what_nobody_confirmed_is_better_than_nothing(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    loaded = load_policy([path]).policy
    assert loaded is not None
    store.withhold(loaded.digest, "it was taken back")
    trial, _, _ = first_policy([str(path)], examine, store)
    assert trial.policy is not None and trial.policy.digest == loaded.digest


def test_the_head_is_for_people_too(store: Store, tmp_path: Path) -> None:
    keep(store, GOOD, tmp_path)
    head = json.loads((store.entries()[0].folder / "policy.json").read_text())
    assert set(head) == {"digest", "site", "revision", "since", "by", "files"}
