"""Events as Elastic Common Schema documents (ECS 8.11); what ECS has no field for stands under `conduitfw`.

`source` and `destination` are the packet's own, so a denied answer has the server as its source. The
reason's code is in `event.code`, its sentence in `event.reason`.
"""

from __future__ import annotations

import datetime
import platform
import time
from ipaddress import ip_address
from typing import Any

from conduitfw import __version__
from conduitfw.protocols import Remark
from conduitfw.protocols.registry import PROTOCOLS
from conduitfw.reasons import Reason
from conduitfw.runtime.messages import EngineKind, EngineNotice, FlowNotice, Message

ECS_VERSION = "8.11.0"
_TRANSPORTS = {6: "tcp", 17: "udp"}
_REASONS = {reason.code: reason for reason in Reason}

REMARKS = {
    Remark.LATE.value: "An answer came when its request had been given up. It passed.",
    Remark.OTHER_UNIT.value: "An answer has another unit id than its request. It passed: `responses: lenient`.",
    Remark.UNMATCHED.value: "An answer of a session whose beginning nobody saw matches no request. It passed.",
}
# EngineNotice.kind -> event.kind, category, type, severity (RFC 5424), and a sentence for people.
ENGINE: dict[EngineKind, tuple[str, str, str, int, str]] = {
    EngineKind.ENGINE_START: ("event", "process", "start", 5, "The firewall has started."),
    EngineKind.ENGINE_STOP: (
        "event",
        "process",
        "end",
        5,
        "The firewall is stopping: each conduit is left as its `fail` says.",
    ),
    EngineKind.ENGINE_UPGRADE: ("event", "process", "change", 5, "A new program has taken over; sessions went on."),
    EngineKind.ENGINE_ERROR: ("alert", "process", "error", 3, "The engine failed on a packet, which was dropped."),
    EngineKind.ENGINE_BACK: ("event", "process", "start", 5, "A worker lives again: conduits are enforced."),
    EngineKind.NO_ENGINE: (
        "alert",
        "process",
        "error",
        1,
        "No worker can be kept alive: each conduit is as its `fail` says.",
    ),
    EngineKind.WORKER_DEATH: ("alert", "process", "end", 3, "A worker died; another takes its place."),
    EngineKind.WORKER_SILENT: ("alert", "process", "error", 3, "A worker gave no sign of life and is killed."),
    EngineKind.CONTROL_DEATH: ("event", "process", "end", 4, "The control process died and is started again."),
    EngineKind.EVENT_LOOP: ("event", "process", "info", 6, "uvloop is not installed: the standard event loop is used."),
    EngineKind.POLICY_CHANGE: ("event", "configuration", "change", 5, "A new policy is in force."),
    EngineKind.POLICY_REFUSED: ("event", "configuration", "denied", 4, "A new policy was refused; the old one stays."),
    EngineKind.POLICY_CONFIRMED: ("event", "configuration", "change", 5, "The policy in force was confirmed."),
    EngineKind.POLICY_WENT_BACK: (
        "alert",
        "configuration",
        "change",
        4,
        "The policy before is in force again: the new one was not confirmed in time, or was taken back.",
    ),
    EngineKind.POLICY_FALLBACK: (
        "alert",
        "configuration",
        "error",
        3,
        "The last good policy is in force, not the one that was asked for.",
    ),
    EngineKind.POLICY_NOT_KEPT: (
        "alert",
        "configuration",
        "error",
        4,
        "What a rollback and the next boot need could not be written to the state directory.",
    ),
    EngineKind.RULESET_FAILED: ("alert", "configuration", "error", 2, "The kernel refused a ruleset."),
    EngineKind.OVERLOAD: (
        "alert",
        "network",
        "error",
        3,
        "More comes than the engine decides: closed conduits drop what finds no room, static ones pass it.",
    ),
    EngineKind.OVERLOAD_OVER: ("event", "network", "info", 5, "The queue is short again."),
    EngineKind.QUARANTINE: (
        "alert",
        "intrusion_detection",
        "denied",
        2,
        "Workers died again and again of what two ends send: what begins a session there is dropped for a while.",
    ),
    EngineKind.RULESET_RESTORED: (
        "alert",
        "configuration",
        "change",
        2,
        "Somebody changed the ruleset or what leads to the queue; it was loaded again.",
    ),
    EngineKind.EVENTS_LOST: ("event", "process", "error", 4, "Events were lost on their way here; verdicts were not."),
}


def stamp(monotonic: float) -> str:
    """A time of CLOCK_MONOTONIC as ISO 8601 in UTC."""
    seconds = time.time() - time.monotonic() + monotonic
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def document(message: Message) -> dict[str, Any]:
    """The event as a document ready for JSON."""
    if isinstance(message, FlowNotice):
        return _flow(message)
    return _engine(message)


def repeated(message: FlowNotice, count: int, first: float) -> dict[str, Any]:
    """What stands for `count` more denials like one that was written, the last of them `message`."""
    found = _flow(message)
    found["event"]["start"] = stamp(first)
    found["event"]["end"] = stamp(message.time)
    found["conduitfw"]["repeated"] = count
    return found


def _frame(when: float, level: str) -> dict[str, Any]:
    return {
        "@timestamp": stamp(when),
        "ecs": {"version": ECS_VERSION},
        "log": {"level": level},
        "observer": {
            "name": platform.node(),
            "product": "conduitfw",
            "type": "firewall",
            "vendor": "conduitfw",
            "version": __version__,
        },
    }


def _flow(notice: FlowNotice) -> dict[str, Any]:
    denied = notice.kind == "denied"
    found = _frame(notice.time, "warning" if denied else "info")
    event: dict[str, Any] = {
        "kind": "alert" if denied and not notice.monitor else "event",
        "category": ["network"],
        "module": "conduitfw",
        "dataset": "conduitfw.denials" if denied else "conduitfw.flows",
        "severity": 4 if denied else 6,
    }
    if denied:
        # A conduit that only watches lets it pass: the event says what would have been.
        event["type"] = ["connection", "info" if notice.monitor else "denied"]
        event["action"] = "would-deny" if notice.monitor else notice.action
        event["outcome"] = "unknown" if notice.monitor else "failure"
        event["code"] = notice.reason
        reason = _REASONS.get(notice.reason)
        event["reason"] = reason.told(notice.detail) if reason is not None else notice.reason
    elif notice.kind == "remark":
        event["type"] = ["connection", "info"]
        event["action"] = notice.action
        event["outcome"] = "success"
        event["reason"] = REMARKS[notice.action]
    else:
        event["type"] = ["connection", "start" if notice.kind == "flow-start" else "end"]
        event["action"] = notice.kind
        event["outcome"] = "success"
    client = {"ip": notice.client, "port": notice.client_port}
    server = {"ip": notice.server, "port": notice.server_port}
    own: dict[str, Any] = {
        "conduit": notice.conduit,
        "mode": "monitor" if notice.monitor else "enforce",
        "direction": "from-client" if notice.from_client else "from-server",
        "zones": {"from": notice.zones[0], "to": notice.zones[1]},
    }
    if notice.detail:
        own["detail"] = notice.detail
    if notice.unit:
        address = _address(notice)
        described = {name: value for name, value in notice.described.items() if name not in address}
        function, name = described.pop("function", None), described.pop("name", "")
        own["unit"] = {"kind": notice.unit, "address": address, **described}
        if function is not None:
            own["unit"]["function"] = {"code": function, "name": name}
    found["event"] = event
    found["source"], found["destination"] = (client, server) if notice.from_client else (server, client)
    found["network"] = {
        "transport": _TRANSPORTS.get(notice.transport, str(notice.transport)),
        "type": f"ipv{ip_address(notice.client).version}",
    }
    if notice.protocol:
        found["network"]["protocol"] = notice.protocol
    found["rule"] = {"ruleset": notice.conduit}
    if notice.rule:
        found["rule"]["name"] = notice.rule
    found["conduitfw"] = own
    return found


def _address(notice: FlowNotice) -> dict[str, int]:
    """The unit's address by the names that its protocol gives to the parts."""
    protocol = PROTOCOLS.get(notice.protocol)
    names = [field.name for field in protocol.address_fields] if protocol is not None else []
    return dict(zip(names, notice.address, strict=False))


def _engine(notice: EngineNotice) -> dict[str, Any]:
    kind, category, type_, severity, sentence = ENGINE[notice.kind]
    level = "error" if severity <= 3 else "warning" if severity == 4 else "info"
    found = _frame(notice.time, level)
    found["message"] = sentence
    found["event"] = {
        "kind": kind,
        "category": [category],
        "type": [type_],
        "action": notice.kind.value,
        "outcome": "failure" if severity <= 4 else "success",
        "module": "conduitfw",
        "dataset": "conduitfw.engine",
        "severity": severity,
    }
    found["conduitfw"] = {"engine": notice.detail}
    return found
