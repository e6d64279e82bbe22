"""Connections by tokens of other issuers and by a project's own authentication, from the first command to their end."""

import asyncio
import threading
import time
from typing import Any

import pytest

from flotilla.realtime.node.node import Node
from tests.realtime.access.issuers import jwk, published, token
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer, joined

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.django_db(transaction=True),
]  # hooks run in threads, which look at connections

AGAIN = {"error": {"code": 100, "message": "internal server error", "temporary": True}}


def at(seconds: float, **claims: Any) -> dict[str, Any]:
    return {"sub": "42", "exp": time.time() + seconds} | claims


async def test_a_client_connects_refreshes_and_subscribes_by_published_keys(node: Node) -> None:
    """Also with a key that was not there before."""
    with published(jwk("rsa")) as site:
        hurry(node, token_jwks_url=site.url)
        peer = Peer(node)
        reply = await peer.connect(token=token("RS256", at(60), kid="rsa"))
        assert (reply["expires"], peer.client.identity.user) == (True, "42")
        await peer.subscribe("closed:a", token=token("RS256", at(60, channel="closed:a"), kid="rsa"))
        before = peer.client.expire_at
        assert "refresh" in await peer.ask(refresh={"token": token("RS256", at(600), kid="rsa")})
        assert (peer.client.expire_at or 0) > (before or 0)
        renewed = token("RS256", at(600, channel="closed:a"), kid="rsa")
        assert "sub_refresh" in await peer.ask(sub_refresh={"channel": "closed:a", "token": renewed})
        assert len(site.asked) == 1


async def test_many_that_connect_at_once_are_one_fetch(node: Node) -> None:
    gate = threading.Event()
    with published(jwk("ed25519")) as site:
        answer = site.answer

        def slowly(handler: Any) -> None:
            gate.wait(20)
            answer(handler)

        site.answer = slowly
        hurry(node, token_jwks_url=site.url)
        peers = [Peer(node) for _ in range(100)]
        given = token("EdDSA", kid="ed25519")
        ids = [peer.say(connect={"token": given}) for peer in peers]
        while not site.asked:
            await asyncio.sleep(0.001)
        gate.set()
        replies = await asyncio.gather(*(peer.reply(id) for peer, id in zip(peers, ids, strict=True)))
        assert all("connect" in reply for reply in replies)
        assert len(site.asked) == 1


async def test_an_issuer_that_is_away_costs_nobody_a_connection(node: Node) -> None:
    """Those who come are told to try again; those who are there keep what they have, and try again as well."""
    with published(jwk("rsa")) as site:
        hurry(node, token_jwks_url=site.url)
        peer = await joined(node, token=token("RS256", at(60), kid="rsa"))
        await peer.subscribe("closed:a", token=token("RS256", at(60, channel="closed:a"), kid="rsa"))
        site.serve(b"", 503)
        unknown = token("ES256", at(600), kid="p256")
        assert await peer.ask(refresh={"token": unknown}) == AGAIN
        later = token("ES256", at(600, channel="closed:a"), kid="p256")
        assert await peer.ask(sub_refresh={"channel": "closed:a", "token": later}) == AGAIN
        assert await peer.ask(subscribe={"channel": "closed:b", "token": later}) == AGAIN
        assert await Peer(node).ask(connect={"token": unknown}) == AGAIN
        assert peer.socket.closed is None
        assert "closed:a" in peer.client.subscriptions
        assert "connect" in await Peer(node).ask(connect={"token": token("RS256", at(60), kid="rsa")})


async def test_a_wrong_or_expired_token_ends_as_ever(node: Node) -> None:
    with published(jwk("rsa")) as site:
        hurry(node, token_jwks_url=site.url)
        good = token("RS256", at(60), kid="rsa")
        for given, code in (
            (token("RS256", at(60), kind="rsa-other", kid="rsa"), 3500),
            (token("RS256", at(60, sub="43"), kid="rsa"), 3500),
            (token("RS256", at(-60), kid="rsa"), 3005),
        ):
            peer = await joined(node, token=good)
            peer.say(refresh={"token": given})
            assert (await peer.end())[0] == code
        assert (await Peer(node).ask(connect={"token": token("RS256", at(-60), kid="rsa")}))["error"]["code"] == 109


async def test_a_hook_lets_in_by_what_the_command_brings(node: Node) -> None:
    """The client need not refresh anything; its connection ends after a while, and it comes back by itself."""
    seen: list[Any] = []

    async def hook(request: Any) -> str | None:
        seen.append((request.path, request.connect_token, request.connect_data, request.headers.get("Authorization")))
        return "42" if request.connect_data == {"key": "k"} else None

    hurry(node, authenticate=hook, anonymous=False)
    peer = Peer(node, path="/connection/websocket")
    sent = {"data": {"key": "k"}, "headers": {"Authorization": "Token t"}}
    reply = await peer.connect(token="opaque", **sent)
    assert seen == [("/connection/websocket", "opaque", {"key": "k"}, "Token t")]
    assert "expires" not in reply
    assert (peer.client.identity.user, peer.client.identity.via) == ("42", "hook")
    peer.say(refresh={"token": "x"})
    assert (await peer.end())[0] == 3501

    other = Peer(node)
    other.say(connect={"token": "opaque", "data": {"key": "wrong"}})
    assert (await other.end())[0] == 3500


async def test_a_connection_of_a_hook_ends_at_its_time(node: Node) -> None:
    """Without the grace that a token has: there is nothing that the client could refresh."""

    def hook(request: Any) -> str:
        request.expire_at = time.time() + 0.3
        return "42"

    hurry(node, authenticate=hook)
    peer = Peer(node)
    await peer.connect()
    assert (await peer.end())[0] == 3005


async def test_a_hook_of_many_that_connect_is_asked_by_each(node: Node) -> None:
    """And none waits for longer than its own."""
    hurry(node, authenticate=lambda request: request.connect_data["user"])
    peers = [Peer(node) for _ in range(50)]
    ids = [peer.say(connect={"data": {"user": f"u{number}"}}) for number, peer in enumerate(peers)]
    await asyncio.gather(*(peer.reply(id) for peer, id in zip(peers, ids, strict=True)))
    assert [peer.client.identity.user for peer in peers] == [f"u{number}" for number in range(50)]
