"""As much of a service manager as a restart needs: it hears sd_notify(3), and keeps descriptors for the next start."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import threading
from pathlib import Path

_UNIT = (Path(__file__).parents[2] / "systemd/conduitfw.service").read_text()
_MOST = int(_UNIT.split("FileDescriptorStoreMax=")[1].split()[0])
_DESCRIPTORS = 64  # of one message
_ABOVE = 64  # so that none of them is in the way of another's place
_FIRST = 3  # SD_LISTEN_FDS_START


class Manager:
    """Keeps what its service leaves with it, as systemd does: as many as the unit's FileDescriptorStoreMax= says."""

    def __init__(self, folder: Path) -> None:
        self._address = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(self._address))
        self._kept: dict[str, int] = {}
        self._told: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def kept(self) -> list[str]:
        """The names of what it keeps."""
        return sorted(self._kept)

    @property
    def told(self) -> list[str]:
        """All assignments so far, but for those about descriptors."""
        return list(self._told)

    def command(self, words: list[str]) -> tuple[list[str], tuple[int, ...]]:
        """How to start the service: the words, and the descriptors that it has to be given."""
        kept = dict(self._kept)
        places = " ".join(f"{_FIRST + place}<&{descriptor}" for place, descriptor in enumerate(kept.values()))
        names = f"LISTEN_PID=$$ LISTEN_FDS={len(kept)} LISTEN_FDNAMES={':'.join(kept)}" if kept else ""
        script = f'exec {places}; export NOTIFY_SOCKET={self._address} {names}; exec "$@"'
        return ["bash", "-c", script, "bash", *words], tuple(kept.values())

    def rewrite(self, name: str, before: bytes, after: bytes) -> None:
        """Change something in a file that it keeps."""
        data = os.pread(self._kept[name], 65536, 0)
        assert before in data
        os.pwrite(self._kept[name], data.replace(before, after), 0)

    def discard(self) -> None:
        """The service was stopped for good."""
        while self._kept:
            os.close(self._kept.popitem()[1])

    def _listen(self) -> None:
        while True:
            data, control, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4 * _DESCRIPTORS))
            received = array.array("i")
            for _, _, part in control:
                received.frombytes(part)
            assignments = data.decode().splitlines()
            named = dict(each.split("=", 1) for each in assignments)
            if "FDSTOREREMOVE" in named:
                with contextlib.suppress(KeyError):
                    os.close(self._kept.pop(named["FDNAME"]))
            elif "FDSTORE" in named:
                for descriptor in received if len(self._kept) < _MOST else ():
                    self._kept[named["FDNAME"]] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
            elif "BARRIER" not in named:
                self._told += assignments
            for descriptor in received:
                os.close(descriptor)
