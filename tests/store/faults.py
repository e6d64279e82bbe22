"""Ways in which a Redis that is there answers with errors: each begins with the context and is over with its end."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import redis

from tests.store.redis_process import RedisProcess, until

Fault = Callable[[RedisProcess], AbstractAsyncContextManager[None]]

NOBODY = ("127.0.0.1", "1")  # a master that is not there
BLOCKING = "while true do redis.call('PING') end"
SLOWLY = ("--key-load-delay", "4000", "--loading-process-events-interval-bytes", "1024")
LOADED = 500  # keys


@contextlib.asynccontextmanager
async def readonly(server: RedisProcess) -> AsyncIterator[None]:
    """The moment of a failover: the server became a replica."""
    server.ask("REPLICAOF", *NOBODY)
    try:
        yield
    finally:
        server.ask("REPLICAOF", "NO", "ONE")


@contextlib.asynccontextmanager
async def masterdown(server: RedisProcess) -> AsyncIterator[None]:
    """A replica that does not answer from what it has."""
    server.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    async with readonly(server):
        yield
    server.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")


@contextlib.asynccontextmanager
async def busy(server: RedisProcess) -> AsyncIterator[None]:
    """Somebody's script does not end."""
    script = await _begun(server, BLOCKING)
    try:
        yield
    finally:
        await asyncio.to_thread(server.ask, "SCRIPT", "KILL")
        await script
        server.ask("CONFIG", "SET", "lua-time-limit", "5000")


@contextlib.asynccontextmanager
async def unkillable(server: RedisProcess) -> AsyncIterator[None]:
    """Somebody's script does not end and has written, so Redis does not let it be ended: only its own end helps."""
    server.ask("SAVE")
    script = await _begun(server, f"redis.call('SET', 'written', '1') {BLOCKING}")
    try:
        yield
    finally:
        try:
            await asyncio.to_thread(server.ask, "SCRIPT", "KILL")
        except redis.ResponseError as error:
            assert "UNKILLABLE" in str(error)
        await asyncio.to_thread(server.kill)
        await script
        await asyncio.to_thread(server.start)


async def _begun(server: RedisProcess, script: str) -> asyncio.Task[None]:
    """A script that runs until it is ended."""
    server.ask("CONFIG", "SET", "lua-time-limit", "100")
    running = asyncio.create_task(asyncio.to_thread(_suppressed, server, "EVAL", script, "0"))
    await until(lambda: asyncio.to_thread(_is_busy, server))
    return running


def _suppressed(server: RedisProcess, *command: str) -> None:
    with contextlib.suppress(redis.ResponseError, redis.ConnectionError):
        server.ask(*command)


def _is_busy(server: RedisProcess) -> bool:
    try:
        server.ask("PING")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@contextlib.asynccontextmanager
async def oom(server: RedisProcess) -> AsyncIterator[None]:
    """The memory is full."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


@contextlib.asynccontextmanager
async def noreplicas(server: RedisProcess) -> AsyncIterator[None]:
    """A master that is cut off from the replicas it must have."""
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        yield
    finally:
        server.ask("CONFIG", "SET", "min-replicas-to-write", "0")


@contextlib.asynccontextmanager
async def misconf(server: RedisProcess) -> AsyncIterator[None]:
    """It cannot save, and takes no writes until it can."""
    server.ask("CONFIG", "SET", "save", "3600 1")
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    await _saved(server, "err")
    try:
        yield
    finally:
        in_the_way.rmdir()
        await _saved(server, "ok")
        server.ask("CONFIG", "SET", "save", "")


async def _saved(server: RedisProcess, outcome: str) -> None:
    server.ask("BGSAVE")
    await until(lambda: server.ask("INFO", "persistence")["rdb_last_bgsave_status"] == outcome)


def forbidden(*rules: str) -> Fault:
    """Commands or topics that this user may not use."""

    @contextlib.asynccontextmanager
    async def fault(server: RedisProcess) -> AsyncIterator[None]:
        server.ask("ACL", "SETUSER", "default", *rules)
        try:
            yield
        finally:
            server.ask("ACL", "SETUSER", "default", "+@all", "allchannels")

    return fault


@contextlib.asynccontextmanager
async def loading(server: RedisProcess) -> AsyncIterator[None]:
    """It has started again and reads its file, for a few seconds."""
    server.ask("MSET", *(part for number in range(LOADED) for part in (f"filling-{number}", "x" * 100)))
    server.ask("SAVE")
    server.kill()
    server.start(*SLOWLY, wait=False)
    try:
        yield
    finally:
        await until(lambda: asyncio.to_thread(server.answers), 30)


@contextlib.asynccontextmanager
async def hanging(server: RedisProcess) -> AsyncIterator[None]:
    """It takes connections and says nothing."""
    assert server._process is not None
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server._process.send_signal(signal.SIGCONT)


FAULTS: dict[str, Fault] = {
    "READONLY": readonly,
    "MASTERDOWN": masterdown,
    "BUSY": busy,
    "OOM": oom,
    "NOREPLICAS": noreplicas,
    "MISCONF": misconf,
    "UNKILLABLE": unkillable,
    "NOPERM scripts": forbidden("-eval", "-evalsha", "-script"),
    "NOPERM publish": forbidden("-publish"),
    "NOPERM streams": forbidden("-xrange", "-xadd", "-hmget"),
    "NOPERM topics": forbidden("resetchannels"),
    "LOADING": loading,
}
