"""Redis addresses as people write them."""

import pytest
from channels_redis.utils import create_pool, decode_hosts

from store.urls import check_url, layer_host, sentinel_of, split_urls


def test_a_list_is_split_between_addresses_only() -> None:
    """The commas inside a sentinel address stay."""
    value = "redis://a:1/0, redis+sentinel://s1:26379,s2/master/2 ,unix:///run/r.sock,"
    assert split_urls(value) == ["redis://a:1/0", "redis+sentinel://s1:26379,s2/master/2", "unix:///run/r.sock"]
    assert split_urls("") == []


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:1/2", "unix:///r.sock", "redis+sentinel://a,b:2/m", "redis://[::1]:6379"]
)
def test_good_addresses_pass(url: str) -> None:
    """Every scheme we speak."""
    assert check_url(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "h:6379",
        "",
        "redis://h:port",
        "redis://h:99999",
        "redis+sentinel://a:1",
        "redis+sentinel://a:x/m",
        "redis+sentinel:///m",
        "redis+sentinel://a/m/x",
        "redis://[::1",
    ],
)
def test_bad_addresses_are_explained(url: str) -> None:
    """In words, without an exception."""
    assert check_url(url)


def test_a_sentinel_address_has_its_parts() -> None:
    """Hosts with a default port, master, database, credentials unquoted."""
    assert sentinel_of("redis+sentinel://us%2Fer:pa%40ss@s1:1,s2/mymaster/3") == {
        "sentinels": [("s1", 1), ("s2", 26379)],
        "master_name": "mymaster",
        "db": 3,
        "username": "us/er",
        "password": "pa@ss",
    }
    assert sentinel_of("redis+sentinel://:pw@s1/m") == {
        "sentinels": [("s1", 26379)],
        "master_name": "m",
        "db": 0,
        "password": "pw",
    }


@pytest.mark.parametrize("url", ["redis://u:p@h:1/2", "unix:///r.sock", "redis+sentinel://:pw@a,b:2/m/1"])
def test_the_channel_layer_understands_its_host(url: str) -> None:
    """The entry for `hosts` makes a pool in the layer's own hands."""
    (host,) = decode_hosts([layer_host(url, socket_timeout=1)])
    assert host["socket_timeout"] == 1
    assert create_pool(host) is not None
