"""Webhooks over real processes: who is told what, in which order, while instances are killed and the service errs."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support.harness import CONFIG, Cluster, Instance, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient
from tests.realtime.webhooks.receiver import SECRET, Service, answering, serving

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

PATIENT = {"ping_interval": 60, "pong_timeout": 30, "connect_timeout": 15}
TABS = CONFIG["namespaces"]["hall"] | {"join_leave": "user"}


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


@pytest.fixture
def trio(tmp_path: Path, service: Service) -> Iterator[Cluster]:
    """Three instances, one service that is told of everything."""
    webhook: dict[str, Any] = {"url": service.url, "secret": SECRET, "allow_private": True, "timeout": 1}
    more = {
        "webhooks": {"crm": webhook | {"retry_longest": 1}},
        "namespaces": CONFIG["namespaces"] | {"tabs": TABS},
    }
    with running(Cluster(tmp_path, CONFIG | PATIENT | more, "flotilla", "flotilla", "flotilla")) as cluster:
        yield cluster


async def enter(stack: AsyncExitStack, instance: Instance, channel: str, count: int, user: str = "") -> list[RawClient]:
    found = []
    for number in range(count):
        client = await stack.enter_async_context(RawClient(instance.url))
        await client.connect(user or f"user-{number}")
        await client.subscribe(channel)
        found.append(client)
    return found


def of_kind(service: Service, kind: str, **about: str) -> Counter[str]:
    """How often each client or user was told, each event once."""
    events = [one for one in service.distinct() if one["type"] == kind]
    events = [one for one in events if all(one.get(key) == value for key, value in about.items())]
    return Counter(one.get("client") or one.get("user") or one["channel"] for one in events)


async def test_each_end_is_told_once_when_an_instance_is_killed(
    trio: Cluster, service: Service, fresh: Callable[[str], str]
) -> None:
    """In a namespace without presence: occupied before all, vacated after all, each client once."""
    channel = fresh("bare")
    async with AsyncExitStack() as stack:
        lost = await enter(stack, trio[0], channel, 40)
        stays = await enter(stack, trio[1], channel, 1, "user-0")
        trio[0].kill()
        names = {one.client: 1 for one in lost}
        await eventually(lambda: len(of_kind(service, "unsubscribed", channel=channel)) >= 40, "all left")
        await eventually(lambda: len(of_kind(service, "disconnected")) >= 40, "all ended")
        assert of_kind(service, "unsubscribed", channel=channel) == names
        ends = [one for one in service.distinct() if one["type"] == "disconnected"]
        assert {(one["code"], one["reason"], one["instance"]) for one in ends} == {
            (3000, "instance lost", "flotilla-0")
        }
        assert "vacated" not in service.types(channel=channel), "somebody is there"
        gone = {f"user-{number}" for number in range(1, 40)}

        def left() -> list[str]:
            told = [one for one in service.distinct() if one.get("channel") == channel]
            return [one["user"] for one in told if one["type"] == "user_left"]

        await eventually(lambda: len(left()) >= len(gone), "their users left")
        assert sorted(left()) == sorted(gone), "user-0 is still there, elsewhere"
        stays[0].abort()
        await eventually(lambda: service.types(channel=channel)[-1] == "vacated", "the channel is empty")
    kinds = service.types(channel=channel)
    assert (kinds[0], kinds.count("occupied"), kinds.count("vacated")) == ("occupied", 1, 1)
    assert kinds.count("subscribed") == 41
    assert not service.forged


async def test_whoever_delivers_is_killed_and_another_goes_on_in_order(
    trio: Cluster, service: Service, fresh: Callable[[str], str]
) -> None:
    """The service errs, hangs and redirects meanwhile; of each channel everything comes, in order."""
    chance = random.Random(5)
    lock = threading.Lock()

    def fickle(handler: Any) -> None:
        with lock:
            what = chance.random()
        if what < 0.2:
            answering(500)(handler)
        elif what < 0.25:
            time.sleep(1.2)
        elif what < 0.3:
            answering(307, ("Location", "http://127.0.0.1:1/"))(handler)
        elif what < 0.35:
            handler.wfile.write(b"\x00nonsense\r\n\r\n")
        else:
            answering(204)(handler)

    service.answer = fickle
    channel = fresh("bare")
    async with AsyncExitStack() as stack:
        watcher = (await enter(stack, trio[2], channel, 1, "watcher"))[0]
        names: list[str] = []
        for round in range(3):
            for number in range(8):
                async with RawClient(trio[2].url) as client:
                    await client.connect(f"visitor-{round}-{number}")
                    await client.subscribe(channel)
                    names.append(client.client)
            if round < 2:
                trio[round].kill()
        await eventually(lambda: len(of_kind(service, "unsubscribed", channel=channel)) >= 24, "all are told", 60)
        told = [one for one in service.distinct() if one["channel" if "channel" in one else "type"] == channel]
        for name in names:
            assert [one["type"] for one in told if one.get("client") == name and "user_" not in one["type"]] == [
                "subscribed", "unsubscribed"
            ]  # fmt: skip
        numbers = [int(one["id"].split("-")[3]) for one in told]
        assert numbers == sorted(numbers), "in the order in which they happened"
        assert watcher.client


async def test_a_paused_instance_delivers_nothing_twice_in_the_wrong_order(
    trio: Cluster, service: Service, fresh: Callable[[str], str]
) -> None:
    """Its lease runs out while it is stopped; when it goes on it finds another in its place."""
    channel = fresh("bare")
    async with AsyncExitStack() as stack:
        await enter(stack, trio[2], channel, 2)
        await eventually(lambda: service.types(channel=channel).count("subscribed") == 2, "told")
        for instance in (trio[0], trio[1]):
            instance.send(signal.SIGSTOP)
        await enter(stack, trio[2], channel, 2, "late")
        await eventually(lambda: service.types(channel=channel).count("subscribed") == 4, "another delivers", 40)
        for instance in (trio[0], trio[1]):
            instance.send(signal.SIGCONT)
        await enter(stack, trio[2], channel, 1, "last")
        await eventually(lambda: service.types(channel=channel).count("subscribed") == 5, "goes on", 40)
    assert service.types(channel=channel)[0] == "occupied"


async def test_a_service_that_was_away_is_told_when_it_is_back(
    trio: Cluster, service: Service, fresh: Callable[[str], str]
) -> None:
    service.becomes(answering(503), accepts=False)
    channel = fresh("bare")
    async with AsyncExitStack() as stack:
        await enter(stack, trio[0], channel, 5)
        await eventually(lambda: len(service.requests) >= 3, "it was asked")
        trio[0].kill()
        service.becomes(answering(200), accepts=True)
        await eventually(lambda: service.types(channel=channel)[-1:] == ["vacated"], "all is told", 60)
    whole = Counter(service.types(channel=channel))
    assert whole == Counter(
        {"occupied": 1, "subscribed": 5, "user_joined": 5, "unsubscribed": 5, "user_left": 5, "vacated": 1}
    )


async def test_pages_need_not_count_tabs(trio: Cluster, fresh: Callable[[str], str]) -> None:
    """`join_leave: "user"` over instances: one join, and one leave after the last connection, also after a kill."""
    channel = fresh("tabs")
    async with AsyncExitStack() as stack:
        (watcher,) = await enter(stack, trio[2], channel, 1, "eve")
        await enter(stack, trio[0], channel, 3, "ann")
        (last,) = await enter(stack, trio[1], channel, 1, "ann")
        await enter(stack, trio[0], channel, 2, "bob")

        def told(kind: str) -> list[str]:
            return [body["info"]["user"] for _, body in watcher.pushes(channel, kind)]

        await eventually(lambda: told("join")[-1:] == ["bob"], "bob came")
        assert told("join") == ["eve", "ann", "bob"]
        trio[0].kill()
        await eventually(lambda: told("leave") == ["bob"], "bob left, ann is on another instance")
        last.abort()
        await eventually(lambda: told("leave") == ["bob", "ann"], "ann left")
        assert told("join") == ["eve", "ann", "bob"]
