"""Every trace of the corpus, replayed: the function codes that we read are those that tshark reads.

The expected counts are the table in the corpus's README. Where a trace is malformed and the counts
differ, tests/vectors/corpus_differences.yaml says how and, unit by unit, why (test_corpus_tshark.py); a
difference that is no more has to go from there.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from conduitfw.observe.replay import Summary, replay
from conduitfw.policy.compile import allow_everything
from conduitfw.protocols.registry import PROTOCOLS

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
DIFFERENCES = yaml.safe_load((Path(__file__).parent / "vectors" / "corpus_differences.yaml").read_text())
_LINK_FUNCTIONS = 0x100  # DNP3's services of the link layer are numbered from here on; the table has none


def rows() -> list[tuple[str, int, dict[str, Counter[int]]]]:
    """File, packets, and by protocol the counts of its functions."""
    readme = CORPUS / "README.md"
    found = []
    for line in readme.read_text().splitlines() if readme.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            counts = {name: _counts(cell) for name, cell in zip(("modbus", "dnp3"), cells[3:], strict=True)}
            found.append((cells[0].strip("`"), int(cells[2]), counts))
    return found


def _counts(cell: str) -> Counter[int]:
    return Counter({int(code): int(count) for code, count in re.findall(r"(\d+):(\d+)", cell)})


ROWS = rows()


@pytest.mark.skipif(not ROWS, reason=f"the corpus is not at {CORPUS}")
def test_the_corpus_is_there() -> None:
    assert len(ROWS) >= 20
    assert all((CORPUS / name).exists() for name, _, _ in ROWS)
    assert set(DIFFERENCES) <= {name for name, _, _ in ROWS}


@pytest.mark.parametrize(("name", "packets", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_trace(name: str, packets: int, expected: dict[str, Counter[int]]) -> None:
    summary = Summary()
    ports = {protocol: [definition.port] for protocol, definition in PROTOCOLS.items()}
    for line in replay(CORPUS / name, allow_everything(ports), any_protocol=True):
        summary.add(line)
    assert summary.packets == packets
    found = {
        protocol: Counter(
            {
                code: count
                for code, count in summary.functions.get(protocol, Counter()).items()
                if code < _LINK_FUNCTIONS
            }
        )
        for protocol in PROTOCOLS
    }
    difference = DIFFERENCES.get(name, {})
    if "functions" not in difference:
        assert found == expected
        return
    assert found != expected, "this difference is no more"
    assert found == {protocol: Counter(difference["functions"].get(protocol, {})) for protocol in PROTOCOLS}
    assert difference["units"], "counts that differ come from units that do"
