"""The fuzzing targets (`make fuzz`) without their engine: over what failed once, over the seeds, and at random."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from conduitfw.flow import Flow
from conduitfw.packet import Packet
from conduitfw.stream import Passage
from fuzz import findings, pipeline, seeds, units
from fuzz.octets import Violation, modbus_request
from fuzz.policies import modbus_request_allowed

TARGETS = {name: run for name, (run, _) in seeds.TARGETS.items()}
CRASHES = sorted(path for path in findings.CRASHES.iterdir() if path.name.split("-")[0] in TARGETS)
AT_RANDOM = 150  # inputs of each target


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in CRASHES])
def test_what_failed_once(path: Path) -> None:
    TARGETS[path.name.split("-")[0]](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str, tmp_path: Path) -> None:
    run, inputs = seeds.TARGETS[target]
    assert seeds.write(tmp_path, inputs()) > 100
    for path in sorted(tmp_path.iterdir()):
        run(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_at_random(target: str) -> None:
    """A third of them any octets, the others seeds of which some octets are changed."""
    run, inputs = seeds.TARGETS[target]
    found = list(inputs())
    chance = random.Random(20261)
    for number in range(AT_RANDOM):
        if number % 3 == 0:
            data = bytearray(chance.randbytes(chance.randrange(400)))
        else:
            data = bytearray(chance.choice(found))
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            run(bytes(data))
        except Exception:
            print(data.hex())
            raise


# --- whether the targets bite ----------------------------------------------------------------------


def poll(steps: tuple[str, ...], *octets: bytes) -> bytes:
    """A program of these steps on the Modbus line, each with its octets."""
    found = [b"\0\0", bytes((pipeline.number_of("_opens"), 0))]
    for step, said in zip(steps, octets, strict=True):
        found += [bytes((pipeline.number_of(step),)), said]
    return b"".join(found)


READ, FORBIDDEN = bytes((0, 1, 0, 2)), bytes((2, 2, 200, 2))  # a unit's octets: form, transaction, place, count


def test_the_targets_policy_reads_what_is_allowed() -> None:
    assert modbus_request_allowed(0, modbus_request(pipeline.Input(READ)))
    assert not modbus_request_allowed(0, modbus_request(pipeline.Input(FORBIDDEN)))


def test_a_program_reaches_the_server_and_is_answered() -> None:
    world = pipeline.World(pipeline.Input(poll(("_unit", "_answer", "_cut_unit"), READ, b"\0", READ + b"\5")))
    world.run()
    assert world.pipeline.counters["units"] == 3
    assert len(world.lines[0].server.unanswered) == 1 and not world.lines[0].server.read


@pytest.mark.parametrize(
    ("broken", "says"),
    [("judge", "does not allow"), ("sent", "OSError"), ("whole", "part of a unit")],
)
def test_a_defect_is_found(broken: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these defects, were it in the engine, would be met by this program."""

    def failing(*_: object) -> None:
        raise OSError("OSError")

    def as_it_came(flow: Flow, packet: Packet, *_: object) -> Passage:
        return Passage(packet.sequence, packet.payload, fin=False, as_it_came=True)

    if broken == "judge":
        monkeypatch.setattr("conduitfw.inspection.Findings.judge", lambda *_: True)
    elif broken == "sent":
        monkeypatch.setattr("conduitfw.inspection.Findings.sent", failing)
    else:
        monkeypatch.setattr("conduitfw.stream.take", as_it_came)
    data = poll(("_cut_unit", "_answer", "_unit"), READ + b"\5", b"\0", FORBIDDEN)
    with pytest.raises((Violation, OSError), match=says):
        pipeline.run(data)


def test_findings_become_small() -> None:
    def target(data: bytes) -> None:
        if b"\x07" in data:
            raise Violation("a seven")

    found = findings.what_of(target, b"1234\x075678")
    assert found is not None and found == findings.what_of(target, b"\x07")
    assert findings.smaller(target, b"1234\x075678" * 20, found) == b"\x07"


def test_the_units_target_reads_both_protocols() -> None:
    for data in (units.conversation("modbus", [(True, bytes.fromhex("000100000006010100000009"))]), b"\1\1\2"):
        units.run(data)
