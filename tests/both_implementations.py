"""Tests on both implementations of `flotilla.speedups`: in Python, and in C where it was compiled.

`pytestmark = pytest.mark.usefixtures("implementation")` runs each test of a module on each: whatever module of ours has
imported the functions has those of the one that is tested meanwhile.
"""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flotilla import speedups
from flotilla.speedups.pure import fossil, frames, protobuf, resp, sends

NAMES = [name for name in speedups.__all__ if name.islower()]
_MODULES = (fossil, frames, protobuf, resp, sends)
PYTHON = SimpleNamespace(**{name: call for one in _MODULES for name, call in vars(one).items() if name in NAMES})
AT_HOME = ("flotilla.speedups.pure", "flotilla._speedups")
try:
    NATIVE: Any = importlib.import_module("flotilla._speedups")
except ImportError:
    NATIVE = None


def implementations() -> list[Any]:
    """Parameters: each implementation, of which the compiled one may be missing."""
    missing = pytest.mark.skipif(NATIVE is None, reason="flotilla._speedups is not compiled")
    return [pytest.param(PYTHON, id="python"), pytest.param(NATIVE, id="native", marks=missing)]


def places() -> list[tuple[ModuleType, str]]:
    """Where our modules that are loaded have imported the functions: module and name."""
    return [
        (module, name)
        for module in list(sys.modules.values())
        if module.__name__.startswith("flotilla.") and not module.__name__.startswith(AT_HOME)
        for name in NAMES
        if getattr(module, name, None) in (getattr(PYTHON, name), getattr(NATIVE, name, PYTHON))
    ]


@pytest.fixture(params=implementations())
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The functions of one implementation, which all of our modules call during the test."""
    for module, name in places():
        monkeypatch.setattr(module, name, getattr(request.param, name))
    yield request.param
