"""`conduitfw boot` stands before the network: it loads little, and nothing that could fail on a policy's text."""

from __future__ import annotations

import subprocess
import sys

_LOADED = "import sys, conduitfw.cli.boot; print(*sys.modules)"


def test_it_reads_no_yaml_and_knows_no_protocol() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "conduitfw.runtime.boot" in loaded
    for module in ("yaml", "msgspec", "asyncio", "conduitfw.policy.load", "conduitfw.protocols.registry"):
        assert module not in loaded
