"""The policy's YAML, with the file, line and column of everything in it.

Scalars are read as they were written, not as YAML 1.1 would have them: where that makes a difference
(`on`, `010`, an unquoted MAC address of digits), the reader is told to quote them, since other tools
that read the same file would see something else.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from conduitfw.policy.model import Place
from conduitfw.policy.schema import Field

_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 32 * 1024 * 1024
MAX_NODES = 5_000_000  # aliases expanded: a few lines of YAML can stand for more than any plant has

_TRUE, _FALSE = frozenset(("yes", "true", "on")), frozenset(("no", "false", "off"))
_STRING, _BOOL, _INT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a policy: where, what, and what would be right."""

    severity: str  # error | warning
    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.severity}: {self.message}"
        return f"{text}; {self.hint}" if self.hint else text


class Report:
    """Collects problems: all of them, not the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._told: set[Problem] = set()

    def error(self, place: Place, message: str, hint: str = "") -> None:
        """The policy cannot be used."""
        self._add(Problem("error", place, message, hint))

    def warning(self, place: Place, message: str, hint: str = "") -> None:
        """The policy can be used; a careful engineer would look at this."""
        self._add(Problem("warning", place, message, hint))

    def _add(self, problem: Problem) -> None:
        if problem not in self._told:  # an alias is read wherever it stands
            self._told.add(problem)
            self.problems.append(problem)

    @property
    def failed(self) -> bool:
        """Whether there is any error."""
        return any(problem.severity == "error" for problem in self.problems)


def nearest(word: str, words: Iterable[str]) -> str:
    """ "did you mean X?", or nothing where no word is near."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {found[0]}?" if found else ""


def policy_files(paths: Iterable[Path], report: Report) -> list[Path]:
    """The files that make the policy: each file given, and every .yaml or .yml in each folder given."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
            if not inside:
                report.error(Place(str(path), 1, 1), "the folder holds no .yaml file")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            report.error(Place(str(path), 1, 1), "there is no such file or folder")
    return files


class _Loader(_SAFE):  # type: ignore[misc]
    """PyYAML's, which finds out once what a scalar of YAML 1.1 would be: a policy says the same words many times."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.resolve = functools.cache(super().resolve)

    # A tag depends on the path to a node only where `add_path_resolver` was called: nobody does.
    def descend_resolver(self, current_node: object, current_index: object) -> None:
        """Nothing to remember of the path."""

    def ascend_resolver(self) -> None:
        """Nothing to remember of the path."""


def read_yaml(file: Path, data: bytes, report: Report) -> yaml.MappingNode | None:
    """The file's top mapping, or None with the problem reported."""
    name = str(file)
    top = Place(name, 1, 1)
    if len(data) > MAX_BYTES:
        report.error(top, f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return None
    try:
        loader = _Loader(data)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else top
        problem = error.problem or "not YAML"
        hint = "indent with spaces" if "\\t" in problem or "'\t'" in problem else ""
        report.error(place, f"not YAML: {problem}", hint)
        return None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        report.error(top, f"not YAML: {str(error).splitlines()[0]}", "save it as UTF-8")
        return None
    if node is None:
        report.error(top, "the file is empty", "a policy begins with `policy:`, `zones:` or `conduits:`")
        return None
    if not isinstance(node, yaml.MappingNode):
        report.error(place_of(node, name), "a policy is a mapping", "begin with `policy:`, `zones:` or `conduits:`")
        return None
    # A node is an octet at the least: a short file without an alias cannot stand for too much.
    if b"*" in data or len(data) > MAX_NODES:
        try:
            size = _size(node, {}, set())
        except RecursionError:
            report.error(top, "the file is nested too deeply", "a policy needs a handful of levels")
            return None
        if size > MAX_NODES:
            report.error(top, "aliases make this file stand for too much, or for itself", "write it out")
            return None
    return node


def _size(node: yaml.Node, known: dict[int, int], open_nodes: set[int]) -> int:
    if id(node) in known:
        return known[id(node)]
    if id(node) in open_nodes:
        return MAX_NODES + 1
    open_nodes.add(id(node))
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_size(each, known, open_nodes) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(_size(key, known, open_nodes) + _size(value, known, open_nodes) for key, value in node.value)
    open_nodes.discard(id(node))
    known[id(node)] = total
    return total


def place_of(node: yaml.Node, file: str) -> Place:
    """Where a node begins."""
    mark = node.start_mark
    return Place(file, mark.line + 1, mark.column + 1)


def _is_quoted(node: yaml.ScalarNode) -> bool:
    """Whether a scalar was written as a text: the two parsers of PyYAML say "plain" in different ways."""
    return node.style in ("'", '"', "|", ">")


class Text(NamedTuple):
    """A scalar as written, and where."""

    value: str
    place: Place
    quoted: bool


class Section:
    """One mapping of the policy, read against its fields: unknown, double and missing keys are reported."""

    def __init__(
        self,
        node: yaml.Node | None,
        file: str,
        what: str,
        fields: Mapping[str, Field] | None,
        report: Report,
        place: Place,
    ) -> None:
        """`fields` None: the keys are names that the policy gives itself. `what`: for messages, "a zone".

        `place`: where problems of the section as a whole are said to be.
        """
        self.file = file
        self.what = what
        self.report = report
        self.place = place
        self.nodes: dict[str, yaml.Node] = {}
        self._key_nodes: dict[str, yaml.Node] = {}
        self._fields = fields
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
            pass
        elif not isinstance(node, yaml.MappingNode):
            report.error(self.place, f"{what} is a mapping of keys and values", _keys_hint(fields))
        else:
            self._read(node, set())
        for name in _required(fields):
            if name not in self.nodes:
                assert fields is not None
                report.error(self.place, f"{what} needs `{name}`: {fields[name].title}")

    @classmethod
    def of(
        cls, words: Mapping[str, str | list[str]], what: str, fields: Mapping[str, Field], report: Report
    ) -> Section:
        """A section of words that stand in no file: what somebody asks on the command line."""
        mark = yaml.Mark("", 0, 0, 0, None, 0)

        def scalar(word: str) -> yaml.ScalarNode:
            return yaml.ScalarNode(_STRING, word, mark, mark, style='"')

        pairs = []
        for key, word in words.items():
            value = (
                scalar(word)
                if isinstance(word, str)
                else yaml.SequenceNode("tag:yaml.org,2002:seq", [scalar(each) for each in word], mark, mark)
            )
            pairs.append((scalar(key), value))
        node = yaml.MappingNode("tag:yaml.org,2002:map", pairs, mark, mark)
        return cls(node, "", what, fields, report, place_of(node, ""))

    def names(self, name: str) -> Section:
        """A mapping whose keys are names that the policy gives, or words that its reader looks up."""
        return Section(self.nodes.get(name), self.file, f"`{name}`", None, self.report, self.at(name))

    def section(self, name: str, fields: Mapping[str, Field]) -> Section:
        """A mapping of fields."""
        return Section(self.nodes.get(name), self.file, f"`{name}`", fields, self.report, self.at(name))

    def is_empty(self, name: str) -> bool:
        """Whether a key is there and says nothing: an empty list or mapping, or nothing at all."""
        node = self.nodes.get(name)
        return node is not None and not node.value

    def is_mapping(self, name: str) -> bool:
        """Whether the value of this key is a mapping."""
        return isinstance(self.nodes.get(name), yaml.MappingNode)

    def _read(self, node: yaml.MappingNode, merged: set[str]) -> None:
        fields = self._fields
        inherited: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                inherited += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            if not isinstance(key, yaml.ScalarNode):
                self.report.error(place_of(key, self.file), "a key is a single word")
                continue
            name = str(key.value)
            if fields is None and key.tag == _BOOL and not _is_quoted(key):
                place = place_of(key, self.file)
                self.report.error(place, f"YAML 1.1 reads the name `{name}` as true or false", f'write "{name}"')
                continue
            if name in self.nodes:
                if name not in merged:
                    place = place_of(key, self.file)
                    self.report.error(
                        place,
                        f"`{name}` stands twice in {self.what}",
                        f"first at {place_of(self._key_nodes[name], self.file)}",
                    )
                continue
            if fields is not None and name not in fields:
                hint = nearest(name, [each for each, field in fields.items() if not field.later])
                place = place_of(key, self.file)
                self.report.error(place, f"unknown key `{name}` in {self.what}", hint or _keys_hint(fields))
                continue
            if fields is not None and fields[name].later:
                place = place_of(key, self.file)
                self.report.error(place, f"`{name}` is not there yet: {fields[name].title}", fields[name].instead)
                continue
            self.nodes[name] = value
            self._key_nodes[name] = key
        for other in inherited:
            if isinstance(other, yaml.MappingNode):
                before = set(self.nodes)
                self._read(other, before | merged)

    @functools.cached_property
    def keys(self) -> dict[str, Place]:
        """Where each key stands: asked for when there is something to say of it."""
        return {name: place_of(node, self.file) for name, node in self._key_nodes.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.nodes

    def at(self, name: str) -> Place:
        """Where the value of a key stands; the section where the key is missing."""
        node = self.nodes.get(name)
        return place_of(node, self.file) if node is not None else self.place

    def scalar(self, name: str) -> Text | None:
        """A scalar value, or None (reported where it is something else)."""
        node = self.nodes.get(name)
        return None if node is None else self._scalar(node, name)

    def _scalar(self, node: yaml.Node, name: str) -> Text | None:
        place = place_of(node, self.file)
        if not isinstance(node, yaml.ScalarNode):
            self.report.error(place, f"`{name}` is a single value")
            return None
        quoted = _is_quoted(node)
        if not quoted and node.tag == _INT and ":" in node.value:
            self.report.error(place, f"YAML 1.1 reads {node.value} as a number", f'write "{node.value}"')
            return None
        if not quoted and node.tag == _INT and re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            digits = node.value.lstrip("+-0_") or "0"
            self.report.error(place, f"YAML 1.1 reads {node.value} as an octal number", f"write {digits}")
            return None
        return Text(str(node.value), place, quoted)

    def text(self, name: str, default: str = "") -> str:
        """Free text, or a name."""
        found = self.scalar(name)
        if found is None:
            return default
        if not found.quoted and self.nodes[name].tag == _BOOL:
            self.report.error(
                found.place, f"YAML 1.1 reads {found.value} as true or false", f'write "{found.value}" for the word'
            )
        return found.value

    def choice(self, name: str, default: str) -> str:
        """One of the field's words."""
        found = self.scalar(name)
        if found is None:
            return default
        assert self._fields is not None
        words = self._fields[name].choices
        if found.value in words:
            return found.value
        refused = self._fields[name].refused.get(found.value)
        if refused is not None:
            self.report.error(found.place, f"`{name}: {found.value}` is not there yet", refused)
        else:
            hint = nearest(found.value, words) or "one of " + ", ".join(words)
            self.report.error(found.place, f"`{name}` cannot be {found.value!r}", hint)
        return default

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number within the field's limits."""
        found = self.scalar(name)
        if found is None:
            return default
        assert self._fields is not None
        field = self._fields[name]
        if not re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", found.value):
            self.report.error(found.place, f"`{name}` is a whole number", f"{field.lowest} to {field.highest}")
            return default
        value = int(found.value, 0)
        if not field.lowest <= value <= field.highest:
            self.report.error(found.place, f"`{name}` is {value}", f"{field.lowest} to {field.highest}")
            return default
        return value

    def real(self, name: str) -> float | None:
        """Any number."""
        found = self.scalar(name)
        if found is None:
            return None
        if not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", found.value):
            self.report.error(found.place, f"`{name}` is a number, not {found.value!r}", "for instance 20 or -0.5")
            return None
        return float(found.value)

    def seconds(self, name: str, default: float) -> float:
        """A time: a number of seconds, or with a unit (500 ms, 10 s, 2 min)."""
        found = self.scalar(name)
        if found is None:
            return default
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|)", found.value.strip())
        value = float(match[1]) * {"ms": 0.001, "s": 1.0, "min": 60.0, "": 1.0}[match[2]] if match else 0.0
        if not 0.05 <= value <= 3600:
            self.report.error(found.place, f"`{name}` is a time from 50 ms to 60 min", "for instance 10 s")
            return default
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Yes or no."""
        found = self.scalar(name)
        if found is None:
            return default
        word = found.value.lower()
        if word not in _TRUE | _FALSE:
            self.report.error(found.place, f"`{name}` is yes or no")
        return word in _TRUE

    def date(self, name: str) -> datetime.date | None:
        """A date, YYYY-MM-DD."""
        found = self.scalar(name)
        if found is None:
            return None
        try:
            return datetime.date.fromisoformat(found.value)
        except ValueError:
            self.report.error(found.place, f"`{name}` is a date", "YYYY-MM-DD, for instance 2027-06-30")
            return None

    def texts(self, name: str) -> list[Text]:
        """One value or a list of them."""
        node = self.nodes.get(name)
        if node is None:
            return []
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = [self._scalar(each, name) for each in nodes]
        return [each for each in found if each is not None]

    def sections(self, name: str, what: str, fields: Mapping[str, Field]) -> list[tuple[str, Section]]:
        """A mapping of names to sections."""
        names = self.names(name)
        return [
            (each, Section(node, self.file, f"{what} {each}", fields, self.report, names.keys[each]))
            for each, node in names.nodes.items()
        ]

    def items(self, name: str, what: str, fields: Mapping[str, Field]) -> list[Section]:
        """A list of sections."""
        node = self.nodes.get(name)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.report.error(place_of(node, self.file), f"`{name}` is a list", "begin each entry with `-`")
            return []
        return [Section(each, self.file, what, fields, self.report, place_of(each, self.file)) for each in node.value]


_REQUIRED: dict[int, tuple[Mapping[str, Field], tuple[str, ...]]] = {}  # by the fields' id, and they with it


def _required(fields: Mapping[str, Field] | None) -> tuple[str, ...]:
    """Which fields have to be there. Found once for each of the few tables of fields."""
    if fields is None:
        return ()
    known = _REQUIRED.get(id(fields))
    if known is None:
        known = _REQUIRED[id(fields)] = fields, tuple(name for name, field in fields.items() if field.required)
    return known[1]


def _keys_hint(fields: Mapping[str, Field] | None) -> str:
    if fields is None:
        return ""
    return "its keys: " + ", ".join(name for name, field in fields.items() if not field.later)
