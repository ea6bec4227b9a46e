"""Policies that were in force and good: kept on disk, for `rollback`, for `history` and for the next boot.

    policies/20261125T133001.123456Z-1f2e3d4c5b6a/
        policy.json      when, by whom, the digest, and a SHA-256 of every other file
        closed.nft       the ruleset for a machine on which no engine runs yet
        sources/         the YAML files as they were read, in their order
    unconfirmed.json     a policy that nobody has confirmed, or that was taken back: it is not started with

A folder gets its name when all in it is on the disk, so what is there is whole. Everything here raises OSError.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE = "/var/lib/conduitfw"
KEEP = 10  # policies
_POLICIES = "policies"
_HEAD = "policy.json"
_CLOSED = "closed.nft"
_SOURCES = "sources"
_UNCONFIRMED = "unconfirmed.json"

Sources = Sequence[tuple[str, bytes]]  # name and content of each file, in the order in which they were read


@dataclass(frozen=True)
class Kept:
    """One policy that was in force. `since`: when it came into force, ISO 8601 in UTC."""

    folder: Path
    digest: str
    site: str
    revision: str
    since: str
    by: str

    @property
    def sources(self) -> Path:
        """The folder of its files: what `check`, `explain` and `reload` take."""
        return self.folder / _SOURCES

    def plain(self) -> dict[str, str]:
        """As plain data."""
        return {
            "digest": self.digest, "site": self.site, "revision": self.revision, "since": self.since, "by": self.by,
            "sources": str(self.sources),
        }  # fmt: skip


class Store:
    """The state directory."""

    def __init__(self, folder: str | Path, keep: int = KEEP) -> None:
        self.folder = Path(folder)
        self._policies = self.folder / _POLICIES
        self._keep = keep

    # --- reading ------------------------------------------------------------------------------------

    def entries(self) -> list[Kept]:
        """What is kept and whole, the newest first. Never raises: what cannot be read is not there."""
        try:
            names = sorted((path.name for path in self._policies.iterdir()), reverse=True)
        except OSError:
            return []
        found = (self._entry(self._policies / name) for name in names if not name.startswith("."))
        return [entry for entry in found if entry is not None]

    def _entry(self, folder: Path) -> Kept | None:
        try:
            head = json.loads((folder / _HEAD).read_bytes())
            for name, expected in head["files"].items():
                if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
                    return None
            return Kept(folder, head["digest"], head["site"], head["revision"], head["since"], head["by"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def closed_rulesets(self) -> Iterator[tuple[Kept, str]]:
        """The rulesets for a machine without an engine, the newest first."""
        for entry in self.entries():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield entry, (entry.folder / _CLOSED).read_text(encoding="utf-8")

    def withheld(self) -> Mapping[str, str]:
        """The policy that nobody has confirmed: `digest`, `why`, `since`. Empty where there is none."""
        try:
            found = json.loads((self.folder / _UNCONFIRMED).read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    # --- writing ------------------------------------------------------------------------------------

    def keep(self, *, digest: str, site: str, revision: str, by: str, sources: Sources, closed: str) -> Kept:
        """Keep a policy as the newest good one, and forget the oldest. The same policy is kept once."""
        now = datetime.datetime.now(datetime.UTC)
        files = {_CLOSED: closed.encode()}
        for number, (name, data) in enumerate(sources, 1):
            files[f"{_SOURCES}/{number:03}-{Path(name).stem}.yaml"] = data
        entry = Kept(
            self._policies / f"{now:%Y%m%dT%H%M%S.%fZ}-{digest[:12]}",
            digest, site, revision, now.isoformat(timespec="seconds"), by,
        )  # fmt: skip
        head = {
            "digest": digest, "site": site, "revision": revision, "since": entry.since, "by": by,
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }  # fmt: skip
        self._policies.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._policies / f".{os.getpid()}.new"
        shutil.rmtree(new, ignore_errors=True)
        try:
            for folder in (new, new / _SOURCES):
                folder.mkdir(mode=0o700)
            for name, data in {**files, _HEAD: json.dumps(head, indent=1).encode()}.items():
                _write(new / name, data)
            _sync(new / _SOURCES)
            _sync(new)
            new.rename(entry.folder)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _sync(self._policies)
        self._forget(entry)
        return entry

    def _forget(self, newest: Kept) -> None:
        """Earlier ones of the same content, the oldest beyond the number that is kept, and broken ones."""
        left = [entry for entry in self.entries() if entry.folder == newest.folder or entry.digest != newest.digest]
        good = {entry.folder for entry in left[: self._keep]}
        for path in self._policies.iterdir():
            if path not in good and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)

    def withhold(self, digest: str, why: str) -> None:
        """Note that this policy is not to be started with."""
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.folder / f".{_UNCONFIRMED}.{os.getpid()}"
        try:
            _write(new, json.dumps({"digest": digest, "why": why, "since": since}).encode())
            new.rename(self.folder / _UNCONFIRMED)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        _sync(self.folder)

    def release(self) -> None:
        """Nothing is unconfirmed."""
        (self.folder / _UNCONFIRMED).unlink(missing_ok=True)
        if self.folder.is_dir():
            _sync(self.folder)


def _write(path: Path, data: bytes) -> None:
    """A new file, on the disk when this returns."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """The folder's names, on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
