"""What a rule limits beside functions and addresses, from YAML to the limits that the engine asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from conduitfw.policy import limits, schema
from conduitfw.policy.functions import entries_of, number, quantities, ranges
from conduitfw.policy.limits import Limit, Ranges, listed, merged
from conduitfw.policy.source import Report, Section, Text, nearest
from conduitfw.policy.tags import Named, Tag
from conduitfw.protocols import Definition
from conduitfw.protocols.catalogue import Catalogue
from conduitfw.protocols.numbers import shortest

HIGHEST_OBJECT = 255
_OBJECT = re.compile(r"g([0-9]+)(?:v([0-9]+)(?:-([0-9]+))?)?")
_CLASS = re.compile(r"class ([0-3])(?:-([0-3]))?")
_RATE = re.compile(r"([0-9]+)\s*/\s*([0-9]+)?\s*(s|min|h)")
_UNITS = {"s": 1, "min": 60, "h": 3600}
MOST_USES = 60000
LONGEST_PERIOD = 24 * 3600

_Reader = Callable[["RuleLimits"], Iterable[Limit]]


class RuleLimits:
    """The limits of one rule. Every problem is reported; what is wrong gives no limit, and no policy."""

    def __init__(
        self, section: Section, rule: str, protocol: Definition, tags: Mapping[str, Tag], report: Report
    ) -> None:
        """`rule`: its conduit and name. `tags`: all that the policy names."""
        self._section = section
        self._rule = rule
        self._protocol = protocol
        self._tags = tags
        self._report = report
        self._named = {key: self._tags_of(key) for key in ("read", "write")}
        # Whether the rule's functions follow from the tags that it names.
        self.names_tags = "read" in section.nodes or "write" in section.nodes

    def tag_functions(self) -> frozenset[int]:
        """The functions that follow from the tags that the rule names."""
        found: set[int] = set()
        protocol = self._protocol
        for key, tags in self._named.items():
            for tag, text in tags:
                functions = protocol.tag_functions(tag.space, tag.width, key == "write")
                if not functions:
                    name = protocol.spaces.name(tag.space)
                    self._report.error(text.place, f"{tag.name} cannot be written: it lies in {name}", "take it out")
                found |= functions
        if self._selects_first():
            found -= _unselected(protocol)
        return frozenset(found)

    def read(self, functions: frozenset[int]) -> tuple[Limit, ...]:
        """All limits of a rule that allows these functions."""
        if not functions:
            return ()  # told already
        found: list[Limit] = []
        if self.names_tags:
            read, write = (tuple(tag for tag, _ in self._named[key]) for key in ("read", "write"))
            found.append(Named(read, write, self._protocol))
        for key, reader in _READERS.items():
            if key in self._section.nodes and key in self._protocol.limits:
                if self._section.is_empty(key):
                    self._report.error(self._section.keys[key], f"`{key}` is empty", "leave it out to limit nothing")
                    continue
                self._check_reach(key, functions)
                found += reader(self)
        if "sub_functions" in self._section:
            self._check_functions_of_sub_functions(functions)
        if self._selects_first():
            self._check_selection(functions)
        return tuple(sorted(found, key=lambda limit: limit.rank))

    # --- tags -------------------------------------------------------------------------------------

    def _tags_of(self, key: str) -> list[tuple[Tag, Text]]:
        found = []
        for text in self._section.texts(key):
            tag = self._tags.get(text.value)
            if tag is None:
                hint = nearest(text.value, self._tags) or "name it under `tags:`"
                self._report.error(text.place, f"unknown tag {text.value!r}", hint)
            elif tag.protocol is not self._protocol:
                self._report.error(text.place, f"{tag.name} is a point of {tag.protocol.title}", "use a rule for that")
            else:
                found.append((tag, text))
        if key in self._section and not self._section.texts(key):
            self._report.error(self._section.at(key), f"`{key}` is empty", "name at least one tag")
        return found

    def check_servers(self, assets: Iterable[str]) -> None:
        """Tags of other assets than the rule's servers would allow nothing."""
        if not self.names_tags:
            return
        servers = set(assets)
        for tags in self._named.values():
            for tag, text in tags:
                if tag.asset not in servers:
                    self._report.error(
                        text.place, f"{tag.name} is a point of {tag.asset}, which is none of the rule's servers",
                        "name it under `servers`",
                    )  # fmt: skip

    # --- what a limit cannot reach ------------------------------------------------------------------

    def _check_reach(self, key: str, functions: frozenset[int]) -> None:
        """A limit that looks wider than it is: functions whose points, or values, nobody can read."""
        protocol = self._protocol
        place = self._section.keys[key]
        if key in ("registers", "files", "quantity", "points", "objects"):
            beyond = functions - protocol.addressed
        elif key == "values":
            beyond = functions - protocol.addressed - protocol.quiet
        else:
            beyond = frozenset()
        beyond -= frozenset(each for each in beyond if each > 255)  # services of the link layer carry no points
        if beyond:
            names = ", ".join(protocol.functions.name(each) for each in sorted(beyond)[:4])
            more = f" and {len(beyond) - 4} more" if len(beyond) > 4 else ""
            self._report.error(
                place, f"`{key}` cannot hold for {names}{more}: what they touch is not in the request",
                "give them a rule of their own",
            )  # fmt: skip
        if key in ("at_most", "values", "controls") and functions <= protocol.quiet:
            self._report.warning(place, f"`{key}` limits nothing", "the functions of the rule change nothing")

    # --- one field each -------------------------------------------------------------------------------

    def _sub_functions(self) -> Iterable[Limit]:
        allowed: dict[int, frozenset[int]] = {}
        names = self._section.names("sub_functions")
        for name in names.nodes:
            function = self._function_with_details(name, names)
            if function is not None:
                whose = self._protocol.functions.name(function)
                found = entries_of(names.texts(name), self._protocol.details[function], whose, self._report)
                allowed[function] = allowed.get(function, frozenset()) | found
        yield limits.SubFunctions(allowed, self._protocol)

    def _function_with_details(self, name: str, names: Section) -> int | None:
        functions, details = self._protocol.functions, self._protocol.details
        entry = functions.by_name.get(name)
        value = entry.number if entry is not None else number(name)
        if value in details:
            return value
        known = {functions.name(each): each for each in details}
        listing = ", ".join(f"{each} ({value})" for each, value in known.items())
        hint = nearest(name, known) or f"these have some: {listing}"
        self._report.error(names.keys[name], f"{name} is no function with sub-functions", hint)
        return None

    def _check_functions_of_sub_functions(self, functions: frozenset[int]) -> None:
        names = self._section.names("sub_functions")
        for name in names.nodes:
            entry = self._protocol.functions.by_name.get(name)
            value = entry.number if entry is not None else number(name)
            if value in self._protocol.details and value not in functions:
                self._report.error(
                    names.keys[name], f"the rule does not allow {self._protocol.functions.name(value or 0)}",
                    "name it under `functions` as well",
                )  # fmt: skip

    def _registers(self) -> Iterable[Limit]:
        found = self._register_ranges()
        space = self._file_space()
        elsewhere = frozenset((space,)) if space is not None and "files" in self._section else frozenset()
        yield limits.Points(found, True, self._protocol, elsewhere)

    def _register_ranges(self, *, together: bool = True) -> dict[int, Ranges]:
        def space(name: str, names: Section) -> int | None:
            return self._space(name, names, but=self._file_space())

        return self._ranges_by("registers", space, together=together)

    def _points(self) -> Iterable[Limit]:
        yield limits.Points(self._ranges_by("points", self._group), False, self._protocol)

    def _ranges_by(
        self, key: str, space_of: Callable[[str, Section], int | None], *, together: bool = True
    ) -> dict[int, Ranges]:
        """By space; ranges that touch are made one, unless they are to stay apart."""
        found: dict[int, Ranges] = {}
        names = self._section.names(key)
        for name in names.nodes:
            space = space_of(name, names)
            texts = names.texts(name)
            if not texts:
                self._report.error(names.keys[name], f"`{name}` is empty", "for instance 0-99")
            read = ranges(texts, name, 0, self._protocol.last_point, self._report)
            if space is not None:
                both = (*found.get(space, ()), *read)
                found[space] = merged(both) if together else both
        return found

    def _space(self, name: str, names: Section, but: int | None = None) -> int | None:
        spaces = self._protocol.spaces
        entry = spaces.by_name.get(name)
        if entry is not None and entry.number != but:
            return entry.number
        known = [each.name for each in spaces.by_number.values() if each.number != but]
        hint = nearest(name, known) or f"one of {', '.join(known)}"
        self._report.error(names.keys[name], f"unknown {spaces.what} {name!r}", hint)
        return None

    def _group(self, name: str, names: Section) -> int | None:
        match = _OBJECT.fullmatch(name)
        if match and not match[2] and int(match[1]) <= HIGHEST_OBJECT:
            return int(match[1])
        entry = self._protocol.spaces.by_name.get(name)
        if entry is not None:
            return entry.number
        hint = nearest(name, self._protocol.spaces.by_name) or "a group as g12, or its name"
        self._report.error(names.keys[name], f"unknown object group {name!r}", hint)
        return None

    def _file_space(self) -> int | None:
        entry = self._protocol.spaces.by_name.get("file_records")
        return entry.number if entry is not None else None

    def _files(self) -> Iterable[Limit]:
        space = self._file_space()
        assert space is not None
        records: list[tuple[tuple[int, int], Ranges]] = []
        names = self._section.names("files")
        for name in names.nodes:
            files = ranges([Text(name, names.keys[name], False)], "a file", 1, 65535, self._report)
            texts = names.texts(name)
            every = [text for text in texts if text.value == "all"]
            read = ranges([text for text in texts if text not in every], "a record", 0, 9999, self._report)
            records += [(each, merged(((0, 9999),) if every else read)) for each in files]
        yield limits.Files(tuple(records), space)
        if "registers" not in self._section:
            yield limits.Points({}, True, self._protocol, frozenset((space,)))

    def _quantity(self) -> Iterable[Limit]:
        texts = self._section.texts("quantity")
        for text in texts:
            if number(text.value) is not None:
                self._report.error(text.place, f"`quantity: {text.value}` reads in two ways", f"1-{text.value}")
        yield limits.Quantity(merged(ranges(texts, "`quantity`", 1, 65535, self._report)))

    def _objects(self) -> Iterable[Limit]:
        allowed: set[int] = set()
        for text in self._section.texts("objects"):
            allowed |= object_keys(text, self._protocol.spaces, self._report)
        yield limits.Objects(frozenset(allowed), self._protocol)

    def _controls(self) -> Iterable[Limit]:
        controls = self._protocol.controls
        assert controls is not None
        allowed = entries_of(self._section.texts("controls"), controls, self._protocol.title, self._report)
        yield limits.Controls(allowed, self._protocol)

    def _values(self) -> Iterable[Limit]:
        section, protocol = self._section, self._protocol
        default = next(iter(protocol.encodings))
        if not section.is_mapping("values"):
            yield self._values_limit(quantities(section.texts("values"), "`values`", self._report), default, True)
            return
        fields = section.section("values", schema.VALUES)
        encoding = fields.scalar("type")
        name = default if encoding is None else encoding.value
        if name not in protocol.encodings or name == "bit":
            known = [each for each in protocol.encodings if each != "bit"]
            hint = nearest(name, known) or f"one of {', '.join(known)}"
            self._report.error(fields.at("type"), f"unknown type {name!r}", hint)
            return
        if protocol.encodings[name].width == 1 and "word_order" in fields:
            self._report.error(fields.keys["word_order"], f"{name} is one word: it has no order", "leave it out")
        allowed = list(quantities(fields.texts("ranges"), "`ranges`", self._report))
        low, high = fields.real("min"), fields.real("max")
        if "ranges" in fields and (low is not None or high is not None):
            self._report.error(fields.keys["ranges"], "`ranges` beside `min` or `max` reads in two ways", "give one")
        if low is not None or high is not None:
            span = protocol.encodings[name].lowest, protocol.encodings[name].highest
            allowed.append((span[0] if low is None else low, span[1] if high is None else high))
            if allowed[-1][0] > allowed[-1][1]:
                self._report.error(fields.at("min"), f"`min` {low} is above `max` {high}", "turn them round")
        if not allowed:
            self._report.error(fields.place, "`values` names no values", "`min` and `max`, or `ranges`")
        yield self._values_limit(tuple(allowed), name, fields.choice("word_order", "big") == "big")

    def _values_limit(self, allowed: Sequence[tuple[float, float]], name: str, big: bool) -> Limit:
        protocol = self._protocol
        encoding = protocol.encodings[name]
        if name == "float32":
            allowed = [
                (shortest(low), shortest(high)) if encoding.lowest <= low <= high <= encoding.highest else (low, high)
                for low, high in allowed
            ]
        for low, high in allowed:
            if low < encoding.lowest or high > encoding.highest:
                span = listed(((encoding.lowest, encoding.highest),))
                self._report.error(
                    self._section.at("values"), f"{listed(((low, high),))} does not fit {name}", f"it holds {span}"
                )
        starts: dict[int, Ranges] = {}
        if encoding.width > 1:
            starts = self._starts(name, encoding.width)
        bits = frozenset(space for space in protocol.spaces.by_number if protocol.encodings_of(space) == ("bit",))
        return limits.Values(tuple(allowed), name, big, starts, bits, protocol)

    def _starts(self, name: str, width: int) -> dict[int, Ranges]:
        """Where numbers of several registers begin: at the first of each range that the rule names."""
        if "registers" not in self._section:
            self._report.error(
                self._section.keys["values"], f"numbers of {name} take {width} registers: where do they begin?",
                "name `registers`: each range begins with a number",
            )  # fmt: skip
            return {}
        found = self._register_ranges(together=False)
        for space, of_space in found.items():
            if self._protocol.encodings_of(space) == ("bit",):
                continue
            for low, high in of_space:
                if (high - low + 1) % width:
                    self._report.error(
                        self._section.keys["registers"],
                        f"{self._protocol.spaces.name(space)} {low}-{high} is not whole numbers of {name}",
                        f"{width} registers each: {low}-{low + max((high - low + 1) // width, 1) * width - 1}",
                    )
        return found

    def _at_most(self) -> Iterable[Limit]:
        text = self._section.scalar("at_most")
        match = _RATE.fullmatch(text.value.strip()) if text is not None else None
        count = int(match[1]) if match else 0
        period = int(match[2] or 1) * _UNITS[match[3]] if match else 0
        if not 1 <= count <= MOST_USES or not 1 <= period <= LONGEST_PERIOD:
            place = text.place if text is not None else self._section.at("at_most")
            self._report.error(
                place, f"`at_most` is so many in such a time, 1 to {MOST_USES} in 1 s to 24 h",
                "for instance 30/min, 5/10 s",
            )  # fmt: skip
            return
        yield limits.Rate(count, float(period), self._rule, self._protocol)

    def _selects_first(self) -> bool:
        return self._section.choice("select_before_operate", "optional") == "required"

    def _select_before_operate(self) -> Iterable[Limit]:
        if self._selects_first():
            yield limits.Selected(frozenset((_number(self._protocol, "operate"),)))

    def _check_selection(self, functions: frozenset[int]) -> None:
        place = self._section.at("select_before_operate")
        if around := functions & _unselected(self._protocol):
            names = ", ".join(self._protocol.functions.name(each) for each in sorted(around))
            self._report.error(
                place, f"`select_before_operate: required`, but the rule allows {names}, which select nothing",
                "functions: [select, operate], or take them out with `except`",
            )  # fmt: skip
        if _number(self._protocol, "operate") not in functions:
            self._report.warning(place, "`select_before_operate` limits nothing", "the rule does not allow operate")


def _number(protocol: Definition, name: str) -> int:
    return protocol.functions.by_name[name].number


def _unselected(protocol: Definition) -> frozenset[int]:
    return frozenset(_number(protocol, name) for name in ("direct_operate", "direct_operate_no_response"))


def object_keys(text: Text, groups: Catalogue, report: Report) -> frozenset[int]:
    """`g12v1`, `g30`, `g2v1-3`, `class 0-3`, a group's name: as group << 8 | variation. `g30` is every variation."""
    word = text.value.strip()
    match = _CLASS.fullmatch(word)
    if match:
        low, high = int(match[1]), int(match[2] or match[1])
        if low <= high:
            return frozenset(groups.by_name["class_data"].number << 8 | each + 1 for each in range(low, high + 1))
    match = _OBJECT.fullmatch(word)
    entry = groups.by_name.get(word)
    if match and int(match[1]) <= HIGHEST_OBJECT:
        group = int(match[1])
        first, last = int(match[2] or 0), int(match[3] or match[2] or HIGHEST_OBJECT)
        if first <= last <= HIGHEST_OBJECT:
            return frozenset(group << 8 | each for each in range(first, last + 1))
    elif entry is not None:
        return frozenset(entry.number << 8 | each for each in range(HIGHEST_OBJECT + 1))
    hint = nearest(word, groups.by_name) or "as g12v1, g30 (every variation), class 0-3, or a group's name"
    report.error(text.place, f"unknown object {word!r}", hint)
    return frozenset()


_READERS: Mapping[str, _Reader] = {
    "sub_functions": RuleLimits._sub_functions,
    "objects": RuleLimits._objects,
    "registers": RuleLimits._registers,
    "files": RuleLimits._files,
    "points": RuleLimits._points,
    "quantity": RuleLimits._quantity,
    "controls": RuleLimits._controls,
    "values": RuleLimits._values,
    "select_before_operate": RuleLimits._select_before_operate,
    "at_most": RuleLimits._at_most,
}
