"""Is the ruleset still what was loaded? The kernel says when something changes; a listing says what it is now.

nftables tells every change to whoever listens to its netlink group, iptables-nft's too. A change may be one of our
own: what counts is whether the listing is the one that stood there after our own last load. Sysctls tell nobody, and
are read again and again.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from collections.abc import Collection, Iterator

from conduitfw.kernel import nft
from conduitfw.kernel.shape import BRIDGE, INET, Method, Shape

_NETLINK_NETFILTER = 12
_GROUP_NFTABLES = 7  # NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h)
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEW_GENERATION = _SUBSYSTEM << 8 | 15  # NFT_MSG_NEWGEN: the end of a transaction, and whose it was
_PROCESS_ID, _PROCESS_NAME = 2, 3  # NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME (linux/netfilter/nf_tables.h)
_MESSAGE, _GENERIC, _ATTRIBUTE = struct.Struct("=IHHII"), 4, struct.Struct("=HH")
_BUFFER = 1 << 20


class Watch:
    """The socket, and what the listing was after our own last load."""

    def __init__(self, shape: Shape) -> None:
        """Raises OSError where the kernel lets nobody listen."""
        self._shape = shape
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, 1 << (_GROUP_NFTABLES - 1)))
        self._expected = b""
        self._suspect: str | None = None  # who changed something, until it is known that all is well

    def fileno(self) -> int:
        """Something to read there means that something has changed."""
        return self._socket.fileno()

    def begin(self) -> bool:
        """A load of ours begins. False where somebody else may have changed something since all was known to be well.

        Where process ids are others to the kernel (a container), somebody else may always have.
        """
        return self._suspect is None and all(pid in nft.own for _, pid in self._authors())

    def remember(self) -> bool:
        """What stands there now is what should: called after each load of ours.

        False where somebody else changed something since `begin`: what stands there may be his.
        """
        self._expected = fingerprint(self._shape)
        authors = self._authors()
        # Where process ids are others to the kernel (a container), nobody can tell.
        ours = any(pid in nft.own for _, pid in authors)
        return not ours or all(pid in nft.own for _, pid in authors)

    def changed(self, ours: Collection[int] = ()) -> str | None:
        """Who changed something in nftables since all was last known to be well; None: nobody did.

        `ours`: ids of processes whose changes are no news.
        """
        for name, pid in self._authors():
            if pid in ours:
                continue
            self._suspect = f"{name} (process {pid})" if name else self._suspect or "somebody"
        return self._suspect

    def _authors(self) -> list[tuple[str, int]]:
        """Name and process id of each message since the last call; ("", 0) where it does not say."""
        found = []
        while True:
            try:
                found.append(_author(self._socket.recv(_BUFFER)))
            except BlockingIOError:
                # Only the end of a transaction says whose it was.
                named = [each for each in found if each[0]]
                return named or found[:1]
            except OSError:  # there was more than the socket could hold
                found.append(("", 0))

    def wrong(self) -> str:
        """What is not as it was loaded, in words; "" where all is well."""
        if fingerprint(self._shape) != self._expected:
            return "the ruleset"
        if self._shape.method is Method.MARK and not nft.mark_rules_stand(self._shape):
            return "the rule that queues"
        self._suspect = None
        return ""


def fingerprint(shape: Shape) -> bytes:
    """Of our tables as the kernel lists them, without counts and without sets that decide nothing.

    Elements of a set may stand in any order.
    """
    digest = hashlib.sha256()
    for family in (shape.family, INET) if shape.family == BRIDGE else (shape.family,):
        try:
            listed = nft.listing(family)
        except OSError:
            listed = "none"
        for part in _parts(listed):
            digest.update(part.encode() + b"\n")
    return digest.digest()


def _parts(listed: str) -> Iterator[str]:
    """Lines, but each set or map as one line of its sorted words, and those that no rule asks not at all."""
    asked = set(re.findall(r"@(\w+)", listed))
    inside: list[str] = []
    for line in listed.splitlines():
        begins = re.match(r"\t(?:set|map) (\S+) ", line)
        if inside or begins:
            if begins:
                name = begins[1]
            inside.append(line)
            if line == "\t}":
                text = " ".join(inside)
                if "flags dynamic" in text:  # its elements come and go with packets
                    text = re.sub(r"elements = \{[^}]*\}", "", text)
                if name in asked:
                    yield " ".join(sorted(re.split(r"[\s,]+", text)))
                inside = []
        elif line:
            yield line


def _author(data: bytes) -> tuple[str, int]:
    """The name and id of the process whose transaction ends in these messages; ("", 0): none ends."""
    at = 0
    while at + _MESSAGE.size <= len(data):
        size, kind = _MESSAGE.unpack_from(data, at)[:2]
        if size < _MESSAGE.size:
            break
        if kind == _NEW_GENERATION:
            found = dict(_attributes(data[at + _MESSAGE.size + _GENERIC : at + size]))
            name = found.get(_PROCESS_NAME, b"").rstrip(b"\0").decode(errors="replace")
            return name, int.from_bytes(found.get(_PROCESS_ID, b""), "big")
        at += -(-size // 4) * 4
    return "", 0


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + size]
        at += -(-size // 4) * 4
