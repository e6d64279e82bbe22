"""Blocking from any page of the admin: who may, what is done, and what the log says."""

from collections.abc import Sequence

from django.http import HttpRequest

from flotilla.realtime.admin.base import LiveAdmin
from flotilla.realtime.api.blocks import block

BLOCKING = "flotilla_realtime.control_block"


def block_each(
    page: LiveAdmin, request: HttpRequest, whom: Sequence[tuple[str, str]], seconds: float, note: str
) -> tuple[int, str]:
    """Block users or addresses, given as pairs of which one is ""."""
    ended = 0
    for user, address in whom:
        by = request.user.get_username()
        ended += block(user or None, address=address, seconds=seconds, note=note, by=by).hit
        page.log(request, user or address, f"Blocked for {seconds:g} seconds." + (f" {note}" if note else ""))
    return len(whom), f"{len(whom)} blocked, {ended} connections ended."
