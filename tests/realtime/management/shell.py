"""A shell in which commands are run: what they print, and the sentence with which they fail."""

import asyncio
import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flotilla import make_connection_token
from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until


async def run(*words: str) -> str:
    """What a command prints."""
    out = StringIO()
    await asyncio.to_thread(call_command, *words, stdout=out, no_color=True)
    return out.getvalue()


async def document(*words: str) -> Any:
    """What a command prints as JSON."""
    printed = await run(*words, "--json")
    assert printed.isascii()
    return json.loads(printed)


async def failing(*words: str, status: int = 1) -> str:
    """The sentence with which a command ends, and the status that a shell sees."""
    with pytest.raises(CommandError) as failed:
        await run(*words)
    assert failed.value.returncode == status
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def people(node: Node, *users: str, room: str = "open:a") -> list[Peer]:
    """Connected users, in a room."""
    peers = [Peer(node) for _ in users]
    for peer, user in zip(peers, users, strict=True):
        await peer.connect(token=make_connection_token(user), name="app")
        await peer.subscribe(room)
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peers
