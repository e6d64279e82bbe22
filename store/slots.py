"""The slots of a Redis Cluster, and the virtual shards that one is used as. Pure.

A virtual shard is what one slot holds: all its keys and topics have one hash tag, whose slot is in the middle of the
shard's share of all slots. So shards are on the masters as evenly as slots are, and whatever a shard has is on one
master at any time: scripts may name any of its keys, and it can be compared, followed and waited for as one Redis.
"""

from binascii import crc_hqx
from functools import cache
from itertools import product
from string import ascii_letters

from flotilla.store.address import SLOTS


def key_slot(key: str) -> int:
    """The slot of a key or of a topic of sharded pub/sub, as Redis computes it."""
    return crc_hqx((hash_tag(key) or key).encode(), 0) % SLOTS


def hash_tag(key: str) -> str:
    """What alone of a key counts for its slot; "" where all of it does."""
    _, _, behind = key.partition("{")
    tag, end, _ = behind.partition("}")
    return tag if end else ""


def slot_of(shard: int, shards: int) -> int:
    """The slot of one of so many virtual shards."""
    return (2 * shard + 1) * SLOTS // (2 * shards)


def shard_of(slot: int, shards: int) -> int:
    """The virtual shard in whose share a slot is."""
    return slot * shards // SLOTS


@cache
def tags(shards: int) -> tuple[str, ...]:
    """The hash tag of each of so many virtual shards, without braces: for each slot the first of these words that has
    it. There is one for every slot. Made once, in some 20 ms."""
    wanted = {slot_of(shard, shards): shard for shard in range(shards)}
    found = [""] * shards
    for letters in product(ascii_letters, repeat=3):
        tag = "".join(letters)
        if (shard := wanted.pop(key_slot(tag), None)) is not None:
            found[shard] = tag
            if not wanted:
                break
    return tuple(found)
