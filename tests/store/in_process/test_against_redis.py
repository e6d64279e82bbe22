"""The engine in the process answers as Redis does: both are told the same, and what they say is compared.

Where Redis chooses by chance or by the clock, the choice is compared by what it must hold.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flotilla.store.in_process.listener import Engine
from tests.store.in_process.raw_client import RawClient, Wrong
from tests.store.redis_process import RedisProcess

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH")

Pair = tuple[RawClient, RawClient]
NAMES = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["", "x", "yy", "-1", "0", "1", "7", "9223372036854775807", "1.5", "text\r\n\0\xff", "nan"])
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "-2", "5", "100", "x", "1.5", ""])
SCORES = st.sampled_from(["0", "1", "-1", "2.5", "1767225600000", "inf", "-inf", "x", "nan"])
BOUNDS = st.sampled_from(["-inf", "+inf", "0", "(0", "1", "(1", "2.5", "(2.5", "1767225600000", "x", "(x"])
IDS = st.sampled_from(["1-0", "2-0", "2-5", "3", "10-1", "0-0", "*x", "1-x"])
ENDS = st.sampled_from(["-", "+", "1", "2-0", "(2-0", "3", "(3-0", "10-1", "x", "(x"])
COUNTS = st.sampled_from(["0", "1", "2", "10", "-1", "x"])
SECONDS = st.sampled_from(["1000", "-1", "0", "x"])


def said(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(*parts).map(lambda words: [name, *words])


def more(name: str, first: st.SearchStrategy[Any], rest: st.SearchStrategy[Any], most: int = 4) -> Any:
    return st.tuples(first, st.lists(rest, max_size=most)).map(lambda words: [name, words[0], *words[1]])


def optional(strategy: st.SearchStrategy[list[Any]], *options: list[str]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(strategy, st.sampled_from([[], *options])).map(lambda parts: [*parts[0], *parts[1]])


STRINGS = st.one_of(
    said("GET", NAMES),
    optional(said("SET", NAMES, WORDS), ["NX"], ["XX"], ["EX", "100"], ["PX", "0"], ["GET"], ["NX", "XX"], ["KEEPTTL"]),
    optional(said("SET", NAMES, WORDS), ["EX"], ["EX", "x"], ["PX", "5000", "KEEPTTL"], ["ODD"]),
    said("SETNX", NAMES, WORDS),
    said("GETDEL", NAMES),
    said("INCR", NAMES),
    said("DECR", NAMES),
    said("INCRBY", NAMES, WORDS),
    said("APPEND", NAMES, WORDS),
    said("STRLEN", NAMES),
    said("GETRANGE", NAMES, NUMBERS, NUMBERS),
    said("GETBIT", NAMES, NUMBERS),
    said("SETBIT", NAMES, NUMBERS, st.sampled_from(["0", "1", "2", "x"])),
    said("BITCOUNT", NAMES),
    more("MGET", NAMES, NAMES),
    more("MSET", NAMES, WORDS),
)
KEYS = st.one_of(
    more("DEL", NAMES, NAMES),
    more("EXISTS", NAMES, NAMES),
    said("TYPE", NAMES),
    said("PERSIST", NAMES),
    said("RENAME", NAMES, NAMES),
    optional(said("EXPIRE", NAMES, SECONDS), ["NX"], ["XX"], ["GT"], ["LT"]),
    said("PEXPIRE", NAMES, SECONDS),
    said("PEXPIREAT", NAMES, st.sampled_from(["1", "99999999999999", "x"])),
    said("DBSIZE"),
    said("KEYS", st.sampled_from(["*", "a", "[ab]", "?", "[^a]", "zz"])),
    said("SELECT", st.just("0")),
    st.sampled_from([["NOPE"], ["NOPE", "a", "b"], ["GET"], ["GET", "a", "b"], ["PING"], ["PING", "x"], ["ECHO", "x"]]),
)
HASHES = st.one_of(
    more("HSET", NAMES, WORDS),
    said("HSETNX", NAMES, WORDS, WORDS),
    said("HGET", NAMES, WORDS),
    more("HMGET", NAMES, WORDS),
    said("HGETALL", NAMES),
    said("HLEN", NAMES),
    said("HKEYS", NAMES),
    said("HEXISTS", NAMES, WORDS),
    more("HDEL", NAMES, WORDS),
    said("HINCRBY", NAMES, WORDS, WORDS),
    said("HRANDFIELD", NAMES, st.sampled_from(["0", "100", "x"])),
    optional(said("HRANDFIELD", NAMES, st.just("100")), ["WITHVALUES"], ["ODD"]),
)
SETS = st.one_of(
    optional(
        said("SSCAN", NAMES, st.just("0")), ["COUNT", "100"], ["COUNT", "0"], ["COUNT", "x"], ["ODD", "1"], ["COUNT"]
    ),
    said("SSCAN", NAMES, st.sampled_from(["x", "18446744073709551616"])),
    said("HSCAN", NAMES, st.just("0"), st.just("MATCH"), st.sampled_from(["*", "x*", "[01]"])),
    more("SADD", NAMES, WORDS),
    more("SREM", NAMES, WORDS),
    said("SMEMBERS", NAMES),
    said("SCARD", NAMES),
    said("SISMEMBER", NAMES, WORDS),
    said("SRANDMEMBER", NAMES, st.sampled_from(["0", "100", "x"])),
)
SORTED_SETS = st.one_of(
    said("ZADD", NAMES, SCORES, WORDS),
    said("ZADD", NAMES, SCORES, WORDS, SCORES, WORDS),
    said("ZADD", NAMES, st.sampled_from(["NX", "XX", "GT", "LT", "CH", "INCR"]), SCORES, WORDS),
    said("ZADD", NAMES, st.sampled_from(["NX", "CH"]), st.sampled_from(["XX", "GT", "LT"]), SCORES, WORDS),
    more("ZREM", NAMES, WORDS),
    said("ZSCORE", NAMES, WORDS),
    more("ZMSCORE", NAMES, WORDS),
    said("ZCARD", NAMES),
    said("ZRANK", NAMES, WORDS),
    said("ZCOUNT", NAMES, BOUNDS, BOUNDS),
    said("ZINCRBY", NAMES, st.sampled_from(["1", "-2.5", "x"]), WORDS),
    optional(said("ZRANGEBYSCORE", NAMES, BOUNDS, BOUNDS), ["WITHSCORES"], ["LIMIT", "1", "1"], ["LIMIT", "0", "-1"]),
    optional(said("ZREVRANGEBYSCORE", NAMES, BOUNDS, BOUNDS), ["WITHSCORES", "LIMIT", "0", "2"], ["ODD"]),
    optional(said("ZRANGE", NAMES, NUMBERS, NUMBERS), ["WITHSCORES"], ["REV"], ["ODD"]),
    optional(said("ZRANGE", NAMES, BOUNDS, BOUNDS), ["BYSCORE"], ["BYSCORE", "REV"], ["BYSCORE", "WITHSCORES"]),
    optional(said("ZREVRANGE", NAMES, NUMBERS, NUMBERS), ["WITHSCORES"], ["ODD"]),
    said("ZREMRANGEBYRANK", NAMES, NUMBERS, NUMBERS),
    said("ZREMRANGEBYSCORE", NAMES, BOUNDS, BOUNDS),
)
LISTS = st.one_of(
    more("RPUSH", NAMES, WORDS),
    more("LPUSH", NAMES, WORDS),
    optional(said("LPOP", NAMES), ["0"], ["1"], ["2"], ["-1"], ["x"]),
    optional(said("RPOP", NAMES), ["2"]),
    said("LLEN", NAMES),
    said("LRANGE", NAMES, NUMBERS, NUMBERS),
    said("LTRIM", NAMES, NUMBERS, NUMBERS),
    said("BLPOP", NAMES, NAMES, st.just("0.001")),
    said("BRPOP", NAMES, st.sampled_from(["0.001", "-1", "x"])),
)
STREAMS = st.one_of(
    said("XADD", NAMES, IDS, WORDS, WORDS),
    said("XADD", NAMES, st.just("MAXLEN"), COUNTS, IDS, WORDS, WORDS),
    said("XADD", NAMES, st.just("NOMKSTREAM"), IDS, WORDS, WORDS),
    said("XADD", NAMES, IDS, WORDS, WORDS, WORDS),
    said("XLEN", NAMES),
    optional(said("XRANGE", NAMES, ENDS, ENDS), ["COUNT", "1"], ["COUNT", "0"], ["COUNT", "x"], ["ODD"]),
    optional(said("XREVRANGE", NAMES, ENDS, ENDS), ["COUNT", "2"]),
    said("XTRIM", NAMES, st.just("MAXLEN"), COUNTS),
    more("XDEL", NAMES, IDS),
)
SCRIPTED = st.sampled_from(
    [
        "return redis.call('HGETALL', KEYS[1])",
        "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES')",
        "return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])",
        "return redis.call('GET', KEYS[1])",
        "return type(redis.call('GET', KEYS[1]))",
        "return redis.pcall('HGET', KEYS[1], 'x')",
        "return redis.pcall('HGET', KEYS[1], 'x').err",
        "return {redis.call('ZSCORE', KEYS[1], ARGV[1]), 1}",
        "return {1, 2.9, -2.9, true, false, 4}",
        "return {1, nil, 3}",
        "return {ok = 'fine'}",
        "return redis.error_reply('MINE it is')",
        "return redis.status_reply('fine')",
        "return {{1, {2}}, 'x', {err = 'IN a list'}}",
        "return redis.call('NOPE')",
        "return redis.call('GET')",
        "return redis.call()",
        "return redis.call('SET', KEYS[1], {})",
        "return redis.call('SUBSCRIBE', 'x')",
        "return redis.call('PING')",
        "return redis.call('ping', ARGV[1])",
        "return redis.sha1hex('x')",
        "return nosuch",
        "made = 1",
        "return 2^53",
        "return tostring(2^53) .. string.format('%.0f', 2^53)",
        "return ARGV[3]",
        "return #ARGV",
        "return tostring(tonumber(ARGV[1]))",
        "error('by hand')",
        "error({err = 'BY hand'})",
        "local x; return x.y",
        "return (",
        "return cmsgpack.pack(ARGV[1], 1, -1, 200, 70000, 2^40, -2^40, 1.5, true, false)",
        "return cmsgpack.pack(string.rep('x', 31), string.rep('x', 32), string.rep('x', 256), string.rep('x', 70000))",
        "return cmsgpack.pack({1, 'x', {2}}, {})",
        "return {cmsgpack.unpack(cmsgpack.pack({1, 'x', {2}}))}",
        "return struct.pack('>dI4', 1.5, 7)",
        "return {struct.unpack('>I4', struct.pack('>I4', 4294967295))}",
        "return {struct.unpack('>dI4', 'x' .. struct.pack('>dI4', 2, 3), 2)}",
        "return {struct.unpack('<i2Hb', struct.pack('<i2Hb', -2, 65535, -1))}",
        "return struct.size('>dI4')",
        "redis.call('SET', KEYS[1], 1.5) return redis.call('GET', KEYS[1])",
        "redis.call('SET', KEYS[1], 1767225600000) return redis.call('GET', KEYS[1])",
        "return redis.call('XRANGE', KEYS[1], '-', '+')",
        "return #redis.call('SMEMBERS', KEYS[1])",
        "return redis.call('HMGET', KEYS[1], 'x', 'nope')",
        "return pcall(function() return redis.call('HGET', KEYS[1], 'x') end)",
    ]
)
SCRIPTS = st.one_of(
    st.tuples(SCRIPTED, NAMES, WORDS, WORDS).map(lambda given: ["EVAL", given[0], "1", *given[1:]]),
    st.sampled_from(
        [
            ["EVAL", "return 1", "x"],
            ["EVAL", "return 1", "2", "a"],
            ["EVAL", "return 1", "-1"],
            ["EVALSHA", "0" * 40, "0"],
            ["SCRIPT", "LOAD", "return 1"],
            ["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0" * 40],
            ["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"],
        ]
    ),
)
COMMANDS = st.one_of(STRINGS, KEYS, HASHES, SETS, SORTED_SETS, LISTS, STREAMS, SCRIPTS)
UNORDERED = {"SMEMBERS", "KEYS", "HRANDFIELD", "SRANDMEMBER", "HGETALL", "HKEYS"}
SESSIONS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def real() -> Iterator[RedisProcess]:
    process = RedisProcess()
    yield process
    process.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture(scope="module", params=[2, 3])
def both(request: pytest.FixtureRequest, real: RedisProcess, engine: Engine) -> Iterator[Pair]:
    with RawClient(str(real.socket)) as theirs, RawClient(engine.url.removeprefix("unix://")) as ours:
        for client in (theirs, ours):
            client.ask("HELLO", request.param)
        yield theirs, ours


@pytest.fixture(scope="module")
def same_texts(real: RedisProcess) -> bool:
    """Whether the errors of this Redis have the texts that the engine's have; of others, the codes are compared."""
    version = real.ask("INFO", "server")["redis_version"]
    return str(version).startswith("7.0")


def compared(command: list[Any], reply: Any, same_texts: bool) -> Any:
    """A reply as it is compared with another one."""
    if isinstance(reply, Wrong):
        return reply if same_texts else reply.split(" ", 1)[0]
    if command[0] in UNORDERED and isinstance(reply, list):
        return sorted(map(repr, reply))
    if command[0] in ("HSCAN", "SSCAN"):
        return reply[0], sorted(map(repr, reply[1]))
    return reply


@SESSIONS
@given(asked=st.lists(COMMANDS, min_size=1, max_size=40))
def test_the_engine_answers_what_redis_answers(both: Pair, same_texts: bool, asked: list[list[Any]]) -> None:
    for client in both:
        assert client.ask("FLUSHALL") is not None
        assert client.ask("SCRIPT", "FLUSH") is not None
    for command in asked:
        words = [word.encode("latin-1") for word in command]
        theirs, ours = (compared(command, client.ask(*words), same_texts) for client in both)
        assert ours == theirs, command


@SESSIONS
@given(asked=st.lists(st.one_of(SORTED_SETS, HASHES, STREAMS), min_size=10, max_size=60))
def test_keys_of_one_kind_are_as_in_redis(both: Pair, same_texts: bool, asked: list[list[Any]]) -> None:
    """A key for each kind of value, so that commands meet values of their own kind more often."""
    for client in both:
        client.ask("FLUSHALL")
    for command in asked:
        words = [word.encode("latin-1") for word in [command[0], command[0][0], *command[2:]]]
        theirs, ours = (compared(command, client.ask(*words), same_texts) for client in both)
        assert ours == theirs, command
