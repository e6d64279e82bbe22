"""The app: methods by which the churn reaches what has no HTTP API, and leaks on demand."""

import asyncio
import random
from pathlib import Path
from typing import Any

from django.apps import AppConfig


class SoakAppConfig(AppConfig):
    """Registers the methods."""

    name = "tests.soak.soakapp"
    label = "soakapp"

    def ready(self) -> None:
        from flotilla import ablock, aunblock
        from flotilla.realtime import rpc

        @rpc.method("soak.block")
        async def block(user: Any, data: Any) -> Any:
            return (await ablock(data["user"], seconds=data["seconds"], by="soak"))._asdict()

        @rpc.method("soak.unblock")
        async def unblock(user: Any, data: Any) -> Any:
            return await aunblock(data["user"])

        @rpc.method("soak.card")
        def card(user: Any, data: Any) -> Any:
            return _change_a_card(random.SystemRandom())

        @rpc.method("soak.leak")
        async def leak(user: Any, data: Any) -> Any:
            LEAKS[data["what"]](data["size"])
            return True


def _change_a_card(chance: random.Random) -> str:
    """Make, change, move or delete a card, so that there are about as many at any time."""
    from tests.cluster.support.cardapp.models import Card
    from tests.cluster.support.cardapp.places import BOARDS, SLOTS

    key = chance.choice(SLOTS)
    found = Card.objects.filter(pk=key).first()
    if found is None:
        Card.objects.create(pk=key, board=chance.randint(1, BOARDS), generation=1, title="new")
        return "made"
    if chance.random() < 0.2:
        found.delete()
        return "deleted"
    found.counter += 1
    if chance.random() < 0.3:
        found.board = chance.randint(1, BOARDS)
    found.save()
    return "changed"


_kept: list[Any] = []


def _leak_memory(size: int) -> None:
    _kept.append([bytes(100) for _ in range(size)])


def _leak_files(size: int) -> None:
    _kept.extend(Path("/dev/null").open() for _ in range(size))  # noqa: SIM115 - that is the point


def _leak_tasks(size: int) -> None:
    _kept.extend(asyncio.ensure_future(asyncio.Event().wait()) for _ in range(size))


def _leak_keys(size: int) -> None:
    from flotilla.store import get_store

    for _ in range(size):
        _kept.append(None)
        name = f"flotilla:leaked:{random.SystemRandom().getrandbits(60)}"
        asyncio.ensure_future(get_store().shards[0].execute("SET", name, "1"))  # noqa: RUF006


LEAKS = {"memory": _leak_memory, "files": _leak_files, "tasks": _leak_tasks, "keys": _leak_keys}
