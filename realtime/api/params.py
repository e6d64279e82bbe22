"""What the HTTP API's methods take. Unknown keys are ignored; a wrong type makes the body unusable (400)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from realtime.protocol.commands import NO_DATA, Position


class Publish(Struct):
    """`publish`."""

    channel: str = ""
    data: Raw = NO_DATA
    b64data: str = ""
    tags: dict[str, str] | None = None
    skip_history: bool = False
    idempotency_key: str = ""


class Broadcast(Struct):
    """`broadcast`."""

    channels: list[str] = []
    data: Raw = NO_DATA
    b64data: str = ""
    tags: dict[str, str] | None = None
    skip_history: bool = False
    idempotency_key: str = ""


class Channel(Struct):
    """`presence`, `presence_stats`, `history_remove`."""

    channel: str = ""


class History(Struct):
    """`history`: `limit` as Redis can count."""

    channel: str = ""
    limit: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    since: Position | None = None
    reverse: bool = False


class Disconnection(Struct):
    """How a disconnect shall look to the client."""

    code: int = 0
    reason: str = ""


class Disconnect(Struct):
    """`disconnect`; `whitelist` holds the clients that stay."""

    user: str = ""
    client: str = ""
    whitelist: list[str] = []
    disconnect: Disconnection | None = None


class Unsubscribe(Struct):
    """`unsubscribe`."""

    user: str = ""
    channel: str = ""
    client: str = ""


class Channels(Struct):
    """`channels`; `pattern` is a glob."""

    pattern: str = ""


class Empty(Struct):
    """`info`."""


class Batch(Struct):
    """`batch`: one-member objects, method → parameters."""

    commands: list[dict[str, Raw]] = []
    parallel: bool = False


def decode(kind: type[Any], body: bytes) -> Any:
    """The parameters in a request body. Raises msgspec.DecodeError or UnicodeDecodeError."""
    body.decode()  # raw members are passed on unparsed: the whole must be UTF-8
    return msgspec.json.decode(body or b"{}", type=kind)
