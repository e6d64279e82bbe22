from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from accounts.models import User
from bazaar.asgi import application

HEADERS = [(b"origin", b"http://127.0.0.1"), (b"host", b"127.0.0.1")]


async def connected(client: Any) -> WebsocketCommunicator:
    cookie = client.cookies["sessionid"].OutputString().encode()
    socket = WebsocketCommunicator(application, "/ws/chat/", [*HEADERS, (b"cookie", cookie)])
    accepted, _ = await socket.connect()
    assert accepted
    return socket


@pytest.mark.django_db(transaction=True)
async def test_what_one_says_the_other_hears(async_client: Any) -> None:
    ann = await User.objects.acreate(email="ann@bazaar.example")
    await async_client.aforce_login(ann)
    one, other = await connected(async_client), await connected(async_client)
    assert (await one.receive_json_from())["hello"] == (await other.receive_json_from())["hello"] == ann.email
    await one.send_json_to({"text": "hello"})
    assert await other.receive_json_from() == {"by": ann.email, "text": "hello"}
    await one.disconnect()
    await other.disconnect()


async def test_strangers_stay_outside() -> None:
    accepted, code = await WebsocketCommunicator(application, "/ws/chat/", HEADERS).connect()
    assert (accepted, code) == (False, 4401)
