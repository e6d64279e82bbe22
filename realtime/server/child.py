"""One child process of the supervisor: its socket, its output, how it says that it is ready, how it is ended.

The listening socket is made for this child alone and our copy is closed as soon as the child has its own: a copy kept
here would go on collecting connections after the child's death.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flotilla.realtime.server.listeners import bind
from flotilla.realtime.server.parent_death import PARENT, READY_FD

MAX_LINE = 2**16  # bytes of output that are held for one line
MAX_NAME = 4096  # bytes a child says when it is ready: less than a pipe takes at once

Say = Callable[[str, str], None]
"""Takes a process's name and a line of its output."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every child has in common. `command` makes its command line for the descriptor of its socket."""

    host: str
    port: int
    command: Callable[[int], Sequence[str]]
    environment: Mapping[str, str]
    stop_within: float  # seconds from SIGTERM to SIGKILL


class Child:
    """A running process. Make it with `spawn`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, plan: Plan, say: Say) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.incarnation = ""  # under which its connections are present; it says so when it is ready
        self._process = process
        self._plan = plan
        self._say = say
        self._began = time.monotonic()
        self._output = asyncio.create_task(self._copy_output())
        self._ended = asyncio.create_task(self._end())

    @classmethod
    async def spawn(cls, name: str, plan: Plan, extra: Mapping[str, str], say: Say) -> "Child":
        """Start a child with a socket of its own; `extra` goes into its environment."""
        telling, told = os.pipe()
        listener = bind(plan.host, plan.port)
        try:
            with listener:
                handed = (listener.fileno(), told)
                names = {PARENT: str(os.getpid()), READY_FD: str(told), "INSTANCE_ID": name}
                process = await asyncio.create_subprocess_exec(
                    *plan.command(listener.fileno()),
                    env={**plan.environment, **names, **extra},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    limit=MAX_LINE,
                    pass_fds=handed,
                )
        except BaseException:
            os.close(telling)
            raise
        finally:
            os.close(told)
        child = cls(name, process, plan, say)
        child._listen_for_ready(telling)
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ran_for(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    async def wait(self) -> int:
        """Wait until it has ended and its last output was passed on; gives the exit status, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def become_ready(self, within: float) -> bool:
        """Wait until it can take clients; False when it ended before, or is not ready after `within` seconds."""
        ready = asyncio.create_task(self.ready.wait())
        try:
            await asyncio.wait((ready, self._ended), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        return self.ready.is_set()

    async def stop(self) -> None:
        """Have it drain and end; kill it when it does not within the plan's time."""
        self.signal(signal.SIGTERM)
        await asyncio.wait((self._ended,), timeout=self._plan.stop_within)
        if not self._ended.done():
            self._say(self.name, f"did not end within {self._plan.stop_within:g} s: killed")
            self.signal(signal.SIGKILL)
            await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def _listen_for_ready(self, telling: int) -> None:
        loop = asyncio.get_running_loop()
        os.set_blocking(telling, False)

        def told() -> None:
            loop.remove_reader(telling)
            if said := os.read(telling, MAX_NAME):  # nothing: the child ended before it was ready
                self.incarnation = said.decode(errors="replace").strip()
                self.ready.set()
            os.close(telling)

        loop.add_reader(telling, told)

    async def _end(self) -> int:
        status = await self._process.wait()
        await asyncio.wait((self._output,), timeout=1.0)  # a grandchild may keep the pipe open
        self._output.cancel()
        return status

    async def _copy_output(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
            except asyncio.LimitOverrunError as error:
                line = await self._process.stdout.readexactly(error.consumed)
            if not line:
                return
            self._say(self.name, line.decode(errors="replace").rstrip("\n"))


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return "ended" if status == 0 else f"ended with status {status}"
