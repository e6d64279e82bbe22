"""The bazaar with Flotilla, served by two instances: what it had goes on, and clients of all kinds connect.

Run by `make test-host`.
"""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.cluster.support.raw_client import RawClient
from tests.host.support.bazaar import ANN, BOB, CHIEF, PASSWORD, Bazaar
from tests.host.support.issuer import Issuer
from tests.host.support.visitor import Visitor

BIG = "x" * 100_000
INVALID_TOKEN = 3500
BLOCKED = 3507


async def test_the_chat_that_was_there_goes_on_with_messages_of_100_kb(bazaar: Bazaar) -> None:
    ann, bob = bazaar.visitor(ANN), bazaar.visitor(BOB)
    chat = f"ws://127.0.0.1:{bazaar.port}/ws/chat/"
    async with (
        connect(chat, additional_headers=ann.handshake, max_size=None, proxy=None) as one,
        connect(chat, additional_headers=bob.handshake, max_size=None, proxy=None) as other,
    ):
        assert json.loads(await one.recv()) == {"hello": ANN, "layer": "RedisChannelLayer"}
        assert json.loads(await other.recv())["hello"] == BOB
        await one.send(json.dumps({"text": BIG}))
        for socket in (one, other):
            assert json.loads(await asyncio.wait_for(socket.recv(), 60)) == {"by": ANN, "text": BIG}


async def test_the_chat_refuses_strangers_as_before(bazaar: Bazaar) -> None:
    with pytest.raises(Exception, match="403"):
        async with connect(f"ws://127.0.0.1:{bazaar.port}/ws/chat/", proxy=None):
            pass


def test_pages_and_the_api_of_the_project_go_on(bazaar: Bazaar) -> None:
    assert Visitor(bazaar.http).get("/health/").json["bazaar"] == "open"
    assert bazaar.program(ANN).get("/api/orders/").status == 200
    assert bazaar.visitor(ANN).get("/orders/").status == 200
    assert Visitor(bazaar.http).get("/nowhere/").status == 404


def test_both_instances_answer_for_health(bazaar: Bazaar) -> None:
    assert len(bazaar.instances()) == 2


async def test_a_browser_connects_with_its_session(bazaar: Bazaar) -> None:
    ann = bazaar.visitor(ANN)
    async with RawClient(bazaar.url, additional_headers=ann.handshake) as client:
        await client.connect()
        await client.subscribe(bazaar.channel(ANN))
        assert await client.error("subscribe", channel=bazaar.channel(BOB)) == 103


async def test_a_program_connects_with_its_access_token_and_with_no_refresh_token(bazaar: Bazaar) -> None:
    tokens = bazaar.tokens(ANN)
    async with RawClient(bazaar.url) as client:
        await client.connect(token=tokens["access"])
        await client.subscribe(bazaar.channel(ANN))
    async with RawClient(bazaar.url) as client:
        await client.send(client.command("connect", token=tokens["refresh"]))
        assert (await client.closed())[0] == INVALID_TOKEN


async def test_a_token_of_another_issuer_connects(bazaar: Bazaar, issuer: Issuer) -> None:
    async with RawClient(bazaar.url) as client:
        await client.connect(token=issuer.token(bazaar.users[ANN]))
        await client.subscribe(bazaar.channel(ANN))
    assert 1 <= issuer.asked <= 2, "each instance asks for the keys once"
    async with RawClient(bazaar.url) as client:
        await client.send(client.command("connect", token=issuer.forged_token(bazaar.users[ANN])))
        assert (await client.closed())[0] == INVALID_TOKEN


async def test_a_token_from_the_token_endpoint_connects(bazaar: Bazaar) -> None:
    ann = bazaar.visitor(ANN)
    answer = await asyncio.to_thread(ann.post, "/flotilla/token/")
    assert answer.status == 200, answer
    async with RawClient(bazaar.url) as client:
        await client.connect(token=answer.json["token"])
        await client.subscribe(bazaar.channel(ANN))
    assert Visitor(bazaar.http).post("/flotilla/token/").status in (401, 403)


def test_a_server_publishes_over_the_api(bazaar: Bazaar) -> None:
    anybody = Visitor(bazaar.http)
    service = Visitor(bazaar.http, **{"X-API-Key": bazaar.api_key})
    said = {"channel": bazaar.channel(BOB), "data": {"text": "hello"}}
    assert anybody.post("/api/publish", said).status == 401
    assert service.post("/api/publish", said).json["result"]["offset"] >= 1
    assert len(service.post("/api/info").json["result"]["nodes"]) == 2


def test_the_admin_shows_the_cluster_to_the_chief(bazaar: Bazaar) -> None:
    chief = Visitor(bazaar.http)
    assert chief.fill("/admin/login/?next=/admin/", username=CHIEF, password=PASSWORD).path == "/admin/"
    index = chief.get("/admin/").text
    assert "/admin/store/order/" in index and "/admin/monitoring/probe/" in index
    for model in ("instance", "connection", "channel", "connecteduser", "block"):
        path = f"/admin/flotilla_realtime/{model}/"
        assert path in index, path
        answer = chief.get(path)
        assert answer.status == 200, f"{path}: {answer.status}"
    assert Visitor(bazaar.http).get("/admin/flotilla_realtime/instance/").path == "/admin/login/"


async def test_the_admin_finds_a_connection_of_a_custom_user(bazaar: Bazaar) -> None:
    chief = await asyncio.to_thread(bazaar.visitor, CHIEF)
    async with bazaar.watching(BOB):
        page = await asyncio.to_thread(chief.get, "/admin/flotilla_realtime/connection/")
        assert BOB in page.text


async def test_people_are_blocked_by_their_e_mail_address_and_let_in_again(bazaar: Bazaar) -> None:
    chief, bob = [await asyncio.to_thread(bazaar.visitor, who) for who in (CHIEF, BOB)]
    form = {
        "action": "block",
        "kind": "user",
        "whom": BOB,
        "duration": "",
        "seconds": "600",
        "note": "a test",
        "confirmed": "yes",
    }
    try:
        page = await asyncio.to_thread(lambda: chief.fill("/admin/flotilla_realtime/block/", **form))
        assert f'data-key="u:{bazaar.users[BOB]}"' in page.text and BOB in page.text
        async with RawClient(bazaar.url, additional_headers=bob.handshake) as client:
            await client.send(client.command("connect"))
            assert (await client.closed())[0] == BLOCKED
    finally:
        unblocked = await asyncio.to_thread(bazaar.run, "flotilla", "unblock", "--user", BOB)
    assert unblocked.code == 0 and BOB in unblocked.output, unblocked.output
    async with RawClient(bazaar.url, additional_headers=bob.handshake) as client:
        await client.connect()


def test_a_user_who_does_not_exist_is_not_blocked(bazaar: Bazaar) -> None:
    done = bazaar.run("flotilla", "block", "--seconds", "60", "--user", "nobody@bazaar.example")
    assert done.code != 0 and "nobody@bazaar.example" in done.output, done.output
