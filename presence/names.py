"""An instance's name is one process's at a time: who starts under the name of another that lives is refused.

Logs, metrics and commands of the cluster tell instances apart by name. One that drains may have a successor of its
name; so may one that is to be replaced, by the process that its supervisor started for it. A process that crashed has a
lease until it runs out: where it is known to have ended (`process_identity`) nobody waits for that, otherwise its lease
is watched. One that is renewed is alive.
"""

import asyncio
import logging
import socket
from typing import Any

from flotilla.presence.leases import LeaseHolder, Leases
from flotilla.presence.process_identity import has_ended
from flotilla.store import StoreUnavailable

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.1  # seconds
MEND = (
    "Give each its own INSTANCE_ID (FLOTILLA['instance_id']); without one the name is the host's, which containers"
    " and copied machines may share. To replace it, stop it first, or have its supervisor do it (SIGHUP of"
    " manage.py serve)."
)


class NameTaken(Exception):
    """Another instance has this name, lives and does not drain."""


async def claim(
    leases: Leases, incarnation: str, instance: str, about: dict[str, Any], replaces: int | None = None
) -> None:
    """Take the first lease of this process, as soon as no other one of its name can be alive but the process of this
    host whose id is `replaces`.

    It waits as long as the lease of one that may have crashed, at most. Raises NameTaken; where Redis is away the name
    is taken unseen."""
    spared: list[str] = []
    watched: LeaseHolder | None = None
    while True:
        try:
            holder = await leases.claim(incarnation, instance, about, spared)
            if holder is None:
                return
            if has_ended(str(holder.about.get("process_identity", ""))):
                logger.info("%s was left by a process that has ended", holder.incarnation)
                await leases.expire(holder.incarnation)
                continue
        except StoreUnavailable as error:
            logger.warning("whether another instance is called %s is not known: %s", instance, error)
            return
        if holder.about.get("draining") or _is(replaces, holder):
            spared.append(holder.incarnation)
            continue
        if watched is not None and watched.incarnation == holder.incarnation and holder.ends > watched.ends:
            raise NameTaken(_text(instance, holder))
        if watched is None or watched.incarnation != holder.incarnation:
            logger.info("waiting whether %s is alive, which has the same name", holder.incarnation)
            watched = holder
        await asyncio.sleep(LOOK_EVERY)


def _is(process: int | None, holder: LeaseHolder) -> bool:
    return process == holder.about.get("pid", -1) and holder.about.get("host") == socket.gethostname()


def _text(instance: str, holder: LeaseHolder) -> str:
    where = f"process {holder.about.get('pid', '?')} on host {holder.about.get('host', '?')}"
    return f"an instance called {instance} is running already: {where}. {MEND}"
