"""What a campaign saw, event by event: the only thing that its checker reads.

Clients, publishers and faults write down what they were told, when, and nothing of what they think of it. `at` is in
seconds from the campaign's beginning. A connection has a number of its own (`conn`), a publication a number that no
other has (`payload`), repeated tries included. A log can be kept as JSON lines and read again.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Event:
    """Something that was seen. `at`: seconds from the beginning."""

    at: float


@dataclass(slots=True)
class FaultBegan(Event):
    """A fault is about to be made. `lane`: faults of one lane never overlap. `deafens`: joins and leaves, which are
    kept nowhere, may be missed while it lasts. `lossless`: what was acknowledged must be there after it. `away`: a
    Redis cannot be reached, or answers nobody as it should."""

    name: str
    lane: str
    lossless: bool
    deafens: bool
    target: str = ""
    away: bool = False


@dataclass(slots=True)
class FaultEnded(Event):
    """The fault has been taken back."""

    name: str
    lane: str


@dataclass(slots=True)
class Healed(Event):
    """Everybody but `missing` gets again what is published. `took`: seconds that a failover, or whatever is done to a
    cluster, took; `waited`: seconds from its end until now."""

    name: str
    took: float
    waited: float
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Opened(Event):
    """A connection is in. `who`: the member of the crowd; `client`: the id that the server gave."""

    conn: int
    who: str
    client: str


@dataclass(slots=True)
class Closed(Event):
    """A connection has ended; `code`: as the server said it, 1006 without a word, 0 by the client's own wish."""

    conn: int
    code: int


@dataclass(slots=True)
class Subscribed(Event):
    """The reply to a subscribe command. `claimed`: the position that the client asked to recover from."""

    conn: int
    channel: str
    epoch: str
    offset: int
    claimed: tuple[str, int] | None = None
    recovered: bool = False


@dataclass(slots=True)
class Delivered(Event):
    """A publication came, in a push or in a subscribe reply. `offset`: 0 where the channel keeps no history."""

    conn: int
    channel: str
    offset: int
    payload: int


@dataclass(slots=True)
class Told(Event):
    """The server ended a subscription with a code."""

    conn: int
    channel: str
    code: int


@dataclass(slots=True)
class Unsubscribed(Event):
    """The reply to an unsubscribe command."""

    conn: int
    channel: str


@dataclass(slots=True)
class Seen(Event):
    """A join or a leave of `client` was pushed to a connection."""

    conn: int
    channel: str
    client: str
    joined: bool


@dataclass(slots=True)
class Unanswered(Event):
    """A command got no answer for as long as an SDK waits. `asked`: when it was sent; `shielded`: nothing stood between
    the client and its instance meanwhile, and the instance was running."""

    conn: int
    command: str
    asked: float
    shielded: bool


@dataclass(slots=True)
class Acknowledged(Event):
    """A publication was answered with success. `sent`: when it was first asked for; `epoch` is empty and `offset` 0
    where the answer has no position."""

    channel: str
    payload: int
    epoch: str
    offset: int
    sent: float


@dataclass(slots=True)
class Granted(Event):
    """A publication that a limit let pass. `sent`: when it was asked for."""

    policy: str
    sent: float


@dataclass(slots=True)
class Census(Event):
    """A channel's history after `since`, as the HTTP API gives it. `asked`: when the reading began; `top`: the newest
    offset."""

    channel: str
    epoch: str
    top: int
    since: int
    asked: float
    publications: list[tuple[int, int]] = field(default_factory=list)  # (offset, payload)


@dataclass(slots=True)
class Presence(Event):
    """Who is in a channel by the HTTP API, `instance` answering, when it had time to come to rest. `phase`: "present"
    while everybody stays, "left" after all but the watchers went."""

    channel: str
    instance: str
    clients: list[str]
    phase: str


@dataclass(slots=True)
class Ghosts(Event):
    """Which connections of a killed instance are still present, `waited` seconds after the kill."""

    instance: str
    waited: float
    clients: list[str]


@dataclass(slots=True)
class Phase(Event):
    """The campaign goes on to: "quiet" (no fault, no publication any more), "leaving" (watchers are in, the crowd
    goes), "left", "end"."""

    name: str


@dataclass(slots=True)
class Health(Event):
    """Whether an instance is ready, `waited` seconds after the last fault ended."""

    instance: str
    ready: bool
    waited: float


@dataclass(slots=True)
class Settled(Event):
    """How long the crowd took after a fault until everybody got what was published after it; `missing`: who did not."""

    waited: float
    missing: list[str]


@dataclass(slots=True)
class Size(Event):
    """What a process holds: resident bytes and open files. `life` counts its starts; `moment`: "before" or "after"."""

    instance: str
    life: int
    moment: str
    memory: int
    files: int


@dataclass(slots=True)
class LogLine(Event):
    """A line of an instance's log that should not be there."""

    instance: str
    text: str


class Log(list[Event]):
    """The events in the order in which they were seen."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        super().__init__(events)
        self.began = time.monotonic()
        self.wall = time.time()
        self.publications = 0
        self.deliveries = 0

    @property
    def now(self) -> float:
        """Seconds from the beginning."""
        return time.monotonic() - self.began

    def save(self, path: Path) -> None:
        """Keep it as JSON lines."""
        with path.open("w") as out:
            for event in self:
                out.write(json.dumps({"kind": type(event).__name__} | asdict(event)) + "\n")


KINDS = {kind.__name__: kind for kind in Event.__subclasses__()}


def load(path: Path) -> list[Event]:
    """Read what `Log.save` has kept."""
    events: list[Event] = []
    for line in path.read_text().splitlines():
        values = json.loads(line)
        kind = KINDS[values.pop("kind")]
        if values.get("claimed"):
            values["claimed"] = tuple(values["claimed"])
        if "publications" in values:
            values["publications"] = [tuple(pair) for pair in values["publications"]]
        events.append(kind(**values))
    return events
