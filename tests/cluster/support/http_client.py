"""HTTP/1.1 as a strict reader takes it: whole responses off a raw socket, and nothing forgiven.

Independent of any HTTP library, so that what a library repairs in silence is seen.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.support.generic_server import Raw, Server, self_signed
from tests.cluster.support.harness import environment, migrate
from tests.cluster.support.processes import a_redis

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\t\x20-\x7e]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")
HOST = "Host: 127.0.0.1"


@dataclass
class Answer:
    """One response. `ended`: how its end was known (empty, length, chunked, closed, or "cut": it was not whole)."""

    status: int
    phrase: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    ended: str = "empty"
    interim: list[int] = field(default_factory=list)  # statuses that came before it (100)

    def __getitem__(self, name: str) -> str:
        """A header that is there once, or "" where there is none."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else ""

    @property
    def json(self) -> Any:
        """The body, which must be JSON of a success."""
        assert self.status == 200, (self.status, self.body[:300])
        return json.loads(self.body)


class Client(Raw):
    """A connection whose responses are read strictly."""

    def ask(self, data: bytes) -> Answer:
        """Send a request and read its response."""
        self.send(data)
        return self.answer(head=data.startswith(b"HEAD "))

    def answer(self, *, head: bool = False) -> Answer:
        """The next response; `head`: of a HEAD request. Status 0 when the connection ended instead."""
        interim = []
        while True:
            found = self._start()
            if not 100 <= found.status < 200 or found.status == 101:
                break
            interim.append(found.status)
        found.interim = interim
        if found.status and not head and found.status not in (101, 204, 304):
            self._read_body(found)
        return found

    def over(self) -> bool:
        """Whether the other side closes now, having said nothing more."""
        return self.rest() == b""

    def _start(self) -> Answer:
        raw = self.head()
        if not raw:
            return Answer(0, "", [])
        first, *lines = raw.split(b"\r\n")
        status = STATUS_LINE.fullmatch(first)
        assert status, f"no status line: {first!r}"
        headers = []
        for line in lines:
            matched = FIELD.fullmatch(line)
            assert matched, f"no header: {line!r}"
            headers.append((matched[1].decode().lower(), matched[2].decode("latin-1")))
        return Answer(int(status[1]), status[2].decode(), headers)

    def _read_body(self, found: Answer) -> None:
        if found["transfer-encoding"]:
            assert found["transfer-encoding"] == "chunked"
            assert not found["content-length"], "a length and chunks"
            found.ended = "chunked" if self._read_chunks(found) else "cut"
        elif found["content-length"]:
            size = int(found["content-length"])
            found.body = self.take(size)
            found.ended = "length" if len(found.body) == size else "cut"
        else:
            found.body, found.ended = self.rest(), "closed"

    def _read_chunks(self, found: Answer) -> bool:
        """Whether they came to their proper end."""
        while True:
            line = b""
            while not line.endswith(b"\r\n"):
                byte = self.take(1)
                if not byte:
                    return False
                line += byte
            size = CHUNK.fullmatch(line)
            assert size, f"no size of a chunk: {line!r}"
            length = int(size[1], 16)
            chunk = self.take(length + 2)
            if len(chunk) < length + 2:
                found.body += chunk
                return False
            assert chunk.endswith(b"\r\n")
            found.body += chunk[:-2]
            if not length:
                return True


def get(path: str = "/generic/request", *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body; a Host stands in it unless one is among the lines."""
    return request(method, path, *lines, version=version)


def request(method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request; the length of a body is said unless a line frames it."""
    head = [f"{method} {path} HTTP/{version}", *lines]
    lower = [line.lower() for line in lines]
    if not any(line.startswith("host:") for line in lower):
        head.insert(1, HOST)
    if body and not any(line.startswith(("content-length", "transfer-encoding")) for line in lower):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*head, "", "")).encode("latin-1") + body


def chunked(*pieces: bytes, path: str = "/generic/request", lines: tuple[str, ...] = ()) -> bytes:
    """A POST in chunks, each as long as a piece."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return request("POST", path, "Transfer-Encoding: chunked", *lines, body=body)


def raw_chunks(body: bytes, path: str = "/generic/request") -> bytes:
    """A POST whose chunks are written by hand."""
    return request("POST", path, "Transfer-Encoding: chunked", body=body or b"\r\n")


@contextmanager
def one_server(home: Path, config: dict[str, Any], **more: str) -> Iterator[Server]:
    """An instance under the tests' application, with an environment of its own."""
    redis = a_redis(home)
    env = environment(home, redis.url, config, **more)
    made = Server("server", home, env, certificate=self_signed(home))
    try:
        redis.start()
        migrate(env)
        made.start()
        yield made
    finally:
        made.stop()
        redis.stop()


def seen(server: Server) -> list[str]:
    """What the applications of `clusterapp.http_apps` noted."""
    found: list[str] = server.ask("seen")
    return found


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


def forget_peak(pid: int) -> None:
    """Have `peak` begin again with what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """The most resident bytes that a process had since then, for however short a time."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def lasts(seconds: float) -> Iterator[float]:
    """Gives the time since it began until it is over; for work that takes some time by itself."""
    began = time.monotonic()
    while (since := time.monotonic() - began) < seconds:
        yield since
