"""What all tests share: the root-only ones skip elsewhere, and the end says how many ran."""

from __future__ import annotations

import os
import shutil

import pytest

_PROGRAMS = ("ip", "nft", "iptables-nft", "ip6tables-nft", "mbpoll", "sysctl")


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root"
    lacking = [
        name for name in _PROGRAMS if shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None
    ]
    return f"needs {', '.join(lacking)}" if lacking else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _missing()
    if not reason:
        return
    for item in items:
        if item.get_closest_marker("system") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stats = terminalreporter.stats
    ran = len(stats.get("passed", ())) + len(stats.get("failed", ()))
    terminalreporter.write_line(f"ran {ran} tests, skipped {len(stats.get('skipped', ()))}")
