"""Clients that are moved from instance to instance, and what became of their moves.

A `Member` reconnects as the official JavaScript client does (0.5 to 1 s, at random, growing with failures), recovers,
and notes every move; a `Report` says of all of them who let in whom, how fast, and whether anybody noticed.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.cluster.support.light_client import LightClient, open_light
from tests.cluster.support.subscribers import Faults

FIRST_DELAY = 0.5  # seconds, as the SDK's `minReconnectDelay`
SHUTDOWN = 3001


@dataclass(frozen=True, slots=True)
class Move:
    """One client's way from an instance to the next; moments are seconds of one clock."""

    left: str
    left_at: float
    to: str
    admitted_at: float
    back_at: float


@dataclass
class Member:
    """A client of the protocol in one room. `offsets`: what was delivered, in order."""

    url: str
    room: str
    offsets: list[int] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unrecovered: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _socket: LightClient | None = None
    _epoch: str = ""
    _at: str = ""
    _left: tuple[str, float] | None = None
    _admitted_at: float = 0.0

    @property
    def top(self) -> int:
        """The newest offset that it has."""
        return self.offsets[-1] if self.offsets else 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            try:
                self._socket = await open_light(self.url, self._receive, partial(_set, ended))
            except (OSError, TimeoutError) as error:
                failures += 1
                self.errors.append(f"could not connect: {error!r}")
            else:
                failures = 0
                self._subscribe(self._socket, '{"id":1,"connect":{}}\n')
                try:
                    code = await ended
                finally:
                    self._socket.abort()
                self._left = self._at, time.monotonic()
                if code != SHUTDOWN:
                    self.errors.append(f"closed with {code}")
            await asyncio.sleep(FIRST_DELAY + random.uniform(0, FIRST_DELAY * 2**failures))

    def _subscribe(self, socket: LightClient, before: str = "") -> None:
        wish: dict[str, Any] = {"channel": self.room}
        if self._epoch:
            wish |= {"recover": True, "epoch": self._epoch, "offset": self.top}
        if socket.transport is not None and not socket.transport.is_closing():
            socket.send(before + json.dumps({"id": 2, "subscribe": wish}))

    def _receive(self, text: str) -> None:
        for line in text.split("\n"):
            message = json.loads(line)
            if message:
                self._take(message)
            elif self._socket is not None:
                self._socket.send("{}")

    def _take(self, message: dict[str, Any]) -> None:
        push = message.get("push", {})
        if publication := push.get("pub"):
            self.offsets.append(publication["offset"])
        elif "connect" in message:
            self._at, self._admitted_at = message["connect"]["data"]["instance"], time.monotonic()
        elif "subscribe" in message:
            self._subscribed(message["subscribe"])
        elif push.get("disconnect", {}).get("code") != SHUTDOWN:
            self.errors.append(f"was told {message}")
            if self._socket is not None:  # once more, as the SDKs do
                asyncio.get_running_loop().call_later(random.uniform(0.5, 1), self._subscribe, self._socket)

    def _subscribed(self, result: dict[str, Any]) -> None:
        if result.get("was_recovering") and not result.get("recovered"):
            self.unrecovered += 1
        self.offsets += [publication["offset"] for publication in result.get("publications", ())]
        self._epoch = result["epoch"]
        if self._left is not None:
            self.moves.append(Move(*self._left, self._at, self._admitted_at, time.monotonic()))
            self._left = None
        self.ready.set()


def _set(ended: "asyncio.Future[int]", code: int) -> None:
    if not ended.done():
        ended.set_result(code)


@dataclass(frozen=True, slots=True)
class Admitted:
    """What one instance let in of one drain's clients."""

    instance: str
    times: list[float]

    @property
    def mean(self) -> float:
        """Clients a second."""
        return len(self.times) / max(1.0, self.times[-1] - self.times[0])

    @property
    def peak(self) -> int:
        """The most within any second."""
        return max(sum(end - 1.0 < at <= end for at in self.times) for end in self.times)

    def __str__(self) -> str:
        seconds = self.times[-1] - self.times[0]
        ratio = self.peak / self.mean
        return (
            f"{self.instance} let in {len(self.times)} in {seconds:.2f} s: "
            f"mean {self.mean:.0f} a second, peak {self.peak}, {ratio:.2f} times the mean"
        )


@dataclass
class Report:
    """What came of a rolling restart."""

    faults: Faults
    unrecovered: int
    errors: list[str]
    moves: list[Move]

    def drained(self) -> dict[str, list[Move]]:
        """The moves by the instance that was left; each is drained once."""
        found: dict[str, list[Move]] = defaultdict(list)
        for move in sorted(self.moves, key=lambda move: move.admitted_at):
            found[move.left].append(move)
        return dict(found)

    def admitted(self, moves: list[Move]) -> list[Admitted]:
        """Who let in whom of one drain."""
        times: dict[str, list[float]] = defaultdict(list)
        for move in moves:
            times[move.to].append(move.admitted_at)
        return [Admitted(name, at) for name, at in sorted(times.items())]

    @property
    def longest(self) -> float:
        """Seconds that the last one was away."""
        return max((move.back_at - move.left_at for move in self.moves), default=0.0)

    @property
    def steepest(self) -> float:
        """The highest peak in terms of its mean."""
        return max(one.peak / one.mean for moves in self.drained().values() for one in self.admitted(moves))

    @property
    def nothing_lost(self) -> bool:
        """Whether no publication was lost, repeated or out of order, and nobody saw an error."""
        return self.faults == Faults() and not self.unrecovered and not self.errors

    def show(self) -> None:
        """Print it."""
        for left, moves in self.drained().items():
            away = sorted(move.back_at - move.left_at for move in moves)
            print(f"{left} drained: {len(moves)} clients, away p50 {away[len(away) // 2]:.2f} s, most {away[-1]:.2f} s")
            for one in self.admitted(moves):
                print(f"  {one}")
        faults = self.faults
        print(
            f"lost {faults.gaps}, duplicated {faults.duplicates}, out of order {faults.reorders}, "
            f"not recovered {self.unrecovered}, errors {len(self.errors)}"
        )
        for error in self.errors[:5]:
            print(f"  {error}")
