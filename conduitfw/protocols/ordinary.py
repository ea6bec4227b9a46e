"""What a session can say of the plainest units at once, without reading them as `Session.inspect` does.

A request here is one that conforms and only reads, or only confirms an answer, while nothing is under way; its answer
is the one that fits. Whatever else a unit may be, the answer is "no", and it is read as any other. What is said here
must be what `inspect`, `may_go` and `commit` together say and do: tests/pipeline/test_ordinary.py holds the two against
each other.
"""

from __future__ import annotations


class OrdinarySession:
    """The part of a protocol's session for ordinary units; a protocol without any leaves it as it is."""

    __slots__ = ()

    def asks(self, data: bytes, at: int, end: int) -> int:
        """What data[at:end] asks for, if it is one ordinary request and may go on as far as the session says.

        The number stands for its address and function (`named`); -1 where it is not. Changes nothing.
        """
        return -1

    def named(self, number: int) -> tuple[tuple[int, ...], int]:
        """Address (as in Unit.address) and function of such a number."""
        raise NotImplementedError

    def asked(self, data: bytes, at: int, end: int, now: float) -> None:
        """The request, of which `asks` said so, was sent on at `now` (seconds)."""

    def answers(self, data: bytes, at: int, end: int) -> bool:
        """Whether data[at:end] is one ordinary answer to the only request that waits. Changes nothing."""
        return False

    def answered(self, now: float) -> None:
        """The answer, of which `answers` said so just now, was sent on."""

    def pack(self) -> bytes:
        """As Session.pack."""
        raise NotImplementedError
