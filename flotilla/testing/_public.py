"""The names that `flotilla.testing` gives."""

from unittest.mock import ANY

from flotilla.testing.cases import FlotillaTestCase, FlotillaTestMixin
from flotilla.testing.client import Closed, Push, RealtimeClient, Refused
from flotilla.testing.environment import isolated, use_process_engine
from flotilla.testing.recorder import (
    Publication,
    Recorder,
    assert_nothing_published,
    assert_published,
    published,
    recording,
)

__all__ = [
    "ANY",
    "Closed",
    "FlotillaTestCase",
    "FlotillaTestMixin",
    "Publication",
    "Push",
    "RealtimeClient",
    "Recorder",
    "Refused",
    "assert_nothing_published",
    "assert_published",
    "isolated",
    "published",
    "recording",
    "use_process_engine",
]
