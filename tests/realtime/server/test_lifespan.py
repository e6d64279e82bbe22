"""A server's side of the lifespan: what an application is told and when, whatever it answers."""

import asyncio
import logging
from typing import Any

import pytest

from flotilla.realtime.server.lifespan import EXTENSION, Lifespan, StartupFailed

pytestmark = pytest.mark.asyncio


class Application:
    """Answers as it is told, and notes what it is asked."""

    def __init__(self, **answers: str) -> None:
        self.asked: list[str] = []
        self.scope: dict[str, Any] = {}
        self._answers = {"startup": "complete", "shutdown": "complete"} | answers

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        for event in ("startup", "shutdown"):
            self.asked.append((await receive())["type"])
            answer = self._answers[event]
            if answer == "silence":
                await asyncio.Event().wait()
            elif answer == "return":
                return
            elif answer == "raise":
                raise RuntimeError("as it was asked to")
            await send({"type": f"lifespan.{event}.{answer}", "message": "no disk"})


async def test_an_application_is_started_and_told_of_the_end() -> None:
    application = Application()
    lifespan = Lifespan(application)
    await lifespan.startup()
    assert application.asked == ["lifespan.startup"]
    await asyncio.sleep(0.01)
    assert application.asked == ["lifespan.startup"]
    await lifespan.shutdown(1.0)
    assert application.asked == ["lifespan.startup", "lifespan.shutdown"]
    assert application.scope["type"] == "lifespan"
    assert application.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}


async def test_it_is_waited_for() -> None:
    go = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await go.wait()
        await send({"type": "lifespan.startup.complete"})

    starting = asyncio.ensure_future(Lifespan(application).startup())
    await asyncio.sleep(0.01)
    assert not starting.done()
    go.set()
    await asyncio.wait_for(starting, 1)


async def test_one_that_cannot_start_says_why() -> None:
    lifespan = Lifespan(Application(startup="failed"))
    with pytest.raises(StartupFailed, match="no disk"):
        await lifespan.startup()


@pytest.mark.parametrize("answer", ["raise", "return"])
async def test_one_without_a_lifespan_is_served_and_not_asked_again(answer: str) -> None:
    application = Application(startup=answer)
    lifespan = Lifespan(application)
    await lifespan.startup()
    await lifespan.shutdown(1.0)
    assert application.asked == ["lifespan.startup"]


async def test_one_that_refuses_the_scope_is_served() -> None:
    """As Django's own application, and Channels' router without a route for it."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    lifespan = Lifespan(application)
    await lifespan.startup()
    await lifespan.send_away(1.0)
    await lifespan.shutdown(1.0)


@pytest.mark.parametrize(
    ("answer", "said"), [("silence", "took longer"), ("failed", "no disk"), ("raise", "failed"), ("return", "")]
)
async def test_an_end_that_goes_wrong_ends_all_the_same(
    answer: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lifespan = Lifespan(Application(shutdown=answer))
    await lifespan.startup()
    await asyncio.wait_for(lifespan.shutdown(0.05), 1)
    assert said in caplog.text if said else not caplog.text


async def test_an_answer_to_nothing_is_refused() -> None:
    """An early end, an answer twice, and something else altogether."""
    refused: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for kind in ("lifespan.shutdown.complete", "http.response.start", "lifespan.startup.complete"):
            try:
                await send({"type": kind})
            except ValueError:
                refused.append(kind)
        try:
            await send({"type": "lifespan.startup.complete"})
        except ValueError:
            refused.append("twice")

    await Lifespan(application).startup()
    assert refused == ["lifespan.shutdown.complete", "http.response.start", "twice"]


async def test_clients_are_sent_away_by_the_application_that_has_them() -> None:
    class Clients:
        sent_away: float = 0.0

        def ready(self) -> str:
            return "here"

        async def send_away(self, within: float) -> None:
            self.sent_away = within

    clients = Clients()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope["extensions"][EXTENSION](clients)
        await send({"type": "lifespan.startup.complete"})
        await receive()

    lifespan = Lifespan(application)
    await lifespan.startup()
    assert lifespan.clients is clients
    await lifespan.send_away(4.0)
    assert clients.sent_away == 4.0
    await lifespan.shutdown(1.0)
