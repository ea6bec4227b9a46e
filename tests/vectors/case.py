"""What the files in rules/ hold: conversations under a policy, and the verdict that each step has to have.

Octets come from independent encoders; verdicts are written by hand, from the standards and from what the policy says.
Nothing here knows the code that is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml


@dataclass(frozen=True)
class Octets:
    """One unit on the wire, and who encoded it."""

    data: bytes
    by: str

    def changed(self, what: str, at: Mapping[int, int] | None = None, data: bytes | None = None) -> Octets:
        """The same with some octets changed by hand: those at the given places, or all of them."""
        octets = bytearray(self.data if data is None else data)
        for place, octet in (at or {}).items():
            octets[place] = octet
        return Octets(bytes(octets), f"{self.by}, changed by hand: {what}")


@dataclass(frozen=True)
class Step:
    """One unit, and what has to become of it. `reason` None: it is allowed."""

    side: str
    octets: Octets
    reason: str | None
    detail: str
    at: float | None


def client(octets: Octets, reason: str | None = None, detail: str = "", at: float | None = None) -> Step:
    """The client sends it. `at`: seconds since the case began."""
    return Step("client", octets, reason, detail, at)


def server(octets: Octets, reason: str | None = None, detail: str = "", at: float | None = None) -> Step:
    """The server sends it."""
    return Step("server", octets, reason, detail, at)


@dataclass(frozen=True)
class Case:
    """A conversation. `rules`: the fields of each rule, beside name, protocol and the two ends."""

    field: str
    name: str
    rules: tuple[str, ...]
    steps: tuple[Step, ...]
    ends: tuple[str, str]
    tags: str


class Cases:
    """A protocol's cases, in the order in which they are named."""

    def __init__(self, protocol: str, ends: tuple[str, str]) -> None:
        """`ends`: client and server, where a case names no others."""
        self._protocol = protocol
        self._ends = ends
        self._found: list[Case] = []

    def add(
        self,
        field: str,
        name: str,
        rules: str | tuple[str, ...],
        *steps: Step,
        ends: tuple[str, str] | None = None,
        tags: str = "",
    ) -> None:
        """One more case."""
        every = (rules,) if isinstance(rules, str) else rules
        self._found.append(Case(field, name, every, steps, ends or self._ends, tags))

    def text(self, title: str, encoders: Iterable[str]) -> str:
        """The file."""
        known = {name: version(name) for name in encoders}
        cases = [self._plain(case) for case in self._found]
        body = yaml.safe_dump({"encoders": known, "cases": cases}, sort_keys=False, width=1000)
        return f"# {title}\n# Written by `python -m tests.vectors.make_rules`: change that, not this.\n{body}"

    def _plain(self, case: Case) -> dict[str, Any]:
        client_name, server_name = case.ends
        between = f"allow: {self._protocol}, clients: {client_name}, servers: {server_name}"
        plain: dict[str, Any] = {"field": case.field, "name": case.name, "between": list(case.ends)}
        plain["rules"] = [
            f"{{name: rule {number}, {between}, {fields}}}" for number, fields in enumerate(case.rules, 1)
        ]
        if case.tags:
            plain["tags"] = case.tags
        plain["steps"] = [_plain_step(step) for step in case.steps]
        return plain


def _plain_step(step: Step) -> dict[str, Any]:
    plain: dict[str, Any] = {"from": step.side, "by": step.octets.by}
    if step.at is not None:
        plain["at"] = step.at
    plain["hex"] = step.octets.data.hex()
    plain["verdict"] = "allow" if step.reason is None else "deny"
    plain["reason"] = step.reason
    if step.detail:
        plain["detail"] = step.detail
    return plain
