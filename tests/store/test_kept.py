"""Connections of threads: kept for the next call, replaced when they were lost, never with a reply of another call."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flotilla.store import Shard, StoreRefused
from flotilla.store.deadline import within
from flotilla.store.errors import StoreSilent
from flotilla.store.kept import READ
from tests.store.redis_process import RedisProcess

PATIENCE = 60.0  # seconds: nothing here is about time-outs unless it says so


@pytest.fixture
def shard(redis_process: RedisProcess) -> Iterator[Shard]:
    made = Shard(0, redis_process.url, PATIENCE)
    yield made
    made.close_sync()


def number(shard: Shard) -> int:
    """Of the connection that the next call is made over."""
    return int(shard.execute_sync("CLIENT", "ID"))


def test_one_call_after_the_other_goes_over_one_connection(shard: Shard) -> None:
    assert len({number(shard) for _ in range(5)}) == 1


def test_a_connection_that_was_closed_while_it_was_idle_is_replaced(shard: Shard, redis_process: RedisProcess) -> None:
    before = number(shard)
    assert redis_process.ask("CLIENT", "KILL", "ID", str(before))
    assert number(shard) != before


def test_a_late_reply_is_nobody_elses(shard: Shard) -> None:
    shard.execute_sync("SET", "key", "late")
    before = number(shard)
    with pytest.raises(StoreSilent), within(0.1):
        shard.execute_sync("BLPOP", "nothing", 0)
    assert shard.execute_sync("GET", "key") == b"late"
    assert number(shard) != before


def test_an_error_among_replies_is_raised_and_the_connection_goes_on(shard: Shard) -> None:
    before = number(shard)
    shard.execute_sync("SET", "text", "text")
    with pytest.raises(StoreRefused) as refused:
        shard.batch_sync([("PING",), ("LPUSH", "text", "x"), ("PING",)])
    assert refused.value.code == "WRONGTYPE"
    assert shard.execute_sync("GET", "text") == b"text"
    assert number(shard) == before


def test_replies_of_any_length_are_read(shard: Shard) -> None:
    long = b"x" * (READ * 5 + 1)
    assert shard.batch_sync([("SET", "long", long), ("GET", "long"), ("PING",)]) == [b"OK", long, b"PONG"]


def test_a_forked_process_has_connections_of_its_own(shard: Shard) -> None:
    before = number(shard)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(number(shard)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as said:
        assert int(said.read()) != before
    assert number(shard) == before


def test_any_number_of_threads_may_ask_at_once(shard: Shard) -> None:
    threads = 120  # redis-py's pools make a hundred connections
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(shard.execute_sync, "BLPOP", "queue", 0) for _ in range(threads)]
        shard.batch_sync([("RPUSH", "queue", item) for item in range(threads)])
        found = sorted(int(one.result(PATIENCE)[1]) for one in waiting)
    assert found == list(range(threads))


def test_what_is_in_use_when_all_are_closed_is_closed_afterwards(shard: Shard, redis_process: RedisProcess) -> None:
    before = number(shard)
    asking = threading.Thread(target=shard.execute_sync, args=("BLPOP", "used", 0), daemon=True)
    asking.start()
    while b"cmd=blpop" not in redis_process.ask("CLIENT", "LIST"):
        assert asking.is_alive()
    shard.close_sync()
    redis_process.ask("RPUSH", "used", "item")
    asking.join(PATIENCE)
    assert number(shard) != before
