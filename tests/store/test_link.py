"""The pipelined connection: order, deadlines, healing, and nothing left waiting."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import hiredis
import pytest
import pytest_asyncio
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flotilla.store import Script, Shard, StoreRefused, StoreUnavailable
from flotilla.store.link import MAX_PAUSE, Link
from flotilla.store.resp import Command
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("implementation")]

LONG = 3 * PATIENCE  # seconds: a timeout that nobody waits for here

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def redis_process(by_itself: None, redis_process: RedisProcess) -> RedisProcess:
    return redis_process


def link_to(url: str, timeout: float = 2.0) -> Link:
    pool = aioredis.ConnectionPool.from_url(
        url, protocol=2, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
    )
    return Link(pool, timeout)


@pytest_asyncio.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    made = link_to(redis_url)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def mute(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a server that takes connections and never says a word."""
    writers = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_unix_server(hold, tmp_path / "mute.sock")
    yield f"unix://{tmp_path / 'mute.sock'}"
    server.close()
    for writer in writers:
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), PATIENCE)


async def test_replies_come_in_the_order_of_calls(link: Link) -> None:
    """A thousand calls of one turn are answered each with its own reply."""
    calls = [link.call(("ECHO", str(number))) for number in range(1000)]
    assert await asyncio.gather(*calls) == [b"%d" % number for number in range(1000)]


async def test_later_calls_happen_later(link: Link) -> None:
    """What was called first is done first, also across turns and behind a failing call."""
    first = link.call(("RPUSH", "list", "a"))
    wrong = link.call(("INCR", "list"))
    second = link.call(("RPUSH", "list", "b"))
    await first
    await link.call(("RPUSH", "list", "c"))
    with pytest.raises(StoreRefused):
        await wrong
    await second
    assert await link.call(("LRANGE", "list", 0, -1)) == [b"a", b"b", b"c"]


async def test_calls_of_one_turn_share_one_write(link: Link) -> None:
    """A hundred calls do not make a hundred writes."""
    await link.call(("PING",))
    assert link._replies is not None
    writes = []
    inner = link._replies.write

    def counted(packed: bytes) -> None:
        writes.append(packed)
        inner(packed)

    link._replies.write = counted  # type: ignore[method-assign]
    await asyncio.gather(*(link.call(("PING",)) for _ in range(100)))
    assert len(writes) == 1


async def test_replies_are_raw(link: Link) -> None:
    """Bytes that are no UTF-8, integers, lists and nil come as Redis gave them."""
    await link.call(("SET", "key", b"\xff\x00\n"))
    assert await link.call(("GET", "key")) == b"\xff\x00\n"
    assert await link.call(("INCR", "count")) == 1
    assert await link.call(("GET", "nothing")) is None
    assert await link.call(("MGET", "key", "nothing")) == [b"\xff\x00\n", None]


async def test_scripts_are_there_from_the_first_call(link: Link) -> None:
    """A new connection hands every script to Redis before anything else."""
    script = Script("test.hello", "return 'hello'")
    assert await link.call(("EVALSHA", script.sha, 0)) == b"hello"


async def test_forgotten_scripts_are_sent_again(redis_process: RedisProcess) -> None:
    """After SCRIPT FLUSH a Shard repeats the call in full, once, and order holds."""
    shard = Shard(0, redis_process.url)
    script = Script("test.append", "return redis.call('RPUSH', KEYS[1], ARGV[1])")
    try:
        await shard.run(script, ["list"], ["0"])
        redis_process.ask("SCRIPT", "FLUSH")
        with pytest.raises(StoreRefused, match="NOSCRIPT"):
            await shard.call("EVALSHA", script.sha, 1, "list", "never")
        answers = await asyncio.gather(*(shard.run(script, ["list"], [str(number)]) for number in range(1, 20)))
        assert answers == list(range(2, 21))
        assert await shard.execute("LRANGE", "list", 0, -1) == [b"%d" % number for number in range(20)]
    finally:
        await shard.close()


async def test_a_silent_redis_fails_every_due_call(redis_process: RedisProcess) -> None:
    """No call waits longer than the timeout, and the next ones work again when Redis does."""
    link = link_to(redis_process.url, timeout=0.3)
    try:
        await link.call(("PING",))
        redis_process.ask("CLIENT", "PAUSE", 900, "ALL")
        started = asyncio.get_running_loop().time()
        calls = [link.call(("INCR", "count")) for _ in range(10)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results and all(isinstance(result, StoreUnavailable) for result in results)
        assert 0.25 < asyncio.get_running_loop().time() - started < 0.8
        assert await until(lambda: answers(link))
    finally:
        await link.close()


async def answers(link: Link) -> bool:
    try:
        return bool(await link.call(("PING",)) == b"PONG")
    except StoreUnavailable:
        return False


async def test_silence_counts_from_the_oldest_call(redis_process: RedisProcess) -> None:
    """Calls that keep coming do not keep a silent connection alive."""
    link = link_to(redis_process.url, timeout=0.3)
    try:
        await link.call(("PING",))
        redis_process.ask("CLIENT", "PAUSE", 600, "ALL")
        first = link.call(("PING",))
        later = []
        while not first.done():
            later.append(link.call(("PING",)))
            await asyncio.wait((first,), timeout=0.05)
        assert isinstance(first.exception(), StoreUnavailable)
        assert all(
            isinstance(result, StoreUnavailable) for result in await asyncio.gather(*later, return_exceptions=True)
        )
        await until(lambda: answers(link))
    finally:
        await link.close()


async def test_heals_after_redis_was_killed(mortal_redis: RedisProcess) -> None:
    """Calls fail at once while Redis is away, and work when it is back."""
    link = link_to(mortal_redis.url, timeout=LONG)
    try:
        await link.call(("PING",))
        mortal_redis.kill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                async with asyncio.timeout(PATIENCE):
                    await link.call(("PING",))
        mortal_redis.start()
        assert await until(lambda: answers(link))
    finally:
        await link.close()


async def test_a_due_call_fails_when_the_connection_is_lost(redis_process: RedisProcess) -> None:
    """A call that waits for its reply hears of the loss without waiting for the timeout."""
    link = link_to(redis_process.url, timeout=LONG)
    try:
        blocked = link.call(("BLPOP", "nothing", 0))
        await until(lambda: b"cmd=blpop" in redis_process.ask("CLIENT", "LIST"))
        redis_process.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(PATIENCE):
                await blocked
        assert await until(lambda: answers(link))
    finally:
        await link.close()


async def test_failed_attempts_are_spaced(tmp_path: Path) -> None:
    """A thousand calls while Redis is away are not a thousand connects."""
    link = link_to(f"unix://{tmp_path / 'nobody.sock'}")
    attempts = []
    inner = link._pool.make_connection
    link._pool.make_connection = lambda: attempts.append(1) or inner()  # type: ignore[method-assign]
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            await link.call(("PING",))
    assert 1 <= len(attempts) < 20
    await link.close()


async def test_a_long_outage_makes_no_other_error(tmp_path: Path) -> None:
    """After hours of failed attempts a call still fails as the first did."""
    link = link_to(f"unix://{tmp_path / 'nobody.sock'}")
    link._failures = 100_000
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(PATIENCE):
            await link.call(("PING",))
    assert link._not_before <= asyncio.get_running_loop().time() + MAX_PAUSE
    await link.close()


async def test_a_mute_server_is_given_up_in_time(mute: str) -> None:
    """The timeout holds for connecting, too."""
    link = link_to(mute, timeout=0.2)
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(PATIENCE):
            await link.call(("PING",))
    await link.close()


async def test_closing_leaves_no_call_waiting(redis_process: RedisProcess) -> None:
    """Calls that are due when the link is closed fail."""
    link = link_to(redis_process.url, timeout=LONG)
    await link.call(("PING",))
    blocked = link.call(("BLPOP", "nothing", 0))
    await until(lambda: not link._outbox)
    unsent = link.call(("PING",))
    await link.close()
    for call in (blocked, unsent):
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(PATIENCE):
                await call


async def test_closing_while_connecting_leaves_no_call_waiting(mute: str) -> None:
    """Calls that wait for the connection fail as well, those being connected for and those behind them."""
    link = link_to(mute, timeout=LONG)
    first = link.call(("PING",))
    await until(lambda: link._connecting is not None)
    second = link.call(("PING",))
    await link.close()
    for call in (first, second):
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(PATIENCE):
                await call


async def test_closing_while_a_cancellation_is_lost_waits_for_no_timeout(
    redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio's wait_for loses one that comes together with what it waits for."""
    greets = asyncio.Event()

    async def greet(*_: object, **__: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            greets.set()
            await asyncio.sleep(LONG)
        await asyncio.sleep(LONG)

    monkeypatch.setattr("flotilla.store.link.greet", greet)
    link = link_to(redis_process.url, timeout=LONG)
    call = link.call(("PING",))
    await greets.wait()
    closing = asyncio.ensure_future(link.close())
    assert (await asyncio.wait((closing,), timeout=PATIENCE))[0]
    with pytest.raises(StoreUnavailable):
        await call


async def test_abandoned_calls_make_no_noise(redis_process: RedisProcess, caplog: pytest.LogCaptureFixture) -> None:
    """A caller that went away, with or without an error, leaves neither a warning nor the next reply out of place."""
    link = link_to(redis_process.url, timeout=0.3)
    with caplog.at_level(logging.WARNING):
        await link.call(("PING",))
        dropped = asyncio.ensure_future(asyncio.wait_for(link.call(("ECHO", "dropped")), 5))
        await asyncio.sleep(0)
        dropped.cancel()
        assert await link.call(("ECHO", "mine")) == b"mine"
        redis_process.ask("CLIENT", "PAUSE", 500, "ALL")
        link.call(("PING",))
        last = link.call(("PING",))
        with pytest.raises(StoreUnavailable):
            await last
        await until(lambda: answers(link))
        await link.close()
        del last, dropped
        gc.collect()
        await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(("name", "command"), [("READONLY", ("SET", "key", "1")), ("MASTERDOWN", ("GET", "key"))])
async def test_a_server_that_is_not_the_one_we_want_is_left(
    redis_process: RedisProcess, name: str, command: Command
) -> None:
    """The address may lead to another by now. What is asked meanwhile fails, without a connect for each call."""
    link = link_to(redis_process.url)
    try:
        first = await link.call(("CLIENT", "ID"))
        async with FAULTS[name](redis_process):
            with pytest.raises(StoreRefused, match=name) as caught:
                await link.call(command)
            assert caught.value.code == name
            assert link._connection is None
            calls = 0
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began + 1:
                with pytest.raises(StoreUnavailable):
                    await link.call(command)
                calls += 1
                await asyncio.sleep(0.001)
        assert calls > 50
        assert link._stats.connects < 15
        await until(lambda: answers(link))
        assert await link.call(("CLIENT", "ID")) != first
        await link.call(command)
    finally:
        await link.close()


async def test_a_busy_server_is_kept(redis_process: RedisProcess) -> None:
    """It is the right one, and will be back."""
    link = link_to(redis_process.url)
    try:
        first = await link.call(("CLIENT", "ID"))
        async with FAULTS["BUSY"](redis_process):
            with pytest.raises(StoreRefused, match="BUSY"):
                await link.call(("SET", "key", "1"))
        assert await link.call(("CLIENT", "ID")) == first
    finally:
        await link.close()


@pytest.mark.parametrize("name", ["LOADING", "NOPERM scripts"])
async def test_what_is_refused_while_connecting_is_a_refusal(mortal_redis: RedisProcess, name: str) -> None:
    """With its code; the link works when that is over."""
    link = link_to(mortal_redis.url)
    Script("test.any", "return 1")
    try:
        async with FAULTS[name](mortal_redis):
            codes: set[str] = set()
            while name.partition(" ")[0] not in codes:
                try:
                    await link.call(("PING",))
                except StoreRefused as error:
                    codes.add(error.code)
                except StoreUnavailable:
                    await asyncio.sleep(0.01)
        assert link._stats.refused
        await until(lambda: answers(link))
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def saying(folder: Path, to_set: bytes) -> AsyncIterator[str]:
    """The address of a server that answers SET like this, and everything else with OK."""
    handlers: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        commands = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                commands.feed(data)
                while command := commands.gets():
                    writer.write(to_set if command[0] == b"SET" else b"+OK\r\n")
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, folder / "saying.sock")
    yield f"unix://{folder / 'saying.sock'}"
    server.close()
    await asyncio.gather(*(handler for handler in handlers if handler), return_exceptions=True)


@pytest.mark.parametrize("code", ["TRYAGAIN", "CLUSTERDOWN", "MOVED", "NOAUTH", "MISCONF", "NOREPLICAS"])
async def test_any_error_reply_is_a_refusal_and_only_of_its_call(tmp_path: Path, code: str) -> None:
    """Those of a cluster, too; the connection goes on."""
    async with saying(tmp_path, f"-{code} some \xff text\r\n".encode("latin-1")) as url:
        link = link_to(url)
        assert await link.call(("PING",)) == b"OK"
        with pytest.raises(StoreRefused) as caught:
            await link.call(("SET", "a", "b"))
        assert caught.value.code == code
        assert await link.call(("PING",)) == b"OK"
        assert link._stats.connects == 1
        await link.close()


async def test_an_answer_that_is_none_gives_the_connection_up(tmp_path: Path) -> None:
    """Garbage on the wire: whoever waits hears of it at once, and the next call connects anew."""
    async with saying(tmp_path, b"what?\r\n") as url:
        link = link_to(url, timeout=LONG)
        for _ in range(2):
            assert await link.call(("PING",)) == b"OK"
            with pytest.raises(StoreUnavailable):
                async with asyncio.timeout(PATIENCE):
                    await link.call(("SET", "a", "b"))
        assert link._stats.connects == 2
        await link.close()
