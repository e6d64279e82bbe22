"""What twins share: a call that is prepared once, and made by a thread or by a coroutine."""

import threading

import pytest

from flotilla.realtime.api.prepared import Prepared, in_thread
from flotilla.realtime.api.targets import require_target, user_or_all


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
