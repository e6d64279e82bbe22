"""Blocking from any page of the admin: who may, who is hit, what is done, and what the log says."""

from collections.abc import Sequence

from django.http import HttpRequest

from flotilla.natural_names import NamedUser
from flotilla.realtime.admin.affected import Affected, by_address, by_user
from flotilla.realtime.admin.base import LiveAdmin
from flotilla.realtime.admin.words import called, count, duration
from flotilla.realtime.api.blocks import block

BLOCKING = "flotilla_realtime.control_block"
BLOCKED = "They cannot connect until the block ends, and open connections are ended (3507)."


def block_each(
    page: LiveAdmin, request: HttpRequest, whom: Sequence[tuple[NamedUser | None, str]], seconds: float, note: str
) -> tuple[int, str]:
    """Block users or addresses, given as pairs of which one is None or ""."""
    ended = 0
    for user, address in whom:
        by = request.user.get_username()
        who = user.id if user is not None else None
        hit = block(who, address=address, seconds=seconds, note=note, by=by).hit
        ended += hit
        name = called(user) if user is not None else address
        page.log(request, who or address, f"blocked {name} for {duration(seconds)} ({count(hit, 'connection')})", note)
    return len(whom), f"{len(whom)} blocked, {count(ended, 'connection')} ended."


def blocking_hits(user: NamedUser | None, address: str) -> Affected:
    """Whom the block of one user or address hits now."""
    return by_user([user.id]) if user is not None else by_address([address])
