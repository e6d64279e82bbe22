"""What the parts of a node need of it and of one another. The node itself, which makes them, is in `node`."""

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from flotilla.presence import Presence
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.client.client import Client
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.stats import NodeStats
from flotilla.realtime.node.admission import Admission
from flotilla.realtime.node.control import Control
from flotilla.realtime.node.vitals import Vitals
from flotilla.store import Store


class Reauthorizes(Protocol):
    """Looks at clients' access again (`reauthorization`)."""

    revision: int  # grows when anybody's access may have changed

    async def reauthorize(self, clients: Iterable[Client], channel: str = "") -> int:
        """Look at clients, and at their subscription to `channel` or to all; how many things were ended."""


class TailedNode(Protocol):
    """What live tails need of their node. `taps` is what clients tell while somebody looks."""

    instance: str
    clients: dict[str, Client]
    users: dict[str, set[Client]]
    hub: Hub
    taps: Any

    def now(self) -> float: ...

    def wall(self) -> float: ...


class KeepsTails(Protocol):
    """Follows channels, users and connections for who looks (`tails`)."""

    async def keep(self, id: str, about: str, name: str, *, payloads: bool, listens: bool) -> bool: ...

    async def end(self, id: str) -> bool: ...


class HasSessions(Protocol):
    """Finds clients whose connection is a response (`sessions`)."""

    def deliver(self, session: str, data: str | bytes) -> bool: ...


class NodeParts(Protocol):
    """This process in the cluster: all its clients, and what serves them. Times are loop time, but for `wall`."""

    config: RealtimeConfig
    instance: str
    leaving: bool
    draining: bool
    clients: dict[str, Client]  # by their ids
    users: dict[str, set[Client]]
    hub: Hub
    presence: Presence
    admission: Admission
    blocks: Blocks
    control: Control
    store: Store
    stats: NodeStats
    vitals: Vitals

    @property
    def sessions(self) -> HasSessions: ...

    @property
    def tails(self) -> KeepsTails: ...

    @property
    def reauthorization(self) -> Reauthorizes: ...

    @property
    def admission_rate(self) -> int:
        """Clients a second that this instance says it can let in beside its work."""

    def checks(self) -> dict[str, bool]:
        """What must be true for this instance to take clients."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def background(self, work: Coroutine[Any, Any, Any], name: str = "background") -> None: ...
