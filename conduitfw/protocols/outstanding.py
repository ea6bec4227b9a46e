"""How many requests may be under way at a time: the same for every protocol (tcp-rules.md, 6)."""

from __future__ import annotations

from collections.abc import Iterable


def may_join(waiting: Iterable[bool], carries_data: bool, limit: int) -> bool:
    """Whether one more request may go on beside those that wait for their answers.

    `waiting`: for each of them, whether it carries data of the client's choice. Such a request goes alone:
    a server that reads late might take its data for a request. Others go up to `limit`.
    """
    count = 0
    for carries in waiting:
        if carries:
            return False
        count += 1
    return count == 0 if carries_data else count < limit
