"""Redis addresses as people write them, for the client library and for the channel layer.

`redis://`, `rediss://` and `unix://` go to the client library as they are;
`redis+sentinel://host:port,host:port/master-name/db` names a master behind sentinels.
"""

import re
from typing import Any
from urllib.parse import unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
_NEXT_URL = re.compile(r",\s*(?=[a-z+]+://)")


def split_urls(value: str) -> list[str]:
    """The addresses in a comma-separated list; a comma inside a sentinel address does not split."""
    return [url for part in _NEXT_URL.split(value) if (url := part.strip(" \t\r\n,"))]


def check_url(url: str) -> str | None:
    """What is wrong with an address, in words; None when it can be used."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            return f"the scheme must be one of {', '.join(SCHEMES)}"
        if parts.scheme == "redis+sentinel":
            sentinel_of(url)
        elif parts.scheme != "unix":
            _ = parts.port
    except ValueError as error:
        return str(error)
    return None


def checked_urls(value: str) -> list[str]:
    """`split_urls`, of addresses that can be used. Raises ValueError naming the first that cannot."""
    urls = split_urls(value)
    for url in urls:
        problem = check_url(url)
        if problem:
            raise ValueError(f"{problem} (in {_without_password(url)!r})")
    if not urls:
        raise ValueError("no address was given")
    return urls


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", url)


def sentinel_of(url: str) -> dict[str, Any]:
    """The parts of a sentinel address: `sentinels` [(host, port)], `master_name`, `db`, `username`, `password`."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    if not path:
        raise ValueError("a sentinel address ends with the master's name: redis+sentinel://host:26379/mymaster")
    sentinels = []
    for host in hosts.split(","):
        name, _, port = host.strip().rpartition(":") if ":" in host else (host.strip(), "", "26379")
        if not name or not port.isdigit():
            raise ValueError(f"{host!r} is no host:port")
        sentinels.append((name, int(port)))
    username, _, password = credentials.partition(":")
    found: dict[str, Any] = {"sentinels": sentinels, "master_name": path[0], "db": int(path[1]) if path[1:] else 0}
    if password:
        found |= {"password": unquote(password)} | ({"username": unquote(username)} if username else {})
    return found


def layer_host(url: str, **options: Any) -> dict[str, Any]:
    """One entry of the channel layer's `hosts` for an address."""
    if urlsplit(url).scheme == "redis+sentinel":
        return {**sentinel_of(url), **options}
    return {"address": url, **options}
