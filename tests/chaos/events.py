"""What the event log tells, counted as it grows."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import IO, Any

LONG = 4 << 20  # bytes: then the file is moved away, as logrotate would


class Tally:
    """Counts events of the log: denials (with those that were folded), and the losses that it tells of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""
        self.denials = 0
        self.lost = 0
        self.actions: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()  # sessions that the firewall ended, by the reason's code

    def read(self) -> None:
        """Count what was written since the last time."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = self._path.open("rb")
        moved = self._is_another()
        self._count(self._file)
        if moved:  # whoever writes has the new one open: the old one is complete
            self._file.close()
            Path(f"{self._path}.old").unlink(missing_ok=True)
            self._file = self._path.open("rb")
            self._count(self._file)
        elif self._file.tell() > LONG and self._path.exists() and not Path(f"{self._path}.old").exists():
            os.rename(self._path, f"{self._path}.old")

    def _is_another(self) -> bool:
        assert self._file is not None
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def _count(self, file: IO[bytes]) -> None:
        *lines, self._rest = (self._rest + file.read()).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # torn by a full disk: the log counts it as not written
                continue
            self._one(event)

    def _one(self, event: dict[str, Any]) -> None:
        action = event["event"]["action"]
        self.actions[action] += 1
        if "denied" in event["event"]["type"] and "code" in event["event"]:
            self.denials += event["conduitfw"].get("repeated", 1)
            if event["event"]["action"] == "reset":
                self.ended[event["event"]["code"]] += 1
        elif action == "events-lost":
            self.lost += event["conduitfw"]["engine"]["lost"]
