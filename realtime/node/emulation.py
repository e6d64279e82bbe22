"""Requests that speak for a client whose connection is a response, here or on another instance.

Each instance listens to a control group of its own, named after its sessions. What is for another instance is published
there: how many have heard it says whether there is such an instance. Nobody waits for more: what the client is answered
comes over its own connection. What a session says is counted there; here only what is far beyond that, which would be
Redis's to carry for nothing.
"""

from collections import OrderedDict
from enum import Enum, auto

import msgspec

from flotilla.realtime.engine import envelope
from flotilla.realtime.node.control import CONTROL_NAME
from flotilla.realtime.node.operations.emulate import Emulate
from flotilla.realtime.node.sessions import Sessions, is_genuine
from flotilla.realtime.protocol.emulation import Emulated
from flotilla.realtime.server.budget import Allowance, Budget
from flotilla.store import Placement, Store, StoreUnavailable, placement_of

MAX_FORWARDING = 1000  # requests for other instances that wait for Redis
MAX_COUNTED = 4096  # sessions of other instances that are counted, those that spoke last
BEYOND = 2  # times what a session may say is passed on: with less its instance has ended it already


class Outcome(Enum):
    """What became of a request."""

    DELIVERED = auto()
    UNKNOWN = auto()  # there is no such session, or its instance is gone
    TRY_AGAIN = auto()  # the other instance cannot be reached now, or the session has said far too much


class Emulation:
    """Delivers what requests say."""

    def __init__(self, store: Store, sessions: Sessions, allowance: Allowance) -> None:
        """`allowance`: what each session may say in a second."""
        self._store = store
        self._sessions = sessions
        self._allowance = Allowance(BEYOND * allowance.frames, BEYOND * allowance.bytes)
        self._counted: OrderedDict[str, Budget] = OrderedDict()
        self._forwarding = 0

    async def deliver(self, said: Emulated) -> Outcome:
        """Hand it to its client, wherever that is. Never raises."""
        if not is_genuine(said.session, said.node):
            return Outcome.UNKNOWN
        if said.node == self._sessions.name:
            return Outcome.DELIVERED if self._sessions.deliver(said.session, said.data) else Outcome.UNKNOWN
        if self._forwarding >= MAX_FORWARDING or not self._count(said):
            return Outcome.TRY_AGAIN
        self._forwarding += 1
        try:
            return Outcome.DELIVERED if await self._forward(said) else Outcome.UNKNOWN
        except StoreUnavailable:
            return Outcome.TRY_AGAIN
        finally:
            self._forwarding -= 1

    def _count(self, said: Emulated) -> bool:
        """Whether the session has not said far too much."""
        budget = self._counted.pop(said.session, None) or Budget(self._allowance)
        self._counted[said.session] = budget
        if len(self._counted) > MAX_COUNTED:
            self._counted.popitem(last=False)
        return budget.spend(1, len(said.data))

    async def _forward(self, said: Emulated) -> int:
        """How many have heard it."""
        place = place_of(said.node)
        text, raw = (said.data, b"") if isinstance(said.data, str) else ("", said.data)
        message = envelope.control(msgspec.json.encode(Emulate(session=said.session, text=text, raw=raw)))
        return await self._store.shard_for(place).announce(place.topic, message)


def place_of(node: str) -> Placement:
    """Where an instance hears what is for it alone; `node` is the name of its sessions."""
    return placement_of(f"{CONTROL_NAME}{node}")
