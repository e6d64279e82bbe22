"""What tells whether a page of a channel's state is still what was read, without reading it.

A change of a live model is in the outbox from its commit until long after it was sent, and once sent it is in the
channel's stream. So with the stream's position and the outbox's the same, nothing has changed that was seen. A change
that nobody saw shows after a while: that is half of the time for which cursors hold, so that whoever is given a page
that was kept has the other half for those behind it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from inspect import getsourcefile
from pathlib import Path
from typing import Any

import msgspec

from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.state_cursor import good_for

MOST_KEPT = 16 * 1024 * 1024  # bytes of pages that a process keeps


def tag_of(lives: Iterable[LiveModel], position: StreamPosition, version: int, *asked: Any) -> str:
    """The tag of the page that is asked for so, for channels whose rows are these live models'."""
    parts = ([_declared(live) for live in lives], position, version, int(time.time() // (good_for() / 2)), asked)
    return _digest_of(parts)


def question_of(*asked: Any) -> str:
    """What stands for a page that is asked for so, however long that is: strangers write cursors."""
    return _digest_of(asked)


def _digest_of(parts: Any) -> str:
    return blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()


def _declared(live: LiveModel) -> list[str]:
    """What a row's data follows from, as far as it is written down: the next version of a project may say otherwise."""
    kinds = (type(live), live.model, live.serializer)
    sources = {getsourcefile(kind) or "" for kind in kinds if kind is not None}
    return [live.label, repr(live.fields), *map(_digest, sorted(sources))]


@cache
def _digest(path: str) -> str:
    """What tells a file's content from any other, as it was at first."""
    return blake2b(Path(path).read_bytes(), digest_size=12).hexdigest() if Path(path).is_file() else path


class KeptPages:
    """The newest page for each question, with its tag; those least recently asked for go first. For threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._pages: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, question: str, tag: str) -> bytes | None:
        """The page that answers the question, if the one that is kept has this tag."""
        with self._lock:
            found = self._pages.get(question)
            if found is None or found[0] != tag:
                return None
            self._pages.move_to_end(question)
            return found[1]

    def keep(self, question: str, tag: str, page: bytes) -> None:
        """Keep a page, in the place of an earlier one for the same question, whose tag will never come again."""
        with self._lock:
            _, before = self._pages.pop(question, ("", b""))
            self._bytes -= len(before)
            if len(page) > self._most:
                return
            self._pages[question] = tag, page
            self._bytes += len(page)
            while self._bytes > self._most:
                self._bytes -= len(self._pages.popitem(last=False)[1][1])
