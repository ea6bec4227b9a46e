"""What a decision costs does not grow with the policy or the number of sessions: instructions, by callgrind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.instructions import count

ROOT = Path(__file__).parents[1]
HEAD_ROOM = 1.05

pytestmark = pytest.mark.skipif(
    shutil.which("valgrind") is None
    or not Path("/usr/include/valgrind/callgrind.h").exists()
    or not shutil.which("cc"),
    reason="valgrind or a C compiler is not installed",
)


def test_a_decision_takes_as_many_instructions_whatever_the_size() -> None:
    few = count(ROOT, {"rules": 2, "conduits": 1, "flows": 50})
    many = count(ROOT, {"rules": 1000, "conduits": 20, "flows": 500})
    assert len(few) == 6 and few.keys() == many.keys()
    for kind, instructions in few.items():
        assert instructions / HEAD_ROOM < many[kind] < instructions * HEAD_ROOM, (kind, instructions, many[kind])
