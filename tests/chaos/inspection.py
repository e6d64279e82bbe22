"""What can be asked of the cluster itself: who is present, what is in history, what stands in the logs."""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import Sequence
from datetime import datetime

from tests.chaos.client import Member
from tests.chaos.crowd import ROOMS
from tests.chaos.log import Census, Ghosts, LogLine, Presence
from tests.chaos.publishers import HttpCaller
from tests.chaos.world import World
from tests.cluster.support.harness import API_KEY

AT_REST_WITHIN = 15.0  # seconds
BURIED_WITHIN = 13.0
PAGE = 500  # publications
MAX_CHARACTERS = 2000  # characters of a log's line
UNHANDLED = re.compile(r'Traceback|"traceback"|"level": "(ERROR|CRITICAL)"|never retrieved|Task was destroyed')


class Inspection:
    """Asks over the HTTP API, past all links, and writes the answers into the log."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.log
        self._read: dict[str, tuple[str, int]] = {}  # how far each room's history has been read

    async def at_rest(self, phase: str, members: Sequence[Member], within: float = AT_REST_WITHIN) -> None:
        """Wait until presence is who is there, and note what it is then, or when it had time enough."""
        callers = [HttpCaller(self._world.direct(number), API_KEY) for number in range(len(self._world.instances))]
        deadline = self._log.now + within
        while True:
            seen = [await self._present(caller, number, phase) for number, caller in enumerate(callers)]
            expected = {room: sorted(one.client for one in members if room in one.live) for room in ROOMS}
            exact = all(one.clients == expected[one.channel] for rooms in seen for one in rooms)
            if exact or self._log.now > deadline:
                break
            await asyncio.sleep(0.3)
        self._log += [one for rooms in seen for one in rooms]
        for caller in callers:
            caller.close()

    async def _present(self, caller: HttpCaller, number: int, phase: str) -> list[Presence]:
        """Of every room, in one question: what takes long would be of several moments."""
        asked = {"commands": [{"presence": {"channel": room}} for room in ROOMS], "parallel": True}
        try:
            replies = (await caller.call("batch", asked))["replies"]
            rooms = [sorted(reply["presence"]["presence"]) for reply in replies]
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            rooms = [[repr(error)]] * len(ROOMS)
        now, name = self._log.now, self._world.instances[number].name
        return [Presence(now, room, name, clients, phase) for room, clients in zip(ROOMS, rooms, strict=True)]

    async def buried(self, number: int, clients: Sequence[str], since: float) -> None:
        """Wait until none of some clients of an instance is present, and note who is when that took too long."""
        others = [other for other in range(len(self._world.instances)) if other != number] or [number]
        caller = HttpCaller(self._world.direct(others[0]), API_KEY)
        while True:
            present = {client for one in await self._present(caller, number, "") for client in one.clients}
            ghosts = sorted(present.intersection(clients))
            waited = self._log.now - since
            if not ghosts or waited > BURIED_WITHIN:
                break
            await asyncio.sleep(0.3)
        caller.close()
        self._log.append(Ghosts(self._log.now, self._world.instances[number].name, waited, ghosts))

    async def census(self) -> None:
        """Read on in the history of every room; one that cannot be read now is read the next time."""
        caller = HttpCaller(self._world.direct(random.randrange(len(self._world.instances))), API_KEY)
        for room in ROOMS:
            with contextlib.suppress(OSError, TimeoutError, ValueError, KeyError):
                await self._history(caller, room)
        caller.close()

    async def _history(self, caller: HttpCaller, room: str) -> None:
        asked = self._log.now
        epoch, first = self._read.get(room, ("", 0))
        page = await self._page(caller, room, epoch, first)
        if page is None:  # another epoch: from its beginning
            epoch, first = "", 0
            page = await self._page(caller, room, epoch, first)
        found: list[tuple[int, int]] = []
        while page is not None:
            epoch, top, publications = page
            found += publications
            if not publications or publications[-1][0] >= top:
                since = found[-1][0] if found else first
                self._read[room] = epoch, since
                self._log.append(Census(self._log.now, room, epoch, top, first, asked, found))
                return
            page = await self._page(caller, room, epoch, publications[-1][0])

    async def _page(
        self, caller: HttpCaller, room: str, epoch: str, since: int
    ) -> tuple[str, int, list[tuple[int, int]]] | None:
        """(epoch, top, publications) after a position; None where the epoch is another by now."""
        place = {"offset": since} | ({"epoch": epoch} if epoch else {})
        answer = await caller.call("history", {"channel": room, "limit": PAGE, "since": place})
        if epoch and ("error" in answer or answer["result"]["epoch"] != epoch):
            if answer.get("error", {}).get("code") == 100:
                raise ValueError(answer)
            return None
        result = answer["result"]
        return result["epoch"], result["offset"], [(one["offset"], one["data"]["n"]) for one in result["publications"]]

    def read_logs(self) -> None:
        """Note every line that tells of an error which nobody handled."""
        for instance in self._world.instances:
            for line in instance.log.read_text(errors="replace").splitlines():
                if UNHANDLED.search(line):
                    self._log.append(LogLine(self._moment(line), instance.name, line[:MAX_CHARACTERS]))

    def _moment(self, line: str) -> float:
        """When a line was logged, by the log's clock; now, if it does not say so."""
        try:
            return datetime.fromisoformat(json.loads(line)["time"]).timestamp() - self._log.wall
        except (ValueError, KeyError, TypeError):
            return self._log.now
