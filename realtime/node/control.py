"""Commands to every instance at once: how they are sent, and how their answers are collected.

A command is JSON on one group of the layer, which every hub has joined. `tell` sends it off; `ask` gives a key on the
first Redis where each instance leaves its answer under its own name, and collects until all that live have answered or
the deadline has passed; `order` adds up what they did. Which commands there are, and what each does, is in
`node.operations`.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from flotilla.presence.inspection import instances
from flotilla.presence.leases import alive_sync
from flotilla.realtime.engine import envelope
from flotilla.store import Placement, Script, Store, placement_of, whole_placement
from flotilla.store.conf import get_store_config

CONTROL_NAME = "control\0"  # no channel can have this name
ANSWER = Script.load("flotilla.realtime.engine", "answer")
ANSWERS_TTL = 10  # seconds an answer waits for its collector
ASK_WITHIN = 1.0
TAIL_TTL = 15  # seconds that what was seen for a live tail waits for its collector
BLOCKED = 0.5  # seconds a thread blocks in Redis at a time: well within the timeout of a call
POLLS = (0.002, 0.05)  # seconds between reads of answers: at first, at most


class Command(msgspec.Struct, tag_field="op", kw_only=True, omit_defaults=True):
    """What every command has; each operation adds its own fields (`node.operations`).

    `instance` is an incarnation: the others pass the command over; "" is for all. `answer_to` is the key where answers
    are left, "" when nobody waits for any; `Control` sets it. Names of operations and fields are read by the previous
    release, too, which runs beside this one during a rolling restart: they stay as they are.
    """

    instance: str = ""
    answer_to: str = ""


class Acknowledged(NamedTuple):
    """What a command did: `hit` connections or subscriptions, as `answered` of `instances` living instances say."""

    hit: int
    answered: int
    instances: int

    @property
    def complete(self) -> bool:
        """Whether every living instance has answered in time."""
        return self.answered >= self.instances


def control_place() -> Placement:
    """Where control messages go."""
    return placement_of(CONTROL_NAME)


def first_place() -> Placement:
    """The place of what instances leave for each other on the first Redis, where in a cluster its slot decides. A Redis
    alone has any key: there they are beside the control messages, as in every release before."""
    return whole_placement("control") if get_store_config().virtual_shards else control_place()


class Control:
    """Sends commands to the cluster. Every method raises StoreUnavailable; times are seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tell(self, command: Command) -> None:
        """Send a command to every instance."""
        await self._store.shard_for(control_place()).announce(control_place().topic, _message(command))

    def tell_sync(self, command: Command) -> None:
        """`tell` for threads."""
        self._store.shard_for(control_place()).announce_sync(control_place().topic, _message(command))

    async def order(self, command: Command, within: float = ASK_WITHIN) -> Acknowledged:
        """Have a command carried out: how many it hit, as far as instances said so within the deadline."""
        living = [command.instance] if command.instance else _names(await instances(self._store))
        return _added(living, await self.ask(command, living, within))

    def order_sync(self, command: Command, within: float = ASK_WITHIN) -> Acknowledged:
        """`order` for threads."""
        living = [command.instance] if command.instance else _names(alive_sync(self._store))
        return _added(living, self.ask_sync(command, living, within))

    async def ask(self, command: Command, living: Collection[str], within: float = ASK_WITHIN) -> dict[str, Any]:
        """Send a command and collect the answers, by incarnation, until all of `living` have answered."""
        command.answer_to = _answer_key()
        await self.tell(command)
        found: dict[str, Any] = {}
        deadline = time.monotonic() + within
        pause, max_pause = POLLS
        while not found.keys() >= set(living) and time.monotonic() < deadline:
            answer = await self._store.first.execute("LPOP", command.answer_to)
            if answer is None:
                await asyncio.sleep(pause)
                pause = min(max_pause, pause * 1.5)
            else:
                _note(found, answer)
        return found

    def ask_sync(self, command: Command, living: Collection[str], within: float = ASK_WITHIN) -> dict[str, Any]:
        """`ask` for threads."""
        command.answer_to = _answer_key()
        self.tell_sync(command)
        found: dict[str, Any] = {}
        deadline = time.monotonic() + within
        while not found.keys() >= set(living) and (left := deadline - time.monotonic()) > 0:
            answer = self._store.first.execute_sync("BLPOP", command.answer_to, max(0.01, min(BLOCKED, left)))
            if answer is not None:
                _note(found, answer[1])
        return found

    async def answer(self, command: Command, incarnation: str, answer: Any) -> None:
        """Leave this instance's answer to a command that wants one."""
        said = msgspec.json.encode([incarnation, answer])
        await self._store.first.run(ANSWER, [command.answer_to], [said, ANSWERS_TTL])


def tail_key(id: str) -> str:
    """Where instances leave what they have seen for a live tail."""
    return first_place().key(f"tail:{id}")


def _names(living: list[dict[str, Any]]) -> list[str]:
    return [about["incarnation"] for about in living]


def _note(found: dict[str, Any], answer: bytes) -> None:
    incarnation, said = msgspec.json.decode(answer)
    found[incarnation] = said


def _added(living: Collection[str], answers: Mapping[str, Any]) -> Acknowledged:
    return Acknowledged(sum(answers.values()), len(answers), len(set(living) | answers.keys()))


def _message(command: Command) -> bytes:
    return envelope.control(msgspec.json.encode(command))


def _answer_key() -> str:
    return first_place().key(f"answers:{secrets.token_hex(8)}")
