"""A question about one request, from words: a policy's own test, or what somebody asks on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conduitfw.policy.endpoints import Endpoints
from conduitfw.policy.functions import entry_of, function_of
from conduitfw.policy.model import Address
from conduitfw.policy.rule_limits import object_keys
from conduitfw.policy.schema import QUESTION_OF
from conduitfw.policy.source import Report, Section, nearest
from conduitfw.policy.tags import Tag
from conduitfw.protocols import UNSAID, Asked, Definition
from conduitfw.protocols.registry import PROTOCOLS

KERNEL_KINDS = ("tcp", "udp", "icmp")


@dataclass(frozen=True)
class Question:
    """May `client` do this at `server`?"""

    client: Address
    server: Address
    allow: str  # a protocol's name, or tcp, udp, icmp
    function: int = -1  # of the protocol
    transport: str = ""  # "": the protocol's own
    port: int = 0  # 0: the protocol's own
    # What is not given below may be anything.
    addresses: Mapping[str, int] = field(default_factory=dict)  # by an address field's name: unit, master, outstation
    detail: int = UNSAID  # sub-function
    asked: Asked = field(default_factory=Asked)  # points, values, controls
    selected: bool | None = None  # whether what is operated was selected just before


def read_question(section: Section, endpoints: Endpoints, tags: Mapping[str, Tag], report: Report) -> Question | None:
    """The question, or None with what is wrong with it reported."""
    ends = []
    for key in ("from", "to"):
        text = section.scalar(key)
        found = endpoints.address(text) if text is not None else None
        if found is None:
            return None
        ends.append(found[0])
    kinds = [kind for kind in (*PROTOCOLS, *KERNEL_KINDS) if kind in section]
    if len(kinds) != 1:
        report.error(section.place, "a question asks one thing", f"one of {', '.join((*PROTOCOLS, *KERNEL_KINDS))}")
        return None
    kind = kinds[0]
    strangers = [key for key in section.keys if kind not in QUESTION_OF.get(key, (kind,))]
    for key in strangers:
        belongs = " or ".join(QUESTION_OF[key])
        report.error(section.keys[key], f"`{key}` means nothing with {kind}", f"it belongs to {belongs}")
    protocol = PROTOCOLS.get(kind)
    if strangers:
        return None
    if protocol is None:
        port = section.number(kind) if kind != "icmp" else 0
        section.flag("icmp")
        return Question(ends[0], ends[1], kind, port=port or 0)
    return _OfProtocol(section, protocol, tags, report).read(ends[0], ends[1])


class _OfProtocol:
    """A question about a request of an inspected protocol."""

    def __init__(self, section: Section, protocol: Definition, tags: Mapping[str, Tag], report: Report) -> None:
        self._section = section
        self._protocol = protocol
        self._tags = tags
        self._report = report

    def read(self, client: Address, server: Address) -> Question | None:
        section, protocol = self._section, self._protocol
        text = section.scalar(protocol.name)
        function = function_of(text, protocol, self._report) if text is not None else None
        if function is None:
            return None
        before = len(self._report.problems)
        addresses = {}
        for each in protocol.address_fields:
            value = section.number(each.name)
            if value is not None:
                addresses[each.name] = value
        detail = self._detail(function)
        asked = self._tag(function, server, addresses) if "tag" in section else self._asked(function)
        selected = section.flag("selected") if "selected" in section else None
        if len(self._report.problems) > before or asked is None:
            return None
        return Question(
            client, server, protocol.name, function, section.choice("transport", ""), section.number("port") or 0,
            addresses, detail, asked, selected,
        )  # fmt: skip

    def _detail(self, function: int) -> int:
        text = self._section.scalar("sub_function")
        if text is None:
            return UNSAID
        catalogue, name = self._protocol.details.get(function), self._protocol.functions.name(function)
        if catalogue is None:
            self._report.error(text.place, f"{name} has no sub-functions", "leave it out")
            return UNSAID
        value = entry_of(text, catalogue, name, self._report)
        return UNSAID if value is None else value

    def _numbers(self) -> tuple[float, ...]:
        found = []
        for text in self._section.texts("value"):
            try:
                found.append(float(text.value))
            except ValueError:
                self._report.error(text.place, f"`value` cannot be {text.value!r}", "a number, or a list of them")
        return tuple(found)

    def _asked(self, function: int) -> Asked | None:
        section = self._section
        space = variation = code = UNSAID
        for key in ("register", "record", "point"):
            if key in section and not self._protocol.asked(function, Asked(space=0)):
                name = self._protocol.functions.name(function)
                self._report.error(section.keys[key], f"{name} names no such thing", f"leave `{key}` out")
        if (text := section.scalar("object")) is not None:
            keys = object_keys(text, self._protocol.spaces, self._report)
            if keys:
                space = min(keys) >> 8
                variation = min(keys) & 0xFF if len(keys) == 1 else UNSAID
        if (text := section.scalar("control")) is not None and self._protocol.controls is not None:
            found = entry_of(text, self._protocol.controls, self._protocol.title, self._report)
            code = -1 if found is None else found
            if space == UNSAID:
                space, variation = self._protocol.controls_at >> 8, self._protocol.controls_at & 0xFF
        if "point" in section and space == UNSAID:
            self._report.error(section.keys["point"], "a point of which object?", "name `object` as well: g12v1, g30")
        if "value" in section and not self._protocol.asked(function, Asked(space=space)):
            self._report.error(section.keys["value"], "a value of what?", "name `object`, or `tag`, as well")
        point = next((section.number(key) for key in ("register", "record", "point") if key in section), None)
        values = self._raw(function)
        quantity = section.number("quantity") or len(values)
        return Asked(
            space, section.number("file") or variation, UNSAID if point is None else point, quantity, values,
            code if code != UNSAID else -1,
        )  # fmt: skip

    def _raw(self, function: int) -> tuple[float, ...]:
        """The values as the request holds them."""
        numbers = self._numbers()
        items = self._protocol.asked(function, Asked(space=0))
        default = next(iter(self._protocol.encodings))
        bits = bool(items) and self._protocol.encodings_of(items[-1].space) == ("bit",)
        name = "bit" if bits else self._section.text("type", default)
        encoding = self._protocol.encodings.get(name)
        if encoding is None or (bits and "type" in self._section):
            hint = "leave it out" if bits else nearest(name, self._protocol.encodings)
            self._report.error(self._section.at("type"), f"no value here has the type {name!r}", hint)
            return ()
        if numbers and items and not items[-1].writes:
            self._report.error(
                self._section.keys["value"], f"{self._protocol.functions.name(function)} writes nothing", "leave it out"
            )
        raw: tuple[float, ...] = ()
        for number in numbers:
            try:
                raw += encoding.encode(number, self._section.choice("word_order", "big") == "big")
            except ValueError as error:
                self._report.error(self._section.at("value"), str(error), f"a value of {name}")
        return raw

    def _tag(self, function: int, server: Address, addresses: dict[str, int]) -> Asked | None:
        section, protocol = self._section, self._protocol
        text = section.scalar("tag")
        if text is None:
            return None
        tag = self._tags.get(text.value)
        if tag is None:
            hint = nearest(text.value, self._tags) or "name it under `tags:`"
            self._report.error(text.place, f"unknown tag {text.value!r}", hint)
            return None
        writes = protocol.tag_functions(tag.space, tag.width, True)
        reads = protocol.tag_functions(tag.space, tag.width, False)
        if tag.server != server or tag.protocol is not protocol:
            self._report.error(text.place, f"{tag.name} is a {tag.protocol.title} point of {tag.asset}", "ask for that")
            return None
        if function not in writes | reads:
            names = ", ".join(protocol.functions.name(each) for each in sorted(writes | reads))
            self._report.error(
                text.place, f"{protocol.functions.name(function)} does not touch {tag.name}", f"one of {names}"
            )
            return None
        if tag.unit is not None:
            addresses.setdefault(protocol.address_fields[protocol.server_field].name, tag.unit)
        values: tuple[float, ...] = ()
        for number in self._numbers():
            try:
                values = tag.raw(number)
            except ValueError as error:
                self._report.error(section.at("value"), str(error), "a value that it can hold")
        code = UNSAID
        if (control := section.scalar("control")) is not None and protocol.controls is not None:
            code = entry_of(control, protocol.controls, protocol.title, self._report) or 0
        return Asked(tag.space, UNSAID, tag.point, tag.width, values, code if code != UNSAID else -1)
