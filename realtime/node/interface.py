"""What the parts of a node need of it and of one another. The node itself, which puts them together, is in `node`."""

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from flotilla.presence import Presence
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.client.client import Client
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.node.admission import Admission
from flotilla.realtime.node.control import Control


class Rechecks(Protocol):
    """Checks the access of clients again; it is in `reauthorization`."""

    revision: int  # grows when anybody's access may have changed

    async def recheck(self, clients: Iterable[Client], channel: str = "") -> int:
        """Check clients and their subscriptions, or that to `channel` alone; returns how many of both it ended."""


class NodeParts(Protocol):
    """This process in the cluster: all its clients, and what serves them. Times are loop time, but for `wall`."""

    config: RealtimeConfig
    instance: str
    draining: bool
    clients: dict[str, Client]  # by their ids
    users: dict[str, set[Client]]
    hub: Hub
    presence: Presence
    admission: Admission
    blocks: Blocks
    control: Control

    @property
    def rechecker(self) -> Rechecks: ...

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def background(self, work: Coroutine[Any, Any, Any], name: str = "background") -> None: ...
