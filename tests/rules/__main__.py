"""Take every rule of tcp-rules.md away, one at a time, and see that a test of it fails: `make rules`.

Each mutation (table.py) is made in a copy of the package in a temporary folder, never in the working tree. First all
tests of the table run in an unchanged copy: they have to pass. Then, for each row, the tests that it names run in a
changed one, and at least one has to fail. A row whose tests pass, or do not run at all, is told; status 1.

`python -m tests.rules WORD ...` tries only rows that have one of the words in their text, tests or file; a number
means a section.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.rules.entry import Entry, Mutation
from tests.rules.table import ENTRIES

ROOT = Path(__file__).resolve().parents[2]
AT_A_TIME = 2
PATIENCE = 180.0  # seconds for the tests of one row; a mutation that makes them endless proves nothing
_COPIED = ("conduitfw", "tests", "policies", "docs", "fuzz", "systemd", "pyproject.toml")
_PASSED, _FAILED = 0, 1  # pytest's status; any other means that the tests did not run


class Copy:
    """The package and its tests in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            else:
                shutil.copy2(source, folder / name)

    def run(self, tests: tuple[str, ...], *options: str) -> tuple[int, str]:
        """Run tests by their names. Gives pytest's status (-1: they did not end) and its last lines."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "240"}  # how long a line of it may be
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *tests]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return -1, f"not ended after {PATIENCE:.0f} s"
        return done.returncode, "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])

    @contextmanager
    def without(self, mutation: Mutation) -> Iterator[None]:
        """The copy with the rule taken away."""
        path = self.folder / mutation.file
        text = path.read_text()
        assert text.count(mutation.before) == 1, f"{mutation.file}: not exactly once: {mutation.before!r}"
        self._write(path, text.replace(mutation.before, mutation.after))
        try:
            yield
        finally:
            self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        """Bytecode is known by its source's size and second: each version has a second of its own."""
        path.write_text(text)
        self._version += 1
        os.utime(path, (self._version, self._version))

    def comes_first(self) -> bool:
        """Whether what is imported here is the copy, and not the working tree."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-c", "import conduitfw; print(conduitfw.__file__)"]
        found = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        return Path(found.stdout.strip()).is_relative_to(self.folder)


def chosen(words: list[str]) -> list[Entry]:
    """The rows that are asked for."""

    def fits(entry: Entry) -> bool:
        mutation = entry.mutation
        text = " ".join((entry.rule, *entry.tests, mutation.file if mutation is not None else ""))
        return any(entry.section == word if word.isdigit() else word in text for word in words)

    return [entry for entry in ENTRIES if not words or fits(entry)]


def attempt(entry: Entry, copies: SimpleQueue[Copy]) -> tuple[Entry, str, str]:
    """Take one rule away. Gives what is wrong with the row ("": a test has failed, as it should), and which it was."""
    assert entry.mutation is not None
    copy = copies.get()
    try:
        with copy.without(entry.mutation):
            status, told = copy.run(entry.tests, "-x")
    finally:
        copies.put(copy)
    if status == _FAILED:
        return entry, "", next((line for line in told.splitlines() if line.startswith("FAILED ")), "")
    if status == _PASSED and " passed" not in told:
        return entry, "", "skipped here: its tests need root"
    return entry, "its tests pass without it" if status == _PASSED else f"its tests do not run: {told}", ""


def main(words: list[str]) -> int:
    """Status 0 where every rule that was taken away was missed."""
    entries = chosen(words)
    mutated = [entry for entry in entries if entry.mutation is not None]
    if not entries:
        print("no row has that")
        return 1
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conduitfw-rules-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        every = [Copy(Path(folder) / str(number)) for number in range(AT_A_TIME)]
        for copy in every:
            assert copy.comes_first()
        tests = tuple(dict.fromkeys(test for entry in entries for test in entry.tests))
        if tests:
            status, told = every[0].run(tests)
            if status != _PASSED:
                print(f"the tests of these rows do not pass as it is:\n{told}")
                return 1
        for copy in every:
            copies.put(copy)
        survivors = 0
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for entry, wrong, by in pool.map(lambda each: attempt(each, copies), mutated):
                survivors += bool(wrong)
                print(f"{'SURVIVES' if wrong else 'missed  '} {entry.title}{': ' + wrong if wrong else ''}", flush=True)
                if by:
                    print(f"            {by}", flush=True)
    for entry in entries:
        if entry.mutation is None:
            print(f"open     {entry.title}: {entry.note}")
    print(
        f"{len(mutated)} rules taken away, {len(mutated) - survivors} missed by their tests, {survivors} not;", end=" "
    )
    print(f"{len(entries) - len(mutated)} that cannot be; {time.monotonic() - begin:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
