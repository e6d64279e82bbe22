"""Who gets in and for how long, and what they may do there: tokens, expiry, permissions, RPC."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cent import UnsubscribeRequest

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import Cluster
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import CommandFailed, MakeClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


def unsigned(**claims: Any) -> str:
    """A token that claims to need no signature."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        pytest.param(lambda: token("ann"), "", id="good"),
        pytest.param(lambda: token("ann", algorithm="HS384"), "", id="HS384"),
        pytest.param(lambda: token("ann", ttl=60), "", id="not expired"),
        pytest.param(
            lambda: token("ann", secret="another secret of the same length or more"), 3500, id="bad signature"
        ),
        pytest.param(lambda: token("ann")[:-4] + "AAAA", 3500, id="changed signature"),
        pytest.param(lambda: unsigned(sub="ann"), 3500, id="alg none"),
        pytest.param(lambda: "no token", 3500, id="garbage"),
        pytest.param(lambda: token("ann", channel="open:a"), 3500, id="a channel's token"),
        pytest.param(lambda: token("ann", ttl=-5), 109, id="expired"),
        pytest.param(lambda: token("ann", nbf=4102444800), 109, id="not yet valid"),
        pytest.param(lambda: token("ann", expire_at=1, ttl=60), 109, id="expire_at in the past"),
        pytest.param(lambda: token("ann", expire_at=0, ttl=60), "", id="expire_at 0"),
        pytest.param(lambda: "", 3501, id="none"),
        pytest.param(lambda: token(""), "", id="anonymous"),
    ],
)
async def test_connection_tokens(cluster: Cluster, sent: Callable[[], str], outcome: int | str) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.send(client.command("connect", token=sent()))
        if outcome in (3500, 3501):
            assert (await client.closed())[0] == outcome
            assert not [m for m in client.received if "id" in m]
        elif outcome:
            assert (await client.reply(1))["error"]["code"] == outcome
        else:
            assert "connect" in await client.reply(1)


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        pytest.param({"user": "ann"}, "", id="good"),
        pytest.param({"user": "ann", "client": True}, "", id="for this connection"),
        pytest.param({"user": "ann", "ttl": -5}, 109, id="expired"),
        pytest.param({"user": "ann", "nbf": 4102444800}, 109, id="not yet valid"),
        pytest.param({"user": "bob"}, 3500, id="another user's"),
        pytest.param({}, 3500, id="nobody's"),
        pytest.param({"user": "ann", "channel": "$open:other"}, 3500, id="another channel's"),
        pytest.param({"user": "ann", "channel": None}, 103, id="no channel's"),
        pytest.param({"user": "ann", "client": "other"}, 3500, id="another connection's"),
        pytest.param({"user": "ann", "secret": "another secret of the same length or more"}, 103, id="bad signature"),
        pytest.param({"user": "ann", "exp": []}, 103, id="wrong types"),
        pytest.param(None, 103, id="none"),
    ],
)
async def test_subscription_tokens(
    cluster: Cluster, fresh: Fresh, claims: dict[str, Any] | None, outcome: int | str
) -> None:
    channel = "$" + fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        wish: dict[str, Any] = {"channel": channel}
        if claims is not None:
            own = {"client": client.client} if claims.get("client") is True else {}
            wish["token"] = token(**{"channel": channel} | claims | own)
        if outcome == 3500:
            await client.send(client.command("subscribe", **wish))
            assert (await client.closed())[0] == 3500
        elif outcome:
            assert await client.error("subscribe", **wish) == outcome
        else:
            await client.subscribe(**wish)


async def test_a_token_gives_data_and_overrides_options(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("closed")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        wishes = {"data": {"hello": 1}, "override": {"force_recovery": {"value": True}}}
        result = await client.subscribe(channel, token=token("ann", channel=channel, ttl=60, **wishes))
        assert result["data"] == {"hello": 1}
        assert result["recoverable"] is True
        assert result["expires"] is True and 55 <= result["ttl"] <= 60


async def test_what_is_not_refreshed_ends_after_the_grace(cluster: Cluster, fresh: Fresh) -> None:
    """A connection ends with 3005, a subscription with 2501; those refreshed in time go on."""
    channel, kept = fresh("open"), fresh("open")
    async with RawClient(cluster[0].url) as lapses, RawClient(cluster[1].url) as stays:
        await lapses.connect(token=token("ann", ttl=4))
        result = await stays.connect(token=token("bob", ttl=4))
        assert result["expires"] is True and 1 <= result["ttl"] <= 4
        for name in (channel, kept):
            assert (await stays.subscribe(name, token=token("bob", channel=name, ttl=4)))["expires"] is True
        refreshed = (await stays.call("refresh", token=token("bob", ttl=3600)))["refresh"]
        assert refreshed["expires"] is True and refreshed["ttl"] > 3500
        refreshed = (await stays.call("sub_refresh", channel=kept, token=token("bob", channel=kept, ttl=60)))[
            "sub_refresh"
        ]
        assert refreshed["expires"] is True and refreshed["ttl"] > 50
        push = await stays.push("unsubscribe", channel, within=50)
        assert push == {"code": 2501, "reason": "subscription expired"}
        assert (await lapses.closed())[0] == 3005
        await stays.call("publish", channel=kept, data=1)
        await stays.push("pub", kept)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(lambda: token("bob", ttl=60), 3500, id="another user's"),
        pytest.param(lambda: "no token", 3500, id="garbage"),
        pytest.param(lambda: token("ann", ttl=-5), 3005, id="expired"),
        pytest.param(lambda: "", 3501, id="none"),
    ],
)
async def test_refused_refresh(cluster: Cluster, sent: Callable[[], str], code: int) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect(token=token("ann", ttl=60))
        await client.send(client.command("refresh", token=sent()))
        assert (await client.closed())[0] == code


async def test_refused_subscription_refresh(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        wish = {"channel": channel, "token": token("ann", channel=channel, ttl=60)}
        assert await client.error("sub_refresh", **wish) == 103
        await client.subscribe(**wish)
        assert await client.error("sub_refresh", channel=channel) == 107
        reply = await client.call("sub_refresh", channel=channel, token=token("ann", channel=channel, ttl=-5))
        assert (reply["error"]["code"], reply["error"].get("temporary")) == (109, True)
        for bad in ("garbage", token("ann"), token("ann", channel=channel, secret="x" * 40)):
            reply = await client.call("sub_refresh", channel=channel, token=bad)
            assert (reply["error"]["code"], reply["error"].get("temporary")) == (103, None)
        await client.send(client.command("sub_refresh", channel=channel, token=token("bob", channel=channel)))
        assert (await client.closed())[0] == 3500


async def test_sdk_refreshes_connection_and_subscription_in_time(
    cluster: Cluster, fresh: Fresh, make_client: MakeClient
) -> None:
    channel = fresh("$open")
    asked: list[str] = []

    def give(wanted: str) -> str:
        asked.append(wanted)
        ttl = 3 if asked.count(wanted) == 1 else 3600
        return token("ann", ttl=ttl, **({"channel": wanted} if wanted else {}))

    client = make_client(cluster[0].url, give)
    await client.connect()
    await client.subscribe(channel, token=give)
    await client.seen.event("subscribed", channel)
    await eventually(lambda: asked.count("") == 2 and asked.count(channel) == 2, "both tokens were refreshed")
    await client.publish(channel, "still here")
    await client.seen.event("publication", channel, data="still here")
    assert len(client.seen.named("connected")) == 1
    assert len(client.seen.named("subscribed", channel)) == 1


async def test_sdk_with_an_expired_token_fetches_another(
    cluster: Cluster, fresh: Fresh, make_client: MakeClient
) -> None:
    """The subscribe that JavaScript sends along with connect is not answered, and works with the next connection."""
    channel = fresh("$open")
    asked: list[str] = []

    def give(wanted: str) -> str:
        asked.append(wanted)
        ttl = -5 if asked.count(wanted) == 1 else 60
        return token("ann", ttl=ttl, **({"channel": wanted} if wanted else {}))

    client = make_client(cluster[0].url, give)
    await client.subscribe(channel, token=give)
    await client.connect()
    await client.seen.event("subscribed", channel)
    assert not client.seen.named("disconnected") and not client.seen.named("unsubscribed", channel)


async def test_server_side_subscriptions_come_with_connect(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    room = fresh("open")
    subs = {room: {"info": {"seat": 4}, "data": {"topic": "tea"}}}
    async with RawClient(cluster[0].url) as client:
        result = await client.connect(token=token("sam", subs=subs))
        assert set(result["subs"]) == {room, "#sam"}
        assert result["subs"][room]["data"] == {"topic": "tea"}
        assert result["subs"]["#sam"]["recoverable"] is True
        assert (await client.push("join", room))["info"]["chan_info"] == {"seat": 4}
        await api.say(room, 1)
        await api.say("#sam", {"for": "sam"})
        assert (await client.push("pub", room))["data"] == 1
        assert (await client.push("pub", "#sam"))["data"] == {"for": "sam"}
        await api.unsubscribe(UnsubscribeRequest(user="sam", channel=room))
        assert await client.push("unsubscribe", room) == {"code": 2000, "reason": "server unsubscribe"}


async def test_nobody_else_gets_a_personal_or_limited_channel(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        assert await client.error("subscribe", channel="#bob") == 103
        await client.subscribe("limited:team#ann,bob")
        assert await client.error("subscribe", channel="limited:team#bob,carl") == 103


async def test_sdk_gets_server_side_subscriptions_and_their_end(
    cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient
) -> None:
    room = fresh("open")
    client = make_client(cluster[0].url, lambda _: token("tim", channels=[room]))
    await client.connect()
    await client.seen.event("server_subscribed", room)
    await client.seen.event("server_subscribed", "#tim")
    await api.say(room, "to the room")
    await client.seen.event("server_publication", room, data="to the room")
    await api.unsubscribe(UnsubscribeRequest(user="tim", channel=room))
    await client.seen.event("server_unsubscribed", room)
    await api.say("#tim", "to tim")
    await client.seen.event("server_publication", "#tim", data="to tim")


async def test_a_hook_with_the_orm_decides_who_subscribes(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url) as ann, RawClient(cluster[0].url) as stranger:
        await ann.connect("7")
        await stranger.connect("no-user-of-django")
        await ann.subscribe("asked:garden")
        assert await ann.error("subscribe", channel="asked:cellar") == 103
        assert await stranger.error("subscribe", channel="asked:garden") == 103
        assert await ann.error("publish", channel="asked:garden", data={"please": False}) == 103
        await ann.call("publish", channel="asked:garden", data={"please": True})
        assert (await ann.push("pub", "asked:garden"))["data"] == {"please": True}


async def test_subscribers_only(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("members")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        wishes: list[tuple[str, dict[str, Any]]] = [("publish", {"data": 1}), ("presence", {}), ("history", {})]
        for method, more in wishes:
            assert await client.error(method, channel=channel, **more) == 103
        await client.subscribe(channel)
        for method, more in wishes:
            assert method in await client.call(method, channel=channel, **more)


async def test_sdk_calls_the_methods_of_the_project(cluster: Cluster, make_client: MakeClient) -> None:
    client = make_client(cluster[0].url, lambda _: token("7"))
    await client.connect()
    await client.seen.event("connected")
    assert await client.rpc("count_users", {"prefix": "an"}) == {"count": 2, "asked_by": "ann"}
    for method, data, code in (
        ("missing", None, 104),
        ("refuse", {"code": 1042, "message": "not on Mondays"}, 1042),
        ("break", None, 100),
        ("unspeakable", None, 100),
    ):
        with pytest.raises(CommandFailed) as failure:
            await client.rpc(method, data)
        assert failure.value.code == code
