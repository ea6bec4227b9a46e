"""The firewall between real peers: one set of zones for each module of tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduitfw.demo.show import POLICY, Firewall, Stage, staged


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found


@pytest.fixture(scope="module")
def firewall(stage: Stage) -> Firewall:
    """The firewall with the example policy, for all tests of a module."""
    return Firewall(stage.network, stage.folder, POLICY)


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Callable[..., Firewall]]:
    """start(text) runs the firewall with a policy of its own, for one test; at its end the ruleset goes, too."""
    with ExitStack() as stack:

        def begin(text: str, *options: str) -> Firewall:
            policy = tmp_path / "policy.yaml"
            policy.write_text(text)
            running = Firewall(stage.network, tmp_path, policy, "--remove-on-exit", *options)

            def end() -> None:
                running.command("stop")
                if running.process.poll() is None:
                    running.process.terminate()
                running.process.wait(10)

            stack.callback(end)
            return running

        yield begin
    shutil.rmtree(tmp_path, ignore_errors=True)
