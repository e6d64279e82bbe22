"""Whether a client that comes back can be given what it missed. Pure.

Of a stream, all or nothing: part of it would be a silent gap, so what is not provably complete is not recovered.
`reason` says why not: limit (too much was missed), epoch (another stream), trimmed or expired (history no longer has
all or any of it), ahead (the client claims more than there is).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import Page, Publication, StreamPosition


@dataclass(frozen=True, slots=True)
class Recovery:
    """The answer to a client's position: the missed publications, ascending, or not recovered."""

    recovered: bool
    publications: tuple[Publication, ...] = ()
    reason: str = ""


OUTCOMES = ("recovered", "limit", "epoch", "trimmed", "expired", "ahead")


def recover(wanted: StreamPosition, page: Page, limit: int, meta_ttl: float) -> Recovery:
    """Decide from `page`, which was read whole from `wanted.offset`, with room for one more than `limit`. `meta_ttl`:
    the seconds a stream of the channel lives at least."""
    if page.overflow or len(page.publications) > limit:
        return Recovery(False, reason="limit")
    if wanted.epoch and not continues(wanted, page.top.epoch, meta_ttl):
        return Recovery(False, reason="epoch")
    if not complete(wanted.offset, page.publications, page.top.offset):
        if wanted.offset > page.top.offset:
            return Recovery(False, reason="ahead")
        return Recovery(False, reason="trimmed" if page.publications else "expired")
    return Recovery(True, page.publications)


def newest(
    wanted: StreamPosition | None, page: Page, meta_ttl: float, wants: Callable[[Publication], bool]
) -> Recovery:
    """Decide where the newest publication is all that a client needs. `page`: the newest first, of which those count
    that the subscription `wants`. `wanted`: up to where the client has all; None where it said nothing.

    Recovered is who has the newest or is given it.
    """
    top = page.top
    known = wanted is not None and wanted.epoch != "" and continues(wanted, top.epoch, meta_ttl)
    had = wanted.offset if wanted is not None and known and wanted.offset <= top.offset else None
    if had == top.offset:
        return Recovery(True)
    if not page.publications or page.publications[0].offset != top.offset:
        return Recovery(False, reason="expired")
    found = next(filter(wants, page.publications), None)
    if found is None:
        return Recovery(False, reason="expired")
    return Recovery(True) if had is not None and found.offset <= had else Recovery(True, (found,))


def complete(since: int, publications: Sequence[Publication], top: int) -> bool:
    """Whether `publications` are all of those after `since` up to `top`."""
    if not publications:
        return top == since
    return publications[0].offset == since + 1 and publications[-1].offset == top and len(publications) == top - since
