"""What a client needs of its node. The node itself is `flotilla.realtime.node`, which imports clients and is not
imported by them.

Times are loop time in seconds (`now`), but for `wall`, which is Unix time, as tokens have it.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from flotilla.presence import Presence
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.client.command_time import Dues
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.maps import Maps
from flotilla.realtime.engine.stats import NodeStats
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.commands import Command

ClientT = TypeVar("ClientT", contravariant=True)


class Timers(Protocol):
    """Calls `on_time` of an item at the loop time that was `set` for it."""

    def set(self, item: Any, when: float | None) -> None: ...


class TooManyWait(Exception):
    """No place is free for a client that wants to connect, and too many wait for one already."""


class Admission(Protocol):
    """Limits how many clients are on their way in: each has a ticket, and needs a place to connect."""

    def end_by(self, ticket: int, give_up: Callable[[], None]) -> None:
        """Call `give_up` to end the client when too many stay silent."""

    async def connects(self, ticket: int) -> None:
        """The client asks to connect: wait for a place if it has lost its own. Raises TooManyWait."""

    def leave(self, ticket: int) -> None: ...

    def begins(self) -> int:
        """A client that is in asks for a channel; gives the ticket for `ends`."""

    def ends(self, ticket: int) -> None: ...


class Taps(Protocol):
    """Told of what clients ask and are refused, while somebody follows them live (`node.tails`)."""

    def command(self, client: Any, command: Command) -> None:
        """A command is handled. Never raises."""

    def error(self, client: Any, method: str, channel: str, said: str) -> None:
        """A command was answered with an error. Never raises."""


class Sessions(Protocol):
    """Finds clients whose connection is a response."""

    name: str  # this node's, in all of its sessions


class Node(Protocol[ClientT]):
    """The process's node, as its clients see it. `taps` is None while nobody looks."""

    config: RealtimeConfig
    version: str
    stats: NodeStats
    hub: Hub
    broker: Broker
    maps: Maps
    presence: Presence
    blocks: Blocks

    @property
    def dues(self) -> Dues:
        """Who watches over the time of commands."""

    @property
    def taps(self) -> Taps | None: ...

    @property
    def handlers(self) -> Mapping[str, Any]:
        """Which function handles which command of a client."""

    @property
    def timers(self) -> Timers: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def admission(self) -> Admission: ...

    @property
    def access_revision(self) -> int:
        """Grows when anybody's access may have changed: a client that was just connecting is checked again."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def opened(self, client: ClientT) -> None: ...

    def connected(self, client: ClientT) -> None: ...

    def closed(self, client: ClientT, announced: bool) -> None: ...

    async def enter(
        self, scope: str, client: ClientT, info: bytes, limit: int = 0, subscription: Subscription | None = None
    ) -> None: ...

    def leave(self, subscription: Subscription, client: ClientT) -> None: ...

    def published(self, channel: str) -> None: ...

    def watches(self, channel: str) -> bool:
        """Whether it is to be kept who is in a channel, whatever its options say."""

    def connect_data(self, client: ClientT) -> bytes | None: ...

    def reauthorize(self, client: ClientT) -> None:
        """Check again whether the client may be where it is, without waiting for the answer."""

    async def disconnect_anywhere(self, user: str, client: str, code: int, reason: str) -> None:
        """End a connection by its id, whichever instance has it."""

    async def answering(self, incarnations: Collection[str], user: str, within: float) -> set[str]:
        """Which of these instances answer within so many seconds, when they are asked for a user's connections."""

    def log_failure(self, what: str, error: BaseException, client: ClientT) -> None: ...

    def background(self, work: Coroutine[Any, Any, Any], name: str = "background") -> None: ...
