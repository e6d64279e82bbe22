"""What the HTTP API's methods give, for its document: the views send plain mappings of these shapes."""

from typing import Any

from msgspec import Struct


class Place(Struct):
    """Where a publication stands; neither in a channel without history, nor of one that goes through the outbox."""

    offset: int = 0
    epoch: str = ""


class Error(Struct):
    """An application error, with 200 unless the error mode says otherwise."""

    code: int
    message: str


class Refusal(Struct):
    """Why a request never got to a method."""

    error: Error


class BroadcastResponse(Struct, omit_defaults=True):
    """One channel's outcome: either of the two."""

    result: Place | None = None
    error: Error | None = None


class Broadcast(Struct):
    """In the order of the channels."""

    responses: list[BroadcastResponse]


class Done(Struct):
    """Connections or subscriptions that were hit, as so many of the living instances said."""

    hit: int
    answered: int
    instances: int


class ClientInfo(Struct):
    """A connection in a channel."""

    user: str
    client: str
    conn_info: Any = None
    chan_info: Any = None


class Presence(Struct):
    """By client."""

    presence: dict[str, ClientInfo]


class PresenceStats(Struct):
    """How many connections, of how many users."""

    num_clients: int
    num_users: int


class Publication(Struct, kw_only=True):
    """A publication of a channel's history; instead of `data`, `b64data` where a channel takes bytes of any kind. In a
    map, the change of a `key`, without data where its entry was `removed`."""

    data: Any = None
    b64data: str = ""
    offset: int
    info: ClientInfo | None = None
    tags: dict[str, str] | None = None
    key: str = ""
    removed: bool = False


class History(Struct):
    """A page, and the stream's top."""

    publications: list[Publication]
    epoch: str
    offset: int


class MapChange(Struct):
    """Whether an entry was changed, and the position of the map's stream."""

    changed: bool
    offset: int = 0
    epoch: str = ""


class Entry(Struct, kw_only=True):
    """An entry of a map; instead of `data`, `b64data` where a channel takes bytes of any kind. `offset`: that of the
    change that set it, if it is of the same epoch."""

    key: str
    data: Any = None
    b64data: str = ""
    offset: int = 0
    info: ClientInfo | None = None
    tags: dict[str, str] | None = None


class MapState(Struct):
    """A page of a map, the position of its stream, and how many entries it has. `cursor`: of the next page."""

    entries: list[Entry]
    epoch: str
    offset: int
    num_keys: int
    cursor: str = ""


class MapStats(Struct):
    """How many entries a map has, and the bytes of them and their keys."""

    num_keys: int
    num_bytes: int


class Empty(Struct):
    """Nothing."""


class Clients(Struct):
    """Of one channel."""

    num_clients: int


class Channels(Struct):
    """By channel."""

    channels: dict[str, Clients]


class Node(Struct):
    """An instance, in numbers; `uptime` in seconds. `admission_rate`: clients a second that it can let in;
    `admission_peak`: the most that it did within a second, over the last minute."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int
    draining: bool = False
    admission_rate: int = 0
    admission_peak: int = 0
    host: str = ""
    pid: int = 0


class Info(Struct):
    """The living instances."""

    nodes: list[Node]


class Rpc(Struct):
    """What the method answered."""

    data: Any
