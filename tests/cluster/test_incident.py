"""The ten questions of an incident (docs/OPERATIONS.md), each asked in a shell while its fault is really there, of two
instances. The answer must name who or what it is; and not name it before, where that can be seen."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from docs.site.pages import ROOT as DOCUMENTS
from flotilla.store import placement_of
from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import ON_A_CLUSTER, Redis, eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.shell import Shell

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

Fresh = Callable[[str], str]
COMMAND_WITHIN = 120.0  # seconds until what is written beside everything else can be seen
BIG = "x" * 60_000
PATIENT = {
    "lease_ttl": 120,  # an instance that is stopped stays among the living
    "ping_interval": 300,
    "pong_timeout": 200,
    "max_outgoing_bytes": 16_000_000,
    "recovery_max_bytes": 32_000_000,
    "rate_limits": {"shouts": {"guards": "ws.publish:quiet", "key": "user", "rate": "2/m"}},
}


class Answer(NamedTuple):
    """What a command ended with: its status, its document, and the sentence on standard error."""

    status: int
    document: Any
    said: str


Ask = Callable[[str], Awaitable[Answer]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances."""
    home = tmp_path_factory.mktemp("incident")
    with running(Cluster(home, {**CONFIG, **PATIENT}, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shell(pair: Cluster) -> Iterator[Shell]:
    """Somebody's shell beside them."""
    with Shell(pair.env) as running_shell:
        yield running_shell


@pytest.fixture
def ask(shell: Shell) -> Ask:
    """Runs a command line in that shell."""

    async def asked(words: str) -> Answer:
        done = await asyncio.to_thread(shell.run, *shlex.split(words), "--json", "--no-color")
        assert done.status in (0, 1), f"{words} ended with {done.status}:\n{done.out}\n{done.err}"
        return Answer(done.status, json.loads(done.out) if done.out else None, done.err)

    return asked


@pytest_asyncio.fixture
async def api(pair: Cluster) -> AsyncIterator[Api]:
    """The HTTP API at the second instance."""
    async with Api(pair[1].http) as client:
        yield client


@contextlib.asynccontextmanager
async def going_on(work: Callable[[], Any], every: float) -> AsyncIterator[None]:
    """Do something again and again for the time of a block."""

    async def repeat() -> None:
        while True:
            await work()
            await asyncio.sleep(every)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that answers nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def in_a_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Something that goes on until the end of the block."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_who_floods(pair: Cluster, ask: Ask, fresh: Fresh) -> None:
    """By connection, by user and by address."""
    channel, flooder = fresh("open"), fresh("")
    async with RawClient(pair[0].url) as loud, RawClient(pair[1].url) as calm:
        await loud.connect(flooder)
        await calm.connect(fresh(""))
        async with going_on(lambda: loud.send(loud.command("publish", channel=channel, data=1)), 0.02):
            _, told, _ = await ask("top --seconds 3")
            assert told["rows"][0]["user"] == flooder
            assert told["rows"][0]["client"] == loud.client
            assert told["rows"][0]["instance"] == "flotilla-0"
            assert told["rows"][0]["messages"] > 1
            assert (told["answered"], told["instances"]) == (2, 2)
            _, told, _ = await ask("top --seconds 3 --per user --by bytes")
            assert told["rows"][0]["user"] == flooder
            async with going_on(lambda: calm.send(calm.command("publish", channel=channel, data=1)), 0.5):
                _, told, _ = await ask("top --seconds 3 --per address")
            assert (told["rows"][0]["address"], told["rows"][0]["user"]) == ("127.0.0.1", "")
            assert told["rows"][0]["connections"] == 2  # of both instances


async def test_who_is_slow(pair: Cluster, ask: Ask, fresh: Fresh, api: Api) -> None:
    """Somebody who reads nothing of what the channel has."""
    channel, slow = fresh("open"), fresh("")
    async with RawClient(pair[0].url, read=False) as deaf, RawClient(pair[1].url) as quick:
        await begin(deaf, slow, channel)
        await quick.connect(fresh(""))
        await quick.subscribe(channel)
        for _ in range(150):
            await api.say(channel, BIG)
        _, told, _ = await ask("top --by waiting --seconds 0.5")
        first = told["rows"][0]
        assert (first["user"], first["instance"]) == (slow, "flotilla-0")
        assert first["waiting"] > 1_000_000
        assert not [row for row in told["rows"] if row["client"] == quick.client and row["waiting"] > 1_000_000]
        hurt = await ask("affected --seconds 0.5")
        assert hurt.status == 1
        assert [one for one in troubles(hurt, "slow") if slow in users_of(one)]


async def begin(client: RawClient, user: str, channel: str, **params: Any) -> None:
    """Connect and subscribe without reading an answer."""
    connect = client.command("connect", token=token(user))
    await client.send(connect, client.command("subscribe", channel=channel, **params))


def troubles(answer: Answer, trouble: str) -> list[Any]:
    return [one for one in answer.document["troubles"] if one["trouble"] == trouble]


def users_of(trouble: Any) -> list[str]:
    return [row["user"] for row in trouble["users"]]


async def test_which_channel_is_hot(pair: Cluster, ask: Ask, fresh: Fresh, api: Api) -> None:
    """By deliveries: publications times subscribers, over both instances. Its publications are counted once."""
    hot, cool = fresh("open"), fresh("open")
    async with contextlib.AsyncExitStack() as stack:
        for number in range(4):
            client = await stack.enter_async_context(RawClient(pair[number % 2].url))
            await client.connect(fresh(""))
            await client.subscribe(hot)
            if number == 0:
                await client.subscribe(cool)
        await stack.enter_async_context(going_on(lambda: api.say(hot, 1), 0.05))
        await stack.enter_async_context(going_on(lambda: api.say(cool, 1), 0.5))
        _, told, _ = await ask("top --by deliveries --seconds 4")
        first = told["rows"][0]
        assert (first["channel"], first["subscribers"]) == (hot, 4)
        assert first["deliveries"] == pytest.approx(4 * first["publications"], rel=0.5)
        assert first["deliveries"] > next(row["deliveries"] for row in told["rows"] if row["channel"] == cool)


async def test_which_instance_is_ill(pair: Cluster, ask: Ask) -> None:
    """One that is stopped, and one whose event loop is blocked again and again; neither when there is nothing."""
    ill = pair[1].pid
    with stopped(ill):
        found = await ask("vitals --seconds 1")
        assert found.status == 1 and "flotilla-1: does not answer" in found.said
        states = {row["name"]: row["state"] for row in found.document["rows"]}
        assert states["flotilla-1"] == "silent"
        assert states["flotilla-0"] != "silent"

    def stutter(over: threading.Event) -> None:
        while not over.is_set():
            with stopped(ill):
                time.sleep(0.8)
            over.wait(0.2)

    with in_a_thread(stutter):
        found = await ask("vitals --seconds 4 --within 10")
        row = next(row for row in found.document["rows"] if row["name"] == "flotilla-1")
        assert any("event loop was late" in text for text in row["ill"]), row
    await eventually(pair[1].ready, "it is well again")


async def test_what_changed(pair: Cluster, ask: Ask, fresh: Fresh) -> None:
    """A setting of an instance that was started again, a crash, and what somebody did from a shell."""
    path = Path(pair.env["REALTIME_CONFIG"])
    kept = path.read_text()
    secret = "a word that nobody may read in a journal"
    changed = json.loads(kept) | {"max_channels": 17, "subscription_token_secret": secret}
    assert (await ask("block --user id:somebody --seconds 60")).document["hit"] == 0
    pair[1].stop()
    path.write_text(json.dumps(changed))
    pair[1].start()
    began = time.time()
    await eventually_told(ask, lambda rows: any("17" in text for row in rows for text in row["details"]))
    told = (await ask("changes --since 1h")).document["changes"]
    start = next(row for row in told if row["kind"] == "start" and row["details"])
    assert start["instance"] == "flotilla-1" and abs(start["at"] - began) < 600
    assert any(text.endswith("max_channels: 12 → 17") for text in start["details"])
    assert any("secret" in text and text.endswith(" → …") for text in start["details"]), start["details"]
    assert secret not in json.dumps(told)
    assert any(row["kind"] == "end" and row["instance"] == "flotilla-1" for row in told)
    assert any(row["kind"] == "act" and row["what"].startswith("block --user somebody") for row in told)
    assert not [row for row in told if row["kind"] == "lost"]
    path.write_text(kept)
    pair[1].kill()
    pair[1].start()
    await eventually_told(ask, lambda rows: any("12" in text for row in rows for text in row["details"]))


async def eventually_told(ask: Ask, holds: Callable[[list[Any]], bool]) -> None:
    """The journal is written beside everything else: ask until it has it."""
    deadline = time.monotonic() + COMMAND_WITHIN
    while not holds(rows := (await ask("changes --since 1h")).document["changes"]):
        assert time.monotonic() < deadline, rows


@pytest.mark.skipif(ON_A_CLUSTER, reason="it keeps one Redis busy, which is one of six nodes there")
async def test_is_redis_the_cause(pair: Cluster, ask: Ask) -> None:
    """One that is kept busy by a script that somebody runs: it is slow from here and for every instance, and what it
    does all the time is named. Without that, nothing is said of it but that it was started lately."""
    (row,) = (await ask("redis_health --seconds 1")).document["redis"]
    assert not [text for text in row["ill"] if "it does nothing else" in text]
    assert any("it was started" in text for text in row["ill"])

    with in_a_thread(lambda over: keep_busy(pair.redis, over)):
        found = await ask("redis_health --seconds 4 --within 20")
    (row,) = found.document["redis"]
    assert found.status == 1
    assert any("a round trip from here takes" in text for text in row["ill"]), row
    assert any("every instance waits for it" in text for text in row["ill"]), row
    assert row["busiest"] == "eval"


def keep_busy(redis: Redis, over: threading.Event) -> None:
    """A script that takes 300 ms, again and again."""
    script = (
        "local t = redis.call('TIME'); local e = t[1] * 1000000 + t[2] + 300000; "
        "repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e"
    )
    command = f"*3\r\n$4\r\nEVAL\r\n${len(script)}\r\n{script}\r\n$1\r\n0\r\n".encode()
    with socket.create_connection(("127.0.0.1", redis.port)) as connection:
        while not over.is_set():
            connection.sendall(command)
            connection.recv(64)


async def test_whom_does_it_hurt(pair: Cluster, ask: Ask, fresh: Fresh) -> None:
    """Those on an instance that answers nothing, by name; those whose commands fail; those on a Redis."""
    channel, ann, bob = fresh("open"), fresh(""), fresh("")
    async with RawClient(pair[1].url) as cut_off, RawClient(pair[0].url) as refused:
        await cut_off.connect(ann)
        await cut_off.subscribe(channel)
        await refused.connect(bob)
        async with going_on(lambda: refused.send(refused.command("subscribe", channel="nowhere:a")), 0.1):
            found = await ask("affected --seconds 3")
        assert [one for one in troubles(found, "errors") if bob in users_of(one)]
        assert not troubles(found, "silent")
        where = getattr(placement_of(channel), "shard", 0)  # in a cluster, a Redis is what one of its slots holds
        found = await ask(f"affected --redis {where} --seconds 0.5")
        assert [one for one in troubles(found, "redis") if ann in users_of(one) and channel in one["channels"]]
        with stopped(pair[1].pid):
            found = await ask("affected --seconds 0.5")
            assert found.status == 1
            (one,) = troubles(found, "silent")
            assert one["where"] == "flotilla-1"
            assert ann in users_of(one) and bob not in users_of(one)
            assert channel in one["channels"]
            (one,) = troubles(await ask("affected --instance flotilla-1 --seconds 0.5"), "instance")
            assert ann in users_of(one)


async def test_what_did_a_user_get(pair: Cluster, ask: Ask, fresh: Fresh, api: Api) -> None:
    """All of it; not all of it, as she reads too slowly; not known, as her instance does not answer."""
    channel, ann, long, bob = fresh("open"), fresh(""), fresh("long"), fresh("")
    async with RawClient(pair[1].url) as quick, contextlib.AsyncExitStack() as stack:
        await quick.connect(ann)
        await quick.subscribe(channel)
        for number in range(3):
            await api.say(channel, {"number": number})
        await quick.push("pub", channel, offset=3)
        found = await ask(f"received id:{ann} {channel} --last 2")
        assert found.status == 0, found
        (row,) = found.document["subscriptions"]
        assert (row["client"], row["way"], row["offset"], row["top"]) == (quick.client, "live", 3, 3)
        assert [one["offset"] for one in found.document["publications"]] == [3, 2]
        assert all(one["given_to"] == [quick.client] and one["data"] is None for one in found.document["publications"])
        first = await api.say(long, 0)
        for _ in range(300):
            await api.say(long, BIG)
        slow = await stack.enter_async_context(RawClient(pair[0].url, read=False))
        await begin(slow, bob, long, recover=True, epoch=first.epoch, offset=first.offset)
        deadline = time.monotonic() + COMMAND_WITHIN
        while (row := await given(ask, bob, long)) is None or row["way"] == "joining":
            assert time.monotonic() < deadline, row
        found = await ask(f"received id:{bob} {long}")
        (row,) = found.document["subscriptions"]
        assert found.status == 1 and (row["way"], row["top"]) == ("fed", 301)
        assert row["missing"] == 301 - row["offset"] > 0
        with stopped(pair[1].pid):
            found = await ask(f"received id:{ann}")
            assert found.status == 1 and "flotilla-1" in found.said
    found = await ask("received id:nobody-here")
    assert found.status == 1 and "has no open connection" in found.said


async def given(ask: Ask, user: str, channel: str) -> Any:
    """The row of the user's only subscription to the channel, None before there is one."""
    return next(iter((await ask(f"received id:{user} {channel}")).document["subscriptions"]), None)


async def test_why_may_somebody_not(pair: Cluster, ask: Ask, fresh: Fresh) -> None:
    """A block, a rule, and a limit that is used up."""
    blocked, loud, channel = fresh(""), fresh(""), fresh("quiet")
    found = await ask(f"explain_access id:{blocked} {channel}")
    assert found.status == 0 and ["no block", "yes"] in rules(found, "connect")
    await ask(f"block --user id:{blocked} --seconds 600 --note spam")
    found = await ask(f"explain_access id:{blocked} {channel}")
    assert found.status == 1
    (answer,) = [answer for rule, answer in rules(found, "connect") if rule == "no block"]
    assert answer.startswith("no (until ") and answer.endswith("by a shell, spam)")
    assert (await ask(f"explain_access id:{loud} {fresh('closed')}")).status == 1
    async with RawClient(pair[0].url) as client:
        await client.connect(loud)
        for _ in range(2):
            assert "publish" in await client.call("publish", channel=channel, data=1)
        assert await client.error("publish", channel=channel, data=1) == 111
    found = await ask(f"explain_access id:{loud} {channel} --action publish")
    (answer,) = [answer for rule, answer in rules(found, "publish") if rule == f"limit shouts (user:{loud})"]
    assert answer.startswith("not for ")


def rules(answer: Answer, action: str) -> list[list[str]]:
    (verdict,) = [one for one in answer.document["verdicts"] if one["action"] == action]
    return [[rule["rule"], rule["answer"]] for rule in verdict["rules"]]


async def test_what_happens_if_it_is_restarted(pair: Cluster, ask: Ask, fresh: Fresh) -> None:
    """It says how many move, who misses something and where; and so it happens."""
    kept, bare = fresh("open"), fresh("bare")
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number in range(6):
            client = await stack.enter_async_context(RawClient(pair[1].url))
            await client.connect(fresh(""))
            await client.subscribe(bare if number < 2 else kept)
            clients.append(client)
        found = await ask("what_if restart flotilla-1")
        told = found.document
        assert found.status == 1 and bare in found.said
        assert (told["connections"], told["users"], told["others"]) == (6, 6, 1)
        personal = 6  # each user's own channel, which keeps history
        assert (told["keeping"], told["losing"], told["losing_in"]) == (4 + personal, 2, [bare])
        stop = asyncio.create_task(asyncio.to_thread(pair[1].stop))
        assert [await client.closed() for client in clients] == [(3001, "shutdown")] * told["connections"]
        await stop
    alone = await ask("what_if restart flotilla-0")
    assert alone.status == 1 and "No other instance lives" in alone.said
    await asyncio.to_thread(pair[1].start)
    found = await ask("what_if restart redis:0")
    assert found.status == 0 and any("appendonly is on" in text for text in found.document["says"])


async def test_each_question_is_in_the_document() -> None:
    """With the commands that are asked here."""
    text = (DOCUMENTS / "docs" / "OPERATIONS.md").read_text().partition("## An incident: ten questions")[2]
    text = text.partition("\n## ")[0]
    for number in range(1, 11):
        assert f"\n### {number}. " in text
    for command in ("top", "top --by waiting", "top --by deliveries", "vitals", "changes", "redis_health"):
        assert f"manage.py {command}" in text
    for command in ("affected", "received", "explain_access", "what_if restart"):
        assert f"manage.py {command}" in text
