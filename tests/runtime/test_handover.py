"""What an older program's handover says is understood, or passed over."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from conduitfw.runtime import handover
from conduitfw.runtime.child import is_alive
from conduitfw.runtime.messages import pair


def test_a_guard_of_a_process_goes_before_ours_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the name that ours will have: after an exec the process id is the same."""
    read, pipe = os.pipe()
    owner = subprocess.Popen(["cat"], stdin=read)
    os.close(read)
    ends = pair()
    queue, memory, listener, *notices = (os.dup(ends[0].fileno()) for _ in range(5))
    left = {"pid": os.getpid(), "layout": 1, "version": "0.0.9", "queues": {"6200": queue}, "memories": {"m": memory}}
    left |= {"listener": listener, "notices": notices, "guard": [owner.pid, pipe], "something": "else"}
    monkeypatch.setenv(handover.VARIABLE, json.dumps(left))
    found = handover.inherited()
    assert found is not None and found.queues == {6200: queue} and found.owned.descriptor == -1
    assert not is_alive(owner.pid)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe)
    assert handover.inherited() is None  # once
    owner.returncode = 0  # it has been waited for
    for each in (queue, memory, listener, *notices):
        os.close(each)
    for end in ends:
        end.close()
