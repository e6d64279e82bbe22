"""What one node of a Redis Cluster says of all of them, and whose word counts. Pure.

Nodes hear of a failover or of a slot that has moved one after another, and one that was cut off has heard of nothing.
Each takeover of a slot has a higher number (the owner's config epoch), so of two answers the one that knows the higher
number for a slot is right about it. Nodes are known by their ids: an answer that shares none with what is known is that
of another cluster.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flotilla.store.errors import reading

Node = tuple[str, int]
"""Host and port."""

_UNKNOWN = ("", "?")  # hosts of nodes that do not know their own


class Owner(NamedTuple):
    """The master of a slot: where it is, and the number of the takeover by which it is."""

    node: Node
    epoch: int


@dataclass(frozen=True, slots=True)
class View:
    """One node's answer. `well`: it sees a cluster that works; `failing`: that a master has failed, or may have.
    `ranges` are (first slot, last slot, owner)."""

    ids: frozenset[str]
    nodes: tuple[Node, ...]
    ranges: tuple[tuple[int, int, Owner], ...] = field(repr=False)
    epoch: int
    well: bool
    failing: bool

    def owner(self, slot: int) -> Owner | None:
        """Who has a slot; None: nobody."""
        return next((owner for first, last, owner in self.ranges if first <= slot <= last), None)


def read(asked: Node, slots: Sequence[Any], nodes: bytes, info: bytes) -> View:
    """The answers of a node, which was asked at this place, to CLUSTER SLOTS, NODES and INFO. Raises Unreadable."""
    with reading("what a node says of its cluster"):
        lines = [line.split() for line in nodes.decode().splitlines() if line.strip()]
        epochs = {line[0]: int(line[6]) for line in lines}
        places: dict[str, Node] = {}
        ranges = []
        for first, last, *holders in slots:
            for holder in holders:
                places[holder[2].decode()] = _place(asked, holder)
            master = holders[0][2].decode()
            ranges.append((int(first), int(last), Owner(places[master], epochs.get(master, 0))))
        told = dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
        flags = {line[0]: set(line[2].split(",")) for line in lines}
        masters = {holders[0][2].decode() for _, _, *holders in slots}
        return View(
            ids=frozenset(epochs),
            nodes=tuple(dict.fromkeys(places.values())),
            ranges=tuple(ranges),
            epoch=int(told["cluster_current_epoch"]),
            well=told["cluster_state"] == "ok",
            failing=any({"fail", "fail?"} & flags.get(one, set()) for one in masters),
        )


def _place(asked: Node, holder: Sequence[Any]) -> Node:
    """Where a node says that it is: what it prefers; its address, where it prefers a host name and has none; where it
    knows neither, its port where we have reached the one that was asked."""
    host, port, _, *more = holder
    name = "" if host is None else host.decode()
    if name in _UNKNOWN and more and more[0]:
        facts = dict(zip(more[0][::2], more[0][1::2], strict=True))
        name = facts.get(b"ip", b"").decode() if name == "?" else ""
    return (asked[0] if name in _UNKNOWN else name), int(port)


def nodes_named(told: str, known: Collection[Node]) -> list[Node]:
    """Which nodes an error reply can mean: `MOVED <slot> <host>:<port>`, without a host where the node does not know
    it."""
    _, _, place = told.rpartition(" ")
    name, _, port = place.rpartition(":")
    if not port.isdigit():
        return []
    if name in _UNKNOWN:
        return [node for node in known if node[1] == int(port)]
    return [(name, int(port))]


def counts(view: View, known: View | None, slots: Collection[int]) -> bool:
    """Whether an answer can be believed without asking another node: `known` is what was believed so far, `slots` are
    those that matter."""
    if not view.well or (known is not None and not related(view, known)):
        return False
    return all(view.owner(slot) is not None for slot in slots) and not is_older(view, known, slots)


def related(view: View, known: View) -> bool:
    """Whether both are of one cluster: they know a node in common."""
    return not view.ids.isdisjoint(known.ids)


def is_older(view: View, known: View | None, slots: Collection[int]) -> bool:
    """Whether an answer has not heard yet of what was believed so far."""
    if known is None:
        return False
    for slot in slots:
        now, before = view.owner(slot), known.owner(slot)
        if now is not None and before is not None and now.epoch < before.epoch:
            return True
    return False


def best(views: Sequence[View], known: View | None) -> View:
    """The one to believe, where none of them counts by itself: of the cluster that is known, of a part of it that
    works, with the highest number."""
    return max(views, key=lambda view: (known is not None and related(view, known), view.well, view.epoch))
