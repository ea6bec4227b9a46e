"""Inputs to begin with: conversations of other encoders (tests/vectors), and of real devices where captures are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from conduitfw.observe.capture import CaptureError, datagrams, read_capture
from conduitfw.packet import decode
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Malformed
from fuzz import pipeline, units

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "vectors"
CORPUS = ROOT.parent / "shared" / "corpus"
MOST_UNITS, MOST_SESSIONS = 30, 40  # of one session, of one capture

Conversation = tuple[str, list[tuple[bool, bytes]]]  # protocol, and who (True: the client) says what


def from_vectors() -> Iterator[Conversation]:
    """tests/vectors: what each end says, one unit each."""
    for folder in sorted(VECTORS.iterdir()):
        if folder.name in PROTOCOLS:
            for file in sorted(folder.glob("*.yaml")):
                for each in yaml.safe_load(file.read_text()):
                    yield (
                        folder.name,
                        [(step["from"] == "client", bytes.fromhex(step["hex"])) for step in each["steps"]],
                    )


def from_captures() -> Iterator[Conversation]:
    """../shared/corpus, where it is: the payloads of each session, as the capture has them."""
    ports = {protocol.port: name for name, protocol in PROTOCOLS.items()}
    for file in sorted(CORPUS.glob("*.pcap*")):
        sessions: dict[frozenset[object], Conversation] = {}
        try:
            for frame in read_capture(file):
                datagram = datagrams(frame)
                if datagram is None:
                    continue
                try:
                    packet = decode(datagram.data, verify_checksums=False)
                except Malformed:
                    continue
                port = next((each for each in (packet.destination_port, packet.source_port) if each in ports), None)
                if port is None or not packet.payload_length:
                    continue
                ends = frozenset(((packet.source, packet.source_port), (packet.destination, packet.destination_port)))
                _, said = sessions.setdefault(ends, (ports[port], []))
                if len(said) < MOST_UNITS:
                    said.append((packet.destination_port == port, packet.payload))
        except CaptureError as error:
            print(f"{file.name}: {error}", file=sys.stderr)
        yield from list(sessions.values())[:MOST_SESSIONS]


def of_units() -> Iterator[bytes]:
    """Inputs of fuzz/units.py."""
    for protocol, said in (*from_vectors(), *from_captures()):
        yield units.conversation(protocol, said)


def of_pipeline() -> Iterator[bytes]:
    """Inputs of fuzz/pipeline.py: each session with its denials carried out in the three ways, and over UDP."""
    for number, (protocol, said) in enumerate((*from_vectors(), *from_captures())):
        yield pipeline.program(0 if protocol == "modbus" else 1, said, on_deny=number % 3)
        if protocol == "dnp3":
            yield pipeline.program(2, said)
    yield from _rounds()


def _rounds() -> Iterator[bytes]:
    """Sessions in which every request is answered, cut, or repeated: by the numbers of the steps."""
    number = pipeline.number_of
    for protocol in (0, 1, 3):
        for on_deny in range(3):
            for policy in (0, 0x40):
                steps = bytearray((on_deny | policy, protocol, number("_opens"), 0))
                for form in range(8):
                    made = bytes((form, form, 12, 3)) + bytes(range(1, 7))
                    steps += bytes((number(("_unit", "_cut_unit")[form & 1]),)) + made + b"\x07"
                    steps += bytes((number("_answer"), 0, number("_tick"), 1, number("_again"), 0, 9, 0, 9))
                yield bytes(steps)


def write(folder: Path, inputs: Iterator[bytes]) -> int:
    """Write inputs into a folder, a file each. Gives how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, data in enumerate(inputs, 1):
        (folder / f"seed-{count:04}").write_bytes(data)
    return count


TARGETS = {"pipeline": (pipeline.run, of_pipeline), "units": (units.run, of_units)}
