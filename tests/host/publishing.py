"""The bazaar publishes from everywhere its code runs, by the one line in `store/services.py`, and each process ends.

Run by `make test-host`.
"""

import asyncio

from tests.cluster.support.raw_client import RawClient
from tests.host.support.bazaar import ANN, BOB, Bazaar


async def test_from_a_view(bazaar: Bazaar) -> None:
    order = bazaar.order()
    async with bazaar.watching() as page:
        answer = await asyncio.to_thread(bazaar.program(ANN).post, f"/api/orders/{order}/pay/")
        assert answer.json == {"status": "paid"}
        await bazaar.announced(page, order, "a view")


async def test_from_an_async_view(bazaar: Bazaar) -> None:
    order = bazaar.order()
    ann = bazaar.visitor(ANN)
    async with bazaar.watching() as page:
        answer = await asyncio.to_thread(ann.post, f"/orders/{order}/cancel/")
        assert answer.json == {"status": "cancelled"}
        await bazaar.announced(page, order, "an async view")


async def test_from_a_coroutine_of_a_view(bazaar: Bazaar) -> None:
    bob = bazaar.visitor(BOB)
    async with bazaar.watching(BOB) as page:
        answer = await asyncio.to_thread(bob.post, "/live/greet/")
        assert answer.status == 200, answer
        await greeted(page, bazaar.channel(BOB), "from an async view", answer.json["offset"])


async def test_from_a_worker_process(bazaar: Bazaar) -> None:
    order = bazaar.order(BOB)
    assert bazaar.program(BOB).post(f"/api/orders/{order}/pay/").status == 200
    async with bazaar.watching(BOB) as page:
        done = await asyncio.to_thread(bazaar.run, "worker")
        assert done.code == 0 and f"packed {order}" in done.output, done.output
        await bazaar.announced(page, order, "a worker", BOB)


async def test_from_a_celery_prefork_worker(bazaar: Bazaar) -> None:
    orders = [bazaar.order() for _ in range(4)]
    async with bazaar.watching() as page:
        async with bazaar.celery() as worker:
            for order in orders:
                answer = await asyncio.to_thread(bazaar.program(ANN).post, f"/api/orders/{order}/ship/")
                assert answer.status == 202, answer
            for order in orders:
                await bazaar.announced(page, order, "celery")
        assert worker.exit_code == 0, worker.tail()


async def test_from_a_pool_of_threads(bazaar: Bazaar) -> None:
    orders = [bazaar.order(BOB) for _ in range(6)]
    async with bazaar.watching(BOB) as page:
        done = await asyncio.to_thread(bazaar.run, "return_all")
        assert done.code == 0, done.output
        for order in orders:
            await bazaar.announced(page, order, "a thread", BOB)


async def test_from_asyncio_run(bazaar: Bazaar) -> None:
    order = bazaar.order(BOB)
    async with bazaar.watching(BOB) as page:
        for command in ("close_all", "greet_all"):
            done = await asyncio.to_thread(bazaar.run, command)
            assert done.code == 0, done.output
        await bazaar.announced(page, order, "asyncio.run", BOB)
        await greeted(page, bazaar.channel(BOB), "from asyncio.run")


async def test_from_the_command_line(bazaar: Bazaar) -> None:
    async with bazaar.watching() as page:
        words = ("flotilla", "publish", bazaar.channel(), '{"greeting": "from a shell"}')
        done = await asyncio.to_thread(bazaar.run, *words)
        assert done.code == 0, done.output
        await greeted(page, bazaar.channel(), "from a shell")


async def greeted(page: RawClient, channel: str, greeting: str, offset: int = 0) -> None:
    """Wait until a page was greeted."""

    def fits(message: dict[str, object]) -> bool:
        push = message.get("push")
        if not isinstance(push, dict) or push.get("channel") != channel:
            return False
        publication = push.get("pub", {})
        return publication.get("data") == {"greeting": greeting} and offset in (0, publication.get("offset"))

    await page.wait(fits, f"the greeting {greeting!r}")
