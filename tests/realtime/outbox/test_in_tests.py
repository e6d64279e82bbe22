"""The relay of a project's own tests: it sees what their transaction has written, which is never committed."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import TestCase

from flotilla import history, publish
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import write
from flotilla.testing import relay
from tests.realtime.client.nodes import configured
from tests.realtime.outbox.databases import rolled_back, rows

__all__ = ["configured"]


@pytest.fixture(autouse=True)
def _tests(configured: Any) -> Iterator[None]:
    relay.begin()
    yield
    relay.end()


def heard(channel: str) -> list[Any]:
    return [one["data"] for one in history(channel).publications]


def test_what_hooks_are_run_for_is_sent(database: str) -> None:
    with rolled_back(database):
        with TestCase.captureOnCommitCallbacks(using=database, execute=True), transaction.atomic(using=database):
            publish("sure:a", 1, using=database)
            publish("sure:a", 2, using=database)
            assert heard("sure:a") == []
        assert heard("sure:a") == [1, 2]
        with TestCase.captureOnCommitCallbacks(using=database, execute=True):
            publish("sure:a", 3, using=database)
        publish("sure:a", 4, using=database)
        assert heard("sure:a") == [1, 2, 3]
        assert [row.offset for row in rows(database) if row.sent_at] == [1, 2, 3]


def test_what_cannot_be_sent_is_set_aside_and_said(database: str, caplog: pytest.LogCaptureFixture) -> None:
    write("unknown:a", b'{"data":1}', {}, using=database)
    publish("sure:a", 2, using=database)
    assert heard("sure:a") == [2]
    assert OutboxRow.objects.using(database).get(channel="unknown:a").failed_at is not None
    assert [record.levelno for record in caplog.records if record.name == "flotilla.outbox"] == [logging.ERROR]


def test_without_them_nothing_is_sent(database: str) -> None:
    with rolled_back(database):
        publish("sure:a", 1, using=database)
    assert heard("sure:a") == []
