"""What is published for a row, into its channel as that is configured now: the publication as it was written, or that
of a live model's change.

A change is `{"op": "set", "key": …, "data": …, "version": …}`, `{"op": "remove", "key": …, "version": …}` or
`{"op": "reload", "version": …}`. The version is the row's position: a channel's versions are in the order of commits.
A live model may have written further members behind its data (`Rendered.body`): they stand beside it.
"""

import re
from typing import Any, NamedTuple, cast

import msgspec
from django.db import DatabaseError, InterfaceError

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig
from flotilla.realtime.engine.calls import RowKeywords
from flotilla.realtime.outbox.renderings import Renderings
from flotilla.realtime.outbox.waiting import Row
from flotilla.realtime.protocol import bodies, replies
from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.commands import UINT64

_KEYWORDS = {"skip_history": bool, "version": int, "version_epoch": str, "delta": bool, "trace": dict}


_NO_TEXT = re.compile("[\ud800-\udfff]")  # JSON may have it, and no bytes stand for it
_DATA = (b'"data"', b'"b64data"')


class Unsendable(Exception):
    """This row cannot be published; the text says why."""


class Ready(NamedTuple):
    """A row as it is published."""

    row: Row
    body: bytes
    options: ChannelOptions
    keywords: RowKeywords

    @property
    def kept(self) -> bool:
        """Whether the channel's history keeps it."""
        return self.options.has_history and not self.keywords.get("skip_history")


def ready(row: Row, config: RealtimeConfig, renderings: Renderings) -> Ready:
    """Make a row's publication. Raises Unsendable, and DatabaseError where that is asked for its data."""
    try:
        options = options_for(row.channel, config)
        body = _body(row, options, renderings)
        if options.has_history:
            replies.require_sendable(body, config.max_publication_bytes(options))
    except CommandError as error:
        raise Unsendable(error.message) from error
    return Ready(row, body, options, _keywords(row.keywords))


def _body(row: Row, options: ChannelOptions, renderings: Renderings) -> bytes:
    if row.operation == "publish":
        if not row.body:
            raise Unsendable("the row has no body")
        body = bodies.one_line(row.body)
        if not body.startswith(b"{") or not any(member in body for member in _DATA):
            raise Unsendable("the body of the row is no JSON object with `data`")
        return body
    operation, data = row.operation, row.body
    if operation == "set" and data is None:
        operation, data = _rendered(row, renderings)
    change = bodies.one_line(_change(operation, row, data))
    key = row.key if options.conflate else ""
    bodies.require_key(key)
    if options.publication_data_format == "binary":
        return bodies.binary(change, None, None, key)
    return replies.publication_body(change, None, None, key)


def _rendered(row: Row, renderings: Renderings) -> tuple[str, bytes | None]:
    try:
        return renderings.of(row)
    except (DatabaseError, InterfaceError):  # which says nothing about this row
        raise
    except Exception as error:  # whatever a project's code raises: the row is shown with it
        raise Unsendable(f"{row.live} cannot render {row.key!r}: {error!r}") from error


def _change(operation: str, row: Row, data: bytes | None) -> bytes:
    key = msgspec.json.encode(row.key)
    if operation == "set" and data is not None:
        return b'{"op":"set","key":%b,"data":%b,"version":%d}' % (key, data, row.position)
    if operation == "remove":
        return b'{"op":"remove","key":%b,"version":%d}' % (key, row.position)
    if operation == "reload":
        return b'{"op":"reload","version":%d}' % row.position
    raise Unsendable(f"{operation!r} is no operation of a row with data" if data is None else f"{operation!r} is none")


def _keywords(given: Any) -> RowKeywords:
    """Those of `publish` that a row may have: rows written in SQL have whatever they were given."""
    if not isinstance(given, dict):
        raise Unsendable("the keywords of the row are no JSON object")
    for name, value in given.items():
        if type(value) is not _KEYWORDS.get(name) or not _can_be_sent(value):
            raise Unsendable(f"the keyword {name!r} of the row is none that can be sent")
    return cast("RowKeywords", given)


def _can_be_sent(value: Any) -> bool:
    """Whether Redis can be sent a keyword's value, which has the type that it must have."""
    if isinstance(value, dict):
        return all(isinstance(text, str) and _can_be_sent(text) for text in (*value, *value.values()))
    if isinstance(value, str):
        return not _NO_TEXT.search(value)
    return 0 <= int(value) <= UINT64
