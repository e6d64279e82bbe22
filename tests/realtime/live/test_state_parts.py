"""Parts of a state alone: cursors, turns, and pages that are kept."""

import threading
import time
import uuid

import pytest
from django.core.validators import validate_slug
from django.db import models

from flotilla.realtime.live import state_cursor
from flotilla.realtime.live.state_cursor import GOOD_FOR, BadCursor, Cursor, Outlived, behind, key_of, read, written
from flotilla.realtime.live.state_tag import KeptPages
from flotilla.realtime.live.state_turns import Busy, Turns
from tests.cluster.support.processes import wait_until
from tests.realtime.live.state_rows import APP, Note, Ticket


class Named(models.Model):
    """A row with a key that JSON does not have."""

    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return str(self.id)


class Strict(models.Model):
    """A row with a key that its project is particular about."""

    id = models.CharField(primary_key=True, max_length=9, validators=[validate_slug])

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return self.id


class Part(models.Model):
    """A row with another row's key."""

    ticket = models.OneToOneField(Ticket, models.CASCADE, primary_key=True)

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return str(self.pk)


def test_a_key_that_breaks_the_projects_own_rules_is_one() -> None:
    """Rows made by a bulk, say, which asks no validator."""
    assert key_of(behind("a.b", "a b", time.time()), Strict) == "a b"


def test_a_cursor_leads_back_to_its_key() -> None:
    for model, key in ((Ticket, 7), (Note, "a/ä:\u2028"), (Named, uuid.uuid4())):
        cursor = read(written(behind("a.b", key, time.time())))
        assert key_of(cursor, model) == key
        assert cursor.label == "a.b"


def test_what_no_page_has_given() -> None:
    for text in ("", "x", "é", "W10", "e30", "A" * 3000, written(Cursor("a", 1, 0))[:-3]):
        with pytest.raises(BadCursor):
            read(text)
    for model, key in ((Ticket, "x"), (Ticket, 2**63), (Note, "\0"), (Part, 2**63), (Part, -(10**30)), (Named, "7")):
        with pytest.raises(BadCursor):
            key_of(Cursor("a", key, 0), model)


def test_a_cursor_of_long_ago_or_to_come() -> None:
    for began in (time.time() - GOOD_FOR - 5, time.time() + 2 * state_cursor.SKEW, 0.0):
        with pytest.raises(Outlived):
            read(written(Cursor("a", 1, began)))


def test_some_read_some_wait_and_the_others_are_sent_away() -> None:
    turns = Turns(at_once=1, waiting=1, patience=30)
    inside = threading.Event()

    def wait() -> None:
        with turns.one():
            inside.set()

    with turns.one():
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: turns.full, "the other one waits")
        with pytest.raises(Busy), turns.one():
            pass
        assert not inside.is_set()
    waiting.join(10)
    assert inside.is_set()


def test_pages_are_kept_within_a_bound() -> None:
    pages = KeptPages(most=100)
    for number in range(5):
        pages.keep(f"{number}", "tag", b"x" * 40)
        pages.get("0", "tag")
    assert [pages.get(f"{number}", "tag") is not None for number in range(5)] == [True, False, False, False, True]
    pages.keep("large", "tag", b"x" * 101)
    assert pages.get("large", "tag") is None


def test_a_newer_page_takes_the_place_of_the_one_before() -> None:
    """What has changed since is never asked for again: pages of a channel that changes do not fill the memory."""
    pages = KeptPages(most=100)
    pages.keep("other", "tag", b"y" * 40)
    for number in range(5):
        pages.keep("first", f"{number}", b"x" * 40)
        assert pages.get("first", f"{number}") == b"x" * 40
        assert pages.get("first", f"{number - 1}") is None
    assert pages.get("other", "tag") == b"y" * 40
    pages.keep("first", "large", b"x" * 101)
    assert pages.get("first", "4") is None
    pages.keep("third", "tag", b"z" * 60)
    assert pages.get("other", "tag") == b"y" * 40, "there was room for both"
