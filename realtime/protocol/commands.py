"""What a client sends: one text message of newline-separated JSON objects, parsed into Commands.

Parsing is strict about types and blind to unknown keys; a null is an absent member. Payloads (`data`) are kept as the
bytes that were sent. Whatever cannot be a command ends the connection with 3501; one that is, but names something with
half a surrogate pair or is nested beyond measure, is `Unfit`: it alone is answered with 107. Whether a command is
allowed *now* is for the client to say (`realtime/client/command_queue.py`).
"""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct, structs

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Offset = Annotated[int, Meta(ge=0)]
NO_DATA = Raw(b"")
UINT64 = 2**64 - 1
TOP_OFFSET = 2**63 - 1  # no stream comes so far


def known_offset(offset: int) -> int:
    """An offset as we count: the protocol's has 64 bits, ours 63. Raises ValueError for what has more."""
    if offset > UINT64:
        raise ValueError("an offset has at most 64 bits")
    return min(offset, TOP_OFFSET)


class Position(Struct):
    """A place in a stream, as a client remembers it."""

    offset: Offset = 0
    epoch: str = ""

    def __post_init__(self) -> None:
        self.offset = known_offset(self.offset)


class ConnectRequest(Struct):
    """`connect`; `subs` holds the positions of server-side subscriptions of an earlier connection."""

    token: str = ""
    data: Raw = NO_DATA
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    subs: "dict[str, SubscribeRequest]" = {}


class SubscribeRequest(Struct):
    """`subscribe`. `tf` is a tags filter (`flotilla.realtime.protocol.filters`).

    A `type` other than 0 is of a map (`flotilla.realtime.protocol.maps`), of which the client is at a `phase` and asks
    for a page: at most `limit` entries behind the `cursor`, or what has changed since `offset`."""

    channel: str = ""
    token: str = ""
    data: Raw = NO_DATA
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    recover: bool = False
    epoch: str = ""
    offset: Offset = 0
    flag: int = 0
    delta: str = ""
    tf: Raw = NO_DATA
    type: int = 0
    phase: int = 0
    cursor: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        self.offset = known_offset(self.offset)

    @property
    def filtered(self) -> bool:
        """Whether a tags filter is asked for."""
        return bytes(self.tf) not in (b"", b"null")

    @property
    def reject_unrecovered(self) -> bool:
        """Whether the client rather wants error 112 than a subscription that could not be recovered."""
        return bool(self.flag & 2)


class ChannelRequest(Struct):
    """`unsubscribe`, `presence` and `presence_stats`."""

    channel: str = ""


class PublishRequest(Struct):
    """`publish`; `data` is required but may be any JSON value. With `type` 1 it sets the entry of a `key` in a map, or
    takes it out (`removed`, without data)."""

    channel: str = ""
    data: Raw = NO_DATA
    type: int = 0
    key: str = ""
    removed: bool = False


class HistoryRequest(Struct):
    """`history`: `limit` 0 asks for the position alone, -1 for everything; `since` is exclusive."""

    channel: str = ""
    limit: int = 0
    since: Position | None = None
    reverse: bool = False


class RpcRequest(Struct):
    """`rpc`."""

    method: str = ""
    data: Raw = NO_DATA


class SendRequest(Struct):
    """`send`: a message without an answer."""

    data: Raw = NO_DATA


class TokenRequest(Struct):
    """`refresh`, and with a channel `sub_refresh`."""

    token: str = ""
    channel: str = ""


class Empty(Struct):
    """`ping`."""


class Command(Struct):
    """One command. At most the first request present counts; without `id` only `send` means anything."""

    id: Uint32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: ChannelRequest | None = None
    publish: PublishRequest | None = None
    presence: ChannelRequest | None = None
    presence_stats: ChannelRequest | None = None
    history: HistoryRequest | None = None
    rpc: RpcRequest | None = None
    send: SendRequest | None = None
    refresh: TokenRequest | None = None
    sub_refresh: TokenRequest | None = None
    ping: Empty | None = None

    fits: ClassVar[bool] = True

    @property
    def is_pong(self) -> bool:
        """An answer to the server's ping: neither an id nor a message."""
        return not self.id and self.send is None

    @property
    def method(self) -> str:
        """The name of the request it carries; "" when it carries none."""
        for name in _METHODS:
            if getattr(self, name) is not None:
                return name
        return ""


class Unfit(Command):
    """A command that cannot be used.

    Its names (channel, token, method, …) hold half surrogates, or its payload is nested so deep that it was not read.
    """

    fits: ClassVar[bool] = False


def decoded(data: Raw) -> Any:
    """A payload as Python has it. Raises CommandError 107 for what Python cannot hold (1e400, a lone surrogate)."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise CommandError(ErrorCode.BAD_REQUEST) from None


_METHODS = tuple(name for name in Command.__struct_fields__ if name != "id")
_decoder = msgspec.json.Decoder(Command)


def parse(message: str | bytes, most: int = 256) -> list[Command]:
    """`parse_with_effort`, for whom the effort is nothing."""
    return parse_with_effort(message, most)[0]


def parse_with_effort(message: str | bytes, most: int = 256) -> tuple[list[Command], int]:
    """The commands of one message, in order, and how many bytes of it had to be read with effort: what few clients
    send (`foreign`), and what takes a hundred times as long to read as anything else.

    Raises DisconnectError: 3013 when the commands are more than `most`, before any is read; 3501 for anything else.
    """
    try:
        if "\n" not in message if isinstance(message, str) else b"\n" not in message:
            command, effort = _command(message)
            return [command], effort
        lines = message.split("\n", most + 1) if isinstance(message, str) else message.split(b"\n", most + 1)
        if not lines[-1]:
            lines.pop()
        if len(lines) > most:
            raise DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail="too many commands in one message")
        commands, efforts = zip(*map(_command, lines), strict=True)
        return list(commands), sum(efforts)
    except foreign.UNREADABLE as error:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"malformed command: {error}") from None


def _command(line: str | bytes) -> tuple[Command, int]:
    try:
        return _decoder.decode(line), 0
    except (msgspec.DecodeError, RecursionError):
        text = line.encode() if isinstance(line, str) else line
        command, unfit = foreign.read(text, Command, however_deep=True)
        return Unfit(*structs.astuple(command)) if unfit else command, len(text)
