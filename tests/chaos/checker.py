"""Judges a campaign by its log alone: a pure function from events to violations.

What it demands, and of whom:

- A subscription gets its channel's publications by ascending offset from where it began, none missing, none twice,
  until it is told otherwise (an unsubscribe, `recovered: false`, the end of the connection): `gap`, `duplicate`,
  `reorder`.
- After `recovered: true` the next publication is the one after the position that was claimed, and the claim must name
  an epoch that was given out for that channel: else `untrue recovery`.
- One (epoch, offset) of a channel is one publication for ever, whoever says it: `changed`. Epochs are compared only
  with what the server itself called the same: a recovered claim and its reply. One publication has one offset:
  `doubled`.
- What was acknowledged is in history while nothing was lost on purpose (`lost`), and reaches everybody who was
  subscribed before it was sent and stays so for long enough without a fault (`deaf`).
- Nothing comes before the subscribe reply (`before reply`) or after the end of a subscription (`after end`).
- Presence at rest is exactly who is subscribed (`presence`), and each who goes has one leave (`joins`).
- A limit grants no more than its burst and its rate over any time (`limit`).
- Instances are ready again (`not ready`), answer whom they can (`unanswered`), end nobody for good (`ended for good`),
  log nothing unhandled (`log`), and give memory (`memory`) and files (`files`) back.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.log import (
    Acknowledged,
    Census,
    Closed,
    Delivered,
    Event,
    FaultBegan,
    FaultEnded,
    Ghosts,
    Granted,
    Healed,
    Health,
    LogLine,
    Opened,
    Phase,
    Presence,
    Seen,
    Settled,
    Size,
    Subscribed,
    Told,
    Unanswered,
    Unsubscribed,
)

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the campaign promises beyond the protocol. Times are seconds, sizes bytes."""

    kept: str = "room:"  # channels whose history holds everything begin so
    calm: float = 8.0  # without a fault: by then everything has reached everybody
    at_most: float = 60.0  # or by then, whatever happens
    rediscovery: float = 5.0  # after a fault that loses: what is acknowledged meanwhile may be lost too
    afterglow: float = 12.0  # after a fault that deafens: joins and leaves may be missed or repeated
    unready: float = 15.0  # an instance must be ready by then
    buried: float = 12.0  # after a kill: nobody of the killed instance is present any more
    limits: dict[str, "Limit"] = field(default_factory=dict)
    memory: int = 30 << 20
    files: int = 15


@dataclass(frozen=True, slots=True)
class Limit:
    """What a policy allows: `rate` a second and `burst`. `free_while_away`: anything while its Redis is away."""

    rate: float
    burst: float
    free_while_away: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. `at`: when, in the log's seconds."""

    kind: str
    at: float
    text: str


@dataclass(slots=True)
class _Subscription:
    """One subscription of one connection, from its reply to its end."""

    conn: int
    channel: str
    began: float
    epoch: str
    position: int
    recovered: bool
    claimed: tuple[str, int] | None
    ended: float = FOREVER
    got: dict[int, tuple[int, float]] = field(default_factory=dict)  # payload: (offset, when)
    offsets: dict[int, int] = field(default_factory=dict)  # offset: payload
    fresh: bool = True  # nothing was delivered yet


def check(events: Sequence[Event], rules: Rules | None = None) -> list[Violation]:
    """Every violation in the log, by time."""
    rules = rules or Rules()
    faults = _Faults(events)
    streams = _Streams(events, rules)
    found = [
        *streams.violations,
        *_deaf(events, streams, faults, rules),
        *_lost(events, faults, rules),
        *_presence(events, streams),
        *_joins(events, streams, faults, rules),
        *_limits(events, faults, rules),
        *_instances(events, faults, rules),
    ]
    return sorted(found, key=lambda violation: violation.at)


class _Faults:
    """When there were faults, and of what sort."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.all: list[tuple[float, float]] = []
        self.losing: list[tuple[float, float]] = []
        self.deafening: list[tuple[float, float]] = []
        self.away: list[tuple[float, float]] = []
        open_: dict[str, FaultBegan] = {}
        for event in events:
            if isinstance(event, FaultBegan):
                open_[event.lane] = event
            elif isinstance(event, FaultEnded) and event.lane in open_:
                self._note(open_.pop(event.lane), event.at)
        for began in open_.values():
            self._note(began, FOREVER)
        self._calm = _gaps(self.all)

    def _note(self, began: FaultBegan, ended: float) -> None:
        self.all.append((began.at, ended))
        if not began.lossless:
            self.losing.append((began.at, ended))
        if began.deafens:
            self.deafening.append((began.at, ended))
        if began.away:
            self.away.append((began.at, ended))

    def calm_after(self, at: float, seconds: float) -> float:
        """The first moment by which there were `seconds` without a fault, all after `at`."""
        for began, ended in self._calm:
            if ended > at and ended - max(began, at) >= seconds:
                return max(began, at) + seconds
        return FOREVER

    def lossy(self, began: float, ended: float, after: float) -> bool:
        """Whether a time touches a fault that loses, or the `after` seconds following one."""
        return any(start <= ended and began <= end + after for start, end in self.losing)

    def deaf(self, began: float, ended: float, after: float) -> bool:
        """The same for faults in which joins and leaves may be missed."""
        return any(start <= ended and began <= end + after for start, end in self.deafening)


def _gaps(taken: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The times that none of some intervals covers."""
    gaps, since = [], 0.0
    for began, ended in sorted(taken):
        if began > since:
            gaps.append((since, began))
        since = max(since, ended)
    return [*gaps, (since, FOREVER)]


class _Epochs:
    """Which epochs of a channel the server called the same."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, str], str] = {}
        self.given: set[tuple[str, str]] = set()

    def find(self, channel: str, epoch: str) -> str:
        """One name for all that are the same."""
        while (other := self._same.get((channel, epoch), epoch)) != epoch:
            epoch = other
        return epoch

    def known(self, channel: str, epoch: str) -> bool:
        """Whether somebody was told of it; the empty one stands for any."""
        return not epoch or (channel, epoch) in self.given

    def join(self, channel: str, one: str, other: str) -> None:
        """They are the same."""
        one, other = self.find(channel, one), self.find(channel, other)
        if one != other:
            self._same[channel, one] = other


class _Streams:
    """Follows every subscription; `violations` of order, identity and recovery, and `subscriptions` for the others."""

    def __init__(self, events: Sequence[Event], rules: Rules) -> None:
        self._rules = rules
        self.violations: list[Violation] = []
        self.subscriptions: list[_Subscription] = []
        self.names: dict[int, tuple[str, str]] = {}  # connection: (member, client id)
        self.closed: dict[int, float] = {}
        self._live: dict[tuple[int, str], _Subscription] = {}
        self._over: set[tuple[int, str]] = set()
        self._epochs = _Epochs()
        self._said: dict[tuple[str, str, int], tuple[int, str]] = {}
        self._places: dict[tuple[str, str, int], int] = {}
        for event in events:
            if isinstance(event, Subscribed) and event.recovered and event.claimed and event.claimed[0]:
                self._epochs.join(event.channel, event.claimed[0], event.epoch)
        for event in events:
            self._take(event)

    def live(self, channel: str) -> set[str]:
        """The client ids that are subscribed now, which is the log's end or where `_take` stands."""
        return {self.names[conn][1] for conn, name in self._live if name == channel}

    def _take(self, event: Event) -> None:
        if isinstance(event, Delivered):
            self._delivered(event)
        elif isinstance(event, Opened):
            self.names[event.conn] = event.who, event.client
        elif isinstance(event, Subscribed):
            self._subscribed(event)
        elif isinstance(event, Seen):
            if (event.conn, event.channel) not in self._live:
                self._stray(event, f"a {'join' if event.joined else 'leave'} in {event.channel}")
        elif isinstance(event, Told | Unsubscribed):
            self._end(event.conn, event.channel, event.at)
        elif isinstance(event, Closed):
            self._closed(event)
        elif isinstance(event, Acknowledged):
            self._epochs.given.add((event.channel, event.epoch))
            if event.epoch:
                self._is(event.at, event.channel, event.epoch, event.offset, event.payload, "acknowledged")
        elif isinstance(event, Census):
            for offset, payload in event.publications:
                self._is(event.at, event.channel, event.epoch, offset, payload, "in history")

    def _bad(self, kind: str, at: float, text: str) -> None:
        self.violations.append(Violation(kind, at, text))

    def _who(self, conn: int) -> str:
        return f"{self.names.get(conn, ('?', ''))[0]} (connection {conn})"

    def _closed(self, event: Closed) -> None:
        self.closed[event.conn] = event.at
        for conn, channel in [key for key in self._live if key[0] == event.conn]:
            self._end(conn, channel, event.at)
        if 3500 <= event.code < 4000 or 4500 <= event.code < 5000 or event.code == 1009:
            self._bad("ended for good", event.at, f"{self._who(event.conn)} was ended with {event.code}")

    def _end(self, conn: int, channel: str, at: float) -> None:
        if (subscription := self._live.pop((conn, channel), None)) is not None:
            subscription.ended = at
            self._over.add((conn, channel))

    def _subscribed(self, event: Subscribed) -> None:
        self._end(event.conn, event.channel, event.at)
        position = event.claimed[1] if event.recovered and event.claimed else event.offset
        made = _Subscription(event.conn, event.channel, event.at, event.epoch, position, event.recovered, event.claimed)
        self.subscriptions.append(made)
        self._live[event.conn, event.channel] = made
        self._over.discard((event.conn, event.channel))
        if event.recovered and event.claimed is None:
            self._bad("untrue recovery", event.at, f"{self._who(event.conn)} claimed nothing in {event.channel}")
        elif event.recovered and event.claimed and not self._epochs.known(event.channel, event.claimed[0]):
            text = f"{self._who(event.conn)} recovered in {event.channel} from {event.claimed}, never given out"
            self._bad("untrue recovery", event.at, text)
        self._epochs.given.add((event.channel, event.epoch))

    def _delivered(self, event: Delivered) -> None:
        subscription = self._live.get((event.conn, event.channel))
        what = f"{event.channel} {event.offset} (publication {event.payload})"
        if subscription is None:
            self._stray(event, what)
            return
        fresh, subscription.fresh = subscription.fresh, False
        if not event.offset:
            subscription.got[event.payload] = 0, event.at
            return
        self._order(subscription, event, what, fresh)
        subscription.got[event.payload] = event.offset, event.at
        subscription.offsets[event.offset] = event.payload
        subscription.position = max(subscription.position, event.offset)
        whose = f"delivered to {self._who(event.conn)}"
        self._is(event.at, event.channel, subscription.epoch, event.offset, event.payload, whose)

    def _stray(self, event: Delivered | Seen, what: str) -> None:
        kind = "after end" if (event.conn, event.channel) in self._over else "before reply"
        self._bad(kind, event.at, f"{self._who(event.conn)} got {what}")

    def _order(self, subscription: _Subscription, event: Delivered, what: str, fresh: bool) -> None:
        expected = subscription.position + 1
        if event.offset == expected:
            return
        if subscription.offsets.get(event.offset) == event.payload:
            kind = "duplicate"
        elif fresh and subscription.recovered:
            kind = "untrue recovery"
        else:
            kind = "gap" if event.offset > expected else "reorder"
        began = f"subscribed at {subscription.began:.2f}"
        if subscription.recovered:
            began += f", recovered from {subscription.claimed}"
        text = f"{self._who(event.conn)} got {what} where {expected} of epoch {subscription.epoch} was due; {began}"
        self._bad(kind, event.at, text)

    def _is(self, at: float, channel: str, epoch: str, offset: int, payload: int, how: str) -> None:
        """Somebody says which publication stands at a place."""
        if not channel.startswith(self._rules.kept) and not offset:
            return
        epoch = self._epochs.find(channel, epoch)
        said, by = self._said.setdefault((channel, epoch, offset), (payload, how))
        if said != payload:
            text = f"{channel} {offset} of epoch {epoch} was publication {said} ({by}), then {payload} ({how})"
            self._bad("changed", at, text)
        place = self._places.setdefault((channel, epoch, payload), offset)
        if place != offset:
            text = f"publication {payload} stands at {place} and at {offset} of {channel}, epoch {epoch} ({how})"
            self._bad("doubled", at, text)
            self._places[channel, epoch, payload] = offset


def _acknowledged(events: Iterable[Event], kept: str) -> dict[str, list[Acknowledged]]:
    found: dict[str, list[Acknowledged]] = defaultdict(list)
    for event in events:
        if isinstance(event, Acknowledged) and event.channel.startswith(kept):
            found[event.channel].append(event)
    return found


def _deaf(events: Sequence[Event], streams: _Streams, faults: _Faults, rules: Rules) -> list[Violation]:
    """Who was subscribed all the time and did not get what was acknowledged."""
    last = events[-1].at if events else 0.0
    by_channel = {
        channel: sorted(acks, key=lambda ack: ack.sent) for channel, acks in _acknowledged(events, rules.kept).items()
    }
    times = {channel: [ack.sent for ack in acks] for channel, acks in by_channel.items()}
    deadlines: dict[int, float] = {}
    found = []
    for subscription in streams.subscriptions:
        acks = by_channel.get(subscription.channel, [])
        ended = min(subscription.ended, last)
        sent = times.get(subscription.channel, [])
        missed = []
        for ack in acks[bisect_right(sent, subscription.began) : bisect_left(sent, ended)]:
            got = subscription.got.get(ack.payload)
            if got is not None and got[1] <= ack.at + rules.calm:
                continue
            deadline = deadlines.get(ack.payload)
            if deadline is None:
                deadline = min(faults.calm_after(ack.at, rules.calm), ack.at + rules.at_most)
                deadlines[ack.payload] = deadline
            if deadline <= ended and (got is None or got[1] > deadline):
                missed.append((ack, deadline))
        if missed:
            ack, deadline = missed[0]
            who = streams.names.get(subscription.conn, ("?", ""))[0]
            text = (
                f"{who} (connection {subscription.conn}), in {subscription.channel} from {subscription.began:.2f} to "
                f"{ended:.2f}, had not got {len(missed)} acknowledged publications in time, the first ({ack.payload}, "
                f"offset {ack.offset}) acknowledged at {ack.at:.2f}, by {deadline:.2f}, and was not told"
            )
            found.append(Violation("deaf", ack.at, text))
    return found


def _lost(events: Sequence[Event], faults: _Faults, rules: Rules) -> list[Violation]:
    """What was acknowledged and is not in history, though nothing was lost on purpose since."""
    found = []
    due: dict[str, dict[int, Acknowledged]] = defaultdict(dict)
    held: dict[tuple[str, str], set[int]] = defaultdict(set)
    losing = sorted(faults.losing)
    passed = 0
    for event in events:
        while passed < len(losing) and losing[passed][0] <= event.at:
            due.clear()  # whatever was acknowledged until now may be gone
            passed += 1
        if isinstance(event, Acknowledged) and event.channel.startswith(rules.kept):
            if not faults.lossy(event.sent, event.at, rules.rediscovery):
                due[event.channel][event.payload] = event
        elif isinstance(event, Census):
            here = held[event.channel, event.epoch]
            if not event.since:
                here.clear()
            here.update(payload for _, payload in event.publications)
            gone = [ack for ack in due[event.channel].values() if ack.at < event.asked and ack.payload not in here]
            if gone:
                text = (
                    f"{len(gone)} acknowledged publications are not in the history of {event.channel} (epoch "
                    f"{event.epoch}, top {event.top}): the first is {gone[0].payload}, acknowledged at "
                    f"{gone[0].at:.2f} as {gone[0].offset} of epoch {gone[0].epoch or '?'}"
                )
                found.append(Violation("lost", gone[0].at, text))
                for ack in gone:
                    del due[event.channel][ack.payload]
    return found


def _presence(events: Sequence[Event], streams: _Streams) -> list[Violation]:
    """Whether presence at rest is who is subscribed."""
    found = []
    for event in events:
        if not isinstance(event, Presence):
            continue
        expected = {
            streams.names[one.conn][1]
            for one in streams.subscriptions
            if one.channel == event.channel and one.began <= event.at < one.ended
        }
        ghosts, absent = set(event.clients) - expected, expected - set(event.clients)
        names = {client: who for who, client in streams.names.values()}
        for clients, what in ((ghosts, "is gone but present"), (absent, "is subscribed but absent")):
            for client in sorted(clients):
                text = f"{names.get(client, 'somebody')} ({client}) {what} in {event.channel}, says {event.instance}"
                found.append(Violation("presence", event.at, text))
    return found


def _joins(events: Sequence[Event], streams: _Streams, faults: _Faults, rules: Rules) -> list[Violation]:
    """Whether joins and leaves alternate, and each who went for good has one leave."""
    found = []
    seen: dict[tuple[int, str, str], list[Seen]] = defaultdict(list)
    for event in events:
        if isinstance(event, Seen):
            seen[event.conn, event.channel, event.client].append(event)
    names = {client: who for who, client in streams.names.values()}
    for (conn, channel, client), row in seen.items():
        for before, after in pairwise(row):
            quiet = not faults.deaf(before.at, after.at, rules.afterglow)
            if before.joined == after.joined and quiet and _stayed(streams, conn, channel, before.at, after.at):
                what = "joins" if before.joined else "leaves"
                text = (
                    f"{names.get(client, 'somebody')} ({client}) {what} {channel} at {before.at:.2f} and again at "
                    f"{after.at:.2f}, sees {streams.names[conn][0]}"
                )
                found.append(Violation("joins", after.at, text))
    found += _last_leaves(events, streams, seen, names)
    return found


def _stayed(streams: _Streams, conn: int, channel: str, began: float, ended: float) -> bool:
    """Whether one subscription of a connection covers a time."""
    return any(
        one.conn == conn and one.channel == channel and one.began <= began and ended <= one.ended
        for one in streams.subscriptions
    )


def _last_leaves(
    events: Sequence[Event],
    streams: _Streams,
    seen: dict[tuple[int, str, str], list[Seen]],
    names: dict[str, str],
) -> list[Violation]:
    """Watchers came while nothing failed any more, and then everybody else went: with exactly one leave each."""
    phases = {event.name: event.at for event in events if isinstance(event, Phase)}
    if "leaving" not in phases or "left" not in phases:
        return []
    leaving, left = phases["leaving"], phases["left"]
    found = []
    for watcher in streams.subscriptions:
        if not (watcher.began <= leaving and watcher.ended >= left):
            continue
        for other in streams.subscriptions:
            if other.channel != watcher.channel or not (other.began <= leaving < other.ended <= left):
                continue
            client = streams.names[other.conn][1]
            row = seen.get((watcher.conn, watcher.channel, client), [])
            leaves = sum(not one.joined for one in row if leaving <= one.at <= left)
            if leaves != 1:
                text = (
                    f"{names.get(client)} ({client}) went from {watcher.channel} at {other.ended:.2f}: {leaves} leaves "
                    f"seen by {streams.names[watcher.conn][0]}"
                )
                found.append(Violation("joins", other.ended, text))
    return found


def _limits(events: Sequence[Event], faults: _Faults, rules: Rules) -> list[Violation]:
    """Whether more was granted, over any time, than a limit gives. A Redis that forgot may grant its burst again."""
    found = []
    for policy, limit in rules.limits.items():
        grants = sorted(
            (one for one in events if isinstance(one, Granted) and one.policy == policy), key=lambda g: g.sent
        )
        cuts = (
            [(start, end + rules.rediscovery) for start, end in faults.away] if limit.free_while_away else faults.losing
        )
        for stretch in _stretches(grants, cuts):
            if (worst := overshoot([(one.sent, one.at) for one in stretch], limit.rate, limit.burst)) >= 1:
                text = f"{policy} granted {worst:.0f} more than {limit.rate:g}/s and a burst of {limit.burst:g} allow"
                found.append(Violation("limit", stretch[0].sent, f"{text}, somewhere after this"))
    return found


def _stretches(grants: list[Granted], cuts: list[tuple[float, float]]) -> list[list[Granted]]:
    """The grants between cuts; what touches a cut is left out."""
    found: dict[int, list[Granted]] = defaultdict(list)
    for one in grants:
        if not any(start <= one.at and one.sent <= end for start, end in cuts):
            found[sum(end < one.sent for _, end in cuts)].append(one)
    return list(found.values())


def overshoot(grants: list[tuple[float, float]], rate: float, burst: float) -> float:
    """How many more were granted than `burst` and `rate` allow in the worst stretch of time. `grants`: when each was
    asked for and when it was answered, by the former; the decision fell in between, so nothing is held against it."""
    worst, least, latest = 0.0, FOREVER, 0.0
    for number, (sent, answered) in enumerate(grants):
        least = min(least, number - rate * sent)
        latest = max(latest, answered)
        worst = max(worst, number + 1 - rate * latest - least - burst)
    return worst


def _instances(events: Sequence[Event], faults: _Faults, rules: Rules) -> list[Violation]:
    """Readiness, answers, logs, memory and files."""
    found = []
    before: dict[tuple[str, int], Size] = {}
    for event in events:
        if isinstance(event, Health) and not event.ready and event.waited >= rules.unready:
            text = f"{event.instance} is not ready {event.waited:.0f} s after the last fault"
            found.append(Violation("not ready", event.at, text))
        elif isinstance(event, Ghosts) and event.clients and event.waited >= rules.buried:
            text = f"{len(event.clients)} of {event.instance} are present {event.waited:.0f} s after it was killed"
            found.append(Violation("presence", event.at, text))
        elif isinstance(event, Settled) and event.missing and event.waited >= rules.unready:
            text = f"{event.waited:.0f} s after the last fault {len(event.missing)} get nothing: {event.missing[:5]}"
            found.append(Violation("not back", event.at, text))
        elif isinstance(event, Healed) and event.missing:
            text = f"{event.waited:.0f} s after a {event.name} {len(event.missing)} get nothing: {event.missing[:5]}"
            found.append(Violation("not back", event.at, text))
        elif isinstance(event, Unanswered) and event.shielded:
            text = f"{event.command} of connection {event.conn}, asked at {event.asked:.2f}"
            found.append(Violation("unanswered", event.at, text))
        elif isinstance(event, LogLine):
            found.append(Violation("log", event.at, f"{event.instance}: {event.text}"))
        elif isinstance(event, Size) and event.moment == "before":
            before.setdefault((event.instance, event.life), event)
        elif isinstance(event, Size) and (was := before.get((event.instance, event.life))) is not None:
            if event.memory > was.memory + rules.memory:
                text = (
                    f"{event.instance} held {was.memory >> 20} MiB at {was.at:.0f} s, {event.memory >> 20} at the end"
                )
                found.append(Violation("memory", event.at, text))
            if event.files > was.files + rules.files:
                text = f"{event.instance} held {was.files} files at {was.at:.0f} s, {event.files} at the end"
                found.append(Violation("files", event.at, text))
    return found
