"""Rows by their keys in channels, which are texts made of a field."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.db.models import QuerySet

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.reading import pages
from flotilla.realtime.live.texts import value_of

PAGE = 250
"""Rows in one statement."""


def with_keys(live: LiveModel, rows: "QuerySet[Any]", keys: Iterable[str]) -> "QuerySet[Any]":
    """Those of a live model's rows that have one of these keys; a text that no key of it is, is none."""
    field, values = live.concrete(live.key), []
    for key in keys:
        if key.startswith(live.key_prefix):
            with suppress(ValueError):
                values.append(value_of(field, key.removeprefix(live.key_prefix)))
    return rows.filter(**{f"{field.attname}__in": values})


def pages_with_keys(live: LiveModel, rows: "QuerySet[Any]", keys: Iterable[str]) -> "Iterator[QuerySet[Any]]":
    """The same, for any number of keys: one statement a page."""
    return (with_keys(live, rows, page) for page in pages(keys, PAGE))
