"""Django test cases that have a Redis of their own, or none, and record what is published."""

from typing import Any
from unittest import TestResult

from django.test import TestCase

from flotilla.testing.client import RealtimeClient
from flotilla.testing.environment import isolated
from flotilla.testing.recorder import Publication, Recorder, published, recording


class FlotillaTestMixin:
    """For any of Django's test cases: put it before the class, as `class Tests(FlotillaTestMixin, SimpleTestCase)`.

    `published` has what was published in this test, also what waits for a commit; `realtime(user)` makes a client.
    Each test begins with empty channels.
    """

    @property
    def published(self) -> Recorder:
        """What was published since the test began."""
        return published

    def run(self, result: TestResult | None = None) -> Any:
        """Run the test in its own surroundings."""
        with isolated(), recording():
            return super().run(result)  # type: ignore[misc]

    def realtime(self, user: Any = None, **options: Any) -> RealtimeClient:
        """A client, to be used in `async with`; what it takes is what `RealtimeClient` takes."""
        return RealtimeClient(user, **options)

    def assert_published(self, channel: str, *data: Any, **options: Any) -> list[Publication]:
        """Fail unless something was published into a channel (`Recorder.assert_published`)."""
        __tracebackhide__ = True
        return published.assert_published(channel, *data, **options)

    def assert_nothing_published(self, channel: str | None = None) -> None:
        """Fail if anything was published, into a channel or at all."""
        __tracebackhide__ = True
        published.assert_nothing_published(channel)


class FlotillaTestCase(FlotillaTestMixin, TestCase):
    """Django's TestCase with the mixin."""
