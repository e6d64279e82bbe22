"""The subscriptions of a channel in this process that are given what is published as it comes.

They stand in groups by how they see the channel. A publication is encoded once for each encoding that is wanted here,
and framed once for each format, however many filters there are. Which publications are to be written, and who follows,
is for the channel to say.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from flotilla.realtime.engine.calls import StreamOptions
from flotilla.realtime.engine.deltas import Chains
from flotilla.realtime.engine.group import Group
from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.selection import Selection
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.traffic import Traffic
from flotilla.realtime.engine.view import Deltas, View
from flotilla.realtime.protocol.encodings import Encoding
from flotilla.realtime.protocol.filters import Filter
from flotilla.realtime.protocol.formats import Format
from flotilla.realtime.protocol.frames import Frame, Outlet, send_each

LOOK_EVERY = 16 * 1024  # bytes written to each socket of a channel that conflates between two looks at them


class Followers:
    """Who follows a channel, and how they are written to. `traffic`: where that is counted. `slow_from`: who has more
    than so many bytes unread is noted as slow; 0: nobody is."""

    __slots__ = (
        "_always_deltas",
        "_chains",
        "_name",
        "_names",
        "_selection",
        "_slow",
        "_slow_from",
        "groups",
        "traffic",
    )

    def __init__(self, name: str, options: StreamOptions, traffic: Traffic, slow_from: int = 0) -> None:
        self.groups: dict[View, Group] = {}
        self.traffic = traffic
        self._name = name
        self._names: dict[Encoding, bytes] = {}  # the channel's name as each encoding has it
        self._always_deltas = options.delta_publish
        self._chains = Chains()
        self._selection = Selection()
        self._slow_from = slow_from
        self._slow: list[Subscription] = []

    # Who they are

    def __bool__(self) -> bool:
        return bool(self.groups)

    def __len__(self) -> int:
        return sum(len(group.sockets) for group in self.groups.values())

    def __contains__(self, subscription: Subscription) -> bool:
        group = self.groups.get(subscription.view)
        return group is not None and subscription in group.sockets

    def __iter__(self) -> Iterator[Subscription]:
        for group in self.groups.values():
            yield from group.sockets

    def sockets(self) -> Iterator[tuple[Subscription, Outlet]]:
        """Each with where it is written."""
        for group in self.groups.values():
            yield from group.sockets.items()

    def add(self, subscription: Subscription) -> None:
        """One that begins to follow, or does again."""
        subscription.view = subscription.view.with_deltas(Deltas.FIRST)
        self._group(subscription.view).sockets[subscription] = subscription.subscriber.socket

    def discard(self, subscription: Subscription) -> None:
        """It follows no longer, if it did."""
        group = self.groups.get(subscription.view)
        if group is not None and group.sockets.pop(subscription, None) is not None and not group.sockets:
            del self.groups[subscription.view]

    def replace(self, subscription: Subscription, socket: Outlet) -> None:
        """Write to another socket for a subscription, if it follows."""
        if subscription in self:
            self.groups[subscription.view].sockets[subscription] = socket

    def _group(self, view: View) -> Group:
        group = self.groups.get(view)
        if group is None:
            group = self.groups[view] = Group(view)
        return group

    def take_slow(self) -> list[Subscription]:
        """Those that were found to be slow since the last call, and still follow."""
        slow, self._slow = self._slow, []
        return [one for one in slow if one in self]

    # Publications

    def write(self, publications: Sequence[Publication]) -> int:
        """Write publications (at least one) to all, as one message; returns how many went out."""
        encoded, written = self._encoded(publications), 0
        chosen: dict[Filter, list[int]] | None = None
        frames: dict[tuple[Format, Deltas, tuple[int, ...]], Frame] = {}
        for view, group in self.groups.items():
            payloads = encoded[view.format.encoding, view.deltas]
            if view.filter is None:
                written += self._write(group, view.format.frame(payloads), len(payloads))
                continue
            if chosen is None:
                chosen = self._selection.chosen((one.filter for one in self.groups), publications)
            if places := chosen[view.filter]:
                kind = view.format, view.deltas, tuple(places)  # as many frames as differ, not as there are filters
                if kind not in frames:
                    frames[kind] = view.format.frame([payloads[place] for place in places])
                written += self._write(group, frames[kind], len(places))
        first = [group for group in self.groups.values() if group.view.deltas is Deltas.FIRST]
        self._chain(one for group in first for one in list(group.sockets))
        return written

    def _write(self, group: Group, frame: Frame, publications: int) -> int:
        sockets = group.sockets
        behind = send_each(sockets.values(), frame)
        if self._slow_from:
            group.unlooked += len(frame.wire)
            self._find_slow(group, sockets.values() if group.unlooked >= LOOK_EVERY else behind)
        self.traffic.sent_bytes += len(frame.wire) * len(sockets)
        return publications * len(sockets)

    def write_past(self, joining: Collection[Subscription], publication: Publication) -> int:
        """As `write`, while some that are `joining` have what comes already."""
        encoded, written = self._encoded((publication,)), 0
        chained: list[Subscription] = []
        frames: dict[tuple[Format, Deltas], Frame] = {}
        for view, group in self.groups.items():
            if not self._selection.wants(view.filter, publication):
                continue
            kind = view.format, view.deltas
            if kind not in frames:
                frames[kind] = view.format.frame(encoded[view.format.encoding, view.deltas])
            frame = frames[kind]
            sent = [one for one in group.sockets if not publication.offset or publication.offset > one.floor]
            for subscription in sent:
                self.send(group.sockets[subscription], frame)
            written += len(sent)
            self._find_slow(group, group.sockets.values())
            if view.deltas is Deltas.FIRST:
                chained += (one for one in sent if one not in joining)
        self._chain(chained)
        return written

    def _find_slow(self, group: Group, behind: Iterable[Outlet]) -> None:
        """Note who reads too slowly to be sent all that follows. A look at each socket costs a system call, so it is
        taken of those `behind`, whose buffers are full, and now and then of all."""
        if not self._slow_from:
            return
        if group.unlooked >= LOOK_EVERY:
            group.unlooked = 0
        slow = {socket for socket in behind if socket.waiting > self._slow_from}
        if slow:
            self._slow += [subscription for subscription, socket in group.sockets.items() if socket in slow]

    def forget_written(self) -> None:
        """It is not known what was written last: deltas begin again."""
        self._chains = Chains()

    def give(self, subscription: Subscription, publications: Sequence[Publication]) -> int:
        """Write publications (at least one) to one subscription, whether it follows or not, as one message; returns its
        bytes."""
        view = subscription.view
        bodies = [view.format.encoding.whole(one.body) for one in publications] if view.deltas else None
        frame = view.format.frame(self._pushes(view.format.encoding, publications, bodies))
        self.send(subscription.subscriber.socket, frame)
        return len(frame.wire)

    def wants(self, subscription: Subscription, publication: Publication) -> bool:
        """Whether a subscription is given a publication: its filter lets it through."""
        return self._selection.wants(subscription.view.filter, publication)

    def _encoded(self, publications: Sequence[Publication]) -> dict[tuple[Encoding, Deltas], list[bytes]]:
        """Publications that all groups are sent now, as each of them wants them."""
        chained = self._chains.extend(self.groups, publications, always=self._always_deltas)
        encoded = {}
        for view in self.groups:
            encoding, kind = view.format.encoding, (view.format.encoding, view.deltas)
            if kind not in encoded:
                encoded[kind] = self._pushes(encoding, publications, chained.get(kind))
        return encoded

    def _pushes(
        self, encoding: Encoding, publications: Sequence[Publication], bodies: Sequence[bytes] | None = None
    ) -> list[bytes]:
        """Publications as messages, with their own bodies or others."""
        name = self._named(encoding)
        if bodies is None:
            return [encoding.publication(name, one.body, one.offset) for one in publications]
        return [encoding.publication(name, body, one.offset) for body, one in zip(bodies, publications, strict=True)]

    def _chain(self, subscriptions: Iterable[Subscription]) -> None:
        """These were sent the newest publication whole: the next one may be a delta."""
        for subscription in subscriptions:
            socket = self.groups[subscription.view].sockets[subscription]  # which may be another than its client's
            self.discard(subscription)
            subscription.view = subscription.view.with_deltas(Deltas.NEXT)
            self._group(subscription.view).sockets[subscription] = socket

    def _named(self, encoding: Encoding) -> bytes:
        name = self._names.get(encoding)
        if name is None:
            name = self._names[encoding] = encoding.channel(self._name)
        return name

    # Joins and leaves

    def announce(self, kind: bytes, info: bytes, joining: Iterable[Subscription], feeds: Iterable[Subscription]) -> int:
        """Hand a join or leave to those who asked for them, to those that are fed, too; who is `joining` has it held.
        Returns to how many sockets it was written."""
        frames: dict[Format, Frame] = {}
        asked: dict[Format, list[Outlet]] = {}
        for subscription in joining:
            if subscription.join_leave and subscription.held is not None:
                subscription.hold(self._announcement(subscription.view.format, kind, info, frames))
        for subscription, socket in self.sockets():
            if subscription.join_leave:
                asked.setdefault(subscription.view.format, []).append(socket)
        for fed in feeds:
            if fed.join_leave:
                asked.setdefault(fed.view.format, []).append(fed.subscriber.socket)
        for format, sockets in asked.items():
            frame = self._announcement(format, kind, info, frames)
            send_each(sockets, frame)
            self.traffic.sent_bytes += len(frame.wire) * len(sockets)
        return sum(map(len, asked.values()))

    def _announcement(self, format: Format, kind: bytes, info: bytes, made: dict[Format, Frame]) -> Frame:
        if format not in made:
            encoding = format.encoding
            made[format] = format.frame((encoding.presence(self._named(encoding), kind, info),))
        return made[format]

    def send(self, socket: Outlet, frame: Frame) -> None:
        """Write a frame of the channel to one socket."""
        socket.send(frame)
        self.traffic.sent_bytes += len(frame.wire)
