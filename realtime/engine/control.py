"""Commands to every instance at once: end connections or subscriptions of a user, ask for what each one knows.

A command is JSON on one group of the layer, which every hub has joined. `tell` sends it off; `ask` gives a key on the
first Redis where each instance leaves its answer, and collects until all have answered or the deadline has passed.
"""

import asyncio
import secrets
import time
from typing import Any

import msgspec

from realtime.engine import envelope
from store import Placement, Store, place

CONTROL_NAME = "control\0"  # no channel can have this name
ANSWERS_TTL = 10  # seconds an answer waits for its collector
ASK_WITHIN = 1.0


class Command(msgspec.Struct, omit_defaults=True):
    """`op`: disconnect, unsubscribe, channels. Empty fields match everything; `user` None matches every user."""

    op: str
    user: str | None = None
    client: str = ""
    channel: str = ""
    code: int = 0
    reason: str = ""
    keep: list[str] = []
    answer_to: str = ""


def control_place() -> Placement:
    """Where control messages go."""
    return place(CONTROL_NAME)


_decode = msgspec.json.Decoder(Command).decode


def parse(payload: bytes) -> Command:
    """The command of a control message. Raises msgspec.DecodeError for anything else."""
    return _decode(payload)


class Control:
    """Sends commands to the cluster; `node.on_control` is where they arrive."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tell(self, command: Command) -> None:
        """Send a command to every instance."""
        await self._store.shard_for(control_place()).execute("PUBLISH", control_place().topic, _message(command))

    def tell_sync(self, command: Command) -> None:
        """`tell` for threads."""
        self._store.shard_for(control_place()).execute_sync("PUBLISH", control_place().topic, _message(command))

    async def ask(self, command: Command, answers: int, within: float = ASK_WITHIN) -> list[Any]:
        """Send a command and collect up to `answers` answers, for at most `within` seconds."""
        command.answer_to = _answer_key()
        await self.tell(command)
        found: list[Any] = []
        deadline = time.monotonic() + within
        while len(found) < answers and time.monotonic() < deadline:
            answer = await self._store.first.execute("LPOP", command.answer_to)
            if answer is None:
                await asyncio.sleep(0.01)
            else:
                found.append(msgspec.json.decode(answer))
        return found

    def ask_sync(self, command: Command, answers: int, within: float = ASK_WITHIN) -> list[Any]:
        """`ask` for threads."""
        command.answer_to = _answer_key()
        self.tell_sync(command)
        found: list[Any] = []
        deadline = time.monotonic() + within
        while len(found) < answers and (left := deadline - time.monotonic()) > 0:
            answer = self._store.first.execute_sync("BLPOP", command.answer_to, max(0.01, left))
            if answer is not None:
                found.append(msgspec.json.decode(answer[1]))
        return found

    async def answer(self, command: Command, answer: Any) -> None:
        """Leave this instance's answer to a command that wants one."""
        await self._store.first.execute("RPUSH", command.answer_to, msgspec.json.encode(answer))
        await self._store.first.execute("EXPIRE", command.answer_to, ANSWERS_TTL)


def _message(command: Command) -> bytes:
    return envelope.control(msgspec.json.encode(command))


def _answer_key() -> str:
    return control_place().key(f"answers:{secrets.token_hex(8)}")
