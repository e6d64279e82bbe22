"""The engine as its clients meet it: times, waiting, subscriptions, connections that end or do not read."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from flotilla.store.in_process import listener, session
from flotilla.store.in_process.listener import Engine
from tests.store.in_process.raw_client import RawClient, Wrong

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    made = Engine(clock)
    yield made
    made.close()


def path_of(engine: Engine) -> str:
    return engine.url.removeprefix("unix://")


@pytest.fixture
def client(engine: Engine) -> Iterator[RawClient]:
    with RawClient(path_of(engine)) as made:
        yield made


@pytest.fixture
def other(engine: Engine) -> Iterator[RawClient]:
    with RawClient(path_of(engine)) as made:
        yield made


def test_a_key_is_gone_from_the_moment_it_ends(client: RawClient, clock: Clock) -> None:
    client.ask("SET", "key", "value", "PX", 1500)
    client.ask("HSET", "hash", "field", "value")
    client.ask("EXPIRE", "hash", 2)
    clock.passes(1.499)
    assert client.ask("GET", "key") == b"value" and client.ask("PTTL", "key") == 1
    clock.passes(0.001)
    assert client.ask("GET", "key") is None and client.ask("EXISTS", "key", "hash") == 1
    clock.passes(1)
    assert client.ask("HGETALL", "hash") == [] and client.ask("DBSIZE") == 0


def test_a_new_value_has_no_end_and_an_addition_keeps_it(client: RawClient) -> None:
    client.ask("SET", "key", "1", "EX", 10)
    client.ask("INCR", "key")
    assert client.ask("TTL", "key") == 10
    client.ask("SET", "key", "1")
    assert client.ask("TTL", "key") == -1


def test_what_nobody_asks_for_is_freed(engine: Engine, client: RawClient, clock: Clock) -> None:
    client.ask("SET", "key", "value", "EX", 1)
    clock.passes(2)
    engine.db.keys.step()
    engine.db.keys.sweep()
    assert engine.db.keys._values == {}


def test_time_stands_still_during_a_script(client: RawClient) -> None:
    assert client.ask("EVAL", "local a = redis.call('TIME') return a[1] .. a[2]", 0) == b"18000000000"


def test_who_waits_for_a_list_gets_the_element_and_the_next_commands_follow(
    client: RawClient, other: RawClient
) -> None:
    client.send("BLPOP", "list", "other list", 0)
    client.send("PING")
    other.ask("EVAL", "return redis.call('RPUSH', KEYS[1], 'a', 'b')", 1, "other list")
    assert client.next() == [b"other list", b"a"]
    assert client.next() == b"PONG"
    assert other.ask("LRANGE", "other list", 0, -1) == [b"b"]


def test_those_who_wait_get_their_elements_in_turn(engine: Engine, other: RawClient) -> None:
    with RawClient(path_of(engine)) as first, RawClient(path_of(engine)) as second:
        first.send("BLPOP", "list", 0)
        while other.ask("CLIENT", "LIST").count(b"\n") < 2:
            pass
        other.ask("PING")
        second.send("BLPOP", "list", 0)
        other.ask("RPUSH", "list", "a", "b")
        assert {first.next()[1], second.next()[1]} == {b"a", b"b"}


def test_waiting_ends(client: RawClient) -> None:
    assert client.ask("BLPOP", "list", "0.01") is None
    assert client.ask("PING") == b"PONG"


def test_subscribers_hear_what_is_published(client: RawClient, other: RawClient) -> None:
    assert client.ask("SUBSCRIBE", "news", "sport") == [b"subscribe", b"news", 1]
    assert client.next() == [b"subscribe", b"sport", 2]
    assert client.ask("PSUBSCRIBE", "n*") == [b"psubscribe", b"n*", 3]
    assert other.ask("PUBLISH", "news", "hi") == 2
    assert client.next() == [b"message", b"news", b"hi"]
    assert client.next() == [b"pmessage", b"n*", b"news", b"hi"]
    assert other.ask("PUBSUB", "NUMSUB", "news", "none") == [b"news", 1, b"none", 0]
    assert client.ask("UNSUBSCRIBE") == [b"unsubscribe", b"news", 2]
    assert client.next() == [b"unsubscribe", b"sport", 1]
    assert client.ask("PUNSUBSCRIBE") == [b"punsubscribe", b"n*", 0]
    assert other.ask("PUBLISH", "news", "hi") == 0


def test_who_is_gone_hears_nothing_more(engine: Engine, other: RawClient) -> None:
    with RawClient(path_of(engine)) as client:
        client.ask("SUBSCRIBE", "news")
    while other.ask("PUBSUB", "CHANNELS"):
        pass
    assert other.ask("PUBLISH", "news", "hi") == 0


def test_who_does_not_read_is_cut_off(engine: Engine, other: RawClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_UNREAD", 1_000_000)
    with RawClient(path_of(engine)) as client:
        client.ask("SUBSCRIBE", "news")
        while other.ask("PUBLISH", "news", "x" * 100_000):
            pass
        with pytest.raises(ConnectionError):
            while True:
                client.next()


def test_large_answers_arrive_whole(client: RawClient) -> None:
    value = os.urandom(5_000_000)
    client.ask("SET", "key", value)
    for _ in range(3):
        client.send("GET", "key")
    assert [client.next() for _ in range(3)] == [value] * 3


def test_clients_can_be_ended(client: RawClient, other: RawClient) -> None:
    client.ask("SUBSCRIBE", "news")
    assert other.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
    with pytest.raises(ConnectionError):
        client.next()


def test_what_is_no_command_ends_its_own_connection_alone(engine: Engine, other: RawClient) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(path_of(engine))
        stranger.settimeout(20)
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(100) == b""
    assert other.ask("PING") == b"PONG"


def test_a_mistake_in_the_engine_fails_one_command(engine: Engine, client: RawClient, caplog: Any) -> None:
    engine.db.keys.put(b"key", object())  # type: ignore[arg-type]
    assert client.ask("TYPE", "key").startswith("ERR the engine in the process failed")
    assert "failed in TYPE" in caplog.text
    assert client.ask("PING") == b"PONG"


def test_scripts_do_not_reach_the_system(client: RawClient) -> None:
    for name in ("os", "io", "python", "require", "dofile", "loadstring", "debug", "_G"):
        assert client.ask("EVAL", f"return {name}", 0).startswith("ERR user_script:1: Script attempted to access")


def test_a_scan_meets_what_is_there_all_the_time(client: RawClient) -> None:
    staying = [f"stays-{number}" for number in range(500)]
    client.ask("SADD", "set", *(name for number in range(500) for name in (f"goes-{number}", f"stays-{number}")))
    met, cursor, number = set[bytes](), b"0", 0
    while True:
        cursor, page = client.ask("SSCAN", "set", cursor, "COUNT", 20)
        met.update(page)
        if cursor == b"0":
            break
        client.ask("SADD", "set", f"comes-{number}")
        client.ask("SREM", "set", f"comes-{number - 3}", *(f"goes-{number * 10 + n}" for n in range(10)))
        number += 1
    assert number > 10 and met >= {name.encode() for name in staying}


def test_redis_py_understands_it(engine: Engine) -> None:
    with redis.Redis.from_url(engine.url) as client:
        assert client.info("server")["redis_mode"] == "standalone"
        client.zadd("set", {"a": 1.5, "b": 2})
        assert client.zrange("set", 0, -1, withscores=True) == [(b"a", 1.5), (b"b", 2.0)]
        assert client.hset("hash", mapping={"a": 1}) == 1 and client.hgetall("hash") == {b"a": b"1"}


def test_without_unix_sockets_a_password_keeps_others_out() -> None:
    engine = Engine(unix=False)
    try:
        with redis.Redis.from_url(engine.url) as client:
            assert client.ping()
        address = engine.url.rpartition("@")[2]
        with redis.Redis.from_url(f"redis://{address}") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("key")
        with redis.Redis.from_url(f"redis://:wrong@{address}") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("key")
    finally:
        engine.close()


def test_nothing_is_left_of_it(engine: Engine) -> None:
    folder = os.path.dirname(path_of(engine))
    assert os.stat(folder).st_mode & 0o077 == 0
    with RawClient(path_of(engine)) as client:
        engine.close()
        with pytest.raises(ConnectionError):
            client.ask("PING")
    assert not os.path.exists(folder)
    engine.close()  # again


def test_it_can_forget_everything(engine: Engine, client: RawClient) -> None:
    client.ask("SET", "key", "value")
    engine.forget()
    assert client.ask("GET", "key") is None
    engine.close()
    engine.forget()


def test_a_forked_process_reaches_it_and_keeps_no_door_open(engine: Engine) -> None:
    pid = os.fork()
    if not pid:  # the child
        try:
            engine.abandon()
            with RawClient(path_of(engine)) as client:
                client.ask("SET", "from", "the child")
            signal.pause()
        finally:
            os._exit(1)
    try:
        with RawClient(path_of(engine)) as client:
            deadline = time.monotonic() + 20
            while client.ask("GET", "from") != b"the child":
                assert time.monotonic() < deadline
        path = path_of(engine)
        engine._folder = ""  # the socket stays, to see whether anybody listens
        engine.close()
        with pytest.raises(ConnectionRefusedError):
            RawClient(path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.unlink(path_of(engine))
        os.rmdir(os.path.dirname(path_of(engine)))


def test_errors_of_several_commands_stay_in_order(client: RawClient) -> None:
    client.send("SET", "key", "value")
    client.send("LPOP", "key")
    client.send("GET", "key")
    answers = [client.next() for _ in range(3)]
    assert answers[0] == b"OK" and isinstance(answers[1], Wrong) and answers[2] == b"value"


def test_it_sweeps_by_itself(client: RawClient, engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SWEEP_EVERY", 0.01)
    quick = Engine(clock)
    try:
        with RawClient(path_of(quick)) as own:
            own.ask("SET", "key", "value", "PX", 1)
            clock.passes(1)
            deadline = time.monotonic() + 20
            while quick.db.keys._values:
                assert time.monotonic() < deadline
    finally:
        quick.close()
