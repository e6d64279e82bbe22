"""The layer says when a connection came back, from the first time on, and can be made to give one up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from channels.layers import channel_layers

from flotilla.realtime.engine.layer import LAYER_FAULTS, ChannelLayer, LoopLayer, get_layer
from flotilla.store.shards import reset_store
from tests.store import cluster_process
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def layer(redis_url: str) -> AsyncIterator[LoopLayer]:
    made = ChannelLayer(hosts=[redis_url], prefix="flotilla").loop_layer()
    yield made
    await made.flush()


async def test_the_first_connection_is_no_reconnection(layer: LoopLayer) -> None:
    """Nothing was missed yet."""
    shards: list[int] = []
    layer.on_reconnect = shards.append
    mailbox = await layer.new_channel()
    await layer.group_add("group", mailbox)
    await layer.group_send("group", {"type": "hello"})
    assert await layer.receive(mailbox) == {"type": "hello"}
    assert shards == []


@pytest.mark.parametrize("by", ["server", "give_up"])
async def test_each_reconnection_is_told(layer: LoopLayer, redis_process: RedisProcess, by: str) -> None:
    """Once each, after which messages arrive again."""
    shards: list[int] = []
    layer.on_reconnect = shards.append
    mailbox = await layer.new_channel()
    await layer.group_add("group", mailbox)
    topic = layer._get_group_channel_name("group")
    host = layer.topics.host(topic)  # of several, on a cluster
    for count in range(1, 4):
        await until(lambda: len(redis_process.ask("PUBSUB", "CHANNELS", topic)) == 1)
        if by == "server":
            redis_process.ask("CLIENT", "KILL", "TYPE", "pubsub")
        else:
            await layer.give_up(host)
        await until(lambda n=count: shards.count(host) == n)  # type: ignore[misc]
        await until(lambda: layer_is_heard(layer, mailbox))
    assert shards.count(host) == 3


async def layer_is_heard(layer: LoopLayer, mailbox: str) -> bool:
    queue = layer.channels[mailbox]
    await layer.group_send("group", {"type": "hello"})
    try:
        await asyncio.wait_for(queue.get(), 0.1)
    except TimeoutError:
        return False
    return True


async def test_an_outage_is_logged_once(mortal_redis: RedisProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Not a line per attempt, and no traceback."""
    layer = ChannelLayer(hosts=[mortal_redis.url], prefix="flotilla").loop_layer()
    back: list[int] = []
    layer.on_reconnect = back.append
    mailbox = await layer.new_channel()
    attempts = []
    pubsub = layer._shards[0]._pubsub
    inner = pubsub.connect

    async def connect() -> None:
        attempts.append(1)
        await inner()

    pubsub.connect = connect
    mortal_redis.kill()
    await until(lambda: len(attempts) >= 3)
    mortal_redis.start()
    await until(lambda: back)
    assert mailbox in layer.channels
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await layer.flush()


async def test_a_loop_has_one_layer(redis_url: str) -> None:
    """However often it is asked for."""
    layer = ChannelLayer(hosts=[redis_url], prefix="flotilla")
    assert layer.loop_layer() is layer.loop_layer()


@pytest.mark.skipif(cluster_process.CHOSEN, reason="a cluster is sent other commands")
@pytest.mark.parametrize("method", ["subscribe", "unsubscribe"])
async def test_a_connection_given_up_while_something_is_sent_is_a_fault_like_another(
    layer: LoopLayer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """redis-py finds no writer any more; whoever asked hears of a fault that is tried again, and then it works."""
    mailbox = await layer.new_channel()
    await layer.group_add("group", mailbox)

    async def no_writer(*_: str) -> None:
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    call = layer.group_add if method == "subscribe" else layer.group_discard
    with monkeypatch.context() as patch:
        patch.setattr(layer._shards[0]._pubsub, method, no_writer)
        with pytest.raises(LAYER_FAULTS):
            await call("other" if method == "subscribe" else "group", mailbox)
    await layer.group_add("other", mailbox)
    await layer.group_send("other", {"type": "hello"})
    assert await layer.receive(mailbox) == {"type": "hello"}


async def test_a_project_keeps_its_default_layer(settings: Any, redis_url: str) -> None:
    """Ours is made of the store's addresses, or is the one that the project calls by our name."""
    reset_store()
    settings.FLOTILLA = {"redis_url": redis_url, "prefix": "mine"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    made = get_layer()
    assert (made is get_layer(), made.loop_layer().prefix) == (True, "mine")
    assert made is not channel_layers["default"]
    settings.CHANNEL_LAYERS |= {
        "flotilla": {"BACKEND": "flotilla.realtime.engine.layer.ChannelLayer", "CONFIG": {"hosts": [redis_url]}}
    }
    assert get_layer() is channel_layers["flotilla"]
    reset_store()
