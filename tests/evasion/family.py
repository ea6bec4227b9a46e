"""The requests that a shape is filled with. What TCP allows is the same for Modbus and DNP3, so its rows are, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.evasion.link import request, whole
from tests.evasion.steps import Case, Send, Step
from tests.pipeline.modbus_units import forbidden, read

Shape = Callable[[bytes], list[Step]]
CLASS_0 = b"\x3c\x01\x06"
ENABLE_UNSOLICITED = 20


def pieces(data: bytes, *cuts: int) -> list[Step]:
    """Segments that are cut there."""
    edges = [0, *cuts, len(data)]
    return [Send(data[first:last]) for first, last in pairwise(edges)]


@dataclass(frozen=True)
class Family:
    """A forbidden request and allowed ones of the same length."""

    protocol: str
    forbidden: bytes
    allowed: bytes  # its twin, which differs in the function, and what follows it
    first: bytes  # another allowed one
    function_at: int  # where the function code stands
    codes: tuple[int, int]  # function codes: the forbidden one's, the allowed one's
    many: Callable[[int], bytes]  # an allowed one with a number of its own
    fewer: dict[str, str] = field(default_factory=dict)  # servers that take several requests of a segment for fewer
    often: frozenset[str] | None = None  # names of rows that run on the bridge in every test run; None: as they say

    @property
    def length(self) -> int:
        return len(self.forbidden)

    def times(self, count: int) -> tuple[int, ...]:
        """That many allowed requests, executed."""
        return (self.codes[1],) * count

    def case(self, name: str, group: str, steps: list[Step], control: list[Step] | None, **more: object) -> Case:
        values: dict[str, object] = {
            "protocol": self.protocol, "forbidden": frozenset((self.codes[0],)), "expects": self.times(1), **more,
        }  # fmt: skip
        if self.often is not None:
            values["often"] = name in self.often
            group = f"{group}, DNP3"
        return Case(name, group, steps, control, **values)  # type: ignore[arg-type]

    def pair(self, name: str, group: str, shape: Shape, **more: object) -> Case:
        """The same shape around the forbidden and around the allowed request."""
        return self.case(name, group, shape(self.forbidden), shape(self.allowed), **more)

    def only(self, name: str, group: str, steps: list[Step], note: str, **more: object) -> Case:
        """No honest client does this: there is no control."""
        return self.case(name, group, steps, None, note=note, **more)


ONE_READ = {"libmodbus, one read one request": "takes two requests in one read for one"}
FIRST_ONLY = {**ONE_READ, "pymodbus": "answers only the first request of a read"}
MODBUS = Family("modbus", forbidden(9), read(9), read(1), 7, (6, 3), read, FIRST_ONLY)
DNP3 = Family(
    "dnp3",
    whole(request(ENABLE_UNSOLICITED, CLASS_0, 9)),
    whole(request(1, CLASS_0, 9)),
    whole(request(1, CLASS_0, 1)),
    12,
    (ENABLE_UNSOLICITED, 1),
    lambda number: whole(request(1, CLASS_0, number % 16)),
    often=frozenset(("one byte a segment", "cut at 12", "twice, in one go", "with the FIN", "on the third packet")),
)
assert len(MODBUS.forbidden) == len(MODBUS.allowed) == len(MODBUS.first)
assert len(DNP3.forbidden) == len(DNP3.allowed) == len(DNP3.first)
