"""What was published during a test: a list in the manner of `django.core.mail.outbox`.

A publication is in the list from the moment it is asked for, also while it waits for a commit that a TestCase never
makes: there it is `pending`. What a rollback took away, and what failed, is not in the list (`Recorder.unsent` has it).
What clients publish over their connections is not the server's: see it with a client (`RealtimeClient.next_push`).
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, overload
from unittest.mock import ANY

from flotilla.realtime.api import publishing
from flotilla.realtime.engine.calls import NOWHERE, PublishKeywords
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.live import operation
from flotilla.realtime.outbox.rows import Change
from flotilla.realtime.outbox.wake import Writing, writing
from flotilla.realtime.protocol import bodies, foreign

MAX_SHOWN = 20  # publications in the message of a failed assertion


class Publication:
    """One publication: what it says, and what became of it.

    `options` has the keywords that were given: idempotency_key, skip_history, version, version_epoch, delta. `offset`
    and `epoch` are its position, once it was sent into a channel with history.
    """

    def __init__(self, channel: str, body: bytes, options: Mapping[str, Any]) -> None:
        told = bodies.plain(body)
        self.channel = channel
        self.data: Any = told["data"]
        self.tags: dict[str, str] = told.get("tags", {})
        self.key: str = told.get("key", "")
        self.options = {name: value for name, value in options.items() if value}
        self.sent = False
        self.offset = 0
        self.epoch = ""
        self._call: weakref.ref[_Call] | None = None
        self._newer: Publication | None = None

    @property
    def replaced(self) -> bool:
        """Whether its transaction has changed the same row of a live model once more, so that it is not sent."""
        return self._newer is not None and (self._newer.sent or self._newer.pending or self._newer.replaced)

    @property
    def pending(self) -> bool:
        """Whether it waits for the commit of a transaction."""
        return not self.sent and self._call is not None and self._call() is not None

    @property
    def state(self) -> str:
        """What became of it, in words."""
        if self.sent:
            return "sent"
        return "waits for the commit" if self.pending else "never sent"

    def __repr__(self) -> str:
        extra = f" tags={self.tags!r}" if self.tags else ""
        return f"<{self.channel} {self.data!r}{extra} ({self.state})>"


class _Call:
    """Held by the call that sends a publication: when it is gone without having been made, nobody will make it."""

    __slots__ = ("__weakref__", "_publication")

    def __init__(self, publication: Publication) -> None:
        self._publication = publication
        publication._call = weakref.ref(self)

    def sent(self, position: StreamPosition) -> None:
        """It was made."""
        self._publication.sent = True
        self._publication.offset, self._publication.epoch = position.offset, position.epoch


class Recorder(Sequence[Publication]):
    """The publications that were sent, or wait for a commit; in the order in which they were asked for."""

    def __init__(self) -> None:
        self._all: list[Publication] = []
        self._changes: dict[tuple[Writing, str, str], Publication] = {}

    def _known(self) -> list[Publication]:
        return [one for one in self._all if (one.sent or one.pending) and not one.replaced]

    @property
    def unsent(self) -> list[Publication]:
        """Those that a rollback or a failure took away."""
        return [one for one in self._all if not one.sent and not one.pending]

    @property
    def pending(self) -> list[Publication]:
        """Those that wait for a commit."""
        return [one for one in self._all if one.pending]

    def to(self, channel: str) -> list[Publication]:
        """Those into one channel."""
        return [one for one in self._known() if one.channel == channel]

    def clear(self) -> None:
        """Forget everything."""
        self._all.clear()
        self._changes.clear()

    @overload
    def __getitem__(self, place: int) -> Publication: ...

    @overload
    def __getitem__(self, place: slice) -> list[Publication]: ...

    def __getitem__(self, place: int | slice) -> Publication | list[Publication]:
        return self._known()[place]

    def __len__(self) -> int:
        return len(self._known())

    def __repr__(self) -> str:
        return repr(self._known())

    def note(self, channel: str, body: bytes, keywords: PublishKeywords) -> publishing.Sent:
        """A watcher of publications (`flotilla.realtime.api.publishing.watchers`)."""
        publication = Publication(channel, body, keywords)
        self._all.append(publication)
        return _Call(publication).sent

    def note_change(self, using: str, change: Change) -> Callable[[], object]:
        """A watcher of live models' changes (`flotilla.realtime.live.operation.watchers`)."""
        publication = Publication(change.channel, _body_of(change), {})
        place = (writing(using), change.channel, change.key)
        if (older := self._changes.get(place)) is not None:
            older._newer = publication
        self._changes[place] = publication
        self._all.append(publication)
        return partial(_Call(publication).sent, NOWHERE)

    # Assertions

    def assert_published(
        self, channel: str, data: Any = ANY, *, count: int | None = None, tags: Any = ANY, pending: bool | None = None
    ) -> list[Publication]:
        """Fail unless something was published into `channel`: with this `data` (as JSON has it) and these `tags`, so
        many times (`count`; None: once at least), and waiting for a commit or not (`pending`; None: either). Returns
        those publications.
        """
        __tracebackhide__ = True
        found = [
            one
            for one in self.to(channel)
            if _equal(data, one.data) and tags == one.tags and pending in (None, one.pending)
        ]
        if len(found) == count or (count is None and found):
            return found
        wanted = "nothing" if not found else f"only {len(found)} times" if len(found) < (count or 0) else "too often"
        raise AssertionError(
            f"{wanted} was published into {channel!r}{_described(data, tags, pending)}"
            f"{'' if count is None else f' ({len(found)} instead of {count} times)'}; {self._told()}"
        )

    def assert_nothing_published(self, channel: str | None = None) -> None:
        """Fail if anything was published: into `channel`, or at all."""
        __tracebackhide__ = True
        if found := self._known() if channel is None else self.to(channel):
            where = "" if channel is None else f" into {channel!r}"
            raise AssertionError(f"{len(found)} publications were made{where}; {self._told()}")

    def _told(self) -> str:
        if not self._all:
            return "nothing was published at all"
        lines = [f"  {one!r}" for one in self._all[:MAX_SHOWN]]
        if (more := len(self._all) - MAX_SHOWN) > 0:
            lines.append(f"  and {more} more")
        return "\n".join(["published were:", *lines])


def _body_of(change: Change) -> bytes:
    """A change as it is published, but for its version, which is not known before the commit."""
    told: dict[str, Any] = {"op": change.operation}
    if change.operation != "reload":
        told["key"] = change.key
    if change.body is not None:
        told["data"] = foreign.plain(change.body)
    return foreign.write({"data": told})


def _described(data: Any, tags: Any, pending: bool | None) -> str:
    told = "" if data is ANY else f" with {data!r}"
    told += "" if tags is ANY else f" with tags {tags!r}"
    return told + {None: "", True: " and waits for a commit", False: " and was sent"}[pending]


def _equal(wanted: Any, found: Any) -> bool:
    """Whether data is what was wanted, which may have what JSON writes in its own way (a UUID, a date, a tuple)."""
    if wanted == found:
        return True
    try:
        return bool(foreign.plain(publishing.encode_data(wanted)) == found)
    except TypeError:
        return False


published = Recorder()
"""What was published since the test began, while there is a `FlotillaTestMixin`, the fixture `flotilla_published`, or
`recording()`."""


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what is published until the end of the block; `published` begins anew. A block in a block goes on."""
    if published.note in publishing.watchers:
        yield published
        return
    published.clear()
    publishing.watchers.append(published.note)
    operation.watchers.append(published.note_change)
    try:
        yield published
    finally:
        publishing.watchers.remove(published.note)
        operation.watchers.remove(published.note_change)


assert_published = published.assert_published
assert_nothing_published = published.assert_nothing_published
