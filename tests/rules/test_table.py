"""The table of rules fits the code and the tests: every text stands there once, every test exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.__main__ import ROOT, Copy
from tests.rules.entry import Entry
from tests.rules.table import ENTRIES

SECTIONS = 12


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.title.strip() for entry in ENTRIES])
def test_what_a_mutation_changes_is_there_once(entry: Entry) -> None:
    if entry.mutation is None:
        assert entry.note
        return
    text = (ROOT / entry.mutation.file).read_text()
    assert text.count(entry.mutation.before) == 1
    changed = text.replace(entry.mutation.before, entry.mutation.after)
    assert changed != text
    compile(changed, entry.mutation.file, "exec")
    assert entry.tests


def test_every_section_has_rows() -> None:
    assert {entry.section for entry in ENTRIES} == {str(number) for number in range(1, SECTIONS + 1)}
    titles = [entry.title for entry in ENTRIES]
    assert len(set(titles)) == len(titles)
    assert len(QUICK) == 2


def test_every_test_exists() -> None:
    files = sorted({test.split("::")[0] for entry in ENTRIES for test in entry.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    collected = set(done.stdout.splitlines())
    collected |= {name.split("[")[0] for name in collected}
    collected |= {name.rsplit("::", 1)[0] for name in collected}
    missing = {test for entry in ENTRIES for test in entry.tests} - collected
    assert not missing


QUICK = [
    entry
    for entry in ENTRIES
    if entry.rule in ("urgent data are denied", "what was sent on and not taken has to be repeated equal")
]


@pytest.mark.parametrize("entry", QUICK, ids=[entry.title.strip() for entry in QUICK])
def test_a_rule_that_is_taken_away_is_missed(entry: Entry, tmp_path: Path) -> None:
    """One of `make rules`, so that its machinery cannot rot either: it passes as it is, and fails without the rule."""
    assert entry.mutation is not None
    copy = Copy(tmp_path / "copy")
    assert copy.comes_first()
    assert copy.run(entry.tests)[0] == 0
    with copy.without(entry.mutation):
        assert copy.run(entry.tests, "-x")[0] == 1
    assert (copy.folder / entry.mutation.file).read_text() == (ROOT / entry.mutation.file).read_text()
