"""The log of an instance outside DEBUG: a JSON object a line, who and why, and nothing that is secret."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from tests.cluster.support.harness import CONFIG, Cluster, Instance, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(90)]

MARK = "xyzzy-nobody-may-read-this"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running(Cluster(tmp_path_factory.mktemp("logs"), CONFIG, "flotilla")) as cluster:
        yield cluster[0]


def lines(instance: Instance) -> list[dict[str, Any]]:
    """Every line, each of which must be a JSON object."""
    return [json.loads(line) for line in instance.log.read_text().splitlines()]


async def one(instance: Instance, message: str, **fields: Any) -> dict[str, Any]:
    """The line with this message and these fields, when it has come."""

    def find() -> list[dict[str, Any]]:
        return [line for line in lines(instance) if message in line["message"] and fields.items() <= line.items()]

    found: dict[str, Any] = (await eventually(find, f"a line {message!r} with {fields}"))[0]
    return found


async def test_an_end_by_the_server_says_who_and_why(instance: Instance) -> None:
    """Instance, connection, user, code and reason."""
    async with RawClient(instance.url) as client:
        await client.connect("42")
        await client.socket.send('{"id":9,"nonsense":{}}')
        assert (await client.closed())[0] == 3501
        line = await one(instance, "disconnected", client=client.client)
    assert line["instance"] == instance.name
    assert (line["user"], line["code"], line["reason"]) == ("42", 3501, "bad request")
    assert {"time", "level", "logger", "address"} <= set(line)


async def test_tokens_cookies_keys_and_payloads_are_in_no_line(instance: Instance) -> None:
    """Whatever goes wrong with them, tracebacks included."""
    for method, params in (
        ("rpc", {"method": "break", "data": {"secret": MARK}}),
        ("publish", {"channel": "closed:a", "data": {"secret": MARK}}),
        ("subscribe", {"channel": "open:a", "token": f"{MARK}.{MARK}.{MARK}"}),
        ("send", {"data": "break"}),
    ):
        async with RawClient(instance.url) as client:
            await client.connect("7")
            await client.socket.send(json.dumps({"id": 5, method: params}))
            await client.wait(lambda m: m.get("id") == 5 or "push" in m, "an answer") if method != "send" else None
            with contextlib.suppress(websockets.ConnectionClosed):  # some of these end it
                await client.socket.send(f"{MARK} is no JSON")
            await client.closed()
    headers = {"Cookie": f"sessionid={MARK}", "Authorization": f"Bearer {MARK}"}
    async with websockets.connect(f"{instance.url}?token={MARK}", additional_headers=headers) as socket:
        await socket.send(json.dumps({"id": 1, "connect": {"token": f"{token('7')}{MARK}"}}))
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    with pytest.raises(websockets.InvalidStatus):  # some clients put their token there
        await websockets.connect(instance.url, subprotocols=[websockets.Subprotocol(MARK)])
    for path in ("/api/publish", f"/api/publish?api_key={MARK}", f"/nowhere?token={MARK}"):
        request = urllib.request.Request(f"{instance.http}{path}", MARK.encode(), {"X-API-Key": MARK} | headers)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=5)
    await one(instance, "clusterapp", level="ERROR")  # what failed is told, with its traceback
    await one(instance, "disconnected", code=3500)
    await one(instance, "handshake refused")
    assert MARK not in instance.log.read_text()
