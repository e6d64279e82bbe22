"""Lifecycle signals: `on_connect` and `on_disconnect` of this process's connections, and of those of dead instances.

Both go through presence's receiver queue, so no receiver is waited for, and `on_connect` of a connection comes first.
`flotilla.presence.connection_ends` promises that an end is told once in the whole cluster; what is told is written
here. An `on_connect` for which the queue had no room until its connection ended waits with that end in Redis, so that
no number of short connections fills the memory.
"""

from functools import partial
from typing import Any

import msgspec

from flotilla.presence import ConnectionEnd
from flotilla.presence.receiver_queue import ReceiverQueue
from flotilla.realtime import signals
from flotilla.realtime.client.client import Client
from flotilla.realtime.protocol.codes import DisconnectCode


class Note(msgspec.Struct, omit_defaults=True):
    """What is kept about an end until it is told. `late`: `on_connect` is still to be sent before it."""

    code: int
    reason: str
    late: bool = False


LOST = msgspec.json.encode(Note(int(DisconnectCode.CONNECTION_CLOSED), "instance lost"))


class Lifecycle:
    """Sends the project's receivers who has connected and who is gone."""

    def __init__(self, instance: str) -> None:
        self.receivers = ReceiverQueue()
        self._instance = instance

    def connected(self, client: Client) -> None:
        """Have `on_connect` sent."""
        if signals.on_connect.has_listeners():
            self.receivers.put(client.id, "on_connect", partial(self._connect, self._who(client)))

    def note(self, client: Client) -> bytes:
        """What is kept of a connection that has just ended; b"" when there is no receiver."""
        if not signals.on_disconnect.has_listeners():
            return b""
        late = self.receivers.full and self.receivers.take_back(client.id)
        return msgspec.json.encode(Note(client.code, client.reason, late))

    @staticmethod
    def lost() -> bytes:
        """What is kept of a connection whose instance died; b"" when there is no receiver."""
        return LOST if signals.on_disconnect.has_listeners() else b""

    async def tell(self, end: ConnectionEnd) -> None:
        """Send `on_disconnect` for an end that this instance has to tell; called by the receiver queue."""
        note = msgspec.json.decode(end.note, type=Note)
        who = {"user": end.user, "client": end.client, "instance": end.owner.rpartition(".")[0]}
        if note.late:
            await self._connect(who)
        facts = who | {"code": note.code, "reason": note.reason}
        await self.receivers.send("on_disconnect", signals.on_disconnect, None, **facts)

    async def _connect(self, who: dict[str, Any]) -> None:
        await self.receivers.send("on_connect", signals.on_connect, None, **who)

    def _who(self, client: Client) -> dict[str, Any]:
        return {"user": client.identity.user, "client": client.id, "instance": self._instance}
