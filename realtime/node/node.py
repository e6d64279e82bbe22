"""The node: one process of the cluster. It makes hub, presence, control and the other parts, starts and ends them
together, and holds all clients.

`get_node()` makes the process's node at the first use. Starting never waits for Redis: while it is away, connections
are accepted and told to try again, and everything begins by itself when it is back.
"""

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any

import msgspec

from flotilla.presence import Announcement, Fenced, NameTaken, Presence, Reaped
from flotilla.presence.process_identity import identity
from flotilla.presence.scopes import Scope
from flotilla.ratelimit.service import get_limits
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_time import Dues
from flotilla.realtime.client.commands.handlers import HANDLERS
from flotilla.realtime.client.limits import guarded
from flotilla.realtime.client.traced import traced
from flotilla.realtime.conf import RealtimeConfig, get_config
from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.broker import get_broker
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.layer import LAYER_FAULTS, get_layer
from flotilla.realtime.engine.maps import Maps
from flotilla.realtime.engine.presence_maps import told_maps
from flotilla.realtime.engine.stats import NodeStats
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.witness import Watch
from flotilla.realtime.node import control, drain, journal, snapshot
from flotilla.realtime.node.admission import Admission
from flotilla.realtime.node.control import Control
from flotilla.realtime.node.cut_off import CutOff, reconnect_in_waves
from flotilla.realtime.node.dispatcher import Dispatcher
from flotilla.realtime.node.emulation import Emulation, place_of
from flotilla.realtime.node.heartbeat import Heartbeat
from flotilla.realtime.node.lifecycle import LOST, Lifecycle
from flotilla.realtime.node.map_ends import MapEnds
from flotilla.realtime.node.operations.block import end_blocked
from flotilla.realtime.node.operations.count import Count
from flotilla.realtime.node.operations.disconnect import Disconnect
from flotilla.realtime.node.reauthorization import Reauthorization
from flotilla.realtime.node.sessions import Sessions
from flotilla.realtime.node.tails import Tails
from flotilla.realtime.node.timer_wheel import TimerWheel
from flotilla.realtime.node.vitals import Vitals
from flotilla.realtime.outbox.relays import Relays
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError
from flotilla.realtime.server.budget import Allowance, Bounds
from flotilla.realtime.server.open_files import affordable
from flotilla.realtime.server.parent_death import replaces
from flotilla.realtime.server.signals import on_drain
from flotilla.realtime.webhooks.webhooks import Webhooks
from flotilla.store import Backoff, Store, StoreUnavailable, get_store, placement_of, supervised
from flotilla.store.conf import get_store_config
from flotilla.version import VERSION

logger = logging.getLogger("flotilla.realtime.node")

TELL_WITHIN = 0.5  # seconds the note of an instance's end may take
CLEAN_UP_WITHIN = 5.0  # seconds the clean-up of closed connections may take at the end
RELAY_ENDS_WITHIN = 2.0  # seconds a relay's last batch may take


class Node:
    """This process in the cluster. Everything runs in the event loop it was made in."""

    version = VERSION

    def __init__(self, config: RealtimeConfig, store: Store, instance: str) -> None:
        self.config = config
        self.handlers = traced(guarded(HANDLERS, config))
        self.bounds = Bounds(
            config.max_message_bytes, Allowance(config.max_frames_per_second, config.max_bytes_per_second)
        )
        self.instance = instance
        self.store = store
        self.started_at = time.time()
        self._process = identity()
        self.leaving = False  # the process was told to end; it still serves for the grace, then `draining` begins
        self.draining = False
        self.clients: dict[str, Client] = {}
        self.users: dict[str, set[Client]] = {}
        self.stats = NodeStats()
        self.connections_opened = 0
        self.connections_closed: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self.admission = Admission(config.max_connecting, self._loop.time, affordable(config.max_waiting))
        self._background: set[asyncio.Task[Any]] = set()
        self._joined = asyncio.Event()
        self.broker = get_broker(store)
        self.maps = Maps(self.broker)
        self.map_ends = MapEnds(config, store, self.maps)
        self._layer = get_layer().loop_layer()
        self.hub = Hub(
            self._layer,
            self.broker,
            check_interval=config.position_check_interval,
            max_joined=config.max_joined_bytes,
            max_unsent=config.max_outgoing_bytes,
        )
        self.control = Control(store)
        self.sessions = Sessions(self.bounds.allowance)
        self.emulation = Emulation(store, self.sessions, self.bounds.allowance)
        self.taps: Tails | None = None
        self.tails = Tails(self, store, self._layer)
        self.reauthorization = Reauthorization(self)
        self.dispatcher = Dispatcher(self)
        self.blocks = Blocks(store, partial(end_blocked, self))
        self.timers = TimerWheel(self._loop.time)
        self.dues = Dues()
        self.heartbeat = Heartbeat(store, self.hub, self._layer)
        self.lifecycle = Lifecycle(instance)
        self.webhooks = Webhooks(config.webhooks, store)
        self.relays = Relays(store)
        self.presence = Presence(
            store,
            instance=instance,
            announce=self._announcement,
            lease_ttl=config.lease_ttl,
            renew_every=config.lease_renew,
            reap_every=config.reaper_interval,
            describe=self.describe,
            on_fenced=self._on_fenced,
            on_reaped=self._on_reaped,
            on_end=self.lifecycle.tell,
            lost_note=self.lifecycle.lost,
            lost_cause=LOST,
            receivers=self.lifecycle.receivers,
        )
        self.cut_off = CutOff(self)
        self.vitals = Vitals(store, self.hub.stats.clocks, self.presence.leases, lambda: self.admission.admitted.total)
        self.watch = Watch(store, lambda: self.presence.incarnation, self.presence.living)

    # Start and end

    async def start(self, *, claims_name: bool = False) -> None:
        """Begin; what needs Redis begins when Redis is there. `claims_name`: unless another instance of this name
        lives. Raises NameTaken."""
        if claims_name:
            await self.presence.claim_name(self.describe(), replaces())
        self.hub.on_control = self.dispatcher.receive
        self.hub.on_beat = self.heartbeat.arrived
        self._layer.on_reconnect = self._on_reconnect
        self.timers.start()
        self.vitals.start()
        await self.presence.start()
        await self.cut_off.start()
        self.watch.start()
        self.reauthorization.start()
        self.blocks.start()
        self.webhooks.start()
        self.map_ends.start()
        joining = supervised("join", self._join_cluster)
        self._background.add(joining)
        joining.add_done_callback(self._background.discard)
        self.background(self._tell_start(), name="journal")

    def relay(self) -> None:
        """This process serves: it may relay what outboxes hold, unless the configuration says otherwise."""
        if self.config.relay and not self.leaving:
            self.relays.start()

    async def _join_cluster(self) -> None:
        backoff = Backoff(first=0.1)
        while True:
            try:
                await self.hub.start()
                await self.hub.join_group(control.control_place().group)
                await self.hub.join_group(place_of(self.sessions.name).group)
                await self.heartbeat.start()
                self._joined.set()
                return
            except LAYER_FAULTS as error:
                if not backoff.failures:
                    logger.warning("cannot join the cluster yet: %s", error)
                await asyncio.sleep(backoff.next())

    async def _tell_start(self) -> None:
        """Note in the cluster's journal that this run has begun, and what is not as it was at the start before."""
        await self._joined.wait()
        about = {"incarnation": self.presence.incarnation, "version": self.version, "host": socket.gethostname()}
        found = await asyncio.to_thread(snapshot.of_this_process)
        await journal.note(
            self.store, "start", self.instance, **about, changed=await journal.compare(self.store, found)
        )

    async def _tell_end(self) -> None:
        """Note that this run has ended in order; never for long, whatever Redis does."""
        try:
            async with asyncio.timeout(TELL_WITHIN):
                await journal.note(self.store, "end", self.instance, incarnation=self.presence.incarnation)
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning("the end is not in the journal: %s", error or "Redis does not answer")

    async def joined_within(self, seconds: float) -> bool:
        """Wait until this process is part of the cluster; False when that took too long."""
        try:
            async with asyncio.timeout(seconds):
                await self._joined.wait()
        except TimeoutError:
            return False
        return True

    def announce_end(self) -> None:
        """The process was told to end: the cluster knows at once that this instance drains, and that a successor may
        have its name."""
        if not self.leaving:
            self.leaving = True
            self.relays.stop()
            self.background(self.presence.tell())

    async def drain(self, deadline: float) -> None:
        """Tell every client to reconnect elsewhere, in steps (`draining`), within `deadline` seconds; then leave the
        cluster. Each one's presence is removed as it is told to go, and nothing is left in Redis when this returns."""
        self.announce_end()
        self.draining = True
        await drain.send_away(self, deadline)
        await self.close()

    async def close(self) -> None:
        """Leave the cluster; open connections are closed with 3001."""
        self.leaving = self.draining = True
        self.admission.open()
        for client in list(self.clients.values()):
            client.disconnect(DisconnectCode.SHUTDOWN)
        await self.reauthorization.close()
        await self.blocks.close()
        await self.tails.close()
        await self.idle()
        await self.map_ends.close()
        await self.cut_off.stop()
        await self.vitals.close()
        await self.heartbeat.close()
        await self.hub.close()
        await self.watch.close()
        await self.presence.stop()
        await self.webhooks.close()
        await asyncio.to_thread(self.relays.close, RELAY_ENDS_WITHIN)
        if self._joined.is_set():
            await self._tell_end()
        await self.watch.leave()
        self.timers.stop()
        self.dues.stop()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._layer.flush()
        await get_limits().limiter.shard.close()
        await self.store.close()
        forget_node(self)

    async def idle(self) -> None:
        """Wait until the clean-up of closed connections is done, for a bounded time."""
        await self.presence.removed(CLEAN_UP_WITHIN)

    # Connections

    def opened(self, client: Client) -> None:
        """A connection was accepted."""
        self.clients[client.id] = client
        self.connections_opened += 1

    def connected(self, client: Client) -> None:
        """A client has connected: from now on it is one of its user's connections."""
        self.users.setdefault(client.identity.user, set()).add(client)
        self.lifecycle.connected(client)
        if self.taps is not None:
            self.taps.connected(client)

    def closed(self, client: Client, announced: bool) -> None:
        """A connection is gone: take it out of presence, and have the project told, once in the whole cluster."""
        if self.taps is not None:
            self.taps.closed(client)
        self.clients.pop(client.id, None)
        self.sessions.end(client.session)
        self.connections_closed[str(client.code) if client.code < 4000 else "application"] += 1
        of_user = self.users.get(client.identity.user)
        if of_user is not None:
            of_user.discard(client)
            if not of_user:
                del self.users[client.identity.user]
        for subscription in client.subscriptions.values():
            self.leave(subscription, client)
        if client.registered:
            note = self.lifecycle.note(client) if announced else b""
            cause = self.webhooks.cause(client.code, client.reason)
            self.presence.remove(Scope.user(client.identity.user), client.id, note, cause)

    def leave(self, subscription: Subscription, client: Client) -> None:
        """Take a subscription's connection out of the channel's presence: once, and only what it entered itself."""
        if subscription.present:
            subscription.present = False
            self.presence.remove(Scope.channel(subscription.channel), client.id)

    async def enter(
        self, scope: str, client: Client, info: bytes, limit: int = 0, subscription: Subscription | None = None
    ) -> None:
        """Make a connection present in a scope, for a subscription if it is a channel's. Raises DisconnectError 3011
        when this instance was declared dead, and presence's Full when `limit` others are there (0: no limit).
        """
        if subscription is not None:
            subscription.present = True  # with no await before the add: so `leave` comes before both or after both
        try:
            await self.presence.add(scope, client.id, client.identity.user, info, limit)
        except Fenced:
            raise DisconnectError(DisconnectCode.FORCE_RECONNECT) from None

    def watches(self, channel: str) -> bool:
        """Whether webhooks want to know who is in a channel."""
        return self.webhooks.watches(channel)

    def published(self, channel: str) -> None:
        """Count a publication of a client."""
        self.hub.traffic.of(channel).published += 1

    def connect_data(self, client: Client) -> bytes | None:
        """The `data` of the connect reply: the instance's name, where the configuration shows it."""
        return msgspec.json.encode({"instance": self.instance}) if self.config.show_instance else None

    @property
    def access_revision(self) -> int:
        """Grows when anybody's access may have changed."""
        return self.reauthorization.revision

    def reauthorize(self, client: Client) -> None:
        """Check again whether a client may be where it is, without waiting for the answer."""
        self.background(self.reauthorization.reauthorize([client]))

    async def disconnect_anywhere(self, user: str, client: str, code: int, reason: str) -> None:
        """End a connection by its id, whichever instance has it."""
        await self.control.tell(Disconnect(user=user, client=client, code=code, reason=reason))

    async def answering(self, incarnations: Collection[str], user: str, within: float) -> set[str]:
        """Which of these instances answer within so many seconds, when they are asked for a user's connections."""
        return set(await self.control.ask(Count(user=user), incarnations, within))

    # Presence

    def _announcement(self, scope: str) -> Announcement | None:
        channel = Scope.channel_of(scope)
        outbox = self.webhooks.outbox(scope, channel)
        if channel is None:
            return Announcement(outbox=outbox) if outbox is not None else None
        try:
            options = options_for(channel, self.config)
        except CommandError:  # a namespace that is gone from the configuration
            return None
        told, maps = options.join_leave, told_maps(channel, options)
        if not told:
            return Announcement(outbox=outbox, maps=maps) if outbox is not None or maps.keys else None
        return Announcement(
            placement_of(channel).topic,
            envelope.presence_head(envelope.JOIN, channel),
            envelope.presence_head(envelope.LEAVE, channel),
            told == "user",
            outbox,
            maps,
        )

    async def _on_fenced(self) -> None:
        """This instance was declared dead while it was paused: its clients reconnect, each with one leave and join."""
        clients = list(self.clients.values())
        about = {"incarnation": self.presence.incarnation, "clients": len(clients)}
        self.background(journal.note(self.store, "fenced", self.instance, **about), name="journal")
        logger.warning("the other instances took this one for dead; its %d clients reconnect", len(clients))
        await reconnect_in_waves(clients)

    def _on_reaped(self, reaped: Reaped) -> None:
        """Another instance's connections were removed from a scope."""
        self.stats.reaped["channel" if Scope.user_of(reaped.scope) is None else "user"] += len(reaped.entries)

    # Control

    def _on_reconnect(self, shard: int) -> None:
        logger.warning("pub/sub connection to Redis %d is back; comparing every channel with its stream", shard)
        self.stats.pubsub_reconnects[shard] += 1
        self.hub.resync(shard)
        self.blocks.check_soon()

    # What others may know

    def describe(self) -> dict[str, Any]:
        """This instance in numbers, as the cluster sees it."""
        subscriptions = sum(len(client.subscriptions) for client in self.clients.values())
        return {
            "name": self.instance,
            "version": self.version,
            "num_clients": len(self.clients),
            "num_users": len(self.users),
            "num_channels": len(self.hub.channels),
            "num_subs": subscriptions,
            "uptime": int(time.time() - self.started_at),
            "draining": self.leaving,
            "admission_rate": self.admission_rate,
            "admission_peak": self.admission.peak,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_identity": self._process,
        }

    @property
    def admission_rate(self) -> int:
        """Clients a second that this instance says it can let in beside its work."""
        return self.vitals.capacity.rate(self.config.admission_rate)

    def checks(self) -> dict[str, bool]:
        """What must be true for this instance to take clients, apart from Redis and the database."""
        return {"pubsub": self.heartbeat.alive, "lease": self.presence.alive, "accepting": not self.draining}

    def now(self) -> float:
        """Loop time in seconds, for deadlines."""
        return self._loop.time()

    @staticmethod
    def wall() -> float:
        """Unix time in seconds, for what tokens say."""
        return time.time()

    def log_failure(self, what: str, error: BaseException, client: Client) -> None:
        """An unexpected failure of something a client asked for."""
        logger.error("%s failed", what, exc_info=error, extra=client.log_context())

    def background(self, work: Coroutine[Any, Any, Any], name: str = "background") -> None:
        """Run something to its end without waiting for it; a failure is logged."""
        task = self._loop.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, StoreUnavailable):
                logger.warning("%s: %s", task.get_name(), error)
            else:
                logger.error("%s failed", task.get_name(), exc_info=error)


_node: tuple[int, Node] | None = None


def current_node() -> Node | None:
    """This process's node, if it was started."""
    return _node[1] if _node is not None and _node[0] == os.getpid() else None


def _announce_end(**_: Any) -> None:
    if node := current_node():
        node.announce_end()


async def get_node(*, claims_name: bool = False) -> Node:
    """This process's node, started at the first call. `claims_name`: unless another instance of its name lives. Raises
    NameTaken."""
    global _node
    node = current_node()
    if node is None:
        node = Node(get_config(), get_store(), get_store_config().instance_id)
        _node = (os.getpid(), node)
        try:
            await node.start(claims_name=claims_name)
        except NameTaken:
            _node = None
            raise
        on_drain.connect(_announce_end, dispatch_uid=__name__)
    return node


def forget_node(node: Node) -> None:
    """The node is closed; the next `get_node()` makes a new one."""
    global _node
    if current_node() is node:
        _node = None
