"""What a target raised: named by its kind and place, and its input made as small as it stays the same finding."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from fuzz.octets import Violation

CRASHES = Path(__file__).parent / "crashes"
Target = Callable[[bytes], None]
Signature = tuple[str, str, int, str]  # exception, file, line, the words of a violation


def signature(error: BaseException) -> Signature:
    """Two findings with the same one are taken for the same."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.name != "must"]
    place = frames[-1]
    words = "" if not isinstance(error, Violation) else " ".join(re.findall(r"\b[A-Za-z']+\b", str(error))[:6])
    return type(error).__name__, Path(place.filename).name, place.lineno or 0, words


def what_of(target: Target, data: bytes) -> Signature | None:
    """What an input leads to; None: nothing."""
    try:
        target(data)
    except Exception as error:  # noqa: BLE001
        return signature(error)
    return None


def smaller(target: Target, data: bytes, found: Signature, seconds: float = 8.0) -> bytes:
    """The input without what does not matter: pieces left out, then octets made zero."""
    until = time.monotonic() + seconds
    size = max(len(data) // 2, 1)
    while size and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            if what_of(target, shorter) == found:
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        plainer = data[:at] + b"\0" + data[at + 1 :]
        if data[at] and time.monotonic() < until and what_of(target, plainer) == found:
            data = plainer
    return data


def keep(name: str, data: bytes) -> Path:
    """Write an input beside those that failed before."""
    path = CRASHES / f"{name}-{sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path
