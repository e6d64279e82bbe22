"""Fills the caches by name. They have bounds, which half an hour of new names would only just reach: until then a cache
that fills looks like a leak."""

from flotilla.presence import keys
from flotilla.presence.scopes import Scope
from flotilla.ratelimit.algorithms.rates import parse_rate
from flotilla.ratelimit.keys import bucket
from flotilla.realtime.protocol.protobuf import publications
from flotilla.store.placement import CACHED_PLACEMENTS, placement_of

MORE = 1.5  # times the bound: a table that is full is made larger once more when a third of it was replaced


def fill() -> None:
    """With names that nobody uses."""
    for number in range(int(keys.REMEMBERED * MORE)):
        keys.own_keys(Scope.channel(f"nobody's:{number}"), "nobody-0-0123456789abcdef")
        keys.own_keys(Scope.user(f"nobody {number}"), "nobody-0-0123456789abcdef")
        bucket("nobody", f"nobody {number}", parse_rate("10/s"))
    for number in range(int(publications.REMEMBERED * MORE)):
        publications.client_info(b'{"user":"user-%d","client":"%036d"}' % (number, number))
    for number in range(int(CACHED_PLACEMENTS * MORE)):
        placement_of(f"nobody's:{number}")
