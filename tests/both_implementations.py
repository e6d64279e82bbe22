"""Tests on both implementations of `flotilla.speedups`: in Python, and in C where it was compiled.

`pytestmark = pytest.mark.usefixtures("implementation")` runs each test of a module on each: whatever module of ours has
imported the functions has those of the one that is tested meanwhile.
"""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flotilla import speedups
from flotilla.speedups.pure import commands, frames, resp, sends

NAMES = [name for name in speedups.__all__ if name != "IMPLEMENTATION"]
PYTHON = SimpleNamespace(
    **{name: call for one in (commands, frames, resp, sends) for name, call in vars(one).items() if name in NAMES}
)
AT_HOME = ("flotilla.speedups.pure", "flotilla._speedups")
try:
    NATIVE: Any = importlib.import_module("flotilla._speedups")
except ImportError:
    NATIVE = None


def implementations() -> list[Any]:
    """Parameters: each implementation, of which the compiled one may be missing."""
    missing = pytest.mark.skipif(NATIVE is None, reason="flotilla._speedups is not compiled")
    return [pytest.param(PYTHON, id="python"), pytest.param(NATIVE, id="native", marks=missing)]


def put_in_place(monkeypatch: pytest.MonkeyPatch, chosen: Any) -> None:
    """Have every module of ours that is loaded call these functions."""
    for module in list(sys.modules.values()):
        if not module.__name__.startswith("flotilla.") or module.__name__.startswith(AT_HOME):
            continue
        for name in NAMES:
            if getattr(module, name, None) in (getattr(PYTHON, name), getattr(NATIVE, name, None)):
                monkeypatch.setattr(module, name, getattr(chosen, name))


@pytest.fixture(params=implementations())
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The functions of one implementation, which all of our modules call during the test."""
    put_in_place(monkeypatch, request.param)
    yield request.param
