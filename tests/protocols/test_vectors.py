"""Golden vectors: conversations of other encoders' octets, and what each unit of them is taken for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conduitfw.protocols import Definition
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Malformed, Reason

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = [
    pytest.param(PROTOCOLS[folder.name], conversation, id=f"{folder.name}: {conversation['name']}")
    for folder in sorted(VECTORS.iterdir())
    if folder.name in PROTOCOLS  # rules/ is tests/policy's
    for file in sorted(folder.glob("*.yaml"))
    for conversation in yaml.safe_load(file.read_text())
]


@pytest.mark.parametrize(("protocol", "conversation"), CASES)
@pytest.mark.parametrize("packed", [False, True], ids=["", "through the record"])
def test_conversation(protocol: Definition, conversation: dict[str, Any], packed: bool) -> None:
    session = protocol.session(False)
    for number, step in enumerate(conversation["steps"]):
        data = bytes.fromhex(step["hex"])
        where = f"step {number + 1}"
        assert protocol.frame(data, 0, len(data)) == len(data), where
        unit = session.inspect(data, 0, len(data), step["from"] == "client")
        said = unit.reason.code if unit.reason is not None else None
        assert (said, unit.kind.value, unit.function) == (step["reason"], step["kind"], step["function"]), where
        for name in ("also", "answered", "part", "exception"):
            if name in step:
                assert getattr(unit, name) == step[name], f"{where}: {name}"
        if step.get("judged") is not None:
            assert unit.judged is step["judged"], where
        if unit.reason is None:
            session.commit(unit, 1.0)
        if packed:
            state = session.pack()
            assert len(state) <= protocol.session_size
            session = protocol.session(False)
            session.restore(state)
            assert session.pack() == state


def test_every_parser_reason_has_a_vector() -> None:
    """A reason without a vector would be a check that nobody has seen fail."""
    seen = {step["reason"] for case in CASES for step in case.values[1]["steps"]}
    by_prefix = {reason.code for reason in Reason if reason.code.startswith(("modbus-", "dnp3-"))}
    framing = {"modbus-protocol-id", "dnp3-start", "dnp3-length", "dnp3-header-crc"}  # test_framing.py
    state = {"dnp3-fragment-too-long"}  # test_framing.py: it takes nine frames
    assert by_prefix - seen - framing - state == set()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@given(data=st.data())
def test_hostile_bytes_raise_nothing(protocol: Definition, data: st.DataObject) -> None:
    """Any unit that the framer lets through, from either side, in any order: no exception, and a bounded state."""
    session = protocol.session(data.draw(st.booleans()))
    originals = [
        bytes.fromhex(step["hex"]) for case in CASES if case.values[0] is protocol for step in case.values[1]["steps"]
    ]
    for _ in range(data.draw(st.integers(1, 6))):
        unit_bytes = bytearray(data.draw(st.sampled_from(originals)))
        for _ in range(data.draw(st.integers(0, 3))):
            unit_bytes[data.draw(st.integers(0, len(unit_bytes) - 1))] = data.draw(st.integers(0, 255))
        try:
            size = protocol.frame(bytes(unit_bytes), 0, len(unit_bytes))
        except Malformed:
            continue
        if not 0 < size <= len(unit_bytes):
            continue
        unit = session.inspect(bytes(unit_bytes), 0, size, data.draw(st.booleans()))
        protocol.describe(unit)
        session.may_go(unit, 16)
        session.commit(unit, 1.0)
        session.overdue(data.draw(st.sampled_from((1.0, 100.0))), 5.0)
        assert len(session.pack()) <= protocol.session_size
