"""Lists of Redis addresses as people write them, for the client library and for the channel layer.

One address is taken apart in `flotilla.store.address`. No message about a wrong one repeats any part of it, because a
password may stand anywhere in it.
"""

import re
from typing import Any

from flotilla.store.address import MEMORY, Url, WrongAddress, parse

_NEXT_URL = re.compile(r",\s*(?=[a-z+]+://)")


def split_urls(value: str) -> list[str]:
    """The addresses in a comma-separated list; a comma inside a sentinel address does not split."""
    return [Url(url) for part in _NEXT_URL.split(value) if (url := part.strip(" \t\r\n,"))]


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
        if (first := known.setdefault(parse(url).data, number)) != number:
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


def layer_host(url: str, **options: Any) -> dict[str, Any]:
    """One entry of the channel layer's `hosts` for an address."""
    return {"address": Url(url), **options}
