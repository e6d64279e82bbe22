"""A client of the platform for tests, in the test's own process: it connects, subscribes, publishes, and hears.

    async with RealtimeClient(user=ann) as client:
        await client.subscribe("room:lobby")
        await apublish("room:lobby", {"text": "hi"})
        assert await client.next_publication("room:lobby") == {"text": "hi"}

It speaks the JSON protocol with the same code that serves browsers: the session of a user or a token says who it is,
permissions and hooks decide, limits count. What was refused raises `Refused`, an end of the connection `Closed`, and
what did not come in time an AssertionError that says what came instead.
"""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings

from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.api.publishing import encode_data
from flotilla.realtime.node.control import Control
from flotilla.realtime.node.operations.count import Count
from flotilla.realtime.routing import ENDPOINT, endpoint
from flotilla.store import get_store
from flotilla.testing.environment import enter, leave

WITHIN = 5.0  # seconds something may take to come
ADDRESS = ("127.0.0.1", 50000)


class Refused(AssertionError):
    """The server refused a command: `code` and `message` as the protocol has them (`docs/CLIENTS.md`)."""

    def __init__(self, what: str, code: int, message: str) -> None:
        super().__init__(f"{what} was refused: {code} {message}")
        self.code = code
        self.message = message


class Closed(AssertionError):
    """The server ended the connection, or refused the handshake: `code` and `reason`."""

    def __init__(self, what: str, code: int, reason: str) -> None:
        super().__init__(f"{what}: the connection was closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Push:
    """Something that the server sent unasked. `kind`: pub, join, leave, unsubscribe, subscribe, message, disconnect."""

    kind: str
    channel: str
    body: Mapping[str, Any]

    @property
    def data(self) -> Any:
        """The data of a publication or a message."""
        return self.body.get("data")


class RealtimeClient:
    """One connection; use it in one event loop, in an `async with` block or from `connect` to `close`.

    `user`: a user of the database, whose session the handshake carries, or an id, for which a token is made (that
    needs `FLOTILLA["token_secret"]`). `token`: a connection token. `cookies`: those of a `django.test.Client` that has
    logged in. None of them: a visitor. `headers` and `path` are the handshake's; `application` answers it (by default
    Flotilla's own endpoint; the project's whole ASGI application can be given). `within`: seconds everything may take.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        token: str = "",
        cookies: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = ENDPOINT,
        application: Any = None,
        within: float = WITHIN,
    ) -> None:
        self.id = ""
        self.within = within
        self._user = user
        self._token = token
        self._cookies = {name: getattr(cookie, "value", cookie) for name, cookie in (cookies or {}).items()}
        self._headers = dict(headers or {})
        self._path = path
        self._application = application
        self._communicator: ApplicationCommunicator | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._replies: dict[int, dict[str, Any]] = {}
        self._pushes: deque[Push] = deque()
        self._end: tuple[int, str] | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Beginning and end

    async def connect(self, data: Any = None) -> dict[str, Any]:
        """Shake hands and connect; the server's answer. `data` is what the connect command carries. Raises Refused,
        and Closed where the handshake was refused."""
        await enter(self)
        try:
            return await self._connect(data)
        except BaseException:
            await self.close()
            raise

    async def _connect(self, data: Any) -> dict[str, Any]:
        application = self._application or endpoint
        self._communicator = communicator = ApplicationCommunicator(application, await self._scope())  # type: ignore[no-untyped-call]
        await communicator.send_input({"type": "websocket.connect"})  # type: ignore[no-untyped-call]
        self._reader = asyncio.create_task(self._read(communicator))
        asked: dict[str, Any] = {"token": self._token} if self._token else {}
        if data is not None:
            asked["data"] = data
        answer = await self._ask("connect", asked)
        self.id = answer["client"]
        return answer

    async def _scope(self) -> dict[str, Any]:
        await self._log_in()
        path, _, query = self._path.partition("?")
        headers = {"host": _host()} | {name.lower(): value for name, value in self._headers.items()}
        if self._cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            "subprotocols": [],
            "client": ADDRESS,
            "server": (_host(), 80),
        }

    async def _log_in(self) -> None:
        user = self._user
        if user is None:
            return
        if hasattr(user, "get_username"):
            self._cookies |= await sync_to_async(_session_of)(user)
        else:
            self._token = make_connection_token(user)

    async def close(self, code: int = 1000) -> None:
        """End the connection; doing it again does nothing. The server has done its part when this returns."""
        communicator, self._communicator = self._communicator, None
        reader, self._reader = self._reader, None
        if communicator is not None:
            if self._end is None:
                await communicator.send_input({"type": "websocket.disconnect", "code": code})  # type: ignore[no-untyped-call]
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            await communicator.wait(self.within)  # type: ignore[no-untyped-call]
        self._end = self._end or (code, "")
        await leave(self)

    async def closed(self, within: float | None = None) -> tuple[int, str]:
        """Wait until the server ends the connection: code and reason."""
        await self._until(lambda: self._end is not None, "the server did not end the connection", within)
        assert self._end is not None
        return self._end

    # Commands

    async def subscribe(self, channel: str, *, token: str = "", data: Any = None, **options: Any) -> dict[str, Any]:
        """Subscribe to a channel; the server's answer (`recoverable`, `epoch`, `offset`, …). `options` are the
        protocol's: `recover=True, epoch=…, offset=…`. Raises Refused."""
        asked = {"channel": channel, **options} | ({"token": token} if token else {})
        return await self._ask("subscribe", asked | ({} if data is None else {"data": data}))

    async def unsubscribe(self, channel: str) -> None:
        """Leave a channel."""
        await self._ask("unsubscribe", {"channel": channel})

    async def publish(self, channel: str, data: Any) -> None:
        """Publish into a channel as this client. Raises Refused."""
        await self._ask("publish", {"channel": channel, "data": json.loads(encode_data(data))})

    async def history(self, channel: str, limit: int = -1, **options: Any) -> dict[str, Any]:
        """What a channel keeps: `{"publications": [{"offset", "data", …}], "offset", "epoch"}`. Raises Refused."""
        answer = await self._ask("history", {"channel": channel, "limit": limit, **options})
        return {"publications": []} | answer

    async def presence(self, channel: str) -> dict[str, dict[str, Any]]:
        """Who is in a channel: client id → `{"user", "client", …}`. Raises Refused."""
        answer = await self._ask("presence", {"channel": channel})
        return dict(answer.get("presence", {}))

    async def rpc(self, method: str, data: Any = None) -> Any:
        """Call a method of the project; its answer. Raises Refused."""
        return (await self._ask("rpc", {"method": method, "data": data})).get("data")

    async def _ask(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Send a command, and wait for its reply."""
        id, what = next(self._ids), f"{kind} {asked.get('channel') or asked.get('method') or ''}".rstrip()
        await self._say(json.dumps({"id": id, kind: asked}))
        await self._until(lambda: id in self._replies or self._end is not None, f"no reply to {what}")
        if id not in self._replies:
            raise Closed(what, *(self._end or (0, "")))
        reply = self._replies.pop(id)
        if "error" in reply:
            raise Refused(what, reply["error"]["code"], reply["error"]["message"])
        return dict(reply.get(kind) or {})

    async def _say(self, text: str) -> None:
        if self._communicator is None:
            raise AssertionError("this client is not connected: use it in `async with`, or call connect()")
        await self._communicator.send_input({"type": "websocket.receive", "text": text})  # type: ignore[no-untyped-call]

    # What comes

    async def next_push(self, channel: str | None = None, kind: str | None = None, within: float | None = None) -> Push:
        """The next push: of this channel, and of this kind, if given; those before it that do not fit stay."""
        found: list[Push] = []

        def here() -> bool:
            fitting = (one for one in self._pushes if channel in (None, one.channel) and kind in (None, one.kind))
            found.extend(itertools.islice(fitting, 1))
            return bool(found) or self._end is not None

        what = f"no {kind or 'push'} came{'' if channel is None else f' in {channel!r}'}"
        await self._until(here, what, within)
        if not found:
            raise Closed(what, *(self._end or (0, "")))
        self._pushes.remove(found[0])
        return found[0]

    async def next_publication(self, channel: str | None = None, within: float | None = None) -> Any:
        """The data of the next publication, in this channel if given."""
        return (await self.next_push(channel, "pub", within)).data

    async def assert_nothing_pushed(self, channel: str | None = None, kind: str | None = None) -> None:
        """Fail if anything has come that was not looked at. What was published before this call has come by now."""
        await self.settle()
        found = [one for one in self._pushes if channel in (None, one.channel) and kind in (None, one.kind)]
        if found:
            raise AssertionError(f"{len(found)} pushes came: {found}")

    async def settle(self) -> None:
        """Wait until everything that was published before this call has come to this process's clients."""
        done = await Control(get_store()).order(Count(), self.within)
        if not done.answered:
            raise AssertionError(f"the server did not answer within {self.within} s")
        await asyncio.sleep(0)

    async def _read(self, communicator: ApplicationCommunicator) -> None:
        """Sort what the server sends, until it ends."""
        while self._end is None:
            event = await self._event(communicator)
            if event["type"] == "websocket.close":
                self._end = self._end or (event.get("code", 1000), event.get("reason") or "")
            elif event["type"] == "websocket.send":
                text = event.get("text") if event.get("text") is not None else (event.get("bytes") or b"").decode()
                for line in str(text).split("\n"):
                    await self._take(json.loads(line))
            self._news.set()

    async def _event(self, communicator: ApplicationCommunicator) -> dict[str, Any]:
        try:
            return dict(await communicator.receive_output(timeout=None))  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._end = (1006, repr(error))
            self._news.set()
            raise

    async def _take(self, told: dict[str, Any]) -> None:
        if not told:  # a ping
            await self._say("{}")
        elif "push" in told:
            kind = next(name for name in told["push"] if name != "channel")
            body = told["push"][kind] or {}
            if kind == "disconnect":
                self._end = (body["code"], body.get("reason", ""))
            self._pushes.append(Push(kind, told["push"].get("channel", ""), body))
        else:
            self._replies[told["id"]] = told

    async def _until(self, condition: Callable[[], bool], what: str, within: float | None = None) -> None:
        """Wait until a condition holds. Raises AssertionError that says what came instead."""
        limit = self.within if within is None else within
        try:
            async with asyncio.timeout(limit):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            came = f"what came: {list(self._pushes)}" if self._pushes else "nothing came"
            raise AssertionError(f"{what} within {limit} s; {came}") from None


def _host() -> str:
    """A host that the project's settings allow."""
    named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host not in ("*", "")]
    return "testserver" if "testserver" in settings.ALLOWED_HOSTS or not named else named[0]


def _session_of(user: Any) -> dict[str, str]:
    """The cookie of a session that a user has begun."""
    from django.test import Client

    browser = Client()
    browser.force_login(user)
    return {settings.SESSION_COOKIE_NAME: browser.cookies[settings.SESSION_COOKIE_NAME].value}
