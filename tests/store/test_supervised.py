"""Tasks that others rely on: they go on after whatever happens, it is counted, and the log has it once."""

import asyncio
import itertools
import logging
from collections.abc import Callable

import pytest

from flotilla.store import StoreUnavailable
from flotilla.store.supervised import SupervisedTask, restarts, supervised
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


def failing(*failures: BaseException) -> tuple[Callable[[], object], list[str]]:
    """Work that fails in these ways, one after another, and is done then."""
    left, done = list(failures), list[str]()

    async def work() -> None:
        if left:
            raise left.pop(0)
        done.append("done")

    return work, done


@pytest.mark.parametrize("error", [TypeError("?"), StoreUnavailable("away"), asyncio.CancelledError(), KeyError(1)])
async def test_a_failure_is_no_end(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it was; how often is counted under the task's name."""
    before = restarts["test-task"]
    work, done = failing(error, error, error)
    task = supervised("test-task", work)  # type: ignore[arg-type]
    assert task.get_name() == "test-task"
    await task
    assert done == ["done"]
    assert restarts["test-task"] == before + 3
    assert len(caplog.records) == 1
    told = caplog.records[0]
    assert (told.levelno, bool(told.exc_info)) == (
        (logging.WARNING, False) if isinstance(error, StoreUnavailable) else (logging.ERROR, True)
    )


async def test_each_kind_of_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The second may be the one that matters."""
    work, _ = failing(TypeError("one"), ValueError("two"), TypeError("one"))
    await supervised("test-task", work)  # type: ignore[arg-type]
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [TypeError, ValueError]


async def test_a_cancelled_task_ends() -> None:
    """At once, at work or between two tries, and also when what it does swallows that."""

    async def endless() -> None:
        await asyncio.Event().wait()

    async def broken() -> None:
        raise TypeError

    async def swallowing() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    for work in (endless, broken, swallowing):
        task = supervised("test-task", work)
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(1):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def test_a_task_that_always_fails_does_not_spin() -> None:
    """The pauses grow."""
    runs: list[float] = []

    async def work() -> None:
        runs.append(asyncio.get_running_loop().time())
        raise TypeError

    task = supervised("test-task", work)
    await until(lambda: len(runs) == 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pauses = [after - before for before, after in itertools.pairwise(runs)]
    assert pauses[0] >= 0.025
    assert pauses[3] >= 0.2


async def test_a_task_is_started_and_stopped_once_however_often_it_is_said() -> None:
    """Both may be receivers of a signal, which gives them arguments."""
    begun: list[int] = []
    ended: list[int] = []

    async def work() -> None:
        begun.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    task = SupervisedTask("test-task", work)
    await task.stop()
    for _ in range(2):
        await task.start(sender=None)
    await until(lambda: bool(begun))
    for _ in range(2):
        await task.stop(sender=None)
    assert (begun, ended) == ([1], [1])
    await task.start()
    await until(lambda: len(begun) == 2)
    await task.stop()
