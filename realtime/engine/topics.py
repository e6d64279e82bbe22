"""Which pub/sub topic a mailbox or a group of the channel layer has, and which of the layer's hosts it is on. Pure.

Elsewhere than in a cluster this is channels-redis's own choice: the topic is the name, and the host follows from its
hash. In a cluster a host of the layer is a virtual shard (`flotilla.store.slots`), and every topic has the hash tag of
its shard. The platform's own groups have it in their names; to other names it is added here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from channels_redis.utils import _consistent_hash as layer_hash
from django.core.exceptions import ImproperlyConfigured

from flotilla.store.address import Address, as_ours, parse
from flotilla.store.slots import hash_tag, slot_of, tags
from flotilla.store.urls import expanded, in_cluster

Host = dict[str, Any]


class Topics:
    """The topics of a layer on so many hosts. `shards`: as how many a cluster is used; 0: it is none."""

    def __init__(self, hosts: int, shards: int = 0) -> None:
        self._hosts = hosts
        self._tags = tags(shards) if shards else ()
        self._shards = {tag: number for number, tag in enumerate(self._tags)}

    def of(self, name: str) -> str:
        """The topic of a mailbox, or of a group by the name that channels-redis gives its topic."""
        if not self._tags or hash_tag(name) in self._shards:
            return name
        tag = self._tags[layer_hash(name, self._hosts)]
        return f"{{{tag}}}{name}" if "{" in name else f"{name}{{{tag}}}"

    def host(self, topic: str) -> int:
        """The number of the host that a topic is on."""
        if self._tags:
            return self._shards[hash_tag(topic)]
        number: int = layer_hash(topic, self._hosts)
        return number


def hosts_of(given: Sequence[Host]) -> tuple[list[Host], int]:
    """The hosts of a layer, and as how many shards a cluster is used (0: it is none). A cluster's one address becomes
    a host for each shard. Raises ImproperlyConfigured, WrongAddress."""
    hosts = [host for one in given for host in _each(one)]
    shards = {address.shards for host in hosts if (address := _of_cluster(host)) is not None}
    if not shards:
        return hosts, 0
    [count, *others] = shards
    wanted = [slot_of(shard, count) for shard in range(count)]
    if others or [getattr(_of_cluster(host), "slot", None) for host in hosts] != wanted:
        raise ImproperlyConfigured(
            "The hosts of a channel layer are one cluster, or other addresses: write one redis+cluster:// alone."
        )
    return hosts, count


def _each(host: Host) -> Iterator[Host]:
    if isinstance(url := host.get("address"), str):
        host = {**host, "address": as_ours(url)}
    address = _of_cluster(host)
    if address is None or address.slot is not None:
        yield host
    else:
        yield from ({**host, "address": url} for url in expanded([host["address"]]))


def _of_cluster(host: Host) -> Address | None:
    """A host's address, if it is that of a cluster."""
    url = host.get("address")
    return parse(url) if isinstance(url, str) and in_cluster(url) else None
