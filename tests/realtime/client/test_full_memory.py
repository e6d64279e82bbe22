"""At `maxmemory` with `noeviction`: what would grow Redis is refused before it does; all else goes on, and it heals.

Redis looks at its memory before a script's first write alone, so each script is tried for itself.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from flotilla.presence import keys
from flotilla.presence.connection_ends import CLAIM
from flotilla.presence.connection_ends import ENDS as LOOK_AT_ENDS
from flotilla.presence.entries import Announcement, Entries, Leaving, Named
from flotilla.presence.leases import Leases, Renewals
from flotilla.presence.outbox import Queue, outbox_for
from flotilla.ratelimit.background import _SYNC
from flotilla.ratelimit.limiter import _TAKE
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.api.resharding import SETTLE
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.engine.maps import Maps
from flotilla.realtime.node.control import _answer_key, tail_key
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations.count import Count
from flotilla.realtime.node.tails import LEAVE_EVENTS
from flotilla.realtime.webhooks.queue import EndpointQueue
from flotilla.store import Script, StoreRefused, get_store, placement_of
from flotilla.store.layout import LAYOUT, Layout
from flotilla.store.partitions import REST
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

BODY = b'{"data":"' + b"x" * 30_000 + b'"}'
KEY_TTL = 3600
OWN, DEAD = "own.1", "dead.1"


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The node's Redis is this test's own."""
    return mortal_redis


@dataclass
class World:
    """A node's store, with an incarnation that lives and one that is dead; each has a connection."""

    node: Node
    redis: RedisProcess
    leases: Leases
    entries: Entries

    def run(self, script: Script, names: list[str], *arguments: Any) -> Awaitable[Any]:
        return self.node.store.first.run(script, names, list(arguments))

    def fill(self) -> None:
        self.redis.ask("CONFIG", "SET", "maxmemory", "1")

    def put(self, *command: Any) -> None:
        """What the test itself writes while memory is full."""
        self.redis.ask("CONFIG", "SET", "maxmemory", "0")
        self.redis.ask(*command)
        self.fill()


@pytest_asyncio.fixture
async def world(node: Node, mortal_redis: RedisProcess) -> AsyncIterator[World]:
    await until(lambda: all(node.checks().values()))
    leases = Leases(node.store, ttl=60, key_ttl=KEY_TTL)
    made = World(node, mortal_redis, leases, Entries(node.store, lambda _: None, KEY_TTL))
    for name in (OWN, DEAD):
        await leases.renew(Renewals(name), {})
        for scope in ("c:room", "u:ann"):
            await leases.register(name, 1, [scope])
            await made.entries.add(name, 1, scope, Named(f"client-{name}", "ann", b""))
    await asyncio.to_thread(blocklist.add, node.store, "u:bad", 60, {})
    yield made
    mortal_redis.ask("CONFIG", "SET", "maxmemory", "0")


def maps(world: World) -> Maps:
    return Maps(world.node.broker)


async def publish(world: World) -> Any:
    return await world.node.broker.publish("open:a", BODY, options_for("open:a", world.node.config))


async def publish_once(world: World) -> Any:
    options = options_for("plain:a", world.node.config)
    return await world.node.broker.publish("plain:a", BODY, options, idempotency_key="once")


async def add(world: World) -> Any:
    return await world.entries.add(OWN, 1, "c:room", Named("client-new", "ann", b""))


async def enter(world: World) -> Any:
    return await world.entries.add(OWN, 1, "c:new", Named("client-new", "ann", b""), register=True)


async def register(world: World) -> Any:
    return await world.leases.register(OWN, 1, ["c:other"])


async def put_back(world: World) -> Any:
    return await world.entries.put_back(OWN, 1, "c:room", [Named("client-new", "ann", b"")], others=True)


async def leave_events(world: World) -> Any:
    await world.node.store.first.run(LEAVE_EVENTS, [tail_key("tail")], [b"[]", 10, 10])


async def claim_name(world: World) -> Any:
    about = {"instance": "another"}
    assert await Leases(world.node.store, ttl=10, key_ttl=20).claim("another.1", "another", about) is None


async def set_entry(world: World) -> Any:
    return await maps(world).set("map:a", "k", b"1", options_for("map:a", world.node.config))


async def settle(world: World) -> Any:
    place = placement_of("open:elsewhere")
    assert await world.run(SETTLE, [place.key("a-partition"), place.key("what-was-made")], "a run", "g")


GROWS = {
    "flotilla.realtime.api.settle": (settle,),
    "flotilla.realtime.engine.tail": (leave_events,),
    "flotilla.realtime.engine.publish": (publish, publish_once),
    "flotilla.realtime.engine.map_set": (set_entry,),
    "flotilla.presence.add": (add,),
    "flotilla.presence.enter": (enter,),
    "flotilla.presence.register": (register,),
    "flotilla.presence.assert": (put_back,),
}


async def history(world: World) -> Any:
    options = options_for("open:new", world.node.config)
    for channel in ("open:a", "open:new"):
        await world.node.broker.history(channel, options, limit=-1)


async def history_of_another_era(world: World) -> Any:
    """The stream that was there has gone, so a reader's position is of an era that is made now."""
    placement, options = placement_of("open:gone"), options_for("open:gone", world.node.config)
    world.put("HSET", placement.partition_key("partition"), "s", "1")
    await world.node.broker.history("open:gone", options)
    assert world.redis.ask("HGET", placement.partition_key("partition"), "s") != b"1"


async def confirm(world: World) -> Any:
    await world.node.broker.confirm("open:a", "nonce", options_for("open:a", world.node.config))


async def take_entries_away(world: World) -> Any:
    """Removed, and ended: what is over frees memory, though it is told."""
    options, brief = (options_for(name, world.node.config) for name in ("map:a", "map-brief:a"))
    world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await maps(world).set("map:a", "k", b"1", options)
    await maps(world).set("map-brief:a", "k", b"1", brief, ttl=0.001)
    world.fill()
    assert len((await maps(world).state("map:a", options, limit=10)).entries) == 1
    await maps(world).remove("map:a", "k", options)
    assert (await maps(world).state("map:a", options, limit=10)).entries == ()
    async with asyncio.timeout(10):
        while (await maps(world).state("map-brief:a", brief, limit=10)).keys:  # until its time is over
            await maps(world).end("map-brief:a", brief)


async def block(world: World) -> Any:
    await asyncio.to_thread(blocklist.add, world.node.store, "u:worse", 60, {})
    assert (await blocklist.read(world.node.store))[1].keys() == {"u:bad", "u:worse"}


async def unblock(world: World) -> Any:
    assert await asyncio.to_thread(blocklist.remove, world.node.store, "u:bad")


async def reblock(world: World) -> Any:
    await blocklist.put_back(world.node.store, 7, {"u:lost": 60})
    assert "u:lost" in (await blocklist.read(world.node.store))[1]


async def answer(world: World) -> Any:
    await world.node.control.answer(Count(answer_to=_answer_key()), OWN, 1)


async def renew(world: World) -> Any:
    await world.leases.renew(Renewals(OWN), {})
    await world.leases.renew(Renewals("new.1"), {})


async def expire(world: World) -> Any:
    await world.leases.expire(DEAD)
    assert DEAD not in await world.leases.living()


async def bury(world: World) -> Any:
    world.redis.ask("ZREM", keys.leases(), DEAD)
    assert await world.leases.adopt(OWN, DEAD, "c:room")
    assert await world.leases.bury(OWN, DEAD, 5)
    assert (await world.entries.reap(DEAD, "c:room"))[0] == 0
    _, reaped = await world.entries.reap(DEAD, "u:ann", b"note")
    assert [one.client for one in reaped] == [f"client-{DEAD}"]
    assert await world.leases.forget(DEAD, ["c:room", *keys.noted_with("u:ann")]) == 0


async def dead(world: World) -> Any:
    await world.leases.dead(OWN)


async def surrender(world: World) -> Any:
    await world.leases.surrender(OWN, clean=False)
    await world.leases.surrender(DEAD, clean=True)


async def unregister(world: World) -> Any:
    await world.leases.unregister(OWN, 1, ["c:nothing"])


async def drop(world: World) -> Any:
    """With its end noted, claimed and told."""
    gone = await world.entries.drop(OWN, 1, "u:ann", [Leaving(f"client-{OWN}", "ann", b"note")])
    assert [one.client for one in gone] == [f"client-{OWN}"]
    district = keys.home_of("u:ann").district
    assert district is not None
    assert (await world.run(LOOK_AT_ENDS, district.of(OWN), 10, KEY_TTL, 1))[0] == 1
    assert await world.run(CLAIM, district.of(OWN), f"client-{OWN}", "me", KEY_TTL, 0) == 1


async def deliver(world: World) -> Any:
    """A webhook's events are written where somebody leaves, and taken out: what is delivered frees memory."""
    queue = EndpointQueue(world.node.store, "crm", "me")
    home = keys.home_of("c:room")
    outbox = outbox_for("c:room", home.placement, (Queue("crm", "u", 10, 10_000, 60),))
    entries = Entries(world.node.store, lambda _: Announcement(outbox=outbox), KEY_TTL)
    assert await entries.drop(OWN, 1, "c:room", [Leaving(f"client-{OWN}")])
    term = await queue.hold(30)
    assert term and await queue.hold(30) == term
    fetched = await queue.fetch(term, [part for part, _ in await queue.filled()], 10)
    assert [len(one.events) for one in fetched] == [1]
    await queue.ack(term, fetched)
    assert await queue.filled() == []
    await queue.let_go()


async def refresh(world: World) -> Any:
    assert (await world.entries.refresh(OWN, "c:room"))[0]


async def probe(world: World) -> Any:
    script = next(one for one in Script.registered.values() if one.name == "flotilla.presence.probe")
    assert await world.run(script, [keys.probe_mark(OWN, 0)], 1, KEY_TTL) is None
    assert await world.run(script, [keys.probe_mark(OWN, 0)], 2, KEY_TTL) == b"1"


async def arrive(world: World) -> Any:
    """Each way that it may go: as a process that comes anew, of an empty partition, in doubt, with a vote."""
    shard = world.node.store.first
    partitions = shard.partitions
    assert partitions is not None
    world.put("HSET", placement_of("open:a").partition_key("partition"), "r", "another run")
    world.redis.ask("DEL", placement_of("open:new").partition_key("partition"))
    questions = partitions.questions(partitions.run, range(64))
    found = await asyncio.gather(*(shard.call(*one) for one in questions))
    assert all(len(one) == 3 for one in found)
    partition = placement_of("x").partition_key("partition")
    for _ in range(2):
        world.put("HSET", partition, "r", "another run", "g", "g")
        world.put("HSET", placement_of("x").partition_key("votes"), "else", "0")
        asked = [partition, placement_of("x").partition_key("votes")]
        named = next(one for one in Script.registered.values() if one.name == "flotilla.store.arrive")
        assert await world.run(named, asked, partitions.run, "f", "g", 0, "r", "me", 3000, 0, "me", "else")


async def stay(world: World) -> Any:
    """A process that uses the layout may go on, and another one comes."""
    layout = world.node.store.layout
    keys, arguments = layout.places[0].question(",".join(layout.ids), comes=False)
    assert (await world.run(LAYOUT, keys, *arguments))[0] == 1
    new = Layout(layout.urls)
    await asyncio.to_thread(new.enter)
    assert new.ids == layout.ids
    await asyncio.to_thread(new.leave)


async def rest(world: World) -> Any:
    partitions = world.node.store.first.partitions
    assert partitions is not None
    assert await world.run(REST, [placement_of("open:a").partition_key("partition")], partitions.run) == 1


async def take(world: World) -> Any:
    for _ in range(2):  # of new keys, and of those that are there
        asked = ("g", 1, 0, 1600, 5, 0, 0, "s", 1, 0, 1_000_000, 5, 1000, 0)
        answers = await world.run(_TAKE, ["{rl}g", "{rl}s", "{rl}:journal"], 2, *asked)
        assert answers[1] == answers[5] == 1
    asked = ("g", 1, 0, 1600, 5, 0, 3200, "s", 1, 0, 1_000_000, 5, 1000, 1)
    assert (await world.run(_TAKE, ["{rl}g2", "{rl}s2"], 2, *asked))[1] == 1


async def sync(world: World) -> Any:
    assert await world.run(_SYNC, ["{rl}:v", "{rl}:alive", "{rl}:hot"], "me", 5000, 500, 3600, "p\ni", 3) == [0, 1]


GOES_ON = {
    "flotilla.realtime.engine.history": (history, history_of_another_era),
    "flotilla.realtime.engine.confirm": (confirm,),
    "flotilla.realtime.engine.map_state": (take_entries_away,),
    "flotilla.realtime.engine.map_remove": (take_entries_away,),
    "flotilla.realtime.engine.map_end": (take_entries_away,),
    "flotilla.realtime.blocks.block": (block,),
    "flotilla.realtime.blocks.unblock": (unblock,),
    "flotilla.realtime.blocks.blocks": (block,),
    "flotilla.realtime.blocks.reblock": (reblock,),
    "flotilla.realtime.engine.answer": (answer,),
    "flotilla.presence.renew": (renew,),
    "flotilla.presence.claim_name": (claim_name,),
    "flotilla.presence.expire": (expire,),
    "flotilla.presence.adopt": (bury,),
    "flotilla.presence.bury": (bury,),
    "flotilla.presence.reap": (bury,),
    "flotilla.presence.forget": (bury,),
    "flotilla.presence.dead": (dead,),
    "flotilla.presence.surrender": (surrender,),
    "flotilla.presence.unregister": (unregister,),
    "flotilla.presence.drop": (drop,),
    "flotilla.presence.ends": (drop,),
    "flotilla.presence.claim": (drop,),
    "flotilla.presence.refresh": (refresh,),
    "flotilla.presence.probe": (probe,),
    "flotilla.realtime.webhooks.hold": (deliver,),
    "flotilla.realtime.webhooks.let_go": (deliver,),
    "flotilla.realtime.webhooks.fetch": (deliver,),
    "flotilla.realtime.webhooks.ack": (deliver,),
    "flotilla.store.arrive": (arrive,),
    "flotilla.store.layout": (stay,),
    "flotilla.store.rest": (rest,),
    "flotilla.ratelimit.take": (take,),
    "flotilla.ratelimit.sync": (sync,),
}
READINESS = ("flotilla.monitoring.",)
Call = Callable[[World], Awaitable[Any]]


def each(calls: dict[str, tuple[Call, ...]]) -> Any:
    found = sorted({call for several in calls.values() for call in several}, key=lambda call: call.__name__)
    return pytest.mark.parametrize("call", found, ids=lambda call: call.__name__)


@each(GROWS)
async def test_what_grows_redis_is_refused_before_it_does_and_done_when_there_is_room(world: World, call: Call) -> None:
    """Nothing of it is there afterwards, but for counts of a few bytes."""
    world.fill()
    before = world.redis.ask("DBSIZE")
    with pytest.raises(StoreRefused, match="OOM"):
        await call(world)
    assert world.redis.ask("DBSIZE") == before
    world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await call(world)


@each(GOES_ON)
async def test_what_reads_keeps_alive_or_takes_away_goes_on(world: World, call: Call) -> None:
    """However full Redis is."""
    world.fill()
    await call(world)


async def test_of_every_script_it_is_known_what_it_does_when_memory_is_full(node: Node) -> None:
    """One that is new belongs into a table above."""
    names = {script.name for script in Script.registered.values() if not script.name.startswith(READINESS)}
    assert names - {name for name in names if name.startswith("test")} == GROWS.keys() | GOES_ON.keys()


async def test_publications_stop_at_the_limit_and_clients_live_on(world: World) -> None:
    """Publishing is answered with an error that says to come again; whoever is connected stays, reads and leaves."""
    reader, writer = Peer(world.node), Peer(world.node)
    await reader.connect()
    await reader.subscribe("people:a")
    await writer.connect()
    limit = world.redis.ask("INFO", "memory")["used_memory"] + 1_600_000
    world.redis.ask("CONFIG", "SET", "maxmemory", limit)
    refused = 0
    for number in range(200):
        found = await writer.ask(publish={"channel": f"open:{number}", "data": "x" * 30_000})
        if "error" in found:
            assert found["error"] == {"code": 100, "message": "internal server error", "temporary": True}
            refused += 1
    assert refused > 100
    assert world.redis.ask("INFO", "memory")["used_memory"] < limit + 400_000
    assert "history" in await reader.ask(history={"channel": "open:0", "limit": 1})
    assert "presence" in await reader.ask(presence={"channel": "people:a"})
    assert "unsubscribe" in await reader.ask(unsubscribe={"channel": "people:a"})
    assert world.node.presence.alive
    world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    assert "publish" in await writer.ask(publish={"channel": "open:0", "data": "again"})


async def test_leases_are_kept_for_longer_than_they_last(world: World) -> None:
    """A full Redis ends no instance."""
    world.fill()
    before = world.redis.ask("ZSCORE", keys.leases(), world.node.presence.incarnation)
    lasts = world.node.config.lease_ttl * 1000
    await until(
        lambda: world.redis.ask("ZSCORE", keys.leases(), world.node.presence.incarnation) > before + lasts, within=30
    )
    assert world.node.presence.alive


async def test_a_redis_that_starts_full_is_greeted_and_read(world: World) -> None:
    """Another run of it is compared as ever; only what grows is refused."""
    await publish(world)
    snapshot = world.redis.saved()
    world.redis.kill()
    (world.redis.folder / "dump.rdb").write_bytes(snapshot)
    world.redis.start("--maxmemory", "1")

    async def read() -> bool:
        try:
            options = options_for("open:a", world.node.config)
            return len((await world.node.broker.history("open:a", options, limit=-1)).publications) == 1
        except Exception:  # it is not back yet
            return False

    await until(read, within=20)
    with pytest.raises(StoreRefused, match="OOM"):
        await publish(world)
    await until(lambda: world.node.presence.alive and world.node.heartbeat.alive, within=20)
    assert get_store().first.stats.connects > 1


async def test_who_comes_while_memory_is_full_is_told_to_come_again(world: World) -> None:
    """Nobody new is entered; who is there may subscribe to what keeps no presence, and leaves as ever."""
    peer = Peer(world.node)
    await peer.connect()
    await peer.subscribe("people:a")
    world.fill()
    newcomer = Peer(world.node)
    assert (await newcomer.ask(connect={}))["error"]["temporary"]
    assert (await peer.ask(subscribe={"channel": "open:b"}))["error"]["temporary"]
    assert "subscribe" in await peer.ask(subscribe={"channel": "wish:a"})
    peer.client.closed(1001)
    await world.node.idle()
    assert not await world.entries.members("c:people:a")
    world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await Peer(world.node).connect()
