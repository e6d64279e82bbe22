"""Fixtures for pytest, which finds this plugin by its entry point in every project where Flotilla is installed.

Nothing of Django or Flotilla is loaded until a fixture is asked for or the session begins in a project that uses both;
anywhere else the plugin does nothing.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flotilla.testing.recorder import Recorder


def pytest_sessionstart() -> None:
    """Give the run names of its own in Redis, where Django knows Flotilla."""
    apps = sys.modules.get("django.apps")
    if apps is not None and apps.apps.ready and apps.apps.is_installed("flotilla.realtime"):
        from flotilla.store import test_run

        test_run.begin()


@pytest.fixture
def flotilla_isolated() -> Iterator[None]:
    """Channels that are empty when the test begins, whatever was published before."""
    from flotilla.testing.environment import isolated

    with isolated():
        yield


@pytest.fixture
def flotilla_published(flotilla_isolated: None) -> "Iterator[Recorder]":
    """What the test publishes: a list with `assert_published` and `assert_nothing_published`."""
    from flotilla.testing.recorder import recording

    with recording() as published:
        yield published


@pytest.fixture
def flotilla_client(flotilla_isolated: None) -> Callable[..., Any]:
    """Makes clients: `async with flotilla_client(user=ann) as client:`."""
    from flotilla.testing.client import RealtimeClient

    return RealtimeClient
