"""Where the next page of a channel's state begins: behind a row of a live model, in the order of primary keys.

A cursor goes to the client and comes back; it says nothing that the client may not know, and whatever is made up only
leads to other rows of the same channel. It holds for a while alone (`GOOD_FOR`): later pages say what was removed since
the first, which the outbox does not know for ever.
"""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec
from django.db.models import Model

from flotilla.realtime.conf import get_config
from flotilla.realtime.live.texts import value_of

GOOD_FOR = 600.0  # seconds, where the outbox keeps its rows for longer
MAX_CURSOR = 2048  # bytes
SKEW = 30.0  # seconds between the clocks of two instances


class BadCursor(ValueError):
    """A cursor that no page has given, at least not in this version of the project."""


class Outlived(Exception):
    """What pages have said so far does not hold any more: begin with the first again."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Behind the row `pk` of the live model `label`; `began` is when the first page was read, in Unix seconds."""

    label: str
    pk: str | int
    began: float


def written(cursor: Cursor) -> str:
    """The cursor as text for a URL."""
    return urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def read(text: str) -> Cursor:
    """The cursor of a text. Raises BadCursor, Outlived."""
    if len(text) > MAX_CURSOR:
        raise BadCursor
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)), type=Cursor)
    except (ValueError, RecursionError):  # those of base64, UTF-8 and msgspec are ValueErrors
        raise BadCursor from None
    if not -SKEW <= time.time() - cursor.began <= good_for():
        raise Outlived
    return cursor


def good_for() -> float:
    """How long a cursor holds, in seconds."""
    return min(GOOD_FOR, get_config().outbox_keep / 2)


def behind(label: str, pk: Any, began: float) -> Cursor:
    """A cursor behind a row."""
    return Cursor(label, pk if isinstance(pk, int) else str(pk), began)


def key_of(cursor: Cursor, model: type[Model]) -> Any:
    """The primary key of the cursor's row. Raises BadCursor for what is none of this model."""
    try:
        return value_of(model._meta.pk, cursor.pk)
    except ValueError:
        raise BadCursor from None
