"""One round trip a decision, none for what is known; Redis away, paused and back."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flotilla.ratelimit import limiter as limiter_module
from flotilla.ratelimit.breaker import FIRST_PAUSE
from flotilla.ratelimit.limiter import Limiter, Patience
from flotilla.ratelimit.service import TIMEOUT
from flotilla.realtime.client.command_time import COMMAND_WITHIN
from tests.ratelimit.conftest import claim, make_limiter
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until

INSIDE = ("time", "get", "set", "info", "config", "client", "hello")
"""What scripts call, and what this module asks itself."""


def calls(redis: RedisProcess) -> int:
    """Commands that clients sent: each one is a round trip."""
    stats = redis.ask("INFO", "commandstats").items()
    return sum(of["calls"] for name, of in stats if name.removeprefix("cmdstat_").partition("|")[0] not in INSIDE)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_decision_costs_one_round_trip_and_a_remembered_denial_none(
    redis_process: RedisProcess, limiter: Limiter, sync: bool
) -> None:
    asked = [claim("5/m", "a"), claim("5/m burst=5", "b"), claim("100/s burst=10", "c")]

    async def decide() -> bool:
        decision = await asyncio.to_thread(limiter.decide_sync, asked) if sync else await limiter.decide(asked)
        return decision.allowed

    await decide()  # connects, and loads the script where it is not known yet
    redis_process.ask("CONFIG", "RESETSTAT")
    assert [await decide() for _ in range(4)] == [True] * 4
    assert calls(redis_process) == 4
    assert not await decide()
    assert calls(redis_process) == 5
    assert [await decide() for _ in range(100)] == [False] * 100
    assert calls(redis_process) == 5, "a denial that was remembered cost a round trip"
    assert limiter.counts.remembered == 100


async def test_a_remembered_denial_ends_when_redis_would_admit_again(limiter: Limiter) -> None:
    asked = claim("20/s burst=1")
    await limiter.decide([asked])
    denied = await limiter.decide([asked])
    assert 0 < denied.retry_after <= 0.05

    async def admitted() -> bool:
        return (await limiter.decide([asked])).allowed

    await until(admitted)


async def test_a_connection_s_own_limit_asks_nobody(redis_process: RedisProcess, limiter: Limiter) -> None:
    own, shared = claim("3/m", "own", "connection:1", key="connection"), claim("2/m", "shared")
    before = calls(redis_process)
    assert [(await limiter.decide([own])).allowed for _ in range(4)] == [True, True, True, False]
    assert calls(redis_process) == before
    other = claim("3/m", "own", "connection:2", key="connection")
    allowed = [(await limiter.decide([other, shared])).allowed for _ in range(5)]
    assert allowed == [True, True, False, False, False]
    assert (await limiter.decide([other])).allowed, "what another limit denied was taken from the connection's own"


async def test_every_outcome_is_counted_once_by_policy(limiter: Limiter) -> None:
    asked = claim("10/m burst=10")
    for _ in range(12):
        await limiter.decide([asked])
    counted = {outcome: n for (_, outcome), n in limiter.counts.outcomes.items()}
    assert counted == {"allowed": 7, "near": 3, "denied": 2}
    assert sum(limiter.counts.times) == 11
    assert limiter.counts.take_hot() == {("policy", "ip:192.0.2.1"): 2}


def failing(failure: str) -> Any:
    return claim("3/m", failure, failure=failure)


async def decide_in(limiter: Limiter, sync: bool, asked: Any) -> tuple[bool, float]:
    began = time.monotonic()
    if sync:
        decision = await asyncio.to_thread(limiter.decide_sync, [asked])
    else:
        decision = await limiter.decide([asked])
    return decision.allowed, time.monotonic() - began


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("fault", ["stopped", "paused"])
async def test_without_redis_each_policy_s_own_mode_decides_and_it_heals(
    mortal_redis: RedisProcess, sync: bool, fault: str
) -> None:
    limiter = make_limiter(mortal_redis.url, instances=lambda: 1)
    assert (await decide_in(limiter, sync, failing("open")))[0]
    process = mortal_redis._process
    assert process is not None
    if fault == "paused":
        os.kill(process.pid, signal.SIGSTOP)
    else:
        mortal_redis.kill()
    try:
        while not limiter.breaker.open:  # until it is known, nobody is given more than there is
            await decide_in(limiter, sync, claim("1000/h", "before", failure="open"))
        assert [(await decide_in(limiter, sync, failing("open")))[0] for _ in range(6)] == [True] * 6
        assert [(await decide_in(limiter, sync, failing("closed")))[0] for _ in range(6)] == [False] * 6
        assert [(await decide_in(limiter, sync, failing("local")))[0] for _ in range(6)] == [True] * 3 + [False] * 3
    finally:
        if fault == "paused":
            os.kill(process.pid, signal.SIGCONT)
        else:
            mortal_redis.start()
    outcomes = {outcome for _, outcome in limiter.counts.outcomes}
    assert {"failed_open", "failed_closed", "local"} <= outcomes

    async def healed() -> bool:
        asked = claim("1000/s burst=1000", "after", failure="closed")
        return (await decide_in(limiter, sync, asked))[0]

    await until(healed, within=10)
    await limiter.close()


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("name", ["NOREPLICAS", "MISCONF", "READONLY"])
async def test_a_redis_that_takes_no_writes_is_away_for_the_limits_too(
    mortal_redis: RedisProcess, name: str, sync: bool
) -> None:
    """A master that is cut off, say: each policy's own mode decides, and nothing is counted there."""
    limiter = make_limiter(mortal_redis.url, instances=lambda: 1)

    async def answered() -> bool:
        return (await decide_in(limiter, sync, claim("1000/s burst=1000", "any", failure="closed")))[0]

    await until(answered)
    async with FAULTS[name](mortal_redis):
        assert [(await decide_in(limiter, sync, failing("open")))[0] for _ in range(6)] == [True] * 6
        assert [(await decide_in(limiter, sync, failing("closed")))[0] for _ in range(6)] == [False] * 6
        assert [(await decide_in(limiter, sync, failing("local")))[0] for _ in range(6)] == [True] * 3 + [False] * 3

    await until(answered, within=10)
    await limiter.close()


@pytest.mark.parametrize("protocol", ["http", "websocket"])
async def test_who_asks_a_silent_redis_waits_a_bounded_time_and_afterwards_only_probes_do(
    mortal_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """What is waited for is looked at, not the clock: a busy machine adds to it."""
    limiter = make_limiter(mortal_redis.url)
    bound = getattr(limiter.patience, protocol)
    asked = claim("1000/h", failure="open")
    assert (await limiter.decide([asked], bound)).allowed
    assert mortal_redis._process is not None
    os.kill(mortal_redis._process.pid, signal.SIGSTOP)
    waits: list[float] = []
    plain = limiter_module._within

    async def noted(seconds: float, answer: Any) -> bool:
        waits.append(seconds)
        return await plain(seconds, answer)

    monkeypatch.setattr(limiter_module, "_within", noted)
    try:
        while not limiter.breaker.open:
            assert (await limiter.decide([asked], bound)).allowed
        assert set(waits) == {bound}
        assert len(waits) <= 1 + TIMEOUT / bound, "a silent link was not given up"
        waits.clear()
        began = time.monotonic()
        for _ in range(30):
            assert (await limiter.decide([asked], bound)).allowed
        took = time.monotonic() - began
    finally:
        os.kill(mortal_redis._process.pid, signal.SIGCONT)
    assert set(waits) <= {limiter.patience.probe}
    assert len(waits) <= 1 + took / (FIRST_PAUSE / 2), "everybody waited, though it was known that Redis is silent"
    await limiter.close()


def test_http_waits_shorter_than_a_command_and_a_command_has_time_left_for_its_own_work() -> None:
    assert Patience().probe < Patience().http < Patience().websocket <= COMMAND_WITHIN / 2
    assert Patience().http >= 0.3, "a busy machine is no fault"
    assert Patience().websocket >= TIMEOUT > Patience().http


async def test_a_share_is_the_limit_by_the_living_instances(mortal_redis: RedisProcess) -> None:
    limiter = make_limiter(mortal_redis.url, instances=lambda: 3)
    mortal_redis.kill()
    asked = claim("9/m burst=6", failure="local")
    assert [(await limiter.decide([asked])).allowed for _ in range(4)] == [True, True, False, False]
    await limiter.close()


async def test_threads_and_the_loop_share_one_limit(limiter: Limiter, names: Callable[[], str]) -> None:
    asked = claim("50/m", names())
    allowed: list[bool] = []
    work = [
        threading.Thread(target=lambda: allowed.extend(limiter.decide_sync([asked]).allowed for _ in range(20)))
        for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for _ in range(20):
        allowed.append((await limiter.decide([asked])).allowed)
    for thread in work:
        await asyncio.to_thread(thread.join)
    assert sum(allowed) == 50


async def test_a_flushed_script_is_sent_again(redis_process: RedisProcess, limiter: Limiter) -> None:
    await limiter.decide([claim("10/m")])
    redis_process.ask("SCRIPT", "FLUSH")
    decision = await limiter.decide([claim("10/m")])
    assert decision.allowed
    assert decision.verdicts[0].remaining == 8
