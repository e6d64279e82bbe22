"""Live tails: what happens in a channel, to a user or to a connection is passed on, as it happens, to who looks.

Whoever looks (`api.tails`) tells every instance again and again that it still does; without that a tail ends by itself
after `LEASE`. An instance collects events for a moment and leaves them in a list in Redis, so many a second at most:
what is more is counted, and left out. While nobody looks, `Node.taps` is None, which is all that a command costs; what
is written to a client, or announced in a channel, costs nothing (`tapped_socket`, `engine.bystander`).
"""

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.bystander import Bystander
from flotilla.realtime.engine.layer import LAYER_FAULTS, LoopLayer
from flotilla.realtime.node import tail_events
from flotilla.realtime.node.control import TAIL_TTL, tail_key
from flotilla.realtime.node.interface import TailedNode
from flotilla.realtime.node.tail_events import Event
from flotilla.realtime.node.tapped_socket import tap, untap
from flotilla.realtime.protocol.commands import Command
from flotilla.store import Script, Store, StoreUnavailable, supervised

logger = logging.getLogger("flotilla.realtime.tails")

CHANNEL, USER, CLIENT = KINDS = "channel", "user", "client"  # what a tail can be about

LEASE = 10.0  # seconds a tail goes on without hearing that somebody still looks
PASS_ON_EVERY = 0.25  # seconds in which events are collected
AT_ONCE = 50  # events that are passed on then, of one tail
MAX_TAILS = 10  # at a time in this process
MAX_WAITING = 80  # batches that wait to be collected, of all instances together

LEAVE_EVENTS = Script.load("flotilla.realtime.engine", "tail")


class Tail:
    """One tail in this instance: what it is about, and what was seen since the last time something was passed on."""

    __slots__ = ("about", "id", "left_out", "name", "payloads", "seen", "until")

    def __init__(self, id: str, about: str, name: str, payloads: bool) -> None:
        self.id = id
        self.about = about
        self.name = name
        self.payloads = payloads
        self.until = 0.0  # loop time
        self.seen: list[bytes] = []
        self.left_out = 0

    @property
    def is_full(self) -> bool:
        """Whether the next event is left out."""
        return len(self.seen) >= AT_ONCE

    def take(self, event: Event) -> None:
        """Add an event, without its payload where that is masked."""
        if self.is_full:
            self.left_out += 1
            return
        shown = event if self.payloads else msgspec.structs.replace(event, data=None)
        try:
            self.seen.append(msgspec.json.encode(shown))
        except UnicodeError:  # half a character, in a name that a client has made up
            self.left_out += 1


class Tails:
    """The tails of this process. `Node.taps` is this object while there are any."""

    def __init__(self, node: TailedNode, store: Store, layer: LoopLayer) -> None:
        self._node = node
        self._store = store
        self._tails: dict[str, Tail] = {}
        self._bystander = Bystander(layer, self._heard)
        self._task: asyncio.Task[None] | None = None

    # Beginning and ending

    async def keep(self, id: str, about: str, name: str, *, payloads: bool, listens: bool) -> bool:
        """Somebody looks, or still does. One instance `listens` to a channel for all. False: too many look here."""
        tail = self._tails.get(id)
        if tail is None:
            if len(self._tails) >= MAX_TAILS:
                return False
            tail = self._tails[id] = Tail(id, about, name, payloads)
            self._node.taps = self
            for client in self._clients(tail):
                self._tap(client)
        tail.until = self._node.now() + LEASE
        if self._task is None:
            self._task = supervised("tails", self._pass_on)
        if about == CHANNEL:
            await (self._bystander.join(name) if listens else self._stop_listening(name, id))
        return True

    async def end(self, id: str) -> bool:
        """Nobody looks any more: whether somebody did here."""
        tail = self._tails.pop(id, None)
        if tail is None:
            return False
        if tail.about == CHANNEL:
            await self._stop_listening(tail.name, id)
        for client in self._clients(tail):
            if not self._is_followed(client):
                untap(client, self._node.hub)
        if not self._tails:
            self._node.taps = None
        return True

    async def close(self) -> None:
        """The process ends."""
        for tail in list(self._tails.values()):
            await self._end_quietly(tail)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stop_listening(self, channel: str, id: str) -> None:
        others = (one for one in self._tails.values() if one.about == CHANNEL and one.id != id)
        if all(one.name != channel for one in others):
            await self._bystander.leave(channel)

    def _clients(self, tail: Tail) -> list[Client]:
        if tail.about == USER:
            return list(self._node.users.get(tail.name, ()))
        client = self._node.clients.get(tail.name) if tail.about == CLIENT else None
        return [client] if client is not None else []

    def _is_followed(self, client: Client) -> bool:
        return any(self._of_client(client))

    def _tap(self, client: Client) -> None:
        tap(client, self._node.hub, lambda payload: self._sent(client, payload))

    # What happens

    def command(self, client: Client, command: Command) -> None:
        """A client's command is handled."""
        event = tail_events.of_command(command, self._node.wall())
        self._note(client, event, event.channel)

    def error(self, client: Client, method: str, channel: str, said: str) -> None:
        """A client's command is answered with an error."""
        event = Event(at=self._node.wall(), kind="error", text=f"{method}: {said}", channel=channel)
        self._note(client, event, channel)

    def connected(self, client: Client) -> None:
        """A client has connected."""
        self._note(client, Event(at=self._node.wall(), kind="connected", text=client.address))
        if self._is_followed(client):
            self._tap(client)

    def closed(self, client: Client) -> None:
        """A client's connection is over. It is still in its channels."""
        event = Event(at=self._node.wall(), kind="disconnected", text=f"{client.code} {client.reason}")
        self._note(client, event, *client.subscriptions)

    def _sent(self, client: Client, payload: bytes) -> None:
        tails = list(self._of_client(client))
        if all(tail.is_full for tail in tails):  # not even read
            for tail in tails:
                tail.left_out += payload.count(b"\n") + 1
            return
        for event in tail_events.of_frame(payload, self._node.wall(), client.encoding):
            if event.kind in ("subscribed", "unsubscribed", "message"):
                event.user, event.client = client.identity.user, client.id
            self._give(event, tails)

    def _heard(self, kind: str, channel: str, message: dict[str, object]) -> None:
        event = tail_events.of_publication(kind, channel, message, self._node.wall())
        self._give(event, (tail for tail in self._tails.values() if tail.about == CHANNEL and tail.name == channel))

    def _of_client(self, client: Client) -> Iterable[Tail]:
        named = {USER: client.identity.user, CLIENT: client.id}
        return (tail for tail in self._tails.values() if tail.about != CHANNEL and tail.name == named[tail.about])

    def _note(self, client: Client, event: Event, *channels: str) -> None:
        event.user, event.client = client.identity.user, client.id
        self._give(event, self._of_client(client))
        for channel in channels:
            found = [tail for tail in self._tails.values() if tail.about == CHANNEL and tail.name == channel]
            if found:
                self._give(msgspec.structs.replace(event, channel=channel), found)

    def _give(self, event: Event, tails: Iterable[Tail]) -> None:
        event.instance = self._node.instance
        for tail in tails:
            tail.take(event)

    # Passing on

    async def _pass_on(self) -> None:
        while self._tails:
            await asyncio.sleep(PASS_ON_EVERY)
            for tail in list(self._tails.values()):
                if tail.until < self._node.now():
                    logger.info("nobody follows %s %s any more", tail.about, tail.name)
                    await self._end_quietly(tail)
                else:
                    await self._leave(tail)
        self._task = None

    async def _end_quietly(self, tail: Tail) -> None:
        try:
            await self.end(tail.id)
        except LAYER_FAULTS as error:
            logger.warning("a channel that was followed cannot be left: %s", error)

    async def _leave(self, tail: Tail) -> None:
        seen, tail.seen, left_out, tail.left_out = tail.seen, [], tail.left_out, 0
        if left_out:
            more = Event(at=self._node.wall(), kind="more", text=str(left_out), instance=self._node.instance)
            seen.append(msgspec.json.encode(more))
        if not seen:
            return
        batch = b"[%s]" % b",".join(seen)
        try:
            await self._store.first.run(LEAVE_EVENTS, [tail_key(tail.id)], [batch, TAIL_TTL, MAX_WAITING])
        except StoreUnavailable as error:
            logger.info("what was seen for a tail could not be passed on: %s", error)
