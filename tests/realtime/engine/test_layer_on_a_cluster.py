"""The channel layer on a Redis Cluster: every topic in a slot, and nobody unsubscribed without being told.

The layer is given the cluster's one address, as a project gives it for its own layer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured

from flotilla.realtime.engine import pubsub
from flotilla.realtime.engine.layer import ChannelLayer, LoopLayer
from flotilla.realtime.engine.topics import Topics, hosts_of
from flotilla.store.slots import hash_tag, key_slot, tags
from flotilla.store.urls import expanded
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import Server
from tests.store.redis_process import until

CLUSTER = "redis+cluster://127.0.0.1:7000"
BACKEND = "flotilla.realtime.engine.layer.ChannelLayer"


def test_a_topic_has_the_hash_tag_of_its_shard() -> None:
    """The platform's own groups bring it; whatever else a name has in braces decides nothing."""
    topics, known = Topics(12, 12), tags(12)
    for name in ("room", "specific.0123", "a{b}c", "a{b", "{}", "{", "}{", "p__group__room"):
        topic = topics.of(name)
        assert name in topic
        assert topics.of(topic) == topic
        assert hash_tag(topic) == known[topics.host(topic)]
    own = f"flotilla__group__{{{known[7]}}}0123"
    assert (topics.of(own), topics.host(own)) == (own, 7)
    assert {topics.host(topics.of(f"room {number}")) for number in range(200)} == set(range(12))


def test_elsewhere_a_topic_is_the_name() -> None:
    """As channels-redis has it."""
    assert [Topics(3).of(name) for name in ("room", "a{b}c")] == ["room", "a{b}c"]


def test_a_cluster_is_a_host_for_each_of_its_shards() -> None:
    """Given as one address or as many; other options of a host are those of each."""
    hosts, shards = hosts_of([{"address": f"{CLUSTER}?shards=3", "health_check_interval": 5}])
    assert (len(hosts), shards) == (3, 3)
    assert {host["health_check_interval"] for host in hosts} == {5}
    assert hosts_of([{"address": url} for url in expanded([CLUSTER])])[1] == 12
    assert hosts_of([{"address": "redis://127.0.0.1"}, {"host": "localhost", "port": 1}])[1] == 0
    assert hosts_of([{"address": "valkeys+cluster://a"}])[0][0]["address"].startswith("redis+cluster://a?tls=1&slot=")
    assert hosts_of([{"address": "valkey://a"}])[0] == [{"address": "redis://a"}]


@pytest.mark.parametrize(
    "given",
    [
        [CLUSTER, "redis://127.0.0.1:6379"],
        [CLUSTER, CLUSTER],
        list(expanded([CLUSTER]))[1:],
        [*expanded([CLUSTER]), f"{CLUSTER}?shards=3"],
    ],
)
def test_a_cluster_stands_alone(given: list[str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="redis\\+cluster:// alone"):
        hosts_of([{"address": url} for url in given])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    made = RedisCluster(tmp_path_factory.mktemp("cluster"), masters=2)
    yield made
    made.close()


@pytest_asyncio.fixture
async def layer(cluster: RedisCluster) -> AsyncIterator[LoopLayer]:
    made = ChannelLayer(hosts=[cluster.url], prefix="flotilla").loop_layer()
    yield made
    await made.flush()


async def heard(layer: LoopLayer, mailbox: str) -> Any:
    async with asyncio.timeout(10):
        return await layer.receive(mailbox)


def topic_of(layer: LoopLayer, group: str) -> str:
    return layer._get_group_channel_name(group)


def subscribed(node: Server, topic: str) -> int:
    """How many are, at this node."""
    return int(node.ask("PUBSUB", "SHARDNUMSUB", topic)[1])


async def until_subscribed(cluster: RedisCluster, topic: str, count: int = 1) -> Server:
    """Wait until so many are, where the topic's slot is; gives that node."""
    owner = cluster.owner(key_slot(topic))
    await until(lambda: asyncio.to_thread(lambda: subscribed(owner, topic) == count))
    return owner


async def test_mailboxes_and_groups_are_heard_by_other_processes(cluster: RedisCluster, layer: LoopLayer) -> None:
    """Many of them, so that all shards have some; one that is left is not heard any more."""
    other = ChannelLayer(hosts=[cluster.url], prefix="flotilla").loop_layer()
    mailboxes = [await layer.new_channel() for _ in range(30)]
    for mailbox in mailboxes:
        await layer.group_add("all", mailbox)
    await layer.group_add("odd {name}", mailboxes[0])
    await until_subscribed(cluster, topic_of(layer, "all"))
    await until_subscribed(cluster, topic_of(layer, "odd {name}"))
    for mailbox in mailboxes:
        await until_subscribed(cluster, layer.topics.of(mailbox))
        await other.send(mailbox, {"type": "to", "one": mailbox})
        assert await heard(layer, mailbox) == {"type": "to", "one": mailbox}
    await other.group_send("all", {"type": "to.all"})
    assert [await heard(layer, mailbox) for mailbox in mailboxes] == [{"type": "to.all"}] * 30
    await other.group_send("odd {name}", {"type": "to.few"})
    assert await heard(layer, mailboxes[0]) == {"type": "to.few"}
    for mailbox in mailboxes:
        await layer.group_discard("all", mailbox)
    await until_subscribed(cluster, topic_of(layer, "all"), 0)
    await layer.close_mailbox(mailboxes[0])
    await until_subscribed(cluster, layer.topics.of(mailboxes[0]), 0)
    assert layer.topics.of(mailboxes[0]) not in layer._names
    await other.flush()


async def test_a_projects_own_layer_works_on_a_cluster(cluster: RedisCluster, settings: Any) -> None:
    """Its `default`, with the address as it is in REDIS_URL."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": BACKEND, "CONFIG": {"hosts": [cluster.url]}}}
    layer = get_channel_layer()
    assert isinstance(layer, ChannelLayer)
    mailbox = await layer.new_channel()
    await layer.group_add("chat", mailbox)
    await until_subscribed(cluster, topic_of(layer.loop_layer(), "chat"))
    await layer.group_send("chat", {"type": "chat.message"})
    assert await asyncio.wait_for(layer.receive(mailbox), 10) == {"type": "chat.message"}
    await layer.flush()


async def test_a_slot_that_moves_takes_its_subscriptions_along(cluster: RedisCluster, layer: LoopLayer) -> None:
    """Its node ends them; they are made again where the slot is now, that is told, and nothing else is lost."""
    back: list[int] = []
    layer.on_reconnect = back.append
    mailbox = await layer.new_channel()
    await layer.group_add("room", mailbox)
    topic = topic_of(layer, "room")
    slot, owner = key_slot(topic), await until_subscribed(cluster, topic)
    for target in [node for node in cluster.nodes if node is not owner] + [owner]:
        back.clear()
        await asyncio.to_thread(cluster.move_slot, slot, target)
        await until(lambda: asyncio.to_thread(subscribed, target, topic))  # noqa: B023  awaited here
        await until(lambda: back)  # it says so when everything was sent, of which Redis may have done the first already
        assert back == [layer.topics.host(topic)]
        await layer.group_send("room", {"type": "hello"})
        assert await heard(layer, mailbox) == {"type": "hello"}


async def test_a_connection_to_the_wrong_node_is_made_again(
    cluster: RedisCluster, layer: LoopLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers MOVED, and says nothing about which topic: all of the shard's are subscribed to at the right one."""
    mailbox = await layer.new_channel()
    await layer.group_add("room", mailbox)
    topic = topic_of(layer, "room")
    right = await until_subscribed(cluster, topic)
    wrong = next(node for node in cluster.nodes if node is not right)
    pool, asked = layer._get_shard(topic)._pubsub.connection_pool, []
    guide = pool.sentinel_manager
    discover = guide.discover_master

    async def misled(name: str) -> tuple[str, int]:
        asked.append(name)
        return (wrong.host, wrong.port) if len(asked) <= 2 else await discover(name)

    guide.discover_master = misled
    back: list[int] = []
    layer.on_reconnect = back.append
    await layer.give_up(layer.topics.host(topic))
    await until(lambda: len(asked) >= 3)
    await until_subscribed(cluster, topic)
    await layer.group_send("room", {"type": "hello"})
    assert await heard(layer, mailbox) == {"type": "hello"}
    await until(lambda: back, what="what was missed meanwhile is looked for")
    assert "Traceback" not in caplog.text


async def test_many_topics_are_subscribed_to_again_in_pieces(
    cluster: RedisCluster, layer: LoopLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command has too many; none is forgotten, and one that was left meanwhile does not come back."""
    monkeypatch.setattr(pubsub, "AT_ONCE", 3)
    mailbox = await layer.new_channel()
    tag = tags(12)[5]
    groups = [f"{{{tag}}}{number}" for number in range(20)]
    for group in groups:
        await layer.group_add(group, mailbox)
    await until_subscribed(cluster, topic_of(layer, groups[-1]))
    await layer.group_discard(groups[0], mailbox)
    await layer.give_up(5)
    for group in groups[1:]:
        await until_subscribed(cluster, topic_of(layer, group))
    await until_subscribed(cluster, topic_of(layer, groups[0]), 0)


async def test_an_older_server_is_subscribed_to_as_ever(cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 7.0 no topic is a shard's: SUBSCRIBE hears what PUBLISH announces, wherever that is done."""
    monkeypatch.setattr(pubsub, "has_sharded_topics", lambda _: False)
    layer = ChannelLayer(hosts=[cluster.url], prefix="flotilla").loop_layer()
    mailbox = await layer.new_channel()
    await layer.group_add("room", mailbox)
    topic = topic_of(layer, "room")
    owner = cluster.owner(key_slot(topic))
    await until(lambda: asyncio.to_thread(lambda: owner.ask("PUBSUB", "NUMSUB", topic)[1]))
    owner.ask("PUBLISH", topic, layer.channel_layer.serialize({"type": "hello"}))
    assert await heard(layer, mailbox) == {"type": "hello"}
    await layer.flush()
