"""Blocking users and addresses for a time, re-exported by `realtime`: `block`, `unblock`, with twins for coroutines.

Who is blocked is refused at connect by every instance (3507), and whoever is connected is ended. A block is kept by
Redis until its end; an instance that does not answer in time has it within seconds. All raise StoreUnavailable when
Redis does not answer, and ValueError unless exactly one of user and address is given.
"""

from typing import Any

from asgiref.sync import sync_to_async

from flotilla.ratelimit.http.addresses import address_of
from flotilla.realtime.access.tokens import user_id
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged, Command, Control
from flotilla.store import get_store


def block(
    user: Any = None, *, address: str = "", seconds: float, note: str = "", by: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """Keep a user (an id or object) or an address out for so many seconds; `hit` counts connections that were ended.

    IPv6 addresses are blocked by their /64. ValueError also for what is no address: a larger network, which would match
    nobody, or a slip of the pen. `note` and `by` are shown in the admin. Raises CommandError 106 when
    10,000 are blocked already.
    """
    whom = None if user is None else user_id(user)
    if address and whom is None:
        address = address_of(address)
    who = blocklist.who_of(whom, address)
    if not 0 < seconds <= blocklist.MAX_SECONDS:
        raise ValueError(f"a block lasts up to {blocklist.MAX_SECONDS} seconds, not {seconds:g}")
    store = get_store()
    version = blocklist.add(store, who, seconds, {"by": by[:100], "note": note[:200]})
    command = Command("block", user=whom, address=address, seconds=seconds, version=version)
    return Control(store).order_sync(command, within)


async def ablock(user: Any = None, **options: Any) -> Acknowledged:
    """`block` for coroutines."""
    return await sync_to_async(block, thread_sensitive=False)(user, **options)


def unblock(user: Any = None, *, address: str = "", within: float = ASK_WITHIN) -> bool:
    """Let a user or an address in again; False when there was no block."""
    whom = None if user is None else user_id(user)
    address = _as_listed(address)
    store = get_store()
    version = blocklist.remove(store, blocklist.who_of(whom, address))
    Control(store).order_sync(Command("unblock", user=whom, address=address, version=version), within)
    return version > 0


def _as_listed(address: str) -> str:
    """How an address stands in the list; whatever else came into it once can be taken out, too."""
    try:
        return address_of(address)
    except ValueError:
        return address


async def aunblock(user: Any = None, **options: Any) -> bool:
    """`unblock` for coroutines."""
    return await sync_to_async(unblock, thread_sensitive=False)(user, **options)
