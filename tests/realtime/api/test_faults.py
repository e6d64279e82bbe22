"""The HTTP and the Python API while Redis answers with errors: as while it is away, and never a traceback."""

import asyncio
import logging
from typing import Any

import pytest

from flotilla import abroadcast, apublish, publish
from flotilla.realtime.protocol.codes import ErrorCode
from flotilla.store import StoreUnavailable, get_store
from tests.realtime.api.test_views import Api, api
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio

CALLS: dict[str, dict[str, Any]] = {
    "publish": {"channel": "open:a", "data": 1},
    "broadcast": {"channels": ["open:a", "open:b"], "data": 1},
    "history": {"channel": "open:a", "limit": 1},
    "history_remove": {"channel": "open:a"},
    "presence": {"channel": "open:a"},
    "presence_stats": {"channel": "open:a"},
    "disconnect": {"user": "7"},
    "unsubscribe": {"user": "7", "channel": "open:a"},
    "subscribe": {"user": "7", "channel": "open:a"},
    "refresh": {"user": "7"},
    "channels": {},
    "info": {},
}


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """A Redis of this test's own."""
    return mortal_redis


@pytest.mark.parametrize(
    "name", ["READONLY", "MASTERDOWN", "BUSY", "OOM", "NOREPLICAS", "MISCONF", "NOPERM scripts", "NOPERM publish"]
)
async def test_an_error_reply_is_answered_as_an_absent_redis_is(
    api: Api, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Error 100, which tells to try again; what needs nothing that is refused is answered."""
    refused: set[str] = set()
    async with FAULTS[name](redis_process):
        for method, asked in CALLS.items():
            answer = await api(method, **asked)
            outcomes = [answer, *answer.get("result", {}).get("responses", ())]
            codes = {one["error"]["code"] for one in outcomes if "error" in one}
            assert codes <= {ErrorCode.INTERNAL}, (method, answer)
            if codes:
                refused.add(method)
        if name != "OOM":  # what exists may be written to
            told = {"X_Centrifugo_Error_Mode": "transport"}
            assert (await api.raw("publish", '{"channel":"open:a","data":1}', **told)).status_code == 500
            for call in (apublish("open:a", 1), abroadcast(["open:a"], 1)):
                with pytest.raises(StoreUnavailable):
                    await call
            assert {"publish", "broadcast"} <= refused
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]
    for method in CALLS:
        await until(lambda method=method: works(api, method), what=method)  # type: ignore[misc]


async def works(api: Api, method: str) -> bool:
    answer = await api(method, **CALLS[method])
    return "error" not in answer and all("result" in one for one in answer["result"].get("responses", ()))


async def test_threads_hear_of_it_in_the_same_way(configured: Any, redis_process: RedisProcess) -> None:
    """From `publish` without a transaction."""
    async with FAULTS["READONLY"](redis_process):
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await asyncio.to_thread(publish, "open:a", 1)
    found = await asyncio.to_thread(publish, "open:a", 1)
    assert found is not None
    assert get_store().first.stats.refused == 1
