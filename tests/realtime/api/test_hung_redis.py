"""The HTTP API while Redis hangs: an answer comes in bounded time, whatever was asked."""

import asyncio

import pytest

from tests.realtime.api.test_views import Api, api
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess

pytestmark = pytest.mark.asyncio
__all__ = ["api"]

BOUND = 12.0  # seconds: one call takes 4 at most, the rest is for a busy machine


@pytest.fixture
def redis_url(mortal_redis: RedisProcess) -> str:
    """Instead of the shared one: this one is stopped."""
    return mortal_redis.url


async def test_a_batch_gives_up_as_a_whole(api: Api, mortal_redis: RedisProcess) -> None:
    """Its commands do not each wait as long as one may."""
    commands = [{"publish": {"channel": f"open:{n}", "data": n}} for n in range(50)]
    with hung(mortal_redis):
        async with asyncio.timeout(BOUND):
            replies = (await api("batch", commands=commands))["replies"]
    assert [reply["error"]["code"] for reply in replies] == [100] * len(commands)


async def test_every_other_method_answers(api: Api, mortal_redis: RedisProcess) -> None:
    """With error 100."""
    asked = {
        "publish": {"channel": "open:a", "data": 1},
        "presence": {"channel": "open:a"},
        "history": {"channel": "open:a", "limit": 1},
        "disconnect": {"user": "ann"},
        "channels": {},
        "info": {},
    }
    with hung(mortal_redis):
        async with asyncio.timeout(BOUND):
            answers = await asyncio.gather(*(api(method, **wish) for method, wish in asked.items()))
            broadcast = await api("broadcast", channels=["open:a", "open:b"], data=1)
    assert [answer["error"]["code"] for answer in answers] == [100] * len(asked)
    assert [one["error"]["code"] for one in broadcast["result"]["responses"]] == [100, 100]
