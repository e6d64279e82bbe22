"""Blocking users and addresses for a time, re-exported by `flotilla`: `block`, `unblock`, with twins for coroutines.

Who is blocked is refused at connect by every instance (3507), and whoever is connected is ended. A block is kept by
Redis until its end; an instance that does not answer in time has it within seconds. All raise StoreUnavailable when
Redis does not answer, and ValueError unless exactly one of user and address is given.
"""

from typing import Any

from flotilla.ratelimit.http.addresses import address_of
from flotilla.realtime.api.prepared import Prepared, in_thread, order
from flotilla.realtime.api.targets import user_or_all
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged
from flotilla.realtime.node.operations.block import Block
from flotilla.realtime.node.operations.unblock import Unblock
from flotilla.store import get_store


def block(
    user: Any = None, *, address: str = "", seconds: float, note: str = "", by: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """Keep a user (an id or object) or an address out for so many seconds; `hit` counts connections that were ended.

    IPv6 addresses are blocked by their /64. ValueError also for what is no address, and for a larger network, which
    would match nobody. `note` and `by` are shown in the admin. Raises CommandError 106 when 10,000 are blocked already.
    """
    return _block(user, address, seconds, note, by, within).run()


async def ablock(
    user: Any = None, *, address: str = "", seconds: float, note: str = "", by: str = "", within: float = ASK_WITHIN
) -> Acknowledged:
    """`block` for coroutines."""
    return await _block(user, address, seconds, note, by, within).arun()


def unblock(user: Any = None, *, address: str = "", within: float = ASK_WITHIN) -> bool:
    """Let a user or an address in again; False when there was no block."""
    return _unblock(user, address, within).run()


async def aunblock(user: Any = None, *, address: str = "", within: float = ASK_WITHIN) -> bool:
    """`unblock` for coroutines."""
    return await _unblock(user, address, within).arun()


def _block(user: Any, address: str, seconds: float, note: str, by: str, within: float) -> Prepared[Acknowledged]:
    user = user_or_all(user)
    if address and user is None:
        address = address_of(address)
    who = blocklist.who_of(user, address)
    if not 0 < seconds <= blocklist.MAX_SECONDS:
        raise ValueError(f"a block lasts up to {blocklist.MAX_SECONDS} seconds, not {seconds:g}")

    def run() -> Acknowledged:
        version = blocklist.add(get_store(), who, seconds, {"by": by[:100], "note": note[:200]})
        return order(Block(user=user, address=address, seconds=seconds, version=version), within).run()

    return in_thread(run)


def _unblock(user: Any, address: str, within: float) -> Prepared[bool]:
    user, address = user_or_all(user), _as_listed(address)
    who = blocklist.who_of(user, address)

    def run() -> bool:
        version = blocklist.remove(get_store(), who)
        order(Unblock(user=user, address=address, version=version), within).run()
        return version > 0

    return in_thread(run)


def _as_listed(address: str) -> str:
    """How an address stands in the list; one that could not be blocked today can be taken out all the same."""
    try:
        return address_of(address)
    except ValueError:
        return address
