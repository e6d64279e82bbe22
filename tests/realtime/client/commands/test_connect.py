"""The connect command: credentials, server-side subscriptions, all or nothing."""

import asyncio
from typing import Any

import msgspec
import pytest

from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.client.states import State
from flotilla.realtime.node.node import Node
from flotilla.store import StoreUnavailable
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


class TestCredentials:
    async def test_a_token_names_the_user(self, node: Node) -> None:
        """Its info is on publications, its expiry in the reply; a refresh extends it."""
        peer = Peer(node)
        result = await peer.connect(token=make_connection_token("42", ttl=60, info={"name": "Ann"}))
        assert result["client"] == peer.client.id
        assert result["expires"] is True
        assert 55 <= result["ttl"] <= 60
        await peer.subscribe("open:a")
        await peer.ask(publish={"channel": "open:a", "data": 1})
        (publication,) = await until(lambda: peer.pushes("pub", "open:a"))
        assert publication["info"] == {"user": "42", "client": peer.client.id, "conn_info": {"name": "Ann"}}
        refreshed = (await peer.ask(refresh={"token": make_connection_token("42", ttl=600)}))["refresh"]
        assert 590 < refreshed["ttl"] <= 600

    async def test_another_users_refresh_ends_the_connection(self, node: Node) -> None:
        """3500; an expired one 3005; one without a token to refresh 3501."""
        for token, code in (("7", 3500), ("late", 3005), ("", 3501)):
            peer = Peer(node)
            await peer.connect(token=make_connection_token("42"))
            made = {"7": make_connection_token("7"), "late": make_connection_token("42", ttl=-9), "": ""}[token]
            peer.say(refresh={"token": made})
            assert (await peer.end())[0] == code

    async def test_bad_credentials_end_the_connection(self, node: Node) -> None:
        """A bad token 3500; nothing at all 3501 where anonymous is off; an expired token is an error to try again."""
        bad, late, nobody = Peer(node), Peer(node), Peer(node)
        bad.say(connect={"token": "not.a.token"})
        assert (await bad.end())[0] == 3500
        assert (await late.ask(connect={"token": make_connection_token("1", ttl=-9)}))["error"]["code"] == 109
        node.config = msgspec.structs.replace(node.config, anonymous=False)
        nobody.say(connect={})
        assert (await nobody.end())[0] == 3501

    async def test_a_user_is_registered_while_connected(self, node: Node) -> None:
        """Two connections of one user are two clients of it."""
        one, two = Peer(node), Peer(node)
        for peer in (one, two):
            await peer.connect(token=make_connection_token("42"))
        assert await node.presence.stats("u:42") == (2, 1)
        assert node.users["42"] == {one.client, two.client}
        one.client.disconnect(3000)
        await node.idle()
        assert await node.presence.stats("u:42") == (1, 1)


class TestServerSide:
    async def test_the_servers_channels_are_in_the_reply(self, node: Node) -> None:
        """Recovered through `subs`, and live afterwards; a channel that is no longer given is left out."""
        options = node.config.namespaces["open"]
        for number in range(3):
            top = await node.broker.publish("open:a", b'{"data":%d}' % number, options)
        peer = Peer(node)
        subs = {channel: {"recover": True, "offset": 1, "epoch": top.epoch} for channel in ("open:a", "open:gone")}
        result = await peer.connect(token=make_connection_token("42", channels=["open:a", "plain:b"]), subs=subs)
        assert set(result["subs"]) == {"open:a", "plain:b"}
        assert result["subs"]["open:a"]["recovered"] is True
        assert [one["data"] for one in result["subs"]["open:a"]["publications"]] == [1, 2]
        await node.broker.publish("open:a", b'{"data":3}', options)
        await until(lambda: peer.data("open:a") == [3])

    async def test_one_channel_that_cannot_be_fails_the_connect(self, node: Node) -> None:
        """Its error, and nothing half subscribed."""
        peer = Peer(node)
        answer = await peer.ask(connect={"token": make_connection_token("42", channels=["open:a", "nowhere:b"])})
        assert answer["error"]["code"] == 102
        assert peer.client.subscriptions == {}

    async def test_too_many_channels_end_the_connection(self, node: Node) -> None:
        """3505."""
        peer = Peer(node)
        peer.say(connect={"token": make_connection_token("42", channels=[f"open:{n}" for n in range(6)])})
        assert (await peer.end())[0] == 3505

    async def test_a_failing_registry_leaves_nothing(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """A temporary error; the hub knows no subscriber."""
        inner = node.presence.add

        async def add(scope: str, *args: Any) -> bool:
            if scope.startswith("u:"):
                raise StoreUnavailable("away")
            return await inner(scope, *args)

        monkeypatch.setattr(node.presence, "add", add)
        peer = Peer(node)
        answer = await peer.ask(connect={"token": make_connection_token("42", channels=["open:a"])})
        assert answer["error"]["temporary"]
        assert peer.client.state is State.REFUSED
        assert node.hub.channels["open:a"].subscriptions == []
        assert node.users == {}

    async def test_a_loss_before_the_reply_fails_the_connect(
        self, node: Node, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A subscription that broke while the others were made is not handed out as whole."""
        inner, entered, go_on = node.presence.add, asyncio.Event(), asyncio.Event()

        async def add(scope: str, *args: Any) -> bool:
            if scope.startswith("u:"):
                entered.set()
                await go_on.wait()
            return await inner(scope, *args)

        monkeypatch.setattr(node.presence, "add", add)
        peer = Peer(node)
        id = peer.say(connect={"token": make_connection_token("42", channels=["open:a"])})
        await entered.wait()
        subscription = peer.client.subscriptions["open:a"]
        node.hub.channels["open:a"].position = node.hub.channels["open:a"].position._replace(epoch="before")
        node.hub.resync()
        await until(lambda: subscription.broken)
        go_on.set()
        assert (await peer.reply(id))["error"]["temporary"]
        assert node.hub.channels["open:a"].subscriptions == []
