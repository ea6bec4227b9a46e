"""`status` as Prometheus text (exposition format 0.0.4), for node_exporter's textfile collector or a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_GAUGES = frozenset(
    ("flows", "flow_capacity", "flows_of_one_source", "flows_of_one_source_at_most", "octets_unacknowledged",
     "octets_kept", "tombstones", "waiting", "copy_range", "last_id", "longest", "now")
)  # fmt: skip


def prometheus(status: dict[str, Any]) -> str:
    """All figures of a `status` answer. Counters grow until the service restarts."""
    lines: list[str] = []
    _family(lines, "conduitfw_info", "gauge", [({"version": status["version"]}, 1)])
    _family(lines, "conduitfw_enforcing", "gauge", [({}, int(status["enforcing"]))])
    _family(
        lines,
        "conduitfw_conduit_enforcing",
        "gauge",
        [({"conduit": c["name"], "mode": c["mode"]}, int(c["state"] == "enforcing")) for c in status["conduits"]],
    )
    restarts = [({"place": str(worker["place"])}, int(worker["restarts"])) for worker in status["workers"]]
    _family(lines, "conduitfw_worker_restarts_total", "counter", restarts)
    for prefix, figures in (
        ("worker", status.get("worker_counters", {})),
        ("engine", status.get("engine_counters", {})),
        ("events", status.get("events", {})),
    ):
        for name, value in sorted(figures.items()):
            _number(lines, f"conduitfw_{prefix}_{name.replace('-', '_')}", name, [({}, value)])
    kernel = [({"rule": name}, each["packets"]) for name, each in sorted(status.get("kernel_counters", {}).items())]
    if kernel:
        _family(lines, "conduitfw_kernel_packets_total", "counter", kernel)
    overload = status.get("overload", [])
    for name in ("now", "times", "longest") if overload else ():
        samples = [({"queue": str(each["queue"])}, int(each[name])) for each in overload]
        _number(lines, f"conduitfw_overload_{name}", name, samples)
    queues = status.get("queue_counters", [])
    for name in sorted({name for queue in queues for name in queue} - {"queue"}):
        samples = [({"queue": str(queue["queue"])}, queue[name]) for queue in queues]
        _number(lines, f"conduitfw_queue_{name}", name, samples)
    return "\n".join(lines) + "\n"


def _number(lines: list[str], full: str, name: str, samples: Iterable[tuple[dict[str, str], int]]) -> None:
    if name in _GAUGES:
        _family(lines, full, "gauge", samples)
    else:
        _family(lines, full + "_total", "counter", samples)


def _family(lines: list[str], name: str, kind: str, samples: Iterable[tuple[dict[str, str], int]]) -> None:
    lines.append(f"# TYPE {name} {kind}")
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
