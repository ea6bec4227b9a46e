"""Golden vectors of the policy: octets of other encoders, and what each field of a rule says to them.

The files are written by tests/vectors/make_rules.py, whose verdicts come from the standards and from what the policy
means. Each conversation is judged unit by unit, as stream.py and answers.py do it.
"""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from conduitfw.flow import Flow, FlowTable
from conduitfw.inspection import Findings
from conduitfw.packet import TCP
from conduitfw.policy.compile import Channel, Tables, compile_policy
from conduitfw.policy.ledger import SIZE, Ledger
from conduitfw.policy.schema import INSPECTED_ONLY, RULE, TAG
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Malformed, Reason
from tests.policy.text import GOOD, load, told

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = {path.stem: path for path in sorted((VECTORS / "rules").glob("*.yaml"))}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
READ: dict[str, dict[str, Any]] = {name: yaml.load(path.read_text(), _LOADER) for name, path in FILES.items()}


def _title(name: str, case: dict[str, Any]) -> str:
    return f"{name}: {case['field']}: {case['name']}"


CASES = [pytest.param(name, case, id=_title(name, case)) for name, file in READ.items() for case in file["cases"]]
BY_CODE = {reason.code: reason for reason in Reason}
NOTHING_WRITTEN = bytes(SIZE)
BEGINNING = 1000.0  # of a case, on the clock that the engine reads

ADDRESSES = {
    "hmi-1": "10.10.0.11",
    "ews-a": "10.10.0.20",
    "plc-b": "10.20.0.5",
    "gateway": "10.20.0.6",
    "rtu-7": "10.20.0.9",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(rules, tags) -> the compiled policy: the good one's zones, with these tags and these rules alone."""
    folder = tmp_path_factory.mktemp("policies")

    @functools.cache
    def compiled(rules: tuple[str, ...], tags: str) -> Tables:
        zones, conduits = GOOD.split("conduits:\n")
        named = "tags:\n" + "".join(f"  {line}\n" for line in tags.splitlines()) if tags else ""
        listed = "".join(f"      - {rule}\n" for rule in rules)
        loaded = load(folder, f"{zones}{named}conduits:\n{conduits.split('    rules:')[0]}    rules:\n{listed}")
        assert not told(loaded)
        assert loaded.policy is not None
        return compile_policy(loaded.policy)

    return compiled


class Conversation:
    """One flow and what is remembered of it; with `recorded`, nothing but what the records hold from step to step."""

    def __init__(self, compiled: Tables, name: str, ends: tuple[str, str], recorded: bool) -> None:
        protocol = PROTOCOLS[name]
        client, server = (ip_address(ADDRESSES[end]).packed for end in ends)
        found = compiled.channel(TCP, client, server, protocol.port)
        assert found is not None
        self._channel: Channel = found
        self._protocol = protocol
        self._recorded = recorded
        self._book_memory, self._flow_memory = bytearray(SIZE), bytearray(FlowTable.memory_size(1))
        self._book = Ledger(self._book_memory)
        self._table = FlowTable(self._flow_memory)
        key = client + server + (40000).to_bytes(2, "big") + protocol.port.to_bytes(2, "big")
        flow = self._table.create(key, TCP, BEGINNING)
        assert flow is not None
        self._flow: Flow = flow
        flow.channel, flow.session = found, protocol.session(found.lenient)

    def step(self, data: bytes, from_client: bool, now: float) -> tuple[Reason | None, str]:
        """Why these octets do not go on, and what about them; None where they do."""
        flow = self._flow
        assert flow.session is not None
        findings = Findings(self._book, now)
        at = 0
        while at < len(data):
            try:
                size = self._protocol.frame(data, at, len(data))
            except Malformed as malformed:
                findings.deny(malformed.reason)
                break
            assert 0 < size <= len(data) - at, "the step is no whole unit"
            unit = flow.session.inspect(data, at, at + size, from_client)
            if not findings.judge(flow, unit):
                break
            assert not from_client or flow.session.may_go(unit, self._channel.outstanding), "it would have to wait"
            findings.sent(flow, unit)
            at += size
        if self._recorded:
            self._reopen()
        return findings.reason, findings.detail

    def _reopen(self) -> None:
        """A successor of the worker goes on from the memories."""
        self._table.save(self._flow)
        self._table = FlowTable(self._flow_memory)
        (self._flow,) = self._table
        self._flow.channel = self._channel
        self._flow.session = self._protocol.session(self._channel.lenient)
        self._flow.session.restore(self._flow.session_bytes)
        if self._book_memory != NOTHING_WRITTEN:  # else a new one is like the one at hand
            self._book = Ledger(self._book_memory)


@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("recorded", [False, True], ids=["", "through the record"])
def test_rule(name: str, case: dict[str, Any], recorded: bool, tables: Any) -> None:
    conversation = Conversation(
        tables(tuple(case["rules"]), case.get("tags", "")), name, tuple(case["between"]), recorded
    )
    for number, step in enumerate(case["steps"], 1):
        data, now = bytes.fromhex(step["hex"]), BEGINNING + step.get("at", 0.0)
        reason, detail = conversation.step(data, step["from"] == "client", now)
        said = ("allow", None) if reason is None else ("deny", reason.code)
        assert said == (step["verdict"], step["reason"]), f"step {number}, {step['from']}: {detail}"
        assert step.get("detail", "") in detail, f"step {number}"


# Fields that say who speaks, and how; they limit nothing that a request does. Every other one has vectors.
ENDS = frozenset(("name", "allow", "clients", "servers", "port", "transport", "description"))
PACE = frozenset(("outstanding", "transaction_timeout", "responses"))  # tests/pipeline


def limiting(protocol: str) -> list[str]:
    """The fields of such a rule that limit what passes, and those of a tag."""
    fields = [
        key
        for key, field in RULE.items()
        if not field.later
        and key not in ENDS | PACE
        and (not INSPECTED_ONLY.get(key) or protocol in INSPECTED_ONLY[key])
    ]
    return [*fields, *(key for key in TAG if key.startswith(("min", "max")))]


@pytest.mark.parametrize(
    ("protocol", "field"), [(protocol, field) for protocol in PROTOCOLS for field in limiting(protocol)]
)
def test_every_field_has_vectors_of_both_directions(protocol: str, field: str) -> None:
    """Allowed, denied and malformed: a field without them is a check that nobody has seen hold, or fail."""
    steps = [step for case in READ[protocol]["cases"] if case["field"] == field for step in case["steps"]]
    seen = {(step["from"], _kind(step)) for step in steps}
    assert {
        (side, kind) for side in ("client", "server") for kind in ("allowed", "denied", "malformed")
    } - seen == set()


def _kind(step: dict[str, Any]) -> str:
    if step["verdict"] == "allow":
        return "allowed"
    return "malformed" if BY_CODE[step["reason"]].malformed else "denied"


def test_names_are_told_once() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FILES)
def test_files_are_what_the_generator_writes(name: str) -> None:
    others = [f"{each} {known}" for each, known in READ[name]["encoders"].items() if _installed(each) != known]
    if others:
        pytest.skip(f"the file was written with {', '.join(others)}")
    assert _written()[f"{name}.yaml"] == FILES[name].read_text()


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@functools.cache
def _written() -> dict[str, str]:
    from tests.vectors.make_rules import texts  # its encoders are slow to import

    return texts()


def test_the_encoders_are_not_ours() -> None:
    """Octets and verdicts that came from the code itself would agree with whatever it does."""
    for path in VECTORS.glob("*.py"):
        assert "conduitfw" not in path.read_text(), path.name
