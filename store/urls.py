"""Lists of Redis addresses as people write them, for the client library and for the channel layer.

One address is taken apart in `flotilla.store.address`. No message about a wrong one repeats any part of it, because a
password may stand anywhere in it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from flotilla.store.address import MEMORY, Address, Url, WrongAddress, as_ours, parse
from flotilla.store.slots import slot_of

_NEXT_URL = re.compile(r",\s*(?=[a-z+]+://)")


def split_urls(value: str) -> list[str]:
    """The addresses in a comma-separated list, in our schemes; a comma inside a sentinel address does not split."""
    return [as_ours(url) for part in _NEXT_URL.split(value) if (url := part.strip(" \t\r\n,"))]


def check_url(url: str) -> str | None:
    """What is wrong with an address, in words; None when it can be used."""
    try:
        parse(url)
    except WrongAddress as error:
        return str(error)
    return None


def checked_urls(value: str) -> list[str]:
    """`split_urls`, of addresses that can be used. Raises WrongAddress for the first that cannot."""
    urls = split_urls(value)
    if not urls:
        raise WrongAddress("no address was given")
    known: dict[Any, int] = {}
    for number, url in enumerate(urls, 1):
        which = f" (address {number} of {len(urls)})" if len(urls) > 1 else ""
        if problem := check_url(url):
            raise WrongAddress(f"{problem}{which}")
        address = parse(url)
        if address.slot is not None:
            raise WrongAddress(f"a slot is nothing to choose: leave the option slot out{which}")
        if address.shards and len(urls) > 1:
            raise WrongAddress("a cluster is the whole store: write the hosts of one, behind one redis+cluster://")
        if (first := known.setdefault(address.data, number)) != number:
            raise WrongAddress(f"addresses {first} and {number} are the same Redis: write each shard once")
    if len(urls) > 1 and MEMORY in urls:
        raise WrongAddress(f"{MEMORY} is the whole store: write it alone, or addresses of Redis alone")
    return urls


def checked_url(value: str) -> str:
    """The one address in a text. Raises WrongAddress."""
    urls = checked_urls(value)
    if len(urls) > 1:
        raise WrongAddress("there is more than one address: write one")
    return urls[0]


def in_cluster(url: str) -> bool:
    """Whether an address is that of a cluster, or of a slot of one."""
    return url.startswith("redis+cluster:")


def of_cluster(urls: Sequence[str]) -> int:
    """The number of virtual shards where the addresses are that of a cluster; else 0. Raises WrongAddress."""
    return _parsed(urls[0]).shards if len(urls) == 1 else 0


@lru_cache(maxsize=16)
def _parsed(url: str) -> Address:
    return parse(url)


def expanded(urls: Sequence[str]) -> tuple[str, ...]:
    """An address for each shard: those of a list, and one for each virtual shard of a cluster. Raises WrongAddress."""
    shards = of_cluster(urls)
    return tuple(in_slot(urls[0], slot_of(shard, shards)) for shard in range(shards)) if shards else tuple(urls)


def slot_in(url: str) -> int | None:
    """The slot that an address of `expanded` has; None for every other address."""
    return _parsed(url).slot if in_cluster(url) else None


def in_slot(url: str, slot: int) -> str:
    """The address of the master that has a slot; one of anything but a whole cluster stays as it is."""
    if not in_cluster(url) or _parsed(url).slot is not None:
        return url
    return Url(f"{url}{'&' if '?' in url else '?'}slot={slot}")


def layer_host(url: str, **options: Any) -> dict[str, Any]:
    """One entry of the channel layer's `hosts` for an address, of a cluster for one that `expanded` gave."""
    if in_cluster(url) and parse(url).slot is None:
        raise WrongAddress("a cluster is a host of the layer for each of its shards: take what `expanded` gives")
    return {"address": Url(url), **options}
