"""Maps with the JavaScript SDK, in JSON and in Protobuf, over two instances: networks break, one of them is killed, and
every mirror is what the map is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.support import driven
from tests.cluster.support.api_client import Api
from tests.cluster.support.door import Door
from tests.cluster.support.driven import DrivenClient, Pair
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.sdk import CommandFailed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

ENCODINGS = pytest.mark.parametrize("encoding", ["json", "protobuf"])
PATIENT = {"ping_interval": 60, "pong_timeout": 30, "connect_timeout": 15}

Come = Callable[..., Any]


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("maps"), CONFIG | PATIENT, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def come(node: driven.Node) -> AsyncIterator[Come]:
    """A connected client: `await come(url, user, encoding)`."""
    made: list[DrivenClient] = []

    async def connected(url: str, user: str, encoding: str = "json", transport: str = "websocket") -> DrivenClient:
        client = node.client(url, lambda _: token(user), pair=Pair(transport, encoding))
        made.append(client)
        await client.connect()
        await client.seen.event("connected")
        return client

    yield connected
    for client in made:
        await client.close()


@pytest_asyncio.fixture
async def server(pair: Cluster) -> AsyncIterator[Api]:
    async with Api(pair[1].http) as client:
        yield client


async def ask(api: Api, method: str, **body: Any) -> dict[str, Any]:
    answer = await api.post(method, body)
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


async def shows(client: DrivenClient, channel: str, wanted: dict[str, Any]) -> None:
    await eventually(lambda: client.mirror(channel) == wanted, f"{client.mirror(channel)} becoming {wanted}")


def wholes(client: DrivenClient, channel: str) -> int:
    """How often it was given the whole state."""
    return len(client.seen.named("sync", channel))


@ENCODINGS
@pytest.mark.parametrize("transport", ["websocket", "http_stream"])
async def test_what_one_sets_all_have(
    pair: Cluster, come: Come, fresh: Callable[[str], str], encoding: str, transport: str
) -> None:
    channel = fresh("map")
    ann = await come(pair[0].url, "ann", encoding, transport)
    bob = await come(pair[1].url, "bob", "json" if encoding == "protobuf" else "protobuf")
    await ann.map(channel)
    await ann.seen.event("sync", channel)
    await ann.map_publish(channel, "a", {"x": 1})
    await shows(ann, channel, {"a": {"x": 1}})
    await bob.map(channel)
    await shows(bob, channel, {"a": {"x": 1}})
    await bob.map_publish(channel, "a", {"x": 2})
    await bob.map_publish(channel, "b", [1, "ключ"])
    for client in (ann, bob):
        await shows(client, channel, {"a": {"x": 2}, "b": [1, "ключ"]})
    await ann.map_remove(channel, "a")
    for client in (ann, bob):
        await shows(client, channel, {"b": [1, "ключ"]})
        assert wholes(client, channel) == 1
    assert bob.seen.named("update", channel)[-1]["removed"] is True
    assert ann.seen.named("update", channel)[-2]["info"]["user"] == "bob"


@ENCODINGS
async def test_a_thousand_entries_come_in_pages(
    pair: Cluster, come: Come, server: Api, fresh: Callable[[str], str], encoding: str
) -> None:
    """While some of them change."""
    channel = fresh("map")
    commands = [{"map_publish": {"channel": channel, "key": f"k{number:04}", "data": number}} for number in range(1000)]
    for start in range(0, 1000, 250):
        answer = await server.post("batch", {"commands": commands[start : start + 250]})
        assert all("error" not in reply["map_publish"] for reply in answer["replies"])
    wanted = {f"k{number:04}": number for number in range(1000)}
    client = await come(pair[0].url, "ann", encoding)
    await client.map(channel, page_size=100)
    changing = asyncio.create_task(_change(server, channel, wanted))
    await client.seen.event("sync", channel)
    await changing
    await shows(client, channel, wanted)
    first = client.seen.named("sync", channel)[0]["entries"]
    assert len(first) == len({entry["key"] for entry in first}) >= 980
    assert await ask(server, "map_stats", channel=channel) == {
        "num_keys": len(wanted),
        "num_bytes": (await ask(server, "map_stats", channel=channel))["num_bytes"],
    }


async def _change(server: Api, channel: str, wanted: dict[str, Any]) -> None:
    for number in range(0, 40, 2):
        key = f"k{number * 25:04}"
        if number % 4:
            await ask(server, "map_remove", channel=channel, key=key)
            del wanted[key]
        else:
            await ask(server, "map_publish", channel=channel, key=key, data="new")
            wanted[key] = "new"


@ENCODINGS
async def test_who_was_cut_off_catches_up(
    pair: Cluster, door: Door, come: Come, server: Api, fresh: Callable[[str], str], encoding: str
) -> None:
    """With what it missed and nothing else, from another instance; after too much it begins anew."""
    channel = fresh("map-small")
    client = await come(door.url, "ann", encoding)
    await client.map(channel)
    await client.seen.event("sync", channel)
    for key, data in (("a", 1), ("b", 2)):
        await ask(server, "map_publish", channel=channel, key=key, data=data)
    await shows(client, channel, {"a": 1, "b": 2})

    door.only()
    door.cut()
    await client.seen.event("subscribing", channel, nth=2)
    await ask(server, "map_publish", channel=channel, key="a", data=3)
    await ask(server, "map_remove", channel=channel, key="b")
    await ask(server, "map_publish", channel=channel, key="c", data=4)
    before = len(client.seen.named("update", channel))
    door.only(pair[1].port)
    await shows(client, channel, {"a": 3, "c": 4})
    assert wholes(client, channel) == 1
    assert [one["key"] for one in client.seen.named("update", channel)[before:]] == ["a", "b", "c"]
    assert client.seen.named("subscribed", channel)[-1]["recovered"] is True

    door.only()
    door.cut()
    await client.seen.event("subscribing", channel, nth=3)
    for number in range(200):  # of which the stream keeps 20, and a node of Redis's more
        await ask(server, "map_publish", channel=channel, key="a", data=number)
    await ask(server, "map_remove", channel=channel, key="c")
    door.only(pair[0].port)
    await shows(client, channel, {"a": 199})
    assert wholes(client, channel) == 2


@ENCODINGS
async def test_what_a_client_set_leaves_with_it(
    pair: Cluster, come: Come, fresh: Callable[[str], str], encoding: str
) -> None:
    """When it unsubscribes, closes, or its instance is killed."""
    channel = fresh("cursors")
    watcher = await come(pair[1].url, "watcher", encoding)
    await watcher.map(channel)
    leaves, closes, lost = [await come(pair[0].url, name, encoding) for name in ("ann", "bob", "cid")]
    ids = {}
    for client in (leaves, closes, lost):
        await client.map(channel)
        await client.seen.event("sync", channel)
        await client.map_publish(channel, "", {"at": client.name})
        ids[client.name] = client.seen.client
    await shows(watcher, channel, {ids[name]: {"at": name} for name in ids})
    await leaves.unsubscribe(channel)
    await eventually(lambda: ids[leaves.name] not in (watcher.mirror(channel) or {}), "the one that left")
    await closes.disconnect()
    await shows(watcher, channel, {ids[lost.name]: {"at": lost.name}})
    pair[0].kill()
    await shows(watcher, channel, {})
    assert wholes(watcher, channel) == 1


@ENCODINGS
async def test_who_is_there_is_a_map(pair: Cluster, come: Come, fresh: Callable[[str], str], encoding: str) -> None:
    """Of connections and of users, through joins, leaves and a killed instance, as `presence` says."""
    channel = fresh("lobby")
    watcher = await come(pair[1].url, "watcher", encoding)
    await watcher.map(f"$clients:{channel}", "MapClients")
    await watcher.map(f"$users:{channel}", "MapUsers")
    await watcher.seen.event("sync", f"$users:{channel}")
    here = [await come(pair[0].url, user, encoding) for user in ("ann", "ann", "bob")]
    there = await come(pair[1].url, "bob", encoding)
    for client in (*here, there):
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)
    ids = {client.seen.client for client in (*here, there)}

    async def agree(users: set[str], clients: set[str]) -> None:
        await eventually(lambda: set(watcher.mirror(f"$users:{channel}") or ()) == users, f"users {users}")
        await eventually(lambda: set(watcher.mirror(f"$clients:{channel}") or ()) == clients, f"clients {clients}")
        assert set((await watcher.presence(channel))["clients"]) == clients

    await agree({"ann", "bob"}, ids)
    joins = watcher.seen.named("update", f"$clients:{channel}")
    assert {(one["key"], one["info"]["user"]) for one in joins} == {
        (client.seen.client, user) for client, user in zip((*here, there), ("ann", "ann", "bob", "bob"), strict=True)
    }
    await here[0].disconnect()
    await agree({"ann", "bob"}, ids - {here[0].seen.client})
    pair[0].kill()
    await agree({"bob"}, {there.seen.client})
    users = [(one["key"], bool(one.get("removed"))) for one in watcher.seen.named("update", f"$users:{channel}")]
    assert sorted(users) == [("ann", False), ("ann", True), ("bob", False)]


@ENCODINGS
async def test_entries_end(pair: Cluster, come: Come, fresh: Callable[[str], str], encoding: str) -> None:
    channel = fresh("typing")
    ann, bob = await come(pair[0].url, "ann", encoding), await come(pair[1].url, "bob", encoding)
    await bob.map(channel)
    await bob.seen.event("sync", channel)
    await ann.map_publish(channel, "", "…")
    await shows(bob, channel, {"ann": "…"})
    await shows(bob, channel, {})
    assert [bool(one.get("removed")) for one in bob.seen.named("update", channel)] == [False, True]


@ENCODINGS
async def test_limits_and_permissions(
    pair: Cluster, come: Come, server: Api, fresh: Callable[[str], str], encoding: str
) -> None:
    ann, bob = await come(pair[0].url, "ann", encoding), await come(pair[1].url, "bob", encoding)
    small, closed = fresh("map-small"), fresh("map-closed")

    async def refused(call: Any, code: int) -> None:
        with pytest.raises(CommandFailed) as failed:
            await call
        assert failed.value.code == code

    for key in "abc":
        await ann.map_publish(small, key, 1)
    await refused(ann.map_publish(small, "d", 1), 106)
    assert (await server.post("map_publish", {"channel": small, "key": "d", "data": 1}))["error"]["code"] == 106
    await refused(ann.map_publish(small, "k" * 300, 1), 107)
    await refused(ann.map_publish(small, "a", "x" * 20_000), 107)
    await refused(ann.map_publish(closed, "a", 1), 103)
    for client in (ann, bob):
        await client.map(closed)
        await client.seen.event("sync", closed)
    await ann.map_publish(closed, "a", 1)
    await refused(bob.map_publish(closed, "a", 2), 103)
    await refused(bob.map_remove(closed, "a"), 103)
    await refused(ann.map_remove(closed, "a"), 103)
    await refused(ann.map_publish(fresh("open"), "a", 1), 108)
    await refused(ann.publish(small, 1), 108)
    await ann.map(fresh("open"))
    unsubscribed = await ann.seen.event("unsubscribed")
    assert unsubscribed["code"] == 108
    await ann.subscribe(fresh("map"))
    assert (await ann.seen.event("unsubscribed", nth=2))["code"] == 108


async def test_mirrors_hold_while_everything_fails(
    pair: Cluster, door: Door, come: Come, server: Api, fresh: Callable[[str], str]
) -> None:
    """Writers on both instances; clients are cut off, an instance is killed: in the end all are equal."""
    channel = fresh("map")
    door.only(pair[0].port, pair[1].port)
    readers = [await come(door.url, f"r{number}", ("json", "protobuf")[number % 2]) for number in range(4)]
    for reader in readers:
        await reader.map(channel, page_size=7)
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body: dict[str, Any] = {"channel": channel, "key": f"k{number * 7 % 40}"}
            method = "map_remove" if number % 3 == 0 else "map_publish"
            await server.post(method, body if method == "map_remove" else {**body, "data": number})

    writing = asyncio.create_task(write())
    for reader in readers:
        await reader.seen.event("sync", channel)
    for _ in range(3):
        before = [len(reader.seen.named("subscribed", channel)) for reader in readers]
        door.cut()
        for reader, count in zip(readers, before, strict=True):
            await reader.seen.event("subscribed", channel, nth=count + 1)
    pair[0].kill()
    door.only(pair[1].port)
    for reader in readers:
        await eventually(lambda reader=reader: reader.seen.instance == pair[1].name, "all at the survivor")
    stop.set()
    await writing
    state = await ask(server, "map_read_state", channel=channel)
    truth = {entry["key"]: entry["data"] for entry in state["entries"]}
    for reader in readers:
        await shows(reader, channel, truth)
        offsets = [one["offset"] for one in reader.seen.named("update", channel)]
        assert offsets == sorted(set(offsets)), "each change once, in order"


async def test_the_apis_methods_say_the_same(pair: Cluster, server: Api, fresh: Callable[[str], str]) -> None:
    channel = fresh("map")
    first = await ask(server, "map_publish", channel=channel, key="a", data={"x": 1}, tags={"t": "1"})
    assert first["changed"] is True and first["offset"] == 1
    again = await ask(server, "map_publish", channel=channel, key="a", data=2, key_mode="if_new")
    assert again == {**first, "changed": False}
    missing = await ask(server, "map_publish", channel=channel, key="b", data=2, key_mode="if_exists")
    assert missing["changed"] is False
    await ask(server, "map_publish", channel=channel, key="b", data=2)
    page = await ask(server, "map_read_state", channel=channel, limit=1)
    assert page["entries"] == [{"key": "a", "data": {"x": 1}, "tags": {"t": "1"}, "offset": 1}]
    assert (page["cursor"], page["num_keys"], page["offset"]) == ("a", 2, 2)
    rest = await ask(server, "map_read_state", channel=channel, limit=1, cursor="a")
    assert [one["key"] for one in rest["entries"]] == ["b"] and "cursor" not in rest
    assert (await ask(server, "map_read_state", channel=channel, key="b"))["entries"] == rest["entries"]
    assert (await ask(server, "map_remove", channel=channel, key="a"))["changed"] is True
    assert (await ask(server, "map_remove", channel=channel, key="a"))["changed"] is False
    for body in ({}, {"key": "k" * 256, "data": 1}, {"key": "k"}):
        assert (await server.post("map_publish", {"channel": channel, **body}))["error"]["code"] == 107, body
    assert (await server.post("map_publish", {"channel": fresh("open"), "key": "k", "data": 1}))["error"]["code"] == 108
    assert (await server.post("publish", {"channel": channel, "data": 1}))["error"]["code"] == 108
    lobby = {"channel": f"$users:{fresh('lobby')}", "key": "k", "data": 1}
    assert (await server.post("map_publish", lobby))["error"]["code"] == 108
