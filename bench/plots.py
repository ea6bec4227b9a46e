"""Plots of one run, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

# The same run gives the same file.
matplotlib.rcParams["svg.hashsalt"] = "conduitfw"


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """Latency, throughput, cost of decisions and how it grows; the files' paths."""
    made = []
    if "bridge" in found:
        made += [_histogram(found["bridge"]["ways"], folder), _throughput(found["bridge"]["ways"], folder)]
    if "scaling" in found:
        made.append(_scaling(found["scaling"], folder))
    return made


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _histogram(ways: dict[str, Any], folder: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, way in ways.items():
        total = sum(count for _, count in way["histogram"])
        axes.step(
            [edge for edge, _ in way["histogram"]],
            [count / total for _, count in way["histogram"]],
            where="post",
            label=name,
        )
    axes.set(xscale="log", yscale="log", xlabel="round trip of a poll, us", ylabel="share of polls")
    axes.legend()
    return _save(figure, folder / "latency.svg")


def _throughput(ways: dict[str, Any], folder: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 3))
    names = list(ways)[::-1]
    axes.barh(names, [ways[name]["throughput per_second"] for name in names])
    axes.set(xlabel="polls a second over 32 connections")
    return _save(figure, folder / "throughput.svg")


def _scaling(scaling: dict[str, dict[str, dict[str, float]]], folder: Path) -> Path:
    figure, axes = plt.subplots(1, len(scaling), figsize=(12, 4), sharey=True)
    for each, (what, steps) in zip(axes, scaling.items(), strict=True):
        for kind in ("modbus request", "modbus answer", "dnp3 request", "dnp3 answer"):
            each.plot(
                [int(step) for step in steps], [step[kind] / 1000 for step in steps.values()], marker="o", label=kind
            )
        each.set(xscale="log", xlabel=what, ylim=(0, None))
    axes[0].set(ylabel="decision, us")
    axes[0].legend()
    return _save(figure, folder / "scaling.svg")
