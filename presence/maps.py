"""Maps that a channel's presence changes: of who is present, and of what leaves with whom.

They are changed by the very scripts that enter and remove presence, so that they say what `presence` says, whoever
removes an entry: its owner, or the reapers of a dead instance. What a map is, and its keys, are its owner's to say
(`flotilla/store/lua/_maps.lua`); they live beside the channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

MAX_PER_CALL = 50  # entries of presence that one script takes out where maps are told, each with a change or two
MAX_LEAVING = 5  # the same where what a client has set leaves with it: up to 100 changes each

Kind = Literal["clients", "users", "leaving"]


class ToldMap(NamedTuple):
    """A map, and what it is told: "clients", every entry of the scope; "users", those of users, each once; "leaving",
    that a client is gone, and what it has set goes as well. `kept`: those of its keys that live as long as presence's.
    """

    kind: Kind
    channel: str
    about: bytes
    keys: tuple[str, ...]
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScopeMaps:
    """The maps of a scope, as scripts want them. `most`: entries of presence that one script works on."""

    keys: tuple[str, ...] = ()
    told: bytes = b""
    kept: tuple[str, ...] = ()
    most: int = MAX_PER_CALL


NO_MAPS = ScopeMaps()


def scope_maps(maps: Iterable[ToldMap]) -> ScopeMaps:
    """What the scripts of a scope are told of its maps."""
    found = list(maps)
    if not found:
        return NO_MAPS
    keys = tuple(key for one in found for key in one.keys)
    kept = tuple(key for one in found for key in one.kept)
    most = MAX_LEAVING if any(one.kind == "leaving" for one in found) else MAX_PER_CALL
    return ScopeMaps(keys, b"".join(map(_told, found)), kept, most)


def _told(one: ToldMap) -> bytes:
    channel = one.channel.encode()
    return b"%c %d %d\n%b%b" % (one.kind[0].encode(), len(channel), len(one.about), channel, one.about)
