"""The figures of the admin's page: worked out from counts, told to staff alone."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import reverse

from flotilla.monitoring import live_figures
from flotilla.monitoring.live_figures import CHANNEL, Publisher, Snapshot, figures, may_watch, snapshot
from flotilla.ratelimit.decisions import Decision
from flotilla.ratelimit.http.responses import too_many_requests
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node.node import Node
from flotilla.store.stats import TIMES
from tests.realtime.client.peers import Peer
from tests.realtime.engine.processes import Client
from tests.store.redis_process import until


def counts(**by_bound: int) -> tuple[int, ...]:
    return tuple(by_bound.get(f"le_{bound:g}".replace(".", "_"), 0) for bound in (*TIMES, 99))


def test_figures_are_rates_and_quantiles_of_the_time_between() -> None:
    """What was counted before does not count again."""
    before = Snapshot(10.0, 100, 1000, 5, counts(le_10=1000), 1.0, 300)
    now = Snapshot(12.0, 120, 5000, 6, counts(le_10=1000, le_0_01=98, le_0_1=2), 1.5, 310)
    found = figures(before, now)
    assert (found["received"], found["written"], found["denied"], found["cpu"]) == (10, 2000, 0.5, 0.25)
    assert found["admitted"] == 5
    assert found["p50"] is not None and 5 < found["p50"] <= 10
    assert found["p95"] is not None and found["p95"] <= 10
    assert found["p99"] is not None and 50 < found["p99"] <= 100


def test_without_deliveries_there_is_no_delivery_time() -> None:
    """Rather than a zero."""
    still = Snapshot(0.0, 0, 0, 0, counts(), 0.0)
    assert figures(still, still)["p95"] is None


async def test_a_request_that_is_answered_with_429_is_denied(node: Node) -> None:
    """Beside the commands that are; it is counted without django-prometheus."""
    before = snapshot(node).denied
    assert too_many_requests(RequestFactory().get("/"), Decision(False, [])).status_code == 429
    assert snapshot(node).denied == before + 1


async def test_staff_may_watch_and_nobody_else() -> None:
    """Nor anything else in the namespace."""
    assert await may_watch(User(is_staff=True), CHANNEL, None)
    assert not await may_watch(User(is_staff=True), f"{live_figures.NAMESPACE}:other", None)
    for user in (User(), User(is_staff=True, is_active=False), AnonymousUser(), "7", ""):
        assert not await may_watch(user, CHANNEL, None)


async def test_a_stranger_is_refused_the_channel_and_cannot_publish_into_it(node: Node) -> None:
    """Error 103."""
    peer = Peer(node)
    await peer.connect()
    assert (await peer.ask(subscribe={"channel": CHANNEL}))["error"]["code"] == 103
    assert (await peer.ask(publish={"channel": CHANNEL, "data": {}}))["error"]["code"] == 103


async def test_an_instance_tells_its_figures(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the channel, with its name, again and again."""
    monkeypatch.setattr(node_module, "_node", (node_module.os.getpid(), node))
    monkeypatch.setattr(live_figures, "EVERY", 0.05)
    await Peer(node).connect()
    watcher = Client(node.hub)
    subscription = Subscription(watcher, CHANNEL)
    joined = await node.hub.subscribe(subscription, live_figures.OPTIONS)
    joined.release(subscription, 0)
    publisher = Publisher()
    await publisher.start()
    await until(lambda: len(watcher.pushes) > 1)
    await publisher.stop()
    told = watcher.pushes[0]["pub"]["data"]
    assert (told["instance"], told["connections"], told["draining"]) == ("test", 1, False)
    assert told["memory"] > 1_000_000
    assert told["admission_peak"] == 0  # the peer came by no handshake


@pytest.mark.django_db
class TestPage:
    URL = "/admin/flotilla_monitoring/cluster/"

    def user(self, client: Browser, **fields: Any) -> None:
        client.force_login(User.objects.create_user("u", **fields))

    def test_staff_see_it_in_the_admin(self, client: Browser) -> None:
        """Without any further permission, and named in the index."""
        self.user(client, is_staff=True)
        page = client.get(self.URL)
        assert page.status_code == 200
        assert f'data-channel="{CHANNEL}"' in page.content.decode()
        assert reverse("admin:flotilla_monitoring_cluster_changelist") == self.URL
        assert self.URL in client.get("/admin/").content.decode()

    def test_others_do_not(self, client: Browser) -> None:
        """They are asked to log in."""
        assert client.get(self.URL).status_code == 302
        self.user(client)
        assert client.get(self.URL).status_code == 302

    def test_there_is_nothing_to_add_or_change(self, client: Browser) -> None:
        """It is a page and no table."""
        self.user(client, is_staff=True)
        for rest in ("add/", "1/change/", "1/delete/", "1/history/"):
            assert client.get(self.URL + rest).status_code == 404
