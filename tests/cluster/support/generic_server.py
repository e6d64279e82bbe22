"""A server of our own under an application of the tests (`clusterapp.asgi`), and raw sockets that speak to it."""

import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.support.harness import Instance
from tests.cluster.support.processes import free_port
from tests.raw_frames import CLOSE, frame

KEY = b64encode(b"0123456789abcdef")
MAX_SECONDS = 30.0  # seconds any single answer may take


class Server(Instance):
    """An instance that serves `clusterapp.asgi`, over TLS too when it is given a certificate."""

    def __init__(self, name: str, home: Path, env: dict[str, str], *more: str, certificate: Path | None = None) -> None:
        super().__init__(name, home, env)
        self.tls_port = free_port()
        self._more = list(more)
        if certificate is not None:
            self._more += [
                "-e",
                f"ssl:{self.tls_port}:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}",
            ]

    def _command(self) -> list[str]:
        listen = ["-b", "127.0.0.1", "-p", str(self.port), "--access-log", os.devnull, *self._more]
        return ["flotilla.realtime.server.daphne", *listen, "tests.cluster.support.clusterapp.asgi:application"]

    @property
    def database(self) -> str:
        """The URL of its database, which has its tables."""
        return self._env["DATABASE_URL"]

    def tails(self) -> str:
        """The end of its log."""
        return self.tail()

    def generic(self, name: str, scheme: str = "ws") -> str:
        """The address of one of the generic applications."""
        return f"{scheme}://127.0.0.1:{self.tls_port if scheme == 'wss' else self.port}/generic/{name}"

    def ask(self, name: str) -> Any:
        """What `clusterapp.asgi` answers to a plain request."""
        with urllib.request.urlopen(f"{self.http}/generic/{name}", timeout=MAX_SECONDS) as response:
            return json.load(response)


def self_signed(home: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    made = home / "certificate.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", *kind, *name, "-keyout", f"{made}.key", "-out", f"{made}.crt"], check=True, capture_output=True
    )
    made.write_bytes(Path(f"{made}.key").read_bytes() + Path(f"{made}.crt").read_bytes())
    return made


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def upgrade(path: str = "/generic/echo", *more: str) -> bytes:
    """A handshake."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY.decode()}", *more]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


class Raw:
    """A socket that sends what it is told and reads frames and responses."""

    def __init__(self, port: int, tls: bool = False, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(MAX_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self._data = b""

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send, whether or not the other side still listens."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def reset(self) -> None:
        """End the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def more(self) -> bool:
        """Read once; False at the end of the connection."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        self._data += data
        return bool(data)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        while len(self._data) < size and self.more():
            pass
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def head(self) -> bytes:
        """A response's head."""
        while b"\r\n\r\n" not in self._data and self.more():
            pass
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return head

    def response(self) -> tuple[int, bytes]:
        """A response's status and body (with a length, or up to the end)."""
        head = self.head()
        status = int(head.split()[1]) if head else 0
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if b"transfer-encoding: chunked" in head.lower():
            return status, b"".join(self._chunks())
        return status, self.take(int(lengths[0].split(b":")[1])) if lengths else self.rest()

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield self.take(size + 2)[:-2]
        self.take(2)

    def _chunk_size(self) -> int:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.take(1) or b"\r\n"
        return int(line or b"0", 16)

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self.more():
            pass
        data, self._data = self._data, b""
        return data

    def open(self, path: str = "/generic/echo", *more: str) -> "Raw":
        """Do the handshake."""
        self.send(upgrade(path, *more))
        head = self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return self

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame's opcode and payload, None at the end of the connection."""
        head = self.take(2)
        if len(head) < 2:
            return None
        assert head[0] & 0xF0 == 0x80, "the server sends whole messages without reserved bits"
        assert not head[1] & 0x80, "the server does not mask"
        size = head[1]
        if size > 125:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, self.take(size)

    def up_to_close(self) -> list[tuple[int, bytes]]:
        """All frames up to the close, which is the last unless the connection ended without one."""
        found = []
        while (one := self.frame()) is not None:
            found.append(one)
            if one[0] == CLOSE:
                break
        return found or [(0, b"")]
