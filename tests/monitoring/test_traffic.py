"""What goes in and out, as Prometheus reads it: bytes, namespaces, SDKs."""

from collections.abc import Callable

import pytest

from flotilla.monitoring.sdk_labels import MAX_PAIRS, OTHER, SdkLabels, label
from flotilla.realtime.engine import traffic as engine_traffic
from flotilla.realtime.engine.traffic import MAX_NAMESPACES, TrafficByNamespace
from flotilla.realtime.node.node import Node
from flotilla.realtime.server.traffic import traffic
from tests.realtime.client.peers import Peer, joined
from tests.store.redis_process import until

Scrape = Callable[..., float | None]


@pytest.mark.asyncio
class TestNamespaces:
    async def test_publications_are_counted_by_namespace(self, node: Node, scrape: Scrape) -> None:
        """In once, out for each who gets them; namespaces without traffic are there with 0."""
        peers = [await joined(node) for _ in range(3)]
        for peer in peers:
            await peer.subscribe("open:a")
        await peers[0].ask(publish={"channel": "open:a", "data": 1})
        await until(lambda: all(peer.data("open:a") == [1] for peer in peers))
        for namespace, into, out in (("open", 1, 3), ("people", 0, 0), ("(none)", 0, 0)):
            assert scrape("flotilla_publications_in_total", channel_namespace=namespace) == into
            assert scrape("flotilla_publications_out_total", channel_namespace=namespace) == out

    async def test_subscriptions_are_counted_as_they_come_and_go(self, node: Node, scrape: Scrape) -> None:
        """Left by the client, ended by the server, or gone with the connection; a repeated end counts once."""
        peers = [await joined(node) for _ in range(3)]
        for peer in peers:
            await peer.subscribe("open:a")
            await peer.subscribe("people:a")
        here = {"channel_namespace": "open"}
        assert scrape("flotilla_subscriptions", **here) == 3
        subscription = peers[0].client.subscriptions["open:a"]
        await peers[0].ask(unsubscribe={"channel": "open:a"})
        node.hub.unsubscribe(subscription)
        assert scrape("flotilla_subscriptions", **here) == 2
        await peers[1].client.end_channel("open:a", 2000, "")
        peers[2].client.closed(1000)
        assert scrape("flotilla_subscriptions", **here) == 0
        assert scrape("flotilla_subscriptions", channel_namespace="people") == 2

    async def test_a_subscription_that_fails_is_none(self, node: Node, scrape: Scrape) -> None:
        peer = await joined(node)
        await peer.ask(subscribe={"channel": "closed:a"})
        assert scrape("flotilla_subscriptions", channel_namespace="closed") == 0

    async def test_bytes_of_a_channel_are_those_on_the_wire(self, node: Node, scrape: Scrape) -> None:
        """For each socket; joins and leaves too, and what was held back until the reply was out."""
        peers = [await joined(node) for _ in range(2)]
        for peer in peers:
            await peer.subscribe("people:a")
        await until(lambda: all(peer.pushes("join", "people:a") for peer in peers))
        joins = scrape("flotilla_channel_sent_bytes_total", channel_namespace="people") or 0
        assert joins > 0
        await peers[0].ask(publish={"channel": "people:a", "data": "x" * 1000})
        await until(lambda: all(peer.data("people:a") for peer in peers))
        sent = (scrape("flotilla_channel_sent_bytes_total", channel_namespace="people") or 0) - joins
        assert 2 * 1000 < sent < 2 * 1400
        assert scrape("flotilla_sent_bytes_total", transport="websocket", kind="push") == joins + sent

    async def test_namespaces_beyond_the_bound_are_counted_together(self) -> None:
        by_namespace = TrafficByNamespace()
        for number in range(MAX_NAMESPACES + 7):
            by_namespace.of(f"n{number}:room").published += 1
        found = by_namespace.all()
        assert len(found) == MAX_NAMESPACES + 1
        assert found[engine_traffic.OTHER].published == 7


@pytest.mark.asyncio
class TestBytes:
    async def test_replies_and_pings_are_counted_with_their_headers(self, node: Node, scrape: Scrape) -> None:
        peer = await joined(node)
        replied = scrape("flotilla_sent_bytes_total", transport="websocket", kind="reply") or 0
        assert replied > 100
        await peer.ask(unsubscribe={"channel": "open:a"})
        size = len(b'{"id":2,"unsubscribe":{}}') + 2
        assert scrape("flotilla_sent_bytes_total", transport="websocket", kind="reply") == replied + size
        peer.client.ping()
        assert scrape("flotilla_sent_bytes_total", transport="websocket", kind="ping") == len(b"{}") + 2

    async def test_what_the_server_read_and_wrote_is_told(self, scrape: Scrape) -> None:
        """The counts themselves are the server's (tests/realtime/server)."""
        traffic.http_in += 5
        traffic.http_out += 7
        assert scrape("flotilla_received_bytes_total", transport="http") == traffic.http_in
        assert scrape("flotilla_sent_bytes_total", transport="http", kind="response") == traffic.http_out
        assert scrape("flotilla_received_bytes_total", transport="websocket") == traffic.websocket_in
        assert scrape("flotilla_sent_bytes_total", transport="websocket", kind="other") == traffic.websocket_out


@pytest.mark.asyncio
class TestSdks:
    async def test_connections_are_counted_by_what_clients_say(self, node: Node, scrape: Scrape) -> None:
        """While they are connected; one that has not said who it is yet is none."""
        Peer(node)
        first = await joined(node, name="js", version="1.4.0")
        await joined(node, name="js", version="1.4.0")
        await joined(node)
        metric = "flotilla_client_sdk_connections"
        assert scrape(metric, sdk="js", version="1.4.0") == 2
        assert scrape(metric, sdk="unknown", version="unknown") == 1
        first.client.closed(1000)
        assert scrape(metric, sdk="js", version="1.4.0") == 1

    async def test_what_no_sdk_would_say_is_other(self, node: Node, scrape: Scrape) -> None:
        """Whatever it is, the exposition can be read."""
        for name in ('"} 1\nevil{x="', "\\", "\u202e", "é", "x" * 33, "a\0b", "\ud83d\ude00"):
            await joined(node, name=name, version=name)
        assert scrape("flotilla_client_sdk_connections", sdk="other", version="other") == 7


class TestLabels:
    @pytest.mark.parametrize(
        ("said", "given"),
        [("", "unknown"), ("centrifuge-js", "centrifuge-js"), ("2.1.0+build.7", "2.1.0+build.7"), ("<x>", "other")],
    )
    def test_a_label_is_what_was_said_where_that_is_usual(self, said: str, given: str) -> None:
        assert label(said) == given

    def test_clients_cannot_make_more_than_the_bound(self) -> None:
        """However many they say, at once or one after the other; those that were there first stay."""
        labels = SdkLabels()
        assert labels.counted({("js", "1"): 5}) == {("js", "1"): 5, OTHER: 0}
        seen = set()
        for turn in range(5):
            crowd = {(f"evil-{turn}-{number}", "1"): 1 for number in range(MAX_PAIRS)} | {("js", "1"): 3}
            found = labels.counted(crowd)
            assert found[("js", "1")] == 3
            assert sum(found.values()) == MAX_PAIRS + 3
            seen |= found.keys()
        assert len(seen) <= MAX_PAIRS + 1

    def test_the_most_used_become_labels(self) -> None:
        crowd = {(f"rare-{number}", "1"): 1 for number in range(MAX_PAIRS * 2)} | {("python", "1"): 9}
        assert SdkLabels().counted(crowd)[("python", "1")] == 9

    def test_a_label_without_connections_stays_with_0(self) -> None:
        """A line that only ends would look as if the instance had."""
        labels = SdkLabels()
        labels.counted({("js", "1"): 5})
        assert labels.counted({}) == {("js", "1"): 0, OTHER: 0}
