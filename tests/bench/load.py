"""The native load client, driven from Python: a command in, a line of JSON out (`native/load.c` lists them)."""

import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.native import program
from tests.bench.servers.base import Publishing

AT_ONCE = 40  # clients that connect at the same time, where a storm of them is measured
MARK = "@t=0000000000000000;000000;00;00000000@"
"""Where the client writes time, room, source and number; see `native/bench.h`."""

Figures = dict[str, Any]


class LoadError(Exception):
    """The client could not do what was asked; the text says what it met."""


def payload(size: int = 120) -> str:
    """A message as JSON of about `size` bytes, with the mark in it."""
    head = f'{{"user":"ann","text":"{MARK} '
    return f'{head}{"x" * max(1, size - len(head) - 2)}"}}'


class LoadClient:
    """One running client. Use it as a context."""

    def __init__(self, before: Sequence[str] = ()) -> None:
        self._command = [*before, str(program("load"))]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "LoadClient":
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def tell(self, name: str, words: Mapping[str, object] = {}, within: float = 60.0) -> Figures:
        """Give a command and wait for its answer, `within` seconds."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join((name, *(f"{key}={value}" for key, value in words.items()))) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], within)[0]:
            raise LoadError(f"`{name}` was not answered within {within:g} s")
        answer = self._process.stdout.readline()
        if not answer:
            raise LoadError(f"the load client ended with {self._process.wait()} during `{name}`")
        figures: Figures = json.loads(answer)
        return figures

    def publish_through(self, publishing: Publishing) -> None:
        """Say how publications are sent."""
        by = "clients" if publishing.port is None else "port"
        words: dict[str, object] = {"by": by, "port": publishing.port or 0, "links": publishing.links}
        words |= {"awaited": int(publishing.awaited), "batched": int(publishing.batched)}
        words |= {"greeting": publishing.greeting.hex(), "template": publishing.template.hex()}
        answer = self.tell("publisher", words)
        if answer["errors"]:
            raise LoadError(f"nothing can be published through port {publishing.port}")

    def connect(self, count: int, concurrency: int = 64, within: float = 120.0, **options: object) -> Figures:
        """Connect and subscribe `count` clients; raises LoadError unless all succeed."""
        words = {"count": count, "concurrency": concurrency, "timeout": within, **options}
        answer = self.tell("connect", words, within + 10)
        if answer["ready"] != count:
            raise LoadError(f"{answer['ready']} of {count} clients could join: {answer['complaint'] or 'too slow'}")
        return answer

    def come_back(self, concurrency: int = 64, within: float = 120.0) -> Figures:
        """Let all who were dropped return; raises LoadError unless all are back."""
        answer = self.tell("return", {"concurrency": concurrency, "timeout": within}, within + 10)
        if answer["ready"] != answer["begun"]:
            raise LoadError(f"{answer['ready']} of {answer['begun']} came back: {answer['complaint'] or 'too slow'}")
        return answer

    def run(
        self, seconds: float, *, rate: float = 0, window: int = 0, publications: int = 0, drain: float = 3.0
    ) -> Figures:
        """Publish for `seconds`, or until there were so many `publications`: `rate` a second, or always `window`
        under way."""
        words = {"seconds": seconds, "rate": rate, "window": window, "publications": publications, "drain": drain}
        return self.tell("run", words, within=seconds + 600)
