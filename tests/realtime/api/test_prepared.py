"""What twins share: a call that is prepared once, and made by a thread or by a coroutine."""

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flotilla import _public
from flotilla.realtime.api.prepared import Prepared, in_thread
from flotilla.realtime.api.python import PublishKeywords
from flotilla.realtime.api.targets import require_target, user_or_all
from flotilla.realtime.engine import calls

TWINS = [name for name in _public.__all__ if f"a{name}" in _public.__all__]


def from_thread() -> str:
    return "thread"


async def from_coroutine() -> str:
    return "coroutine"


@pytest.mark.asyncio
async def test_each_twin_makes_the_call_in_its_way() -> None:
    """And both read the answer alike."""
    prepared = Prepared(from_thread, from_coroutine)
    assert (prepared.run(), await prepared.arun()) == ("thread", "coroutine")
    read = prepared.then(str.upper)
    assert (read.run(), await read.arun()) == ("THREAD", "COROUTINE")


@pytest.mark.asyncio
async def test_what_threads_alone_can_do_holds_up_no_coroutine() -> None:
    """Another thread does it."""
    prepared = in_thread(threading.get_ident)
    assert prepared.run() == threading.get_ident() != await prepared.arun()


def test_everybody_is_meant_by_none_alone() -> None:
    """The anonymous user is somebody, and a call that names nobody is refused where it would be about all."""
    assert (user_or_all(None), user_or_all(""), user_or_all(7)) == (None, "", "7")
    require_target("", "")
    require_target(None, "", "room:7")
    with pytest.raises(ValueError, match="say whom"):
        require_target(None, "", "")


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


@pytest.mark.parametrize("name", TWINS)
def test_twins_take_the_same(name: str) -> None:
    """But for what `reauthorize` does after a commit: coroutines are in no transaction."""
    given = {**parameters(getattr(_public, name))}
    if name == "reauthorize":
        del given["on_commit"], given["using"], given["on_error"]
    assert list(parameters(getattr(_public, f"a{name}")).values()) == list(given.values())


@pytest.mark.parametrize(
    ("function", "keywords", "others"),
    [
        (_public.publish, PublishKeywords, {"on_error", "durable"}),
        (calls.publish, calls.PublishKeywords, set()),
        (calls.history, calls.HistoryKeywords, set()),
    ],
)
def test_keywords_that_are_passed_on_are_those_of_the_function(
    function: Callable[..., Any], keywords: type, others: set[str]
) -> None:
    """Each by its name; `others` are named where they are passed on."""
    own = {one.name for one in parameters(function).values() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert own == keywords.__annotations__.keys() | others
