"""Blocking from any page of the admin: who may, what is done, and what the log says."""

from collections.abc import Sequence

from django.http import HttpRequest

from flotilla.natural_names import NamedUser
from flotilla.realtime.admin.base import LiveAdmin
from flotilla.realtime.api.blocks import block

BLOCKING = "flotilla_realtime.control_block"


def block_each(
    page: LiveAdmin, request: HttpRequest, whom: Sequence[tuple[NamedUser | None, str]], seconds: float, note: str
) -> tuple[int, str]:
    """Block users or addresses, given as pairs of which one is None or ""."""
    ended = 0
    for user, address in whom:
        by = request.user.get_username()
        who = user.id if user is not None else None
        ended += block(who, address=address, seconds=seconds, note=note, by=by).hit
        words = f"Blocked for {seconds:g} seconds." + (f" {note}" if note else "")
        page.log(request, who or address, words, str(user) if user is not None and user.name else "")
    return len(whom), f"{len(whom)} blocked, {ended} connections ended."
