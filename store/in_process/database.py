"""What all connections share: the keys, the subscriptions, the scripts, and the way a command is run."""

import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence

from flotilla.store.in_process.keyspace import Keyspace
from flotilla.store.in_process.registry import COMMANDS, Command
from flotilla.store.in_process.replies import Error, Reply, Status
from flotilla.store.in_process.scripts import Scripts
from flotilla.store.in_process.subscriptions import Subscriptions


class Database:
    """One engine's state. It belongs to one thread. `run_id` names this run, as Redis's does."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.keys = Keyspace(clock)
        self.subscriptions = Subscriptions()
        self.scripts = Scripts(self._call_of_script)
        self.run_id = secrets.token_hex(20)
        self.pid = os.getpid()
        self.began = self.keys.now_ms
        self.calls: Counter[str] = Counter()
        self.config = {b"maxmemory": b"0", b"maxmemory-policy": b"noeviction", b"databases": b"1", b"save": b""}
        self.pushed: set[bytes] = set()
        """Lists that have got elements since somebody looked: connections may wait for them."""

    def command(self, words: Sequence[bytes]) -> Command:
        """The command that is meant. Raises Error for an unknown one, or for too few or too many words."""
        found = COMMANDS.get(words[0]) or COMMANDS.get(words[0].upper())
        if found is None:
            name = words[0].decode(errors="replace")[:128]
            given = "".join(f"'{word.decode(errors='replace')[:128]}' " for word in words[1:21])
            raise Error(f"ERR unknown command '{name}', with args beginning with: {given}")
        if not found.fits(len(words)):
            raise Error(f"ERR wrong number of arguments for '{found.name.lower()}' command")
        self.calls[found.name] += 1
        return found

    def _call_of_script(self, words: list[bytes]) -> Reply:
        """Run a command that a script calls. Raises Error."""
        known = COMMANDS.get(words[0]) or COMMANDS.get(words[0].upper())
        if known is None:
            raise Error("ERR Unknown Redis command called from script")
        if not known.fits(len(words)):
            raise Error("ERR Wrong number of args calling Redis command from script")
        if known.name == "PING":  # a script's has no subscriptions, whatever its connection has
            self.calls[known.name] += 1
            return words[1] if len(words) > 1 else Status(b"PONG")
        if known.of_session:
            raise Error("ERR This Redis command is not allowed from script")
        self.calls[known.name] += 1
        return known.run(self, *words[1:])
