"""What a client needs of the node that it belongs to. The node itself is in `flotilla.realtime.node`, which knows
clients.

Times are loop time in seconds (`now`), but for `wall`, which is Unix time, as tokens have it.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from flotilla.presence import Presence
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.stats import NodeStats
from flotilla.realtime.engine.subscription import Subscription

ClientT = TypeVar("ClientT", contravariant=True)


class Timers(Protocol):
    """Calls `on_time` of what was set when its time has come."""

    def set(self, item: Any, when: float | None) -> None: ...


class TooManyWait(Exception):
    """There is no place for a client that wants in, and no room to wait for one."""


class Admission(Protocol):
    """Where a client that is on its way in has a ticket for a place."""

    def end_by(self, ticket: int, give_up: Callable[[], None]) -> None:
        """How the client is ended when there are too many that say nothing."""

    async def connects(self, ticket: int) -> None:
        """It asks to connect: wait for a place if its own is another's by now. Raises TooManyWait."""

    def leave(self, ticket: int) -> None: ...


class Node(Protocol[ClientT]):
    """The process's node, as its clients see it."""

    config: RealtimeConfig
    version: str
    stats: NodeStats
    hub: Hub
    broker: Broker
    presence: Presence
    blocks: Blocks

    @property
    def handlers(self) -> Mapping[str, Any]:
        """Which function handles which command of a client."""

    @property
    def wheel(self) -> Timers: ...

    @property
    def admission(self) -> Admission: ...

    @property
    def access_revision(self) -> int:
        """Grows when anybody's access may have changed: who was on the way in meanwhile is looked at again."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def opened(self, client: ClientT) -> None: ...

    def connected(self, client: ClientT) -> None: ...

    def closed(self, client: ClientT, announced: bool) -> None: ...

    async def enter(
        self, scope: str, client: ClientT, info: bytes, most: int = 0, subscription: Subscription | None = None
    ) -> None: ...

    def leave(self, subscription: Subscription, client: ClientT) -> None: ...

    def published(self, count: int) -> None: ...

    def connect_data(self, client: ClientT) -> bytes | None: ...

    def look_again(self, client: ClientT) -> None:
        """Ask anew whether it may be where it is, without waiting for the answer."""

    async def disconnect_anywhere(self, user: str, client: str, code: int, reason: str) -> None:
        """End a connection by its id, whichever instance has it."""

    async def answering(self, incarnations: Collection[str], user: str, within: float) -> set[str]:
        """Which instances say within so many seconds how many connections of a user they have."""

    def log_failure(self, what: str, error: BaseException, client: ClientT) -> None: ...

    def background(self, work: Coroutine[Any, Any, Any], name: str = "background") -> None: ...
