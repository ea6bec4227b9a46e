"""A capture through the pipeline: what the policy says of every packet in it.

The packets were recorded elsewhere, so nothing that conduitfw would have done happened to them: a
session goes on behind a denial, and one that had begun before the capture is picked up where it is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from conduitfw.flow import FlowTable
from conduitfw.observe.capture import CaptureError, Datagram, datagrams, read_capture
from conduitfw.outcome import Outcome, Verdict
from conduitfw.packet import TCP, UDP, decode
from conduitfw.policy.compile import Tables
from conduitfw.policy.kernel_view import KernelView
from conduitfw.reasons import Malformed, Reason
from conduitfw.verdict import Pipeline

MAX_FLOWS = 16384
ARP = 0x0806
IPV4, IPV6 = 0x0800, 0x86DD
_TRANSPORTS = {1: "icmp", TCP: "tcp", UDP: "udp", 58: "icmp"}


@dataclass(frozen=True)
class Line:
    """One packet of the capture. `units` as the protocol describes them; `rule` None where none was asked."""

    packet: int
    time: float  # seconds since 1970
    source: str
    source_port: int | None
    destination: str
    destination_port: int | None
    verdict: Verdict
    rule: str | None
    conduit: str | None
    reason: Reason | None
    detail: str  # what the reason is about in this very packet
    units: list[dict[str, object]]

    def as_json(self) -> dict[str, object]:
        """The line as `replay --json` prints it."""
        return {
            "packet": self.packet,
            "time": self.time,
            "src": self.source,
            "src_port": self.source_port,
            "dst": self.destination,
            "dst_port": self.destination_port,
            "verdict": self.verdict.value,
            "rule": self.rule,
            "conduit": self.conduit,
            "reason": self.reason.code if self.reason is not None else None,
            "detail": self.detail or None,
            "units": self.units,
        }


@dataclass
class Summary:
    """Counts over a capture."""

    packets: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)  # by protocol
    functions: dict[str, Counter[int]] = field(default_factory=dict)  # by protocol, then by number

    def add(self, line: Line) -> None:
        """Count a line."""
        self.packets += 1
        self.verdicts[line.verdict.value] += 1
        if line.reason is not None:
            self.reasons[line.reason.code] += 1
        if line.rule is not None:
            self.rules[line.rule] += 1
        for unit in line.units:
            protocol = str(unit["protocol"])
            self.units[protocol] += 1
            function = unit.get("function")
            if isinstance(function, int):
                self.functions.setdefault(protocol, Counter())[function] += 1

    def as_json(self) -> dict[str, object]:
        """The counts as the last line of `replay --json` prints them."""
        return {
            "packets": self.packets,
            "verdicts": dict(sorted(self.verdicts.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "rules": dict(sorted(self.rules.items())),
            "units": dict(sorted(self.units.items())),
            "functions": {
                name: {str(number): count for number, count in sorted(counts.items())}
                for name, counts in sorted(self.functions.items())
            },
        }


def replay(path: Path, tables: Tables, *, any_protocol: bool = False) -> Iterator[Line]:
    """Decide every packet of the capture at `path`, in order.

    With `any_protocol` (and tables that allow everything) units are listed and only malformed ones
    denied. Raises CaptureError where the file is damaged, behind the lines of what stands before.
    """
    unchecked = _senders_without_checksums(path)
    pipeline = Pipeline(
        tables,
        FlowTable(bytearray(FlowTable.memory_size(MAX_FLOWS)), MAX_FLOWS),
        lambda notice: None,
        capture=True,
        any_protocol=any_protocol,
    )
    view = None if any_protocol else KernelView(tables.policy)
    latest = 0.0
    for frame in read_capture(path):
        latest = max(latest, frame.time)
        datagram = datagrams(frame)
        if datagram is None or datagram.ethertype not in (IPV4, IPV6):
            yield _other_line(frame.number, frame.time, datagram, view)
            continue
        outcome = pipeline.decide(datagram.data, latest, verify_checksums=_addresses(datagram.data)[0] not in unchecked)
        yield _line(frame.number, frame.time, datagram.data, outcome, view)


def _senders_without_checksums(path: Path) -> frozenset[bytes]:
    """The senders whose TCP and UDP checksums are all wrong: they left them to their network card."""
    right: set[bytes] = set()
    wrong: set[bytes] = set()
    with contextlib.suppress(CaptureError):  # told by the pass that prints
        for frame in read_capture(path):
            datagram = datagrams(frame)
            if datagram is None or datagram.ethertype not in (IPV4, IPV6):
                continue
            try:
                right.add(decode(datagram.data).source)
            except Malformed as malformed:
                if malformed.reason is Reason.BAD_CHECKSUM:
                    wrong.add(_addresses(datagram.data)[0])
    return frozenset(wrong - right)


def _addresses(data: bytes) -> tuple[bytes, bytes]:
    if len(data) >= 20 and data[0] >> 4 == 4:
        return data[12:16], data[16:20]
    if len(data) >= 40 and data[0] >> 4 == 6:
        return data[8:24], data[24:40]
    return b"", b""


def _line(number: int, time: float, data: bytes, outcome: Outcome, view: KernelView | None) -> Line:
    source, destination = _addresses(data)
    ports: tuple[int | None, int | None] = (None, None)
    transport = 0
    if source:
        version, at = (4, (data[0] & 0x0F) * 4) if len(source) == 4 else (6, 40)
        transport = data[9] if version == 4 else data[6]
        if transport in (TCP, UDP) and len(data) >= at + 4:
            ports = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
    verdict, reason, rule, conduit = outcome.verdict, outcome.reason, None, None
    if outcome.rule is not None:
        rule, conduit = outcome.rule.name, outcome.rule.conduit
    if reason in (Reason.NO_CONDUIT, Reason.NOT_INSPECTED):
        # Not the engine's: the kernel decides it, live as here.
        found = None
        if view is not None and source and transport in _TRANSPORTS:
            ends = ip_address(source), ip_address(destination)
            found = view.rule(_TRANSPORTS[transport], *ends, ports[0] or 0, ports[1] or 0)
        if found is not None:
            verdict, reason, rule, conduit = Verdict.ACCEPT, None, found.name, found.conduit
        else:
            reason = Reason.NO_CONDUIT
    if view is None and reason is not None and not reason.malformed:
        verdict, reason = Verdict.ACCEPT, None
    units: list[dict[str, object]] = []
    if outcome.protocol is not None:
        for unit in outcome.units:
            described: dict[str, object] = {"protocol": outcome.protocol.name, "kind": unit.kind.value}
            described.update(outcome.protocol.describe(unit))
            if unit.reason is not None and (view is not None or unit.reason.malformed):
                described["reason"] = unit.reason.code
            units.append(described)
    return Line(
        number,
        time,
        str(ip_address(source)) if source else "",
        ports[0],
        str(ip_address(destination)) if destination else "",
        ports[1],
        verdict,
        rule,
        conduit,
        reason,
        outcome.detail if reason is outcome.reason else "",
        units,
    )


def _other_line(number: int, time: float, datagram: Datagram | None, view: KernelView | None) -> Line:
    """A frame that is not IP: ARP passes between zones that share a conduit, nothing else does."""
    source = destination = ""
    allowed = view is None
    if datagram is not None and datagram.ethertype == ARP and len(datagram.data) >= 28:
        ends = ip_address(datagram.data[14:18]), ip_address(datagram.data[24:28])
        source, destination = str(ends[0]), str(ends[1])
        allowed = view is None or view.may_resolve(*ends)
    verdict = Verdict.ACCEPT if allowed else Verdict.DENY
    return Line(
        number,
        time,
        source,
        None,
        destination,
        None,
        verdict,
        None,
        None,
        None if allowed else Reason.NO_CONDUIT,
        "",
        [],
    )
