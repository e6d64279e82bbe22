"""End one instance as SIGTERM does, which the server knows how to do."""

import asyncio
import logging
import os
import signal

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts

logger = logging.getLogger("flotilla.realtime.operations")

ANSWER_FIRST = 0.15  # seconds that the answer has to leave before the end begins


class Drain(Command, tag="drain", kw_only=True):
    """`instance` says which one; without it nobody is meant."""


async def carry_out(node: NodeParts, command: Drain) -> int:
    """1 where an end begins, 0 where it has begun before."""
    if not command.instance or node.leaving:
        return 0
    logger.info("told by the cluster to drain")
    asyncio.get_running_loop().call_later(ANSWER_FIRST, os.kill, os.getpid(), signal.SIGTERM)
    return 1
