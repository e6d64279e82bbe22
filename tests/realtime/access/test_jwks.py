"""The keys of an issuer: when they are fetched, how often, and what a token meets while they cannot be had.

The clock is the test's. Where a site is asked, it is a real one on this machine.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flotilla.realtime.access import tokens
from flotilla.realtime.access.jwks import (
    INTERVAL,
    MAX_ABSENT,
    REFRESH_AFTER,
    RETRY_MOST,
    STALE_AFTER,
    Issuer,
    KeysUnavailable,
    issuer_at,
)
from flotilla.realtime.access.jwks_fetch import FetchFailed
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from tests.realtime.access.issuers import hs256, jwk, key_set, pem, published, token

NOW = 1_000_000.0


class Office:
    """An issuer that answers when the test lets it, and its clock."""

    def __init__(self, *kinds: str) -> None:
        self.time = 0.0
        self.answers: bytes | None = b""
        self.open = asyncio.Event()
        self.open.set()
        self.publish(*kinds)
        self.issuer = Issuer("https://issuer.example/keys", fetch=self._fetch, clock=lambda: self.time)

    def publish(self, *kinds: str) -> None:
        self.answers = key_set(*(jwk(kind) for kind in kinds))

    def go_away(self) -> None:
        self.answers = None

    async def _fetch(self, url: str) -> bytes:
        await self.open.wait()
        if self.answers is None:
            raise FetchFailed("away")
        return self.answers

    @property
    def fetches(self) -> int:
        return self.issuer.fetches

    async def has(self, kid: str, algorithm: str = "ES256") -> bool:
        """Whether it is known after a look. Raises KeysUnavailable."""
        await self.issuer.look_up(kid, algorithm)
        return bool(self.issuer.find(kid, algorithm))

    async def settle(self) -> None:
        """Let a fetch in the background end."""
        while self.issuer._fetching is not None:
            await asyncio.sleep(0)


async def test_keys_are_fetched_once_and_kept() -> None:
    office = Office("p256", "rsa")
    assert office.fetches == 0
    for _ in range(3):
        assert await office.has("p256")
        assert await office.has("rsa", "RS256")
    assert office.fetches == 1


async def test_a_thousand_that_wait_share_one_fetch() -> None:
    office = Office("p256")
    office.open.clear()
    waiting = [asyncio.ensure_future(office.has("p256")) for _ in range(1000)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    waiting[0].cancel()  # whose fetch it was: the others are served all the same
    await asyncio.sleep(0)
    office.open.set()
    assert all(await asyncio.gather(*waiting[1:]))
    assert office.fetches == 1


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    office = Office("p256")
    assert await office.has("p256")
    office.publish("p256", "ed25519")
    office.time += INTERVAL
    assert await office.has("ed25519", "EdDSA")
    assert office.fetches == 2


async def test_unknown_keys_are_one_fetch_in_an_interval_whoever_sends_how_many() -> None:
    """And none of them is told that its token is wrong without a fetch of its own."""
    office = Office("p256")
    assert await office.has("p256")
    office.time += INTERVAL
    assert not await office.has("made up")
    for number in range(1000):
        office.time += INTERVAL / 1001
        with pytest.raises(KeysUnavailable):
            await office.has(f"made up {number}")
    assert office.fetches == 2


async def test_a_flood_of_unknown_keys_does_not_keep_a_new_one_out() -> None:
    office = Office("p256")
    known_after = None
    for second in range(100):
        office.time = float(second)
        if second == 35:
            office.publish("p256", "ed25519")
        for number in range(20):
            try:
                await office.has(f"made up {second} {number}")
            except KeysUnavailable:
                pass
        if second >= 35 and known_after is None:
            try:
                if await office.has("ed25519", "EdDSA"):
                    known_after = second - 35
            except KeysUnavailable:
                pass
        assert await office.has("p256")
    assert known_after is not None
    assert known_after <= INTERVAL
    assert office.fetches <= 100 / INTERVAL + 1


async def test_that_a_key_is_absent_is_remembered_for_an_interval() -> None:
    office = Office("p256")
    assert not await office.has("made up")
    for _ in range(5):
        assert not await office.has("made up")
    assert office.fetches == 1
    office.publish("p256", "ed25519")
    office.time += INTERVAL
    assert not await office.has("made up")
    assert office.fetches == 2
    assert len(office.issuer._absent) == 1


async def test_what_is_remembered_as_absent_has_a_bound() -> None:
    office = Office("p256")
    for number in range(MAX_ABSENT + 50):
        office.time += INTERVAL
        assert not await office.has(f"made up {number}")
    assert len(office.issuer._absent) == MAX_ABSENT


async def test_one_who_joined_a_fetch_is_not_told_that_the_key_is_absent() -> None:
    """The fetch may have begun before the key was there."""
    office = Office("p256")
    office.open.clear()
    first, second = (asyncio.ensure_future(office.has(kid)) for kid in ("p256", "made up"))
    await asyncio.sleep(0)
    office.open.set()
    assert await first
    with pytest.raises(KeysUnavailable):
        await second


async def test_an_issuer_that_is_away_is_not_a_wrong_token() -> None:
    office = Office()
    office.go_away()
    with pytest.raises(KeysUnavailable):
        await office.has("p256")
    assert office.fetches == 1
    office.publish("p256")
    with pytest.raises(KeysUnavailable):  # not asked again at once
        await office.has("p256")
    assert office.fetches == 1
    office.time += 1.0
    assert await office.has("p256")


async def test_known_keys_are_used_on_while_the_issuer_is_away(caplog: Any) -> None:
    """Nobody waits for it, it is asked at growing intervals, and the log says so once."""
    office = Office("p256")
    assert await office.has("p256")
    office.go_away()
    hours = 3
    for minute in range(60 * hours):
        office.time = 60.0 * minute
        assert await office.has("p256")
        await office.settle()
    assert office.fetches <= 1 + hours * 3600 / RETRY_MOST + 10
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    office.publish("ed25519")
    office.time += RETRY_MOST
    assert await office.has("p256")
    await office.settle()
    assert not office.issuer.find("p256", "ES256"), "it was withdrawn"


async def test_an_issuer_that_is_away_is_asked_more_and_more_seldom() -> None:
    """However many come, with keys that are known or not."""
    office = Office("p256")
    assert await office.has("p256")
    office.go_away()
    asked_at = []
    for second in range(int(REFRESH_AFTER) + 1, int(REFRESH_AFTER) + 601):
        office.time = float(second)
        before = office.fetches
        assert await office.has("p256")
        with pytest.raises(KeysUnavailable):
            await office.has("made up")
        await office.settle()
        asked_at += [second] * (office.fetches > before)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert pauses == [1, 2, 4, 8, 16, 32, *[RETRY_MOST] * (len(pauses) - 6)]


async def test_old_keys_are_renewed_in_the_background() -> None:
    """A token does not wait, and a key that was withdrawn counts no longer after that."""
    office = Office("p256", "ed25519")
    assert await office.has("p256")
    office.publish("ed25519")
    office.time += REFRESH_AFTER + 1
    office.open.clear()
    assert await office.has("p256")
    office.open.set()
    await office.settle()
    office.time += INTERVAL
    assert not await office.has("p256")


async def test_very_old_keys_are_renewed_before_they_are_used() -> None:
    """Nobody had come for long: a key that was withdrawn meanwhile does not get in."""
    office = Office("p256", "ed25519")
    assert await office.has("p256")
    office.publish("ed25519")
    office.time += STALE_AFTER + 1
    assert not await office.has("p256")
    assert office.fetches == 2


async def test_a_document_that_is_none_changes_nothing() -> None:
    office = Office("p256")
    assert await office.has("p256")
    for body in (b"", b"<html>", b'{"keys":[]}', b"\xff"):
        office.answers = body
        office.time += REFRESH_AFTER + RETRY_MOST + 1
        assert await office.has("p256")
        await office.settle()
    assert office.fetches == 5


async def test_a_fault_of_the_fetch_itself_is_logged_and_over(caplog: Any) -> None:
    async def broken(url: str) -> bytes:
        raise RuntimeError("a fault of the tests")

    fetch: Callable[[str], Awaitable[bytes]] = broken
    issuer = Issuer("https://issuer.example/keys", fetch=fetch, clock=lambda: 0.0)
    with pytest.raises(KeysUnavailable):
        await issuer.look_up("p256", "ES256")
    assert "a fault of the tests" in caplog.text


# With tokens, and a real site


async def refused(given: str, options: RealtimeConfig) -> int:
    caught: Any
    with pytest.raises((CommandError, DisconnectError)) as caught:
        await tokens.averify_connection(given, options, NOW)
    return int(caught.value.code)


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "EdDSA"])
async def test_a_token_is_verified_with_a_published_key(algorithm: str) -> None:
    kinds = {"RS256": "rsa", "PS384": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed25519"}
    with published(*(jwk(kind) for kind in set(kinds.values()))) as site:
        options = RealtimeConfig(token_jwks_url=site.url)
        given = token(algorithm, kid=kinds[algorithm])
        assert (await tokens.averify_connection(given, options, NOW)).user == "42"
        assert tokens.verify_connection(given, options, NOW).user == "42"
        assert await refused(token(algorithm, kid="unknown"), options) == 100
        other = "p256" if kinds[algorithm] == "rsa" else "rsa"
        assert await refused(token(algorithm, kid=other), options) in (100, 3500)
        assert len(site.asked) == 1


async def test_a_key_of_the_same_name_by_another_is_refused() -> None:
    with published(jwk("rsa", kid="a")) as site:
        options = RealtimeConfig(token_jwks_url=site.url)
        assert await refused(token("RS256", kind="rsa-other", kid="a"), options) == 3500


async def test_hmac_with_a_published_key_is_refused_and_asks_nobody() -> None:
    """Neither its text nor a symmetric key in the set is a secret."""
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"}
    with published(jwk("rsa"), symmetric) as site:
        options = RealtimeConfig(token_jwks_url=site.url)
        assert (await tokens.averify_connection(token("RS256", kid="rsa"), options, NOW)).user == "42"
        for secret in ("secret", json.dumps(jwk("rsa")), jwk("rsa")["n"]):
            assert await refused(hs256(secret), options) == 3500
        assert len(site.asked) == 1


async def test_a_token_without_key_id_is_of_the_one_key() -> None:
    with published(jwk("rsa", kid=None)) as site:
        options = RealtimeConfig(token_jwks_url=site.url)
        assert (await tokens.averify_connection(token("RS256"), options, NOW)).user == "42"
        assert await refused(token("RS256", kind="rsa-other"), options) == 3500


async def test_garbage_asks_nobody() -> None:
    with published(jwk("rsa")) as site:
        options = RealtimeConfig(token_jwks_url=site.url, token_secret="s" * 32)
        for given in ("garbage", "a.b.c", token("RS256")[:-20] + ".", token("RS256", kid="k" * 600)):
            assert await refused(given, options) in (100, 3500)
        assert len(site.asked) <= 1


async def test_a_token_of_a_configured_key_does_not_wait_for_the_issuer() -> None:
    with published(jwk("rsa")) as site:
        options = RealtimeConfig(token_jwks_url=site.url, token_public_keys=pem("p256"))
        assert (await tokens.averify_connection(token("ES256", kid="x"), options, NOW)).user == "42"
        assert site.asked == []
        assert (await tokens.averify_connection(token("RS256", kid="rsa"), options, NOW)).user == "42"


async def test_subscription_tokens_may_have_an_issuer_of_their_own() -> None:
    claims = {"sub": "42", "channel": "room"}
    with published(jwk("rsa")) as connections, published(jwk("p256")) as subscriptions:
        options = RealtimeConfig(token_jwks_url=connections.url, subscription_token_jwks_url=subscriptions.url)
        about = {"channel": "room", "client": "c", "user": "42"}
        await tokens.averify_subscription(token("ES256", claims, kid="p256"), options, NOW, **about)
        with pytest.raises(CommandError):
            await tokens.averify_subscription(token("RS256", claims, kid="rsa"), options, NOW, **about)
        assert connections.asked == []


async def test_several_issuers_stand_side_by_side() -> None:
    """The one that has the key is enough, whether or not another answers."""
    with published(jwk("rsa")) as one, published(jwk("p256")) as other:
        options = RealtimeConfig(token_jwks_url=(one.url, other.url))
        assert (await tokens.averify_connection(token("ES256", kid="p256"), options, NOW)).user == "42"
        assert (await tokens.averify_connection(token("RS256", kid="rsa"), options, NOW)).user == "42"
        assert (len(one.asked), len(other.asked)) == (1, 1)
    with published(jwk("rsa")) as one, published() as away:
        away.serve(b"", 503)
        options = RealtimeConfig(token_jwks_url=(away.url, one.url))
        assert (await tokens.averify_connection(token("RS256", kid="rsa"), options, NOW)).user == "42"
        assert await refused(token("ES256", kid="p256"), options) == 100
        assert await refused(token("RS256", kind="rsa-other", kid="rsa"), options) == 3500


async def test_the_loop_turns_while_a_fetch_waits() -> None:
    """An issuer that takes its time takes nobody else's."""
    gate = threading.Event()
    with published(jwk("rsa")) as site:
        answer = site.answer

        def slowly(handler: Any) -> None:
            gate.wait(20)
            answer(handler)

        site.answer = slowly
        options = RealtimeConfig(token_jwks_url=site.url)
        waiting = asyncio.ensure_future(tokens.averify_connection(token("RS256", kid="rsa"), options, NOW))
        turns = 0
        while not site.asked:
            await asyncio.sleep(0.001)
            turns += 1
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        assert (await waiting).user == "42"


async def test_each_url_is_one_issuer() -> None:
    assert issuer_at("https://a.example/") is issuer_at("https://a.example/")
    assert issuer_at("https://a.example/") is not issuer_at("https://b.example/")


def test_another_event_loop_begins_anew() -> None:
    """What waits for a fetch belongs to a loop."""
    with published(jwk("ed25519")) as site:
        options = RealtimeConfig(token_jwks_url=site.url)
        given = token("EdDSA", kid="ed25519")
        for _ in range(2):
            assert asyncio.run(tokens.averify_connection(given, options, NOW)).user == "42"
        assert len(site.asked) == 2
