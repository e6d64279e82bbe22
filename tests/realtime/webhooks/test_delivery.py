"""Delivery over real HTTP to services that are slow, err, are away, redirect, or answer without end."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from flotilla.presence.outbox import part_keys
from flotilla.realtime.webhook_settings import Webhook
from flotilla.realtime.webhooks import delivery as delivery_module
from flotilla.realtime.webhooks.delivery import Delivery
from flotilla.realtime.webhooks.queue import EndpointQueue
from flotilla.store import Store, supervised
from tests.realtime.webhooks.receiver import SECRET, Service, answering
from tests.store.faults import FAULTS
from tests.store.places import partitions
from tests.store.redis_process import RedisProcess, until
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(delivery_module, "POLL", 0.02)
    monkeypatch.setattr(delivery_module, "LOOK", 0.05)


class World:
    """Deliveries of several processes to one service."""

    def __init__(self, store: Store, redis: RedisProcess, service: Service) -> None:
        self.store, self.redis, self.service = store, redis, service
        self.tasks: list[asyncio.Task[None]] = []

    def put(self, *users: str, partition: int = 3) -> None:
        events, about = part_keys("crm", partitions()[partition])
        for user in users:
            number = self.redis.ask("HINCRBY", about, "number", 1)
            raw = msgspec.msgpack.encode(
                [number, int(time.time() * 1000), "s", f"room:{partition}", user, "c", "i", ""]
            )
            self.redis.ask("RPUSH", events, raw)

    def begin(self, who: str = "one", **options: Any) -> Delivery:
        settings: dict[str, Any] = {
            "url": self.service.url, "secret": SECRET, "allow_private": True, "timeout": PATIENCE, "retry_longest": 0.2
        }  # fmt: skip
        made = Delivery("crm", Webhook(**settings | options), EndpointQueue(self.store, "crm", who))
        self.tasks.append(supervised("test-webhook", made.run))
        return made

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def users(self, channel: str = "room:3") -> list[str]:
        return [event["user"] for event in self.service.distinct() if event["channel"] == channel]

    def left(self) -> int:
        return sum(self.redis.ask("LLEN", part_keys("crm", one)[0]) for one in partitions())


@pytest_asyncio.fixture
async def world(store: Store, redis_process: RedisProcess, service: Service) -> AsyncIterator[World]:
    made = World(store, redis_process, service)
    yield made
    await made.end()


NUMBERS = [str(number) for number in range(250)]


async def test_events_come_signed_in_batches_and_in_order(world: World, service: Service) -> None:
    world.put(*NUMBERS)
    world.put("x", "y", partition=9)
    delivery = world.begin()
    await until(lambda: not world.left())
    assert world.users() == NUMBERS
    assert world.users("room:9") == ["x", "y"]
    assert not service.forged
    sizes = [len(events) for _, events in service.requests]
    assert max(sizes) <= 100 and sum(sizes) == 252
    await until(lambda: delivery.stats.waiting == 0)
    assert (delivery.stats.events, delivery.stats.dropped) == (252, 0)


async def test_errors_are_sent_again_until_they_are_taken(world: World, service: Service) -> None:
    service.becomes(answering(500), accepts=False)
    world.put(*NUMBERS)
    delivery = world.begin()
    await until(lambda: len(service.requests) >= 8)
    sizes = [len(events) for _, events in service.requests]
    assert sizes[0] == 100 and sizes[7] == 1, "fewer go together after each failure"
    assert world.left() == 250
    service.becomes(answering(200), accepts=True)
    await until(lambda: not world.left())
    assert world.users() == NUMBERS
    assert delivery.stats.requests["refused"] >= 8


async def test_how_long_the_oldest_waits_is_known_while_parts_are_looked_at_in_turn(
    world: World, service: Service
) -> None:
    """Also when each request has but one event, of any of the parts."""
    service.becomes(answering(500), accepts=False)
    world.put("first")
    began = time.time()
    await until(lambda: time.time() > began + 0.3)
    for partition in range(4, 8):
        world.put("later", partition=partition)
    delivery = world.begin(max_batch=1)
    await until(lambda: len(service.requests) >= 6)
    seen = set()

    def looked_at(count: int) -> bool:
        seen.add(delivery.stats.oldest)
        return len(service.requests) >= count

    await until(lambda: looked_at(16))
    assert len(seen) == 1 and seen.pop() <= began, "it does not wait less because others were looked at"
    service.becomes(answering(200), accepts=True)
    await until(lambda: not world.left())
    await until(lambda: delivery.stats.oldest == 0.0)


async def test_pauses_grow(world: World, service: Service) -> None:
    service.answer = answering(503)
    world.put("a")
    world.begin(retry_longest=10.0)
    await until(lambda: len(service.requests) >= 7)
    moments = [moment for moment, _ in service.requests]
    first, last = moments[1] - moments[0], moments[6] - moments[5]
    assert last > 4 * first or last > 0.3, moments


async def test_a_service_that_is_away_is_waited_for(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    world.put("a")
    delivery = world.begin(url=f"http://127.0.0.1:{address[1]}/hook")
    await until(lambda: delivery.stats.requests["failed"] >= 3)
    assert world.left() == 1


async def test_a_service_that_hangs_costs_its_time_alone(world: World, service: Service) -> None:
    def hang(handler: Any) -> None:
        time.sleep(1.5)

    service.answer = hang
    world.put("a")
    delivery = world.begin(timeout=0.3)
    await until(lambda: delivery.stats.requests["failed"] >= 2)
    service.answer = answering(204)
    await until(lambda: not world.left())


async def test_redirects_are_not_followed(world: World, service: Service) -> None:
    service.answer = answering(302, ("Location", f"{service.url}/elsewhere"))
    world.put("a")
    delivery = world.begin()
    await until(lambda: delivery.stats.requests["refused"] >= 2)
    assert set(service.paths) == {"/hook"}
    assert world.left() == 1


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"A: b\r\n" * 1000])
async def test_an_answer_without_end_is_not_read(world: World, service: Service, piece: bytes) -> None:
    sent = []

    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if piece[0:1] == b"x" else b""))
        for _ in range(2000):
            handler.wfile.write(piece)
            sent.append(len(piece))

    service.answer = endless
    world.put("a")
    delivery = world.begin()
    if piece[0:1] == b"x":  # 200 was said: that is all there is to know
        await until(lambda: not world.left())
    else:
        await until(lambda: delivery.stats.requests["failed"] >= 1)
    assert sum(sent) < 60_000_000


async def test_what_is_no_http_is_a_failure(world: World, service: Service) -> None:
    service.answer = lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
    world.put("a")
    delivery = world.begin()
    await until(lambda: delivery.stats.requests["failed"] >= 2)
    service.answer = lambda handler: handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    await until(lambda: not world.left())


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_private_address_is_not_connected_to_unless_it_is_allowed(world: World, allowed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)
        world.put("a")
        url = f"https://localhost:{inside.getsockname()[1]}/hook"
        delivery = world.begin(url=url, allow_private=allowed, timeout=0.2)

        def came() -> bool:
            try:
                inside.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        if allowed:
            await until(came)
        await until(lambda: delivery.stats.requests["failed"] >= 2)
        assert allowed or not came()


async def test_one_at_a_time_delivers_and_another_takes_over(world: World, service: Service) -> None:
    def slowly(handler: Any) -> None:
        time.sleep(0.01)
        answering(204)(handler)

    service.answer = slowly
    world.put(*NUMBERS)
    first, second = world.begin("one", max_batch=5), world.begin("two", max_batch=5)
    await until(lambda: len(service.distinct()) > 50)
    assert first.stats.delivering != second.stats.delivering
    holder, index = (first, 0) if first.stats.delivering else (second, 1)
    other = second if holder is first else first
    world.tasks[index].cancel()
    await asyncio.gather(world.tasks[index], return_exceptions=True)
    await holder.let_go()
    await until(lambda: not world.left(), within=60)
    assert other.stats.events > 0
    assert world.users() == NUMBERS
    assert len(service.events) <= len(NUMBERS) + 5, "at most the last batch came twice"


async def test_dropped_events_are_counted_and_told(
    world: World, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("a", "b")
    _, about = part_keys("crm", partitions()[3])
    world.redis.ask("HINCRBY", about, "dropped", 4)
    delivery = world.begin()
    await until(lambda: not world.left())
    assert delivery.stats.dropped == 4
    assert "webhook crm: 4 events were dropped" in caplog.text


async def test_the_log_says_no_secret_and_no_address(
    world: World, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = answering(500)
    world.put("a")
    delivery = world.begin(url=f"{service.url}?key=hidden")
    await until(lambda: delivery.stats.requests["refused"] >= 3)
    assert caplog.text.count("events were not taken") == 1
    assert "hidden" not in caplog.text and SECRET not in caplog.text


async def test_what_cannot_be_read_is_left_out(world: World, service: Service) -> None:
    events, about = part_keys("crm", partitions()[3])
    world.redis.ask("HINCRBY", about, "number", 1)
    world.redis.ask("RPUSH", events, b"\xff\xff")
    world.put("a")
    world.begin()
    await until(lambda: not world.left())
    assert world.users() == ["a"]


async def test_large_events_go_in_several_requests(world: World, service: Service) -> None:
    names = [letter * 60_000 for letter in "abcdefghijklmnopqrst"]
    world.put(*names)
    world.begin()
    await until(lambda: not world.left())
    assert world.users() == names
    assert len(service.requests) >= 4


async def test_redis_going_away_ends_nothing(mortal_redis: RedisProcess, service: Service) -> None:
    store = Store([mortal_redis.url])
    world = World(store, mortal_redis, service)
    try:
        world.put("a")
        world.begin()
        await until(lambda: not world.left())
        mortal_redis.kill()
        await until(lambda: store.first.stats.unavailable, what="it is missed")
        mortal_redis.start()
        world.put("b", "c")
        await until(lambda: world.users() == ["a", "b", "c"], within=20)
        assert not world.tasks[0].done()
    finally:
        await world.end()
        await store.close()


@pytest.mark.parametrize("name", ["NOREPLICAS", "MISCONF", "BUSY"])
async def test_what_is_there_while_redis_takes_no_writes_is_delivered_afterwards(
    mortal_redis: RedisProcess, service: Service, name: str
) -> None:
    """Nobody can take the right to deliver, nor acknowledge: it may be told twice, and is not lost."""
    store = Store([mortal_redis.url])
    world = World(store, mortal_redis, service)
    try:
        world.put("a")
        async with FAULTS[name](mortal_redis):
            delivery = world.begin()
            refused = store.first.stats
            await until(lambda: refused.refused >= 3)
            assert not world.tasks[0].done() and not delivery.stats.delivering and not service.requests
        world.put("b", "c")
        await until(lambda: world.users() == ["a", "b", "c"] and not world.left(), within=20)
    finally:
        await world.end()
        await store.close()


async def test_where_redis_forgot_the_last_term_delivery_goes_on(world: World) -> None:
    """Its clock may be behind that of the Redis before: terms grow until they are later."""
    world.put("a")
    seconds, micros = world.redis.ask("TIME")
    _, about = part_keys("crm", partitions()[3])
    world.redis.ask("HSET", about, "term", int(seconds) * 1000 + int(micros) // 1000 + 1000)
    before = world.redis.ask("INFO", "stats")["total_commands_processed"]
    world.begin()
    await until(lambda: not world.left())
    assert world.users() == ["a"]
    assert world.redis.ask("INFO", "stats")["total_commands_processed"] - before < 20_000, "it does not spin"
