"""A connection follows its refreshed token, a subscription its own."""

from typing import Any

import msgspec
import pytest

from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token
from flotilla.realtime.client.subscriptions import add_server_side
from flotilla.realtime.node.node import Node
from flotilla.store import StoreUnavailable
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


async def joined(node: Node, **claims: Any) -> Peer:
    peer = Peer(node)
    await peer.connect(token=make_connection_token("42", **claims))
    return peer


async def refreshed(peer: Peer, **claims: Any) -> dict[str, Any]:
    return await peer.ask(refresh={"token": make_connection_token("42", **claims)})


def channels(peer: Peer) -> set[str]:
    return set(peer.client.subscriptions)


class TestChannels:
    async def test_what_was_withdrawn_ends_and_what_is_new_begins(self, node: Node) -> None:
        """With pushes, before the reply; what stays is not touched."""
        peer = await joined(node, channels=["open:a", "open:b"])
        kept = peer.client.subscriptions["open:b"]
        reply = await refreshed(peer, channels=["open:b", "open:c"], ttl=600)
        assert reply["refresh"]["ttl"] > 590
        assert channels(peer) == {"open:b", "open:c"}
        assert peer.client.subscriptions["open:b"] is kept
        assert peer.pushes("unsubscribe", "open:a") == [{"code": 2000, "reason": "server unsubscribe"}]
        (begun,) = peer.pushes("subscribe", "open:c")
        assert begun["recoverable"] is True
        assert "refresh" in peer.socket.lines[-1]
        for channel in ("open:a", "open:b", "open:c"):
            await node.broker.publish(channel, b'{"data":1}', node.config.namespaces["open"])
        await until(lambda: peer.data("open:b") and peer.data("open:c"))
        assert peer.data("open:a") == []

    async def test_only_what_a_token_gave_is_a_token_s_to_take(self, node: Node) -> None:
        """A client's own subscription, a command's, and the personal channel stay."""
        node.config = msgspec.structs.replace(node.config, user_personal_channel=True)
        peer = await joined(node, channels=["open:a"])
        await peer.subscribe("open:b")
        assert await add_server_side(peer.client, "open:c", node.config.namespaces["open"])
        await refreshed(peer, channels=["open:b"])
        assert channels(peer) == {"#42", "open:b", "open:c"}
        assert not peer.client.subscriptions["open:b"].server_side
        await refreshed(peer)
        assert channels(peer) == {"#42", "open:b", "open:c"}

    async def test_the_map_of_subscriptions_counts_too(self, node: Node) -> None:
        """Its info and data."""
        peer = await joined(node, subs={"open:a": {"info": 1}})
        await refreshed(peer, subs={"open:a": {"info": 2}, "open:b": {"info": {"n": 1}, "data": [1]}})
        assert peer.pushes("subscribe", "open:b")[0]["data"] == [1]
        assert peer.pushes("subscribe", "open:a") == peer.pushes("unsubscribe", "open:a") == []
        found = (await peer.ask(presence={"channel": "open:a"}))["presence"]["presence"]
        assert found[peer.client.id]["chan_info"] == 2
        found = (await peer.ask(presence={"channel": "open:b"}))["presence"]["presence"]
        assert found[peer.client.id]["chan_info"] == {"n": 1}

    async def test_other_overrides_make_the_client_come_back(self, node: Node) -> None:
        """3010: it recovers, and nothing is lost on the way."""
        peer = await joined(node, subs={"open:a": {}})
        peer.say(
            refresh={
                "token": make_connection_token(
                    "42", subs={"open:a": {"override": {"force_recovery": {"value": False}}}}
                )
            }
        )
        assert (await peer.end())[0] == 3010

    async def test_where_there_is_no_room_the_client_comes_back(self, node: Node) -> None:
        """3010: at connect the server's channels come first; with more than may be at all it is 3505, as there."""
        peer = await joined(node)
        for number in range(5):
            await peer.subscribe(f"open:{number}")
        peer.say(refresh={"token": make_connection_token("42", channels=["open:x"])})
        assert (await peer.end())[0] == 3010
        peer = await joined(node)
        peer.say(refresh={"token": make_connection_token("42", channels=[f"open:{n}" for n in range(6)])})
        assert (await peer.end())[0] == 3505

    async def test_a_channel_that_cannot_be_is_an_error_and_changes_nothing(self, node: Node) -> None:
        """As at connect."""
        peer = await joined(node, channels=["open:a"])
        reply = await refreshed(peer, channels=["nowhere:a"])
        assert reply["error"]["code"] == 102
        assert channels(peer) == {"open:a"}

    async def test_a_fault_is_temporary_and_the_next_refresh_does_the_rest(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Error 100; what was withdrawn has ended all the same, and the old end still counts."""
        peer = await joined(node, channels=["open:a"], ttl=60)
        end = peer.client.expire_at
        inner = node.hub.subscribe

        async def away(*_: Any) -> Any:
            raise StoreUnavailable("away")

        monkeypatch.setattr(node.hub, "subscribe", away)
        reply = await refreshed(peer, channels=["open:b"], ttl=600)
        assert reply["error"] == {"code": 100, "message": "internal server error", "temporary": True}
        assert channels(peer) == set()
        assert peer.client.expire_at == end
        monkeypatch.setattr(node.hub, "subscribe", inner)
        assert "refresh" in await refreshed(peer, channels=["open:b"], ttl=600)
        assert channels(peer) == {"open:b"}


class TestInfo:
    async def test_info_counts_from_then_on(self, node: Node) -> None:
        """In publications and in presence, without a second join; withdrawn info is gone."""
        peer = await joined(node, info={"name": "Ann"})
        watcher = await joined(node)
        await watcher.subscribe("people:a", join_leave=True)
        await peer.subscribe("people:a")
        await until(lambda: len(watcher.pushes("join", "people:a")) == 2)
        await refreshed(peer, info={"name": "Anna"})
        await peer.ask(publish={"channel": "people:a", "data": 1})
        (publication,) = await until(lambda: watcher.pushes("pub", "people:a"))
        expected = {"user": "42", "client": peer.client.id, "conn_info": {"name": "Anna"}}
        assert publication["info"] == expected
        assert (await node.presence.members("c:people:a"))[peer.client.id] == msgspec.json.encode(expected)
        await refreshed(peer)
        del expected["conn_info"]
        assert (await node.presence.members("c:people:a"))[peer.client.id] == msgspec.json.encode(expected)
        peer.client.disconnect(3000)
        (leave,) = await until(lambda: watcher.pushes("leave", "people:a"))
        assert leave["info"] == expected
        assert len(watcher.pushes("join", "people:a")) == 2

    async def test_a_subscription_s_info_counts_from_then_on(self, node: Node) -> None:
        """`chan_info` in publications and in presence."""
        peer = await joined(node)
        await peer.subscribe("$open:a", token=make_subscription_token("42", "$open:a", info={"role": "guest"}))
        token = make_subscription_token("42", "$open:a", info={"role": "host"})
        assert "sub_refresh" in await peer.ask(sub_refresh={"channel": "$open:a", "token": token})
        await peer.ask(publish={"channel": "$open:a", "data": 1})
        (publication,) = await until(lambda: peer.pushes("pub", "$open:a"))
        assert publication["info"]["chan_info"] == {"role": "host"}
        (seen,) = (await node.presence.members("c:$open:a")).values()
        assert b'"chan_info":{"role":"host"}' in seen

    async def test_info_that_could_not_be_shown_is_shown_by_the_next_attempt(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Error 100 meanwhile, and the old one counts."""
        peer = await joined(node, info=1)
        await peer.subscribe("$open:a", token=make_subscription_token("42", "$open:a", info=1))
        token = make_subscription_token("42", "$open:a", info=2)
        inner = node.presence.add

        async def away(*_: Any) -> Any:
            raise StoreUnavailable("away")

        for attempt, code in ((away, 100), (inner, None)):
            monkeypatch.setattr(node.presence, "add", attempt)
            for reply in (
                await refreshed(peer, info=2),
                await peer.ask(sub_refresh={"channel": "$open:a", "token": token}),
            ):
                assert reply.get("error", {}).get("code") == code
            (seen,) = (await node.presence.members("c:$open:a")).values()
            shown = msgspec.json.decode(seen)
            assert (shown["conn_info"], shown["chan_info"]) == ((1, 1) if code else (2, 2))
            assert msgspec.json.decode(peer.client.client_info(None))["conn_info"] == (1 if code else 2)


class TestSubscriptionTokens:
    @pytest.mark.parametrize("token", ["garbage", "a.b.c", "connection", "forged", "types"])
    async def test_a_bad_one_is_an_error_of_that_subscription(self, node: Node, token: str) -> None:
        """103, not temporary, at subscribe and at sub_refresh; the connection goes on."""
        made = {
            "connection": make_connection_token("42"),
            "forged": make_subscription_token("42", "open:a")[:-3] + "abc",
            "types": make_subscription_token("42", "open:a", exp={}),
        }.get(token, token)
        peer = await joined(node)
        refused = {"error": {"code": 103, "message": "permission denied"}}
        assert await peer.ask(subscribe={"channel": "open:a", "token": made}) == refused
        await peer.subscribe("open:a", token=make_subscription_token("42", "open:a"))
        assert await peer.ask(sub_refresh={"channel": "open:a", "token": made}) == refused
        assert peer.socket.closed is None

    async def test_another_s_ends_the_connection(self, node: Node) -> None:
        """3500: of another channel, client or user; an expired one is an error."""
        for made, code in (
            (make_subscription_token("42", "open:b"), 3500),
            (make_subscription_token("42", "open:a", client="other"), 3500),
            (make_subscription_token("43", "open:a"), 3500),
        ):
            peer = await joined(node)
            peer.say(subscribe={"channel": "open:a", "token": made})
            assert (await peer.end())[0] == code


class TestLifetimes:
    @pytest.mark.parametrize("end", [4_000_000_000_000, 1e15, 1e18, 1e300, 1.7e308, 2**63, "99999999999999999999"])
    async def test_a_ttl_fits_the_protocol_s_number(self, node: Node, end: Any) -> None:
        """At most a year, however far the end; the connection stays."""
        year = 365 * 24 * 3600
        for claim in ("exp", "expire_at"):
            claims = {"ttl": None, claim: end}
            token = make_connection_token("42", **claims)
            peer = Peer(node)
            assert (await peer.connect(token=token))["ttl"] == year
            assert (await peer.ask(refresh={"token": token}))["refresh"]["ttl"] == year
            token = make_subscription_token("42", "open:a", **claims)
            assert (await peer.subscribe("open:a", token=token))["ttl"] == year
            refreshed = await peer.ask(sub_refresh={"channel": "open:a", "token": token})
            assert refreshed["sub_refresh"] == {"expires": True, "ttl": year}
            assert (await peer.ask(presence={"channel": "open:a"}))["presence"]
            assert peer.socket.closed is None

    async def test_an_end_that_a_command_gives_does_not_overflow(self, node: Node) -> None:
        """Nor does a connection's end that lies beyond all time."""
        peer = await joined(node)
        peer.client.expire_at = 1e308
        peer.client.schedule()
        peer.client.expire_at = float("inf")
        peer.client.schedule()
        assert (await peer.ask(presence={"channel": "open:a"}))["presence"]
