"""The faults of networks: each kind on each link, for a short and for a long time, in an order that a seed decides."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.networks.delays import Weather
from tests.networks.hosts import APPS, BALANCER, CLIENTS, DATABASE, REDIS
from tests.networks.switch import Switch

SECONDS = (10.0, 60.0)
LANE = "networks"
ANY = "instance"  # that with the most clients

Ways = tuple[tuple[str, str], tuple[str, str]]  # from the asking host to the asked one, and back
SLOW = Weather(delay=0.15, jitter=0.03)
LOSSY = Weather(delay=0.01, loss=0.1)
REORDERED = Weather(delay=0.03, overtaking=0.25)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done to a link. `silences`: whoever waits for an answer over it gets none."""

    name: str
    do: Callable[[Switch, Ways], None]
    silences: bool = True


KINDS = (
    Kind("cut", lambda switch, ways: switch.drop(*ways)),
    Kind("half-open, nothing arrives", lambda switch, ways: switch.drop(ways[0])),
    Kind("half-open, nothing comes back", lambda switch, ways: switch.drop(ways[1])),
    Kind("slow", lambda switch, ways: switch.trouble(SLOW, *ways), silences=False),
    Kind("a tenth lost", lambda switch, ways: switch.trouble(LOSSY, *ways), silences=False),
    Kind("reordered", lambda switch, ways: switch.trouble(REORDERED, *ways), silences=False),
)
UNPLUGGED = Kind("host gone", lambda switch, ways: switch.unplug(ways[0][0]))
LINKS = ((ANY, REDIS), (ANY, DATABASE), (BALANCER, ANY), (CLIENTS, BALANCER))
WHOLE = (ANY, REDIS, DATABASE, BALANCER)  # hosts that are gone


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind on one link, for a time. `ends`: the names of its hosts; a host alone is named twice."""

    kind: Kind
    ends: tuple[str, str]
    seconds: float

    @property
    def place(self) -> str:
        """The link or host, in words."""
        return self.ends[0] if self.ends[0] == self.ends[1] else " – ".join(self.ends)

    @property
    def name(self) -> str:
        """All of it, in words."""
        return f"{self.place}: {self.kind.name}, {self.seconds:g} s"

    @property
    def away(self) -> bool:
        """Whether somebody cannot reach Redis."""
        return self.kind.silences and (REDIS in self.ends or self.ends == (ANY, ANY))

    @property
    def deafens(self) -> bool:
        """Whether pushes that are kept nowhere may be lost to those whose connection stays."""
        return REDIS in self.ends or self.ends == (ANY, ANY)

    def make(self, switch: Switch, instance: int) -> None:
        """Do it, to this instance where it is about one."""
        asking, asked = (APPS[instance] if end == ANY else end for end in self.ends)
        self.kind.do(switch, ((asking, asked), (asked, asking)))


def all_of(seconds: float) -> list[Fault]:
    """Each kind on each link, and each host gone, for that time. Long ones are those that leave somebody without any
    answer: what is slow is no other after a minute than after ten seconds."""
    kinds = [kind for kind in KINDS if kind.silences or seconds <= min(SECONDS)]
    linked = [Fault(kind, link, seconds) for link in LINKS for kind in kinds]
    return linked + [Fault(UNPLUGGED, (host, host), seconds) for host in WHOLE]


def schedule(seed: int, seconds: Sequence[float] = SECONDS, only: str = "", delays: bool = True) -> Iterator[Fault]:
    """Without end: all of the first time, all of the next, and again; without `delays` none that makes packets late."""
    chance = random.Random(seed)
    rounds = [
        [fault for fault in all_of(one) if only in fault.name and (delays or fault.kind.silences)] for one in seconds
    ]
    for faults in itertools.cycle(rounds) if any(rounds) else ():
        chance.shuffle(faults)
        yield from faults
