"""Which node of a Redis Cluster has which slot, and who is told when that changes.

There is one map for a cluster in a process. A node is asked at each new connection, now and then while anybody follows
a slot, and often while something is amiss. Nodes take turns, so that one which was cut off from the others is not
believed for long; whose word counts is in `cluster_view`. The seeds of the address are asked first, then what they
named: a cluster none of whose seeds is left is still found. The master that had a slot says who has it now (MOVED), and
is believed before others, which may not have heard of it yet. Masters alone are used, because what a replica says may
be old.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from redis.exceptions import ConnectionError as NoConnection

from flotilla.store.address import Address, WrongAddress
from flotilla.store.backoff import jittered
from flotilla.store.cluster_view import Node, View, best, counts, is_older, nodes_named, read, related
from flotilla.store.deadline import bounded
from flotilla.store.errors import StoreRefused, StoreSilent, StoreUnavailable, from_client
from flotilla.store.guides import Follower, Speaker, connected, of_this_process
from flotilla.store.once import Once
from flotilla.store.resp import pack
from flotilla.store.supervised import ended, supervised

logger = logging.getLogger("flotilla.store.cluster")

ANSWER_WITHIN = 1.0  # seconds all nodes together have to say who has which slot
NEXT_AFTER = 0.15  # seconds without an answer until the next node is asked as well
CALM = 5.0  # seconds between questions while all is well
AMISS = 1.0  # and while a node has failed, or somebody had to ask
HEARD_WITHIN = 3.0  # seconds in which all nodes hear that a slot has moved
GONE_AFTER = 30.0  # seconds without a word of the cluster after which another one at its address is believed
QUESTIONS = (("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"), ("CLUSTER", "INFO"))
_NO_CLUSTER = "cluster support disabled"


class Cluster:
    """The map of one cluster, for everybody in this process. Make it with `cluster_of`."""

    def __init__(self, address: Address, speaker: Speaker) -> None:
        self._address = address
        self._speaker = speaker
        self._followers: dict[int, WeakSet[Follower]] = {}  # slot → who follows it
        self._lock = threading.Lock()  # of the followers and the watch
        self._watch: Future[None] | None = None
        self._nodes = deque(address.hosts)  # in the order in which they are asked
        self._view: View | None = None
        self._heard_at = 0.0  # when a node of the cluster that is known has answered
        self._masters: dict[int, Node] = {}  # of the slots that somebody asked for
        self._given_up: dict[int, tuple[Node, float]] = {}  # slot → who said to have it no longer, believed until
        self._refreshing: asyncio.Task[View] | None = None
        self._amiss = False  # or somebody asked
        self._once = Once()

    # For any thread

    def follow(self, slot: int, follower: Follower) -> None:
        """Tell `follower` from now on when a slot has another master."""
        with self._lock:
            self._followers.setdefault(slot, WeakSet()).add(follower)
            if self._watch is None:
                self._watch = self._speaker.run(self._watched())

    def leave(self, slot: int, follower: Follower) -> None:
        """Tell it no more; a cluster that nobody follows is not asked."""
        with self._lock:
            self._followers.get(slot, WeakSet()).discard(follower)
            if any(self._followers.values()) or self._watch is None:
                return
            ended, self._watch = self._watch, None
        ended.cancel()

    async def master(self, slot: int) -> Node:
        """Who has a slot, asked for now. Raises redis-py's ConnectionError where no node answers, and StoreRefused:
        CLUSTERDOWN where nobody has it."""
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN):
                return await asyncio.wrap_future(self._speaker.run(self._owner(slot)))
        except TimeoutError as error:
            raise NoConnection("the nodes of the cluster do not answer") from error

    def master_sync(self, slot: int) -> Node:
        """The same for threads."""
        try:
            return self._speaker.run(self._owner(slot)).result(bounded(2 * ANSWER_WITHIN))
        except TimeoutError as error:
            raise NoConnection("the nodes of the cluster do not answer") from error

    def known_master(self, slot: int) -> Node | None:
        """Who had a slot when a node was asked last, for people to read."""
        return self._masters.get(slot)

    def ask_first(self, told: str | Node) -> None:
        """With the next question turn to this node, or to the one that an error reply (MOVED) names: it knows best."""
        with suppress(RuntimeError):  # the thread has ended
            self._speaker.loop.call_soon_threadsafe(self._first_in_line, told)

    def told_by(self, node: Node, slot: int, told: str) -> None:
        """A node has answered so (MOVED). One that had the slot is believed at once: it gives a slot up to a newer
        owner alone."""
        with suppress(RuntimeError):
            self._speaker.loop.call_soon_threadsafe(self._passed_on, slot, node, told)

    # In the speaker's thread

    def _first_in_line(self, told: str | Node) -> None:
        for node in nodes_named(told, list(self._nodes)) if isinstance(told, str) else [told]:
            if node in self._nodes:
                self._nodes.remove(node)
            self._nodes.appendleft(node)

    def _passed_on(self, slot: int, by: Node, told: str) -> None:
        self._first_in_line(told)
        named = nodes_named(told, list(self._nodes))
        if len(named) == 1 and self._masters.get(slot) == by != named[0]:
            self._given_up[slot] = (by, asyncio.get_running_loop().time() + HEARD_WITHIN)
            self._change(slot, named[0])

    def _gave_up(self, slot: int) -> Node | None:
        """Who said a moment ago that it has a slot no longer; others may not have heard of it yet."""
        by, until = self._given_up.get(slot, (None, 0.0))
        return by if asyncio.get_running_loop().time() < until else None

    async def _owner(self, slot: int) -> Node:
        self._amiss = True
        if self._gave_up(slot) is not None:
            return self._masters[slot]
        view = await self._refreshed()
        owner = view.owner(slot)
        if owner is None:
            raise StoreRefused("CLUSTERDOWN", f"CLUSTERDOWN no node of the cluster has the slot {slot}")
        self._masters.setdefault(slot, owner.node)
        return owner.node

    async def _watched(self) -> None:
        await supervised("cluster-watch", self._keep_asking)

    async def _keep_asking(self) -> None:
        while True:
            try:
                amiss = (await self._refreshed()).failing
            except StoreUnavailable as error:
                amiss = True
                if self._once.news(type(error).__name__):
                    logger.warning("the cluster does not say who has which slot: %s", error)
            passed, self._amiss = 0.0, amiss
            while passed < (AMISS if self._amiss else CALM):
                await asyncio.sleep(pause := jittered(AMISS))
                passed += pause

    async def _refreshed(self) -> View:
        """Ask now; who asks while others do waits for the same answer."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._refresh())
            self._refreshing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._refreshing)

    async def _refresh(self) -> View:
        slots, known = set(self._masters), self._view
        views, faults = await (self._ask(slots, known) if known is not None else self._ask_seeds())
        if not views:
            raise next((one for one in faults if isinstance(one, StoreRefused)), faults[0])
        found = views[-1]
        if not counts(found, known, slots):
            found = best(views, known)
            if known is not None and not related(found, known):
                self._require_gone()
            elif known is not None and faults and is_older(found, known, slots):
                found = known  # whoever knows better does not answer just now
        if known is None or related(found, known):
            self._heard_at = asyncio.get_running_loop().time()
        self._learn(found)
        return found

    def _require_gone(self) -> None:
        """Other nodes than those of our cluster are believed where it has not been heard of for long."""
        if asyncio.get_running_loop().time() < self._heard_at + GONE_AFTER:
            raise StoreUnavailable("no node of the cluster answers, only one of another cluster")
        logger.warning("the nodes at the cluster's address are those of another cluster now")

    async def _ask_seeds(self) -> tuple[list[View], list[StoreUnavailable]]:
        """Ask all nodes of the address at once. Raises StoreRefused where they are of different clusters."""
        asking = {asyncio.ensure_future(self._ask_one(node)): node for node in self._nodes}
        views: list[View] = []
        faults: list[StoreUnavailable] = []
        async with _ended(asking):
            patience: float = ANSWER_WITHIN
            while asking:
                done, _ = await asyncio.wait(asking, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for one in done:
                    del asking[one]
                    try:
                        views.append(one.result())
                        patience = NEXT_AFTER
                    except StoreUnavailable as error:
                        faults.append(error)
        if any(not related(view, views[0]) for view in views):
            raise StoreRefused("CLUSTER", "CLUSTER the nodes in the address belong to different clusters")
        if not views and not faults:
            faults.append(_silent())
        return sorted(views, key=lambda view: (view.well, view.epoch)), faults

    async def _ask(self, slots: set[int], known: View) -> tuple[list[View], list[StoreUnavailable]]:
        """Ask nodes, one after another but without waiting for one that is silent, until one answers that counts: it
        is the last of the answers then."""
        waiting, asking = deque(self._nodes), dict[asyncio.Task[View], Node]()
        views: list[View] = []
        faults: list[StoreUnavailable] = []
        async with _ended(asking):
            ends = asyncio.get_running_loop().time() + ANSWER_WITHIN
            while (waiting or asking) and (left := ends - asyncio.get_running_loop().time()) > 0:
                if waiting:
                    node = waiting.popleft()
                    asking[asyncio.ensure_future(self._ask_one(node))] = node
                    self._last_in_line(node)
                patience = min(left, NEXT_AFTER) if waiting else left
                done, _ = await asyncio.wait(asking, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    node = asking.pop(one)
                    try:
                        views.append(one.result())
                    except StoreUnavailable as error:
                        faults.append(error)
                        continue
                    if counts(views[-1], known, slots):
                        return views, faults
                    if not related(views[-1], known) and self._once.news(node):
                        logger.warning("%s:%d is a node of another cluster: take it out of the address", *node)
            if asking or not (views or faults):
                faults.append(_silent())
        return views, faults

    def _last_in_line(self, node: Node) -> None:
        if node in self._nodes:
            self._nodes.remove(node)
            self._nodes.append(node)

    def _learn(self, view: View) -> None:
        self._view = view
        known = {*view.nodes, *self._address.hosts}
        self._nodes = deque([node for node in self._nodes if node in known])
        self._nodes.extendleft(node for node in view.nodes if node not in self._nodes)
        for slot, before in list(self._masters.items()):
            owner = view.owner(slot)
            if owner is not None and owner.node not in (before, self._gave_up(slot)):
                self._given_up.pop(slot, None)
                self._change(slot, owner.node)

    def _change(self, slot: int, node: Node) -> None:
        self._masters[slot] = node
        logger.warning("the slot %d has another master: %s:%d", slot, *node)
        with self._lock:
            followers = tuple(self._followers.get(slot, ()))
        for follower in followers:
            follower.moved()

    async def _ask_one(self, node: Node) -> View:
        """What a node says. Raises StoreUnavailable."""
        asked = b"".join([pack(words) for words in QUESTIONS])
        try:
            async with connected(node, self._address.login, self._address.tls, ANSWER_WITHIN) as connection:
                await connection.send_packed_command(asked, check_health=False)
                answers: Sequence[Any] = [await connection.read_response() for _ in QUESTIONS]
                return read(node, *answers)
        except StoreUnavailable:
            raise
        except Exception as error:
            if _NO_CLUSTER in str(error):
                raise StoreRefused("CLUSTER", "CLUSTER it runs without cluster mode (cluster-enabled no)") from error
            raise from_client(error) from error


class SlotGuide:
    """Who says where the master of one slot is. Make it with `slot_guide`."""

    def __init__(self, cluster: Cluster, slot: int) -> None:
        self._cluster = cluster
        self.slot = slot

    def follow(self, follower: Follower, /) -> None:
        """Tell `follower` from now on when the slot has another master."""
        self._cluster.follow(self.slot, follower)

    def leave(self, follower: Follower, /) -> None:
        """Tell it no more."""
        self._cluster.leave(self.slot, follower)

    async def discover_master(self, _: str, /) -> Node:
        """Where it is, for redis-py's pools."""
        return await self._cluster.master(self.slot)

    def discover_master_sync(self) -> Node:
        """The same for threads."""
        return self._cluster.master_sync(self.slot)

    def known_master(self) -> Node | None:
        """Where it was when a node was asked last, for people to read."""
        return self._cluster.known_master(self.slot)

    def name(self) -> str:
        """The same as text; "" while nobody knows it."""
        host, port = self.known_master() or ("", 0)
        return "" if not host else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def ask_first(self, told: str | Node, /) -> None:
        """Next time ask this node where it is, or the one that an error reply (MOVED) names."""
        self._cluster.ask_first(told)

    def told_by(self, node: Node, told: str, /) -> None:
        """A node has answered so (MOVED)."""
        self._cluster.told_by(node, self.slot, told)


@asynccontextmanager
async def _ended(asking: Iterable["asyncio.Task[View]"]) -> AsyncIterator[None]:
    """What is still asked behind the block is not wanted any more."""
    try:
        yield
    finally:
        await ended(*asking)


def _silent() -> StoreUnavailable:
    return StoreSilent(f"no node of the cluster answers within {ANSWER_WITHIN:g} s")


@of_this_process
def cluster_of(address: Address, speaker: Speaker) -> Cluster:
    """This process's map of the cluster that an address names (another one after a fork)."""
    return Cluster(address, speaker)


def slot_guide(address: Address) -> SlotGuide:
    """The guide of an address with a slot. Raises WrongAddress for a whole cluster, of which no one Redis has all."""
    if address.slot is None:
        raise WrongAddress("no Redis has all of a cluster: take the addresses of its shards (`store.urls.expanded`)")
    return SlotGuide(cluster_of(replace(address, slot=None)), address.slot)
