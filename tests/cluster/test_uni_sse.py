"""Listeners without any SDK: what they missed is in the last event's id, whichever instance they come back to."""

import asyncio
from collections.abc import Callable, Iterator
from urllib.parse import quote

import cent
import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.streamed import uni_sse

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

Fresh = Callable[[str], str]
EVERY_SERVER = range(5)


@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_a_listener_is_told_its_channels_and_misses_nothing(
    cluster: Cluster, api: Api, fresh: Fresh, at: int
) -> None:
    """Of several channels, of which only one has said something last."""
    one, two = fresh("open"), fresh("quiet")
    query = f"channel={quote(one)}&channel={quote(two)}&token={token('5')}"
    async with uni_sse(cluster[at].port, query) as stream:
        assert stream.status == 200
        first = await stream.event()
        assert set(first.json["connect"]["subs"]) >= {one, two}
        await api.say(one, {"n": 1})
        await api.say(two, {"n": 2})
        seen = [await stream.pub(), await stream.pub()]
        assert [(event.json["channel"], event.json["pub"]["data"]) for event in seen] == [
            (one, {"n": 1}),
            (two, {"n": 2}),
        ]
        last = seen[-1].id
    await api.say(two, {"n": 3})
    await api.say(one, {"n": 4})
    async with uni_sse(cluster[(at + 1) % 5].port, query, Last_Event_ID=str(last)) as stream:
        first = await stream.event()
        assert all(first.json["connect"]["subs"][name]["recovered"] for name in (one, two))
        seen = [await stream.pub(), await stream.pub()]
        assert {(event.json["channel"], event.json["pub"]["data"]["n"]) for event in seen} == {(one, 4), (two, 3)}
        await api.say(one, {"n": 5})
        assert (await stream.pub()).json["pub"]["data"] == {"n": 5}


async def test_the_first_event_has_positions_already(cluster: Cluster, api: Api, fresh: Fresh) -> None:
    """Who leaves before anything was published misses nothing either; and a page may say where it begins."""
    channel = fresh("open")
    await api.say(channel, 1)
    async with uni_sse(cluster[0].port, f"channel={channel}&token={token('5')}") as stream:
        first = await stream.event()
    await api.say(channel, 2)
    query = f"channel={channel}&token={token('5')}&last_event_id={quote(first.id or '')}"
    async with uni_sse(cluster[0].port, query) as stream:
        assert (await stream.pub()).json["pub"]["data"] == 2


async def test_the_servers_own_subscriptions_are_recovered_too(cluster: Cluster, api: Api) -> None:
    query = f"token={token('77')}"
    async with uni_sse(cluster[0].port, query) as stream:
        first = await stream.event()
        assert "#77" in first.json["connect"]["subs"]
    await api.say("#77", "missed")
    async with uni_sse(cluster[1].port, query, Last_Event_ID=str(first.id)) as stream:
        assert (await stream.pub()).json["pub"]["data"] == "missed"


async def test_what_is_lost_is_said(cluster: Cluster, api: Api, fresh: Fresh) -> None:
    channel = fresh("small")
    query = f"channel={channel}&token={token('5')}"
    async with uni_sse(cluster[0].port, query) as stream:
        first = await stream.event()
    await api.say_all(channel, *range(9))  # of which five are kept
    async with uni_sse(cluster[0].port, query, Last_Event_ID=str(first.id)) as stream:
        again = await stream.event()
        sub = again.json["connect"]["subs"][channel]
        assert sub["was_recovering"]
        assert not sub.get("recovered")


async def test_events_named_after_channels_hold_the_data_alone(cluster: Cluster, api: Api, fresh: Fresh) -> None:
    """As HTMX swaps them in."""
    channel = fresh("open")
    async with uni_sse(cluster[0].port, f"events=channels&channel={channel}&token={token('5')}") as stream:
        assert (await stream.event()).name == "flotilla:connect"
        await api.say(channel, "<b>one\r\ntwo</b>")
        await api.say(channel, {"a": 1})
        found = []
        while len(found) < 2:
            event = await stream.event()
            found += [(event.name, event.data)] if event.name == channel else []
        assert found == [(channel, "<b>one\ntwo</b>"), (channel, '{"a":1}')]


@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_who_may_not_listen_is_answered_with_a_status(cluster: Cluster, fresh: Fresh, at: int) -> None:
    """A browser does not come back then."""
    good = f"token={token('5')}"
    cases = [
        (403, f"{good}&channel={fresh('closed')}"),
        (404, f"{good}&channel={fresh('nowhere')}"),
        (401, f"token=x&channel={fresh('open')}"),
        (401, f"token={token('5', exp=1)}&channel={fresh('open')}"),
        (400, f"{good}&channel="),
        (400, f"{good}&events=all"),
        (400, f"{good}&subs=[1]"),
        (400, f"{good}&{good}"),
        (400, f"{good}&last_event_id=x"),
        (400, f"{good}&last_event_id=a%3D-1.b"),
        (400, f"{good}&channel=%ff"),
        (400, ""),
    ]
    for status, query in cases:
        async with uni_sse(cluster[at].port, query) as answer:
            assert answer.status == status, query
            assert await answer.rest()


async def test_a_channels_own_token_counts(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("closed")
    subs = quote(f'{{"{channel}":{{"token":"{token("5", channel=channel)}"}}}}')
    async with uni_sse(cluster[0].port, f"token={token('5')}&subs={subs}") as stream:
        assert channel in (await stream.event()).json["connect"]["subs"]


async def test_a_listener_that_is_there_is_kept_and_one_that_is_gone_is_noticed(
    cluster: Cluster, api: Api, fresh: Fresh
) -> None:
    """It says nothing; its kernel acknowledges pings. CONFIG has them every 3 s, with 2.8 s for the answer."""
    channel = fresh("quiet")

    async def present() -> int:
        return int((await api.presence_stats(cent.PresenceStatsRequest(channel=channel))).num_clients)

    async with uni_sse(cluster[0].port, f"channel={channel}&token={token('5')}") as stream:
        await stream.event()
        for _ in range(10):
            await asyncio.sleep(1)
            assert await present() == 1

    async def nobody() -> bool:
        return await present() == 0

    await eventually(nobody, "it was noticed")


async def test_a_listener_whose_position_is_lost_comes_back(cluster: Cluster, fresh: Fresh) -> None:
    """The server ends a subscription (2000): it is told; the others go on."""
    channel = fresh("open")
    async with uni_sse(cluster[0].port, f"channel={channel}&token={token('61')}") as stream:
        await stream.event()
        async with Api(cluster[1].http) as api:
            await api.unsubscribe(cent.UnsubscribeRequest(user="61", channel=channel))
            while "unsubscribe" not in (event := await stream.event()).json:
                pass
            assert channel not in (event.id or "")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("pair"), CONFIG, "flotilla", "flotilla")) as cluster:
        yield cluster


async def test_a_killed_and_a_drained_instance_are_left_without_a_loss(pair: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    query = f"channel={channel}&token={token('5')}"
    async with Api(pair[1].http) as api, uni_sse(pair[0].port, query) as stream:
        await stream.event()
        await api.say(channel, 1)
        last = (await stream.pub()).id
        pair[0].kill()
        with pytest.raises((EOFError, asyncio.IncompleteReadError, ConnectionError)):
            await stream.pub()
        await api.say(channel, 2)
        async with uni_sse(pair[1].port, query, Last_Event_ID=str(last)) as after:
            assert (await after.pub()).json["pub"]["data"] == 2
            pair[1].stop()
            while "disconnect" not in (event := await after.event()).json:
                pass
            assert event.json["disconnect"]["code"] == 3001
            await after.rest()
            assert after.ended
