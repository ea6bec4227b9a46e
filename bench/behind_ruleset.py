"""`python -m bench.behind_ruleset POLICY PROGRAM`: load the policy's ruleset, and become PROGRAM on its queue.

So that what the ruleset costs is told apart from what the engine costs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conduitfw.kernel import marks, nft
from conduitfw.kernel.ruleset import BRIDGE, render
from conduitfw.policy.load import load_policy


def main() -> None:
    loaded = load_policy([Path(sys.argv[1])])
    assert loaded.policy is not None, loaded.problems
    shape = nft.shape_of_host(BRIDGE, marks.DEFAULT_QUEUE_BASE)
    nft.install(render(loaded.policy, shape), shape)
    os.execv(sys.argv[2], [sys.argv[2], str(shape.queue_base + marks.QUEUE_CLOSED), hex(marks.VERDICT)])  # noqa: S606


if __name__ == "__main__":
    main()
