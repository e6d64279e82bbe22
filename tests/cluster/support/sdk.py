"""The official clients, unmodified, behind one face: PyPI `centrifuge-python` here; the others are in `driven`.

All record their events as mappings with the same keys, so that one test runs with any. What a client is asked to do
is awaited; what happens to it is waited for with `event`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import is_dataclass
from typing import Any, Protocol

import centrifuge
from centrifuge import ReplyError

from tests.cluster.support.processes import PATIENCE, eventually

Event = dict[str, Any]
TokenSource = Callable[[str], str]
"""Gives a token for a channel, or for the connection when the channel is ""."""


class CommandFailed(Exception):
    """A client's call was answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Recorder:
    """The events of one client, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def named(self, event: str, channel: str | None = None) -> list[Event]:
        """The events of a name so far."""
        return [e for e in self.events if e["event"] == event and channel in (None, e.get("channel"))]

    async def event(
        self, event: str, channel: str | None = None, *, nth: int = 1, within: float = PATIENCE, **fields: Any
    ) -> Event:
        """The nth event of a name with these fields, of those that happened or will."""

        def find() -> Event | None:
            fitting = [e for e in self.named(event, channel) if all(e.get(k) == v for k, v in fields.items())]
            return fitting[nth - 1] if len(fitting) >= nth else None

        try:
            found: Event = await eventually(find, f"{event} no. {nth} of {channel} with {fields}", within)
        except AssertionError as error:
            raise AssertionError(f"{error}; last events: {self.events[-8:]}") from None
        return found

    @property
    def instance(self) -> str:
        """The name of the instance that serves it, as the last connect reply gave it."""
        return str((self.named("connected")[-1]["data"] or {}).get("instance", ""))

    @property
    def client(self) -> str:
        """The id of its latest connection."""
        return str(self.named("connected")[-1]["client"])

    def published(self, channel: str, server_side: bool = False) -> list[Any]:
        """The data of the publications it was given, in order."""
        return [e["data"] for e in self.named("server_publication" if server_side else "publication", channel)]

    def offsets(self, channel: str) -> list[int]:
        """The offsets of the publications it was given, in order."""
        return [int(e["offset"]) for e in self.named("publication", channel)]


class SdkClient(Protocol):
    """What both clients can do. Times in seconds; calls raise CommandFailed."""

    name: str

    @property
    def seen(self) -> Recorder: ...
    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...
    async def subscribe(self, channel: str, token: TokenSource | None = None, **options: Any) -> None: ...
    async def deltas(self, channel: str) -> int: ...
    async def resubscribe(self, channel: str) -> None: ...
    async def unsubscribe(self, channel: str) -> None: ...
    async def publish(self, channel: str, data: Any) -> None: ...
    async def presence(self, channel: str) -> dict[str, Any]: ...
    async def presence_stats(self, channel: str) -> dict[str, int]: ...
    async def history(self, channel: str, limit: int = 0) -> dict[str, Any]: ...
    async def rpc(self, method: str, data: Any) -> Any: ...
    async def close(self) -> None: ...


class MakeClient(Protocol):
    """Makes a client of the SDK under test."""

    def __call__(self, url: str, token: TokenSource | None = None, **options: Any) -> SdkClient: ...


class PythonClient:
    """centrifuge-python."""

    def __init__(self, url: str, token: TokenSource | None = None, name: str = "python", **options: Any) -> None:
        self.name = name
        self.seen = Recorder()

        async def get_token() -> str:
            assert token is not None
            return token("")

        self._client = centrifuge.Client(
            url,
            events=_client_events(self.seen),
            get_token=get_token if token is not None else None,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.5,
            proxy=None,
            **options,
        )

    async def connect(self) -> None:
        await self._client.connect()

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def close(self) -> None:
        await self._client.disconnect()
        tasks = self._client._background_tasks  # the socket is closed in one of them
        await eventually(lambda: not tasks, "the client has closed its socket")

    async def subscribe(self, channel: str, token: TokenSource | None = None, **options: Any) -> None:
        async def get_token(wanted: str) -> str:
            assert token is not None
            return token(wanted)

        subscription = self._client.new_subscription(
            channel,
            events=_subscription_events(self.seen, channel),
            get_token=get_token if token is not None else None,
            min_resubscribe_delay=0.05,
            max_resubscribe_delay=0.5,
            **options,
        )
        await subscription.subscribe()

    async def deltas(self, channel: str) -> int:
        """How many deltas have come."""
        return sum(event["delta"] for event in self.seen.named("publication", channel))

    async def resubscribe(self, channel: str) -> None:
        await self._subscription(channel).subscribe()

    async def unsubscribe(self, channel: str) -> None:
        await self._subscription(channel).unsubscribe()

    async def publish(self, channel: str, data: Any) -> None:
        await _answer(self._client.publish(channel, data))

    async def presence(self, channel: str) -> dict[str, Any]:
        return _plain(await _answer(self._client.presence(channel)))

    async def presence_stats(self, channel: str) -> dict[str, int]:
        return _plain(await _answer(self._client.presence_stats(channel)))

    async def history(self, channel: str, limit: int = 0) -> dict[str, Any]:
        return _plain(await _answer(self._client.history(channel, limit=limit)))

    async def rpc(self, method: str, data: Any) -> Any:
        return _plain(await _answer(self._client.rpc(method, data)))["data"]

    def _subscription(self, channel: str) -> centrifuge.Subscription:
        found = self._client.get_subscription(channel)
        assert found is not None
        return found


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ReplyError as error:
        raise CommandFailed(error.code, str(error)) from error


def _plain(context: Any) -> dict[str, Any]:
    """A context as a mapping; publications are flattened, as JavaScript's are."""
    fields: dict[str, Any] = {name: _unpacked(value) for name, value in vars(context).items()}
    return fields | fields.pop("pub", {})


def _unpacked(value: Any) -> Any:
    if isinstance(value, Exception):
        return str(value)
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if isinstance(value, dict):
        return {key: _unpacked(item) for key, item in value.items()}
    return _plain(value) if is_dataclass(value) else value


def _recording(seen: Recorder, event: str, **more: Any) -> Callable[[Any], Awaitable[None]]:
    async def record(context: Any) -> None:
        seen.events.append(_plain(context) | more | {"event": event})

    return record


def _client_events(seen: Recorder) -> centrifuge.ClientEventHandler:
    handler = centrifuge.ClientEventHandler()
    for name in ("connecting", "connected", "disconnected", "error"):
        setattr(handler, f"on_{name}", _recording(seen, name))
    for name in ("subscribing", "subscribed", "unsubscribed", "publication", "join", "leave"):
        setattr(handler, f"on_{name}", _recording(seen, f"server_{name}"))
    return handler


def _subscription_events(seen: Recorder, channel: str) -> centrifuge.SubscriptionEventHandler:
    handler = centrifuge.SubscriptionEventHandler()
    for name in ("subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"):
        setattr(handler, f"on_{name}", _recording(seen, name, channel=channel))
    return handler
