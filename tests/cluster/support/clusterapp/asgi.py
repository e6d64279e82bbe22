"""The project's stack, with applications beside it that know nothing of our server: any ASGI must work under it.

They are chosen by the last part of the path `/generic/<name>`. `/generic/census` (HTTP) tells what the process holds.
"""

import asyncio
import gc
import json
import os
from typing import Any

from project.asgi import application as project_application  # isort: skip  first: it sets Django up

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.sessions import CookieMiddleware

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.node import current_node
from flotilla.realtime.server.asgi import AsgiSide
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.factory import Factory
from flotilla.realtime.server.http.connection import HttpConnection
from flotilla.realtime.server.http.request import Request
from tests.cluster.support.clusterapp.http_apps import HTTP_APPS

MEGABYTE = b"m" * (1 << 20)
ended: list[str] = []  # names of applications that came to their end, in order


class Echo(AsyncWebsocketConsumer):
    """Channels' own consumer. `close CODE REASON` closes, `raise` fails, `scope` tells what it was given."""

    async def connect(self) -> None:
        offered = self.scope["subprotocols"]
        await self.accept(offered[-1] if offered else None, headers=[(b"x-greeting", b"hello")])

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None:
            await self.send(bytes_data=bytes_data)
        elif text_data == "raise":
            raise RuntimeError("as it was asked to")
        elif text_data.startswith("close "):
            _, code, reason = text_data.split(" ", 2)
            await self.close(int(code), reason)
        elif text_data == "scope":
            await self.send(described(self.scope))
        else:
            await self.send(text_data)

    async def disconnect(self, code: int) -> None:
        ended.append(f"echo {code}")


def described(scope: dict[str, Any]) -> str:
    """What of a scope can be put into JSON."""
    return json.dumps({name: value for name, value in scope.items() if name != "extensions"}, default=repr)


async def deny(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def denial(scope: Any, receive: Any, send: Any) -> None:
    """A refusal with a response of its own, its body in two parts."""
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"full")]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"come back ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"later"})


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, says something and returns."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "that was all"})


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """Returns without an answer to the handshake."""
    await receive()


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("as it always does")


async def tardy(scope: Any, receive: Any, send: Any) -> None:
    """Answers the handshake late, then echoes."""
    await asyncio.sleep(0.5)
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Reads nothing until somebody asks for it under `/generic/go`, then counts what it gets."""
    await receive()
    await send({"type": "websocket.accept"})
    await go.wait()
    count = 0
    while (event := await receive())["type"] == "websocket.receive":
        assert int(event["text"].split()[0]) == count
        count += 1
        if event["text"].endswith("last"):
            await send({"type": "websocket.send", "text": str(count)})


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Sends 200 MiB as fast as it can, and remembers how far it came."""
    await receive()
    await send({"type": "websocket.accept"})
    for number in range(200):
        flooded.append(number)
        await send({"type": "websocket.send", "bytes": MEGABYTE})
    await send({"type": "websocket.close"})


async def unruly(scope: Any, receive: Any, send: Any) -> None:
    """Does what ASGI does not allow, and tells how each attempt ended."""
    await receive()
    results = []
    for event in (
        {"type": "websocket.send", "text": "too early"},
        {"type": "websocket.accept", "headers": [(b"x-split", b"a\r\nx-evil: 1")]},
        {"type": "websocket.accept"},
        {"type": "websocket.accept"},
        {"type": "websocket.http.response.start", "status": 200, "headers": []},
        {"type": "websocket.http.response.body", "body": b"not now"},
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "code": 70000},
        {"type": "websocket.whatever"},
    ):
        try:
            await send(event)
            results.append("")
        except ValueError:
            results.append("refused")
    await send({"type": "websocket.send", "text": json.dumps(results)})
    await send({"type": "websocket.close", "code": 4000, "reason": "done"})
    await send({"type": "websocket.send", "text": "too late"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
    await send({"type": "websocket.send", "text": "much too late"})
    ended.append("unruly")


async def cookies(scope: Any, receive: Any, send: Any) -> None:
    """Tells the cookies as Channels reads them."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(scope["cookies"])})


go = asyncio.Event()
flooded: list[int] = []
GENERIC = {one.__name__: one for one in (deny, denial, early, silent, broken, tardy, slow, flood, unruly)}
GENERIC["echo"] = Echo.as_asgi()
GENERIC["cookies"] = CookieMiddleware(cookies)


def census() -> dict[str, Any]:
    """What the process holds of its connections."""
    gc.collect()
    counted: dict[str, Any] = dict.fromkeys(("AsgiSide", "Connection", "HttpConnection", "Request", "Client"), 0)
    undecided = websockets = 0
    for one in gc.get_objects():
        kind = type(one)
        if kind in (AsgiSide, Connection, HttpConnection, Request, Client):
            counted[kind.__name__] += 1
        elif kind is Factory:
            undecided += len(one._undecided)
            websockets += len(one.server.websockets)
    for own in ("HttpConnection", "Request"):  # of who asks
        counted[own] -= 1
    node = current_node()
    more = {"undecided": undecided, "websockets": websockets, "sessions": len(node.clients) if node else 0}
    return counted | more


async def answer(send: Any, body: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def http(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    match scope["path"].rpartition("/")[2]:
        case "census":
            await answer(send, census())
        case "go":
            go.set()
            await answer(send, "")
        case "state":
            await answer(send, {"pid": os.getpid(), "ended": ended, "flooded": len(flooded)})
        case _:
            text = body.decode(errors="replace")
            await answer(send, {"method": scope["method"], "path": scope["path"], "body": text})


async def application(scope: Any, receive: Any, send: Any) -> None:
    if not scope.get("path", "").startswith("/generic/"):
        await project_application(scope, receive, send)
    elif scope["type"] == "websocket":
        await GENERIC.get(scope["path"].rpartition("/")[2], deny)(scope, receive, send)
    elif scope["path"].rpartition("/")[2] in HTTP_APPS:
        await HTTP_APPS[scope["path"].rpartition("/")[2]](scope, receive, send)
    else:
        await http(scope, receive, send)
