"""The contract between protocol parsers and the rest, and the registry of protocols.

A protocol is a module or folder here that defines one `Definition`. It is sans-IO: bytes in, units
out; it knows no sockets, no clocks (times are handed in) and no policy. Adding one is a new module,
a vector file, and a line in `registry.py`.

Two steps, so that a stream can hold back a cut unit without knowing the protocol:

1. `Definition.frame(data, start, end)` says how long the unit at `start` is;
2. `Session.inspect(...)` reads one whole unit in the light of the session so far and changes
   nothing; `Session.commit(unit, now)` is called once the unit has been sent on.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as _Protocol

from conduitfw.protocols.catalogue import Catalogue
from conduitfw.reasons import Reason

__all__ = ["UNSAID", "AddressField", "Asked", "Definition", "Encoding", "Item", "Kind", "Session", "Unit"]

UNSAID = -2  # in a question of `explain`: a number that may be anything


class Kind(enum.Enum):
    """What a unit is to the conversation."""

    REQUEST = "request"
    RESPONSE = "response"
    UNSOLICITED = "unsolicited"
    LINK = "link"


class Item:
    """Some points that a unit names: a range of a Modbus table, an object of DNP3 and its indexes."""

    __slots__ = ("code", "first", "last", "space", "values", "variation", "writes")

    def __init__(
        self,
        space: int,
        first: int,
        last: int,
        *,
        variation: int = 0,
        writes: bool = False,
        values: tuple[float, ...] | None = (),
        code: int = -1,
    ) -> None:
        self.space = space  # number in Definition.spaces
        self.variation = variation  # DNP3's, or the number of a Modbus file
        self.first = first  # address or index; UNSAID in a question that names none
        self.last = last  # inclusive. All points there are: 0 to Definition.last_point. first - 1: how many is UNSAID
        self.writes = writes
        # Raw, in the order of their addresses: bits, 16-bit registers, DNP3's numbers. () where this item
        # brings none; None where what it writes depends on what the device holds.
        self.values = values
        self.code = code  # DNP3: control code of a CROB; -1: none


@dataclass(frozen=True)
class Asked:
    """What a question of `explain` says of a request beside its function. What is not said may be anything."""

    space: int = UNSAID  # number in Definition.spaces, where the function does not say it already
    variation: int = UNSAID  # DNP3's, or the number of a Modbus file
    point: int = UNSAID  # address, index or record
    quantity: int = 0  # 0: unsaid
    values: tuple[float, ...] = ()  # raw
    code: int = -1  # DNP3: control code


class Remark(enum.Enum):
    """What is worth telling of an answer that passes (tcp-rules.md, 9 and 10)."""

    LATE = "late-answer"  # its request was given up
    OTHER_UNIT = "other-unit-answer"  # another unit id than the request's (`responses: lenient`)
    UNMATCHED = "unmatched-answer"  # of a session whose beginning nobody saw


# What the policy denies can be answered in the server's place (Definition.refusal); anything else ends the session.
# A session's record names one by its place here: new ones go to the end.
REFUSALS = (
    Reason.NO_RULE, Reason.NO_RULE_ADDRESS, Reason.SUB_FUNCTION, Reason.OBJECT, Reason.POINT, Reason.QUANTITY,
    Reason.CONTROL, Reason.VALUE, Reason.TAG_PART, Reason.TAG_LIMIT, Reason.TAG_STEP, Reason.TAG_UNSEEN,
    Reason.NOT_SELECTED, Reason.RATE,
)  # fmt: skip


class Unit:
    """One protocol unit: a Modbus ADU or a DNP3 link frame, as `Session.inspect` read it."""

    __slots__ = (
        "_items", "address", "also", "among", "answered", "asked_of", "begins", "carries_data", "complete", "detail",
        "function", "grant", "judged", "kind", "reason", "refused", "remark", "selected", "since", "size", "token",
    )  # fmt: skip

    def __init__(
        self,
        kind: Kind,
        function: int,
        address: tuple[int, ...],
        size: int,
        *,
        reason: Reason | None = None,
        judged: bool = True,
        complete: bool = True,
        carries_data: bool = False,
        answered: bool = True,
        also: int = -1,
        detail: int = -1,
        token: object = None,
    ) -> None:
        self.kind = kind
        # The number in the protocol's catalogue that rules name. A later frame of a DNP3 fragment
        # carries its fragment's function. -1 where none could be read.
        self.function = function
        # In the order of Definition.address_fields, the same for both directions:
        # Modbus (unit_id,), DNP3 (master, outstation).
        self.address = address
        self.size = size  # bytes on the wire
        # Set where the unit is not conforming or does not fit the session; it must not go on.
        self.reason = reason
        # False: the policy need not be asked (a response to a request that was allowed).
        self.judged = judged
        # False: a part of a message (a DNP3 frame without FIN) whose last part is still to come.
        self.complete = complete
        self.begins = True  # False: a later part of a message
        self.refused: Reason | None = None  # why a part of its message before it was taken out (Session.refuse)
        # The policy's own (Channel.decide): the rule that allowed it, and which of a part's rules still do.
        self.grant: object = None
        self.among = 0
        # tcp-rules.md 6: a request that carries data goes on only when nothing is unanswered.
        self.carries_data = carries_data
        self.answered = answered  # False: the server sends no answer to this request
        # A second function that a rule must name as well as `function` (-1: none). DNP3: how the frame
        # is carried, where that needs a rule of its own (confirmed user data).
        self.also = also
        self.detail = detail  # sub-function, a number in Definition.details[function]; -1: it has none
        # When the same objects were selected just before, in seconds; -1: they were not, or this operates nothing.
        self.selected = -1.0
        # A response's: when the request was sent that it answers beyond doubt, in seconds; -1: nobody can say.
        self.since = -1.0
        # Of the same: the server's part of the address that the request named, where the answer may have another.
        self.asked_of = -1
        self.remark: Remark | None = None
        self.token = token  # the session's own, between inspect and commit
        self._items: Sequence[Item] | None = None

    def items(self) -> Sequence[Item]:
        """The points that this unit names, read when they are asked for the first time."""
        if self._items is None:
            self._items = self._read_items()
        return self._items

    def _read_items(self) -> Sequence[Item]:
        return ()

    def outcome(self) -> Sequence[tuple[Item, bool]]:
        """Of a response: what its request was to change, and whether the server did.

        Values that an item brings are those that the server has now; one without them leaves them to the request.
        """
        return ()


class Session(_Protocol):
    """The protocol's memory of one flow. Its state is bounded and packs into a flow record."""

    def inspect(self, data: bytes, start: int, end: int, from_client: bool) -> Unit:
        """Read the whole unit in data[start:end] (as `frame` measured it). Changes no state.

        Never raises for hostile bytes: a unit that is malformed, or does not fit the session, has
        its `reason` set.
        """

    def may_go(self, unit: Unit, limit: int) -> bool:
        """Whether an allowed client unit may go on now (tcp-rules.md 6), or has to wait for answers.

        `limit` is the rule's `outstanding`: 1 counts every request alike.
        """

    def commit(self, unit: Unit, now: float) -> None:
        """The unit was sent on at `now` (seconds): remember it."""

    def refuse(self, unit: Unit, reason: Reason) -> None:
        """The unit was taken out, for one of REFUSALS: what its message still brings has to go the same way."""

    def abandon(self) -> None:
        """Nothing of what the client has begun and not ended goes on any more: a part of it was denied."""

    def overdue(self, now: float, timeout: float, *, all_late: bool = False) -> bool:
        """Whether a request that carries data has waited for its answer longer than `timeout` s.

        Others hold nobody up from then on; `all_late`: nor do these.
        """

    def accept_unknown(self) -> None:
        """Take answers that match nothing until the first request from now on is answered (midstream)."""

    def pack(self) -> bytes:
        """The state as at most `Definition.session_size` bytes."""

    def restore(self, data: bytes) -> None:
        """Set the state from `pack`'s bytes."""


@dataclass(frozen=True)
class AddressField:
    """One part of a unit's address, and the field of a policy rule that names it."""

    name: str  # of one value, as printed: "unit", "master", "outstation"
    rule_field: str  # in a rule: "units", "master", "outstation"
    asset_field: str | None  # an asset's default for it: "units", "link_address"; None: any
    asset_side: str  # whose asset: "server" or "client"
    lowest: int
    highest: int
    # A rule that names no value allows values up to this one; those above have to be named (DNP3:
    # broadcasts and the self-address). None: all.
    highest_unnamed: int | None = None


@dataclass(frozen=True)
class Encoding:
    """How raw values make one number: `width` of them, at addresses that follow each other."""

    name: str
    width: int
    lowest: float
    highest: float
    decode: Callable[[Sequence[float], bool], float]  # (raw, most significant first)
    encode: Callable[[float, bool], tuple[float, ...]]  # raises ValueError where the number does not fit


@dataclass(frozen=True, eq=False)
class Definition:
    """All that the rest of the house knows of a protocol. There is one of each: it is pickled as its name."""

    name: str  # in the policy: "modbus"
    title: str  # for people: "Modbus/TCP"
    port: int
    transports: tuple[str, ...]  # of "tcp", "udp"; the first is the default
    max_unit: int  # bytes
    session_size: int  # bytes that Session.pack gives at most
    transaction_timeout: float  # seconds, the default
    functions: Catalogue
    address_fields: tuple[AddressField, ...]
    # frame(data, start, end) -> the length in bytes of the unit that begins at start, which may
    # reach beyond end; 0 where more bytes are needed to tell. Raises Malformed as soon as the
    # bytes present cannot begin a unit.
    frame: Callable[[bytes, int, int], int]
    # session(lenient): lenient takes answers with another address (tcp-rules.md 10).
    session: Callable[[bool], Session]
    # refusal(data, start, end, unit, reason) -> what a server would say to this request of a client if it refused it
    # for this reason; b"" where it would say nothing (yet: a part of a message is answered with its last); None where
    # nobody but the server can answer.
    refusal: Callable[[bytes, int, int, Unit, Reason], bytes | None]
    # describe(unit) -> the fields of `units` in replay's JSON, after protocol and kind.
    describe: Callable[[Unit], dict[str, object]]
    # What a rule may limit: its keys in policy/schema.py.
    limits: frozenset[str]
    # What `Item.space` counts: tables, or object groups.
    spaces: Catalogue
    last_point: int  # the highest address or index
    # Functions of which it is known what they touch: `Unit.items`, or nothing. Of others, nobody can tell.
    addressed: frozenset[int]
    # Functions that change nothing: a rule's `at_most` does not count them.
    quiet: frozenset[int]
    # The value of the server's part of an address that is a broadcast to the slaves of a gateway, which nobody answers;
    # -1: none (MODBUS Messaging on TCP/IP V1.0b, 3.1.3).
    gateway_broadcast: int
    # Values of the server's part of an address that several servers, or any of them, may take for theirs.
    everyone: frozenset[int]
    # asked(function, question) -> the items of such a request.
    asked: Callable[[int, Asked], Sequence[Item]]
    # Keys of a tag that say where it is: of its space, its point, and the server's part of its units' address.
    tag_keys: tuple[str, str, str]
    # exchanges(address) -> requests with their answers, as they stand on the wire: a usual read, then one that changes
    # something. Whoever waits to serve practises with them (runtime/rehearsal.py).
    exchanges: Callable[[tuple[int, ...]], Sequence[tuple[bytes, bytes]]]
    # tag_functions(space, width, writes) -> the functions that read or write such a point.
    tag_functions: Callable[[int, int, bool], frozenset[int]]
    # How a tag's `type` makes numbers of raw values, by name.
    encodings: Mapping[str, Encoding]
    # encodings_of(space) -> the names of those that a point there may have, its default first; (): no numbers there.
    encodings_of: Callable[[int], tuple[str, ...]]
    # All that the protocol publishes, by what it is, for the page of the documentation (page.py).
    published: Mapping[str, Catalogue]
    # Sub-functions, by the function that has them; and those that change nothing, whatever their function.
    details: Mapping[int, Catalogue] = field(default_factory=dict)
    quiet_details: Mapping[int, frozenset[int]] = field(default_factory=dict)
    # Control codes, where the protocol has them.
    controls: Catalogue | None = None
    controls_at: int = 0  # space << 8 | variation of the usual object with a control code
    # space -> the spaces in which the server tells what its points are now, itself included.
    shown_in: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    # function -> functions without which it does no good, allowed with it to the same addresses.
    implied: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Callable[[str], Definition], tuple[str]]:
        return _by_name, (self.name,)

    @property
    def server_field(self) -> int:
        """Which part of a unit's address is the server's own (its unit id, its link address)."""
        return next(place for place, each in enumerate(self.address_fields) if each.asset_side == "server")


def _by_name(name: str) -> Definition:
    from conduitfw.protocols.registry import PROTOCOLS

    return PROTOCOLS[name]
