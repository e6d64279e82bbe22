"""Where time goes, as Prometheus reads it: commands, the API, hooks and the database."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.test import AsyncClient

from flotilla.monitoring.database import DatabaseStats
from flotilla.realtime import rpc
from flotilla.realtime.access import hook_stats as hook_calls
from flotilla.realtime.access.hook_stats import HookStats, hook_stats
from flotilla.realtime.access.hooks import Cached
from flotilla.realtime.api.stats import api_stats
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer, error, joined
from tests.store.redis_process import RedisProcess, until

Scrape = Callable[..., float | None]
SLOW = 0.06  # seconds that a hook takes


@pytest.fixture(autouse=True)
def from_the_start() -> Iterator[None]:
    """Nothing was counted in this process before, and nothing stays."""
    yield
    for counted in (hook_stats.times, hook_stats.outcomes, api_stats.durations, api_stats.errors):
        counted.clear()


async def yes(user: Any, channel: str, info: Any) -> bool:
    await asyncio.sleep(SLOW)
    return True


async def no(user: Any, channel: str, info: Any) -> bool:
    return False


async def broken(user: Any, channel: str, info: Any) -> bool:
    raise KeyError("oops")


async def kept(user: Any, channel: str, info: Any) -> Cached:
    return Cached(True)


YES, NO, BROKEN, KEPT = (f"{__name__}.{hook.__name__}" for hook in (yes, no, broken, kept))


def guard(node: Node, **hooks: Any) -> None:
    """Namespaces `yes`, `no`, … each with a hook for subscribing and publishing."""
    options = {name: ChannelOptions(subscribe_permission=hook, publish_permission=hook) for name, hook in hooks.items()}
    hurry(node, namespaces=node.config.namespaces | options)


@pytest.mark.asyncio
class TestCommands:
    async def test_each_answered_command_is_timed_once(self, node: Node, scrape: Scrape) -> None:
        """Those that are refused too; commands nobody has sent are there with 0."""
        peer = await joined(node)
        await peer.subscribe("open:a")
        await peer.ask(publish={"channel": "open:a", "data": 1})
        assert await peer.ask(publish={"channel": "closed:a", "data": 1}) == error(103)
        await peer.ask(presence={"channel": "open:a"})
        await peer.ask(unsubscribe={"channel": "open:a"})
        count = "flotilla_command_duration_seconds_count"
        got = {method: scrape(count, command=method) for method in node.handlers}
        assert got == dict.fromkeys(node.handlers, 0) | {
            "connect": 1,
            "subscribe": 1,
            "publish": 2,
            "presence": 1,
            "unsubscribe": 1,
        }

    async def test_the_time_is_what_the_client_waited(self, node: Node, scrape: Scrape) -> None:
        """A publication waits for its hook; the commands behind it wait as long."""
        guard(node, yes=yes)
        peer = await joined(node)
        ids = [peer.say(publish={"channel": "yes:a", "data": 1}), peer.say(publish={"channel": "open:a", "data": 1})]
        ids.append(peer.say(unsubscribe={"channel": "open:a"}))
        for id in ids:
            await peer.reply(id)
        total = "flotilla_command_duration_seconds_sum"
        assert (scrape(total, command="publish") or 0) >= 2 * SLOW
        assert (scrape(total, command="unsubscribe") or 0) >= SLOW
        assert scrape("flotilla_command_duration_seconds_bucket", command="unsubscribe", le="0.05") == 0

    async def test_a_publication_is_timed_until_redis_has_it(
        self, node: Node, scrape: Scrape, redis_process: RedisProcess
    ) -> None:
        peer = await joined(node)
        redis_process.ask("CLIENT", "PAUSE", 20_000, "WRITE")
        try:
            id, began = peer.say(publish={"channel": "open:a", "data": 1}), node.now()
            await until(lambda: node.now() > began + SLOW)
            assert scrape("flotilla_command_duration_seconds_count", command="publish") == 0
        finally:
            redis_process.ask("CLIENT", "UNPAUSE")
        await peer.reply(id)
        assert (scrape("flotilla_command_duration_seconds_sum", command="publish") or 0) >= SLOW


@pytest.mark.asyncio
class TestApi:
    @pytest.fixture
    def call(self, configured: Any) -> Any:
        configured.ROOT_URLCONF = "flotilla.realtime.api.urls"
        configured.MIDDLEWARE = []
        configured.ALLOWED_HOSTS = ["*"]

        async def call(method: str, /, **asked: Any) -> Any:
            body = json.dumps(asked)
            headers = {"X-API-Key": "k" * 32}
            made = await AsyncClient().post(f"/api/{method}", body, content_type="application/json", headers=headers)
            return json.loads(made.content)

        return call

    async def test_each_call_is_timed_by_its_method(self, call: Any, scrape: Scrape) -> None:
        """Parts of a batch as well; methods that nobody calls are there with 0."""
        await call("publish", channel="open:a", data=1)
        await call("batch", commands=[{"publish": {"channel": "open:a", "data": 2}}, {"info": {}}])
        count = "flotilla_api_duration_seconds_count"
        assert [scrape(count, method=method) for method in ("publish", "info", "history")] == [2, 1, 0]

    async def test_errors_are_counted_by_method_and_code(self, call: Any, scrape: Scrape) -> None:
        """Though HTTP says 200; a project's own codes are one."""
        await call("publish", channel="nowhere:a", data=1)
        await call("broadcast", channels=["open:a", "nowhere:a"], data=1)
        await call("batch", commands=[{"nothing": {}}])
        rpc.methods["refuses"] = _refuses
        try:
            await call("rpc", method="refuses")
        finally:
            del rpc.methods["refuses"]
        errors = "flotilla_api_errors_total"
        assert scrape(errors, method="publish", code="102") == 1
        assert scrape(errors, method="broadcast", code="102") == 1
        assert scrape(errors, method="batch", code="104") == 1
        assert scrape(errors, method="rpc", code="application") == 1
        assert scrape(errors, method="publish", code="100") == 0


async def _refuses(user: Any, data: Any) -> None:
    raise CommandError(4321, "no")


@pytest.mark.asyncio
class TestHooks:
    async def test_calls_are_timed_and_their_answers_counted(self, node: Node, scrape: Scrape) -> None:
        """By the hook's name; what a connection remembers is no call."""
        guard(node, yes=yes, no=no, broken=broken, kept=kept)
        peer = await joined(node)
        await peer.subscribe("yes:a")
        assert await peer.ask(subscribe={"channel": "no:a"}) == error(103)
        assert await peer.ask(subscribe={"channel": "broken:a"}) == error(100)
        await peer.subscribe("kept:a")
        await peer.ask(publish={"channel": "kept:a", "data": 1})
        answers = "flotilla_permission_answers_total"
        for hook, outcome in ((YES, "yes"), (NO, "no"), (BROKEN, "failed"), (KEPT, "yes")):
            assert scrape(answers, hook=hook, outcome=outcome) == 1, hook
            assert scrape("flotilla_permission_duration_seconds_count", hook=hook) == 1, hook
        assert scrape(answers, hook=YES, outcome="no") == 0
        assert (scrape("flotilla_permission_duration_seconds_sum", hook=YES) or 0) >= SLOW * 0.9

    async def test_hooks_of_the_configuration_are_there_before_they_are_called(
        self, node: Node, scrape: Scrape
    ) -> None:
        guard(node, yes=YES)
        assert scrape("flotilla_permission_duration_seconds_count", hook=YES) == 0

    async def test_a_hook_that_authenticates_is_one_of_them(self, node: Node, scrape: Scrape) -> None:
        """It knows the client, says no, leaves it to others, or fails."""
        said: list[Any] = ["ann", None, PermissionError("?")]

        async def authenticate(request: Any) -> Any:
            answer = said.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        hurry(node, authenticate=authenticate)
        await joined(node)
        await joined(node)
        assert await Peer(node).ask(connect={}) == error(100)
        name = f"{__name__}.{authenticate.__qualname__}"
        answers = {
            outcome: scrape("flotilla_permission_answers_total", hook=name, outcome=outcome)
            for outcome in hook_calls.OUTCOMES
        }
        assert answers == {"yes": 1, "no": 0, "failed": 1, "abstained": 1}


def test_hooks_beyond_the_bound_are_counted_together() -> None:
    stats = HookStats()
    for number in range(hook_calls.MAX_HOOKS + 5):
        with stats.call(f"hook-{number}") as call:
            call.outcome = hook_calls.YES
    assert len(stats.times) == hook_calls.MAX_HOOKS + 1
    assert stats.outcomes[hook_calls.OTHER, hook_calls.YES] == 5


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
class TestDatabase:
    async def test_queries_are_timed_and_failures_counted(self, node: Node, scrape: Scrape) -> None:
        """By the database's alias, from whichever thread."""

        def ask() -> None:
            list(get_user_model().objects.all()[:1])
            with pytest.raises(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")

        await sync_to_async(ask)()  # makes the series
        names = ("duration_seconds_count", "errors_total")
        before = [scrape(f"flotilla_database_{name}", database="default") or 0 for name in names]
        await sync_to_async(ask)()
        after = [scrape(f"flotilla_database_{name}", database="default") or 0 for name in names]
        assert after[0] >= before[0] + 2
        assert after[1] == before[1] + 1
        assert (scrape("flotilla_database_connects_total", database="default") or 0) >= 1
        assert (scrape("flotilla_database_duration_seconds_sum", database="default") or 0) > 0


def test_a_connection_that_is_made_again_is_wrapped_once() -> None:
    stats = DatabaseStats()
    before = list(connection.execute_wrappers)
    try:
        stats.watch(connection)
        stats.watch(connection)
        assert len(connection.execute_wrappers) == len(before) + 1
        assert stats.connections == {"default": 2}
    finally:
        connection.execute_wrappers[:] = before
