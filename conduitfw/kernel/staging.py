"""What a new ruleset asks for and the kernel does not have yet, brought in beforehand, piece by piece.

The kernel takes a transaction at one go, and lets nobody else run on that core: ten thousand elements in the one that
swaps the rules are packets that wait for some ten milliseconds. Sets that no rule asks for decide nothing, so they may
be there before, and the swap is short (docs/decisions/0004-reload.md).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator

from conduitfw.kernel import nft


class Staging:
    """One `nft` after the other, while the caller does something else."""

    def __init__(self, names: Iterable[str], pieces: Iterator[str]) -> None:
        """`names`: of the sets that are there when all `pieces` are."""
        self.names = frozenset(names)
        self.done = False  # whether all of it is there
        self.pids: set[int] = set()  # of all that it has run: what they changed nobody else did
        self._pieces = pieces
        self._running: subprocess.Popen[str] | None = None

    def step(self) -> bool:
        """Whether there is nothing left to do: all is there, or a piece was refused, and no other is tried.

        Raises nothing: whoever installs finds out what is wrong.
        """
        if self._running is not None:
            code = self._running.poll()
            if code is None:
                return False
            self._running = None
            if code:
                return True
        piece = next(self._pieces, None)
        if piece is None:
            self.done = True
            return True
        try:
            with os.fdopen(os.memfd_create("conduitfw-piece"), "w+") as file:
                file.write(piece)
                file.seek(0)
                self._running = nft.start(["nft", "-f", "-"], stdin=file, stderr=subprocess.DEVNULL)
        except OSError:
            return True
        self.pids.add(self._running.pid)
        return False

    def cancel(self) -> None:
        """No more of it. What is there stays, until the next ruleset takes it out."""
        self._pieces = iter(())
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None
