"""A client that says exactly what it is told, and gives back exactly what was answered, errors included."""

import socket
from typing import Any

import hiredis

DEADLINE = 20.0  # seconds


class Wrong(str):
    """An error reply."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Wrong({str(self)!r})"


class RawClient:
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(DEADLINE)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._nothing = object()
        self._reader: Any = hiredis.Reader(replyError=Wrong, notEnoughData=self._nothing)

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *words: Any) -> None:
        """Send a command."""
        self._socket.sendall(hiredis.pack_command(words))

    def next(self) -> Any:
        """The next reply. Raises ConnectionError when there is none any more."""
        while (reply := self._reader.gets()) is self._nothing:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("closed by the other side")
            self._reader.feed(data)
        return reply

    def ask(self, *words: Any) -> Any:
        """The answer to a command."""
        self.send(*words)
        return self.next()
