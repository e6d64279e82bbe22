"""What the HTTP API's methods take. Unknown keys are ignored, a null is an absent member; a wrong type makes the body
unusable (400).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, ErrorCode
from flotilla.realtime.protocol.commands import NO_DATA, Position

Seconds = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Version = Annotated[int, Meta(ge=0)]
EACH_FOR_ITSELF = frozenset({"channels", "commands", "tags"})  # one unfit part is no fault of the others


class Publish(Struct):
    """`publish`. Beyond the protocol: `key`, by which slow clients of a conflating namespace get the newest alone, and
    `durable`, whether it goes through the outbox (absent: as the namespace says)."""

    channel: str = ""
    data: Raw = NO_DATA
    b64data: str = ""
    tags: dict[str, str] | None = None
    key: str = ""
    skip_history: bool = False
    idempotency_key: str = ""
    version: Version = 0
    version_epoch: str = ""
    delta: bool = False
    durable: bool | None = None


class Broadcast(Struct):
    """`broadcast`."""

    channels: list[str] = []
    data: Raw = NO_DATA
    b64data: str = ""
    tags: dict[str, str] | None = None
    key: str = ""
    skip_history: bool = False
    idempotency_key: str = ""
    version: Version = 0
    version_epoch: str = ""
    delta: bool = False
    durable: bool | None = None


class MapPublish(Struct):
    """`map_publish`: `ttl` in seconds, 0: until it is removed; `key_mode`: "if_new", "if_exists", or always."""

    channel: str = ""
    key: str = ""
    data: Raw = NO_DATA
    b64data: str = ""
    tags: dict[str, str] | None = None
    ttl: Annotated[float, Meta(ge=0)] | None = None
    key_mode: Literal["", "if_new", "if_exists"] = ""


class MapKey(Struct):
    """`map_remove`."""

    channel: str = ""
    key: str = ""


class MapReadState(Struct):
    """`map_read_state`: at most `limit` entries behind the `cursor`, or the one of a `key`."""

    channel: str = ""
    key: str = ""
    cursor: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class Channel(Struct):
    """`presence`, `presence_stats`, `history_remove`, `map_stats`."""

    channel: str = ""


class History(Struct):
    """`history`: `limit` as Redis can count."""

    channel: str = ""
    limit: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    since: Position | None = None
    reverse: bool = False


class Disconnection(Struct):
    """What the client is told of a disconnect."""

    code: int = int(DisconnectCode.FORCE_DISCONNECT)
    reason: str = ""


class Disconnect(Struct):
    """`disconnect`; `whitelist` holds the clients that stay. Beyond the protocol: `channel`, whose subscribers go."""

    user: str | None = None
    client: str = ""
    session: str = ""
    channel: str = ""
    whitelist: list[str] = []
    disconnect: Disconnection | None = None


class Unsubscribe(Struct):
    """`unsubscribe`."""

    user: str | None = None
    channel: str = ""
    client: str = ""
    session: str = ""


class Flag(Struct):
    """An overridden option."""

    value: bool


class Override(Struct):
    """Options of the channel that are different for one subscription."""

    presence: Flag | None = None
    join_leave: Flag | None = None
    force_push_join_leave: Flag | None = None
    force_recovery: Flag | None = None
    force_positioning: Flag | None = None


class Subscribe(Struct):
    """`subscribe`; `expire_at` is Unix time in seconds, 0 or less for never."""

    user: str | None = None
    channel: str = ""
    client: str = ""
    session: str = ""
    info: Raw = NO_DATA
    b64info: str = ""
    data: Raw = NO_DATA
    b64data: str = ""
    expire_at: Seconds = 0
    recover_since: Position | None = None
    override: Override | None = None


class Refresh(Struct):
    """`refresh`; `expire_at` as for `subscribe`."""

    user: str | None = None
    client: str = ""
    session: str = ""
    expired: bool = False
    expire_at: Seconds = 0
    info: Raw = NO_DATA


class Reauthorize(Struct):
    """`reauthorize`, ours: nothing given means everybody."""

    user: str | None = None
    client: str = ""
    channel: str = ""


class Rpc(Struct):
    """`rpc`; `params` is what the method gets as data."""

    method: str = ""
    params: Raw = NO_DATA


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
    """The parameters in a request body; none, or null, are all absent.

    Raises one of foreign.UNREADABLE, and CommandError 107 for names with half surrogates.
    """
    body.decode()  # raw members are passed on unparsed: the whole must be UTF-8
    if body.strip() in (b"", b"null"):
        return kind()
    asked, unfit = foreign.read(body, kind, however_deep=True)
    if unfit - EACH_FOR_ITSELF:
        raise CommandError(ErrorCode.BAD_REQUEST, f"cannot be used: {', '.join(sorted(unfit))}")
    return asked
