"""One stack for all tests here; it is well whenever a test begins. What was measured is told at the end."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.support import driven, sdk
from tests.cluster.support.raw_client import token
from tests.compose.engine import NoEngine, find_engine
from tests.compose.stack import Stack

FIGURES: list[str] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows the containers' logs beside a failure."""
    report = yield
    if report.failed and call.when == "call":
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stack):
                report.sections.append(("logs of the containers", value.tails()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured."""
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def say() -> Callable[[str], None]:
    """Notes a figure for the end of the run."""
    return FIGURES.append


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    try:
        find_engine()
        stack = Stack(tmp_path_factory.mktemp("compose"))
    except NoEngine as error:
        pytest.skip(str(error))
    try:
        try:
            stack.up()
        except NoEngine as error:
            pytest.skip(str(error))
        FIGURES.append(f"up --detach --wait: {stack.took:.1f} s")
        if stack.local_images:
            FIGURES.append(f"local images, no registry gave them: {', '.join(stack.local_images)}")
        yield stack
    finally:
        stack.down()


@pytest.fixture
def stack(running_stack: Stack) -> Stack:
    """The stack, and all is well."""
    running_stack.heal()
    return running_stack


@pytest_asyncio.fixture
async def clients(stack: Stack) -> AsyncIterator[list[sdk.SdkClient]]:
    """Two clients of each SDK, connected through the balancer."""
    async with AsyncExitStack() as until:
        made: list[sdk.SdkClient] = [sdk.PythonClient(stack.url, _token(f"python-{n}"), f"python-{n}") for n in (1, 2)]
        if driven.node is not None:
            node = await until.enter_async_context(driven.Node())
            made += [node.client(stack.url, _token(f"js-{n}"), f"js-{n}") for n in (1, 2)]
        else:
            pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
        for client in made:
            until.push_async_callback(client.close)
            await client.connect()
            await client.seen.event("connected")
        yield made


def _token(user: str) -> sdk.TokenSource:
    return lambda _: token(user)
