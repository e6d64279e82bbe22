"""Redis addresses as people write them: what passes, and what is said about the others."""

import traceback
from pprint import pformat
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flotilla.store.address import WrongAddress
from flotilla.store.urls import check_url, checked_urls, expanded, in_slot, layer_host, split_urls
from project.environment import Environment

FORMS = (
    "redis://:{}@host:6379/0",
    "redis://{}:word@host:6379/0",
    "redis://{}@host",
    "rediss://user:{}@host/0?check_hostname=1",
    "unix://:{}@/run/redis.sock",
    "unix:///run/redis.sock?password={}",
    "redis+sentinel://user:{}@one:26379,two/master/0",
    "redis+sentinel://{}:word@one:26379,two/master/0",
    "redis+sentinel://one,two/master?sentinel_password={}",
    "redis+sentinel://one,two/master?sentinel_username={}&sentinel_password=x",
    "redis+cluster://user:{}@one:7000,two",
    "redis+cluster://:{}@one?tls=1&shards=x",
    "redis+cluster://one/{}",
    "redis://:{}@host:70000",
    "redis://:{}@/0",
    "redis://:{}@host/zero",
    "redis://:{}@host?what=1",
    "redis://:{}@one,redis://:{}@one",
    "redis://one,redis://:{}@[::1",
    "redis://:{}",
    "redis:/:{}@host",
    ":{}@host",
    "redis+sentinel://:{}@one",
)
SPECIAL = "/?#@:%[]&=+,; \t\n\\\"'<>{}|^`~!$*()\u2100\u00e9\x00\x7f"


def test_a_list_is_split_between_addresses_only() -> None:
    """The commas inside a sentinel address stay."""
    value = "redis://a:1/0, redis+sentinel://s1:26379,s2/master/2 ,unix:///run/r.sock,"
    assert split_urls(value) == ["redis://a:1/0", "redis+sentinel://s1:26379,s2/master/2", "unix:///run/r.sock"]
    assert split_urls("") == []


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("valkey://u:p@h:1/2", "redis://u:p@h:1/2"),
        ("valkeys://h?verify=0", "rediss://h?verify=0"),
        ("valkey+sentinel://a,b/m", "redis+sentinel://a,b/m"),
        ("valkey+cluster://a,b?shards=6", "redis+cluster://a,b?shards=6"),
        ("rediss+cluster://a,b", "redis+cluster://a,b?tls=1"),
        ("valkeys+cluster://a?verify=0", "redis+cluster://a?verify=0&tls=1"),
        ("rediss+sentinel://a/m/1", "redis+sentinel://a/m/1?tls=1"),
        ("valkeys+sentinel://a/m?sentinel_tls=0", "redis+sentinel://a/m?sentinel_tls=0&tls=1"),
    ],
)
def test_other_schemes_that_mean_the_same(written: str, ours: str) -> None:
    """Those of Valkey's client, and TLS said by the scheme; also one after another, and for a list's duplicates."""
    assert checked_urls(written) == [ours]
    assert split_urls(f"{written},unix:///r.sock,{written}") == [ours, "unix:///r.sock", ours]
    with pytest.raises(WrongAddress, match="the same Redis" if "cluster" not in ours else "the whole store"):
        checked_urls(f"{written},{ours}")


def test_tls_that_is_said_twice_is_refused() -> None:
    """Of two that contradict one another neither is believed."""
    with pytest.raises(WrongAddress, match="given twice"):
        checked_urls("rediss+cluster://a?tls=0")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://user:@h",
        "redis://user:a:b%@h",
        "redis://h?db=3",
        "rediss://u:p@h:1/2",
        "rediss://h?check_hostname=0&ssl_cert_reqs=none",
        "unix:///r.sock",
        "unix://:p@/r.sock?db=1",
        "unix:///r.sock?db=1&password=p",
        "redis+sentinel://a,b:2/m",
        "redis+sentinel://u:p@a,[::1]:26379/m/1?sentinel_username=s&sentinel_password=p&tls=1&sentinel_tls=0",
        "redis+cluster://a",
        "redis+cluster://u:p@a:7000,b,[::1]:7002/?shards=256&tls=1&verify=0",
        "redis://[::1]:6379",
        "redis://[fe80::1%25eth0]:6379/1",
    ],
)
def test_good_addresses_pass(url: str) -> None:
    """Every scheme we speak."""
    assert check_url(url) is None


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("http://h", "redis://"),
        ("h:6379", "redis://"),
        ("", "redis://"),
        ("REDIS://h", "redis://"),
        ("redis://", "127.0.0.1:6379"),
        ("redis://:6379/0", "127.0.0.1:6379"),
        ("redis://h:port", "a number from 1 to 65535"),
        ("redis://h:", "a number from 1 to 65535"),
        ("redis://h:0", "a number from 1 to 65535"),
        ("redis://h:70000", "a number from 1 to 65535"),
        ("redis://h/zero", "a number, as 0"),
        ("redis://h/-1", "a number, as 0"),
        ("redis://h/1?db=1", "once"),
        ("redis://h/1/2", "once"),
        ("redis://h 1", "%20"),
        ("redis://user@h", "user:password@"),
        ("redis://:%ff@h", "UTF-8"),
        ("redis://one:6379,two:6379", "redis://one:6379,redis://two:6379"),
        ("redis://::1", "[::1]"),
        ("redis://[::1", "[::1]"),
        ("redis://[1.2.3.4]", "not an IPv6 address"),
        ("redis://h?what=1", "it has db"),
        ("redis://h?ca=/ca.pem", "rediss://"),
        ("rediss://h?check_host=1", "did you mean check_hostname"),
        ("rediss://h?ca=/not/there.pem", "option ca is not there"),
        ("rediss://h?key=/dev/null", "option key is not there"),
        (f"rediss://h?ca={__file__}", "PEM"),
        (f"rediss://h?cert={__file__}", "PEM"),
        (f"rediss://h?key={__file__}", "needs the option cert"),
        ("rediss://h?check_hostname=maybe", "1 or 0"),
        ("rediss://h?check_hostname=1&check_hostname=0", "twice"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis+sentinel://a:1", "/mymaster/0"),
        ("redis+sentinel://a:x/m", "a number from 1 to 65535"),
        ("redis+sentinel:///m", "host is missing"),
        ("redis+sentinel://a,/m", "host is missing"),
        ("redis+sentinel://a/m/x", "a number, as 0"),
        ("redis+sentinel://a/one,two", "one master"),
        ("redis+sentinel://a/m?sentinel_username=x", "sentinel_password"),
        ("redis+sentinel://a/m?verify=0", "tls=1"),
        ("redis+cluster://", "host is missing"),
        ("redis+cluster://a,", "host is missing"),
        ("redis+cluster://a/0", "one database"),
        ("redis+cluster://a?db=0", "it has shards, tls, ca"),
        ("redis+cluster://a?shard=3", "did you mean shards"),
        ("redis+cluster://a?shards=0", "a number from 1 to 256"),
        ("redis+cluster://a?shards=257", "a number from 1 to 256"),
        ("redis+cluster://a?shards=few", "a number from 1 to 256"),
        ("redis+cluster://a?slot=16384", "a number from 0 to 16383"),
        ("redis+cluster://a?verify=0", "tls=1"),
    ],
)
def test_of_a_bad_address_the_mend_is_named(url: str, mend: str) -> None:
    """In words, without an exception."""
    assert mend in (check_url(url) or "")


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        ("", "no address"),
        (" , ", "no address"),
        ("redis://a,memory://", "memory:// is the whole store"),
        ("redis://a/0,redis://a:6379", "addresses 1 and 2 are the same Redis"),
        ("redis+sentinel://a,b/m,redis+sentinel://b,a/m/0", "addresses 1 and 2 are the same Redis"),
        ("redis://a,redis://b:0", "address 2 of 2"),
        ("redis+cluster://a,redis+cluster://b", "a cluster is the whole store"),
        ("redis://a,redis+cluster://b,c", "a cluster is the whole store"),
        ("redis+cluster://a?slot=7", "leave the option slot out"),
    ],
)
def test_of_a_bad_list_the_address_is_named_by_its_place(value: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        checked_urls(value)


def test_several_groups_of_sentinels_are_several_shards() -> None:
    groups = ["redis+sentinel://a:1,b:2/one", "redis+sentinel://a:1,b:2/two", "redis://c"]
    assert checked_urls(", ".join(groups)) == groups


def test_a_cluster_is_an_address_for_each_of_its_shards() -> None:
    assert expanded(["redis+cluster://a,b"])[11] == "redis+cluster://a,b?slot=15701"
    assert expanded(["redis+cluster://a?shards=2"]) == (
        "redis+cluster://a?shards=2&slot=4096",
        "redis+cluster://a?shards=2&slot=12288",
    )
    assert expanded(["redis://a", "redis://b"]) == ("redis://a", "redis://b")
    assert all(layer_host(url)["address"] == url for url in expanded(["redis+cluster://a"]))
    with pytest.raises(ValueError, match="expanded"):
        layer_host("redis+cluster://a")
    assert in_slot("redis://a", 7) == "redis://a" and in_slot("redis+cluster://a", 7) == "redis+cluster://a?slot=7"


def test_one_address_is_one() -> None:
    environment = Environment({"ONE": "redis://a,redis://b"})
    assert environment.one_redis("ONE", "redis://default") == "redis://default"
    assert "more than one" in environment.problems[0].message


@pytest.mark.parametrize("special", ["/", "?", "#", "@"])
@pytest.mark.parametrize("form", ["redis://:{}@host:6379/0", "redis+sentinel://:{}@host/master", "unix://:{}@/r.sock"])
def test_what_breaks_an_address_is_to_be_percent_encoded(form: str, special: str) -> None:
    problem = check_url(form.format(f"s3cret{special}word"))
    assert problem is not None and "percent-encode" in problem
    assert check_url(form.format(f"s3cret{quote(special, safe='')}word")) is None


@settings(deadline=None)
@given(st.sampled_from(FORMS), st.text(max_size=12), st.text(SPECIAL, max_size=6), st.booleans())
@example("redis://:{}@host:6379/0", "", "/", False)
@example("redis://:{}@host:6379/0", "", "@", False)
@example("redis://:{}@host:6379/0", "", "\u2100", False)
def test_a_secret_is_never_said(form: str, text: str, special: str, encoded: bool) -> None:
    """Whatever characters it has, in whatever place, encoded or not: not in a check's message, not in a traceback."""
    marks = ("zq7x", "k9vj", "w2hy")
    secret = f"{marks[0]}{text}{marks[1]}{special}{marks[2]}"
    value = form.replace("{}", quote(secret, safe="") if encoded else secret)
    environment = Environment({"REDIS_URL": value})
    urls = environment.redis("REDIS_URL", [])
    said = [repr(environment), repr(urls), pformat(urls), pformat([layer_host(url) for url in expanded(urls)])]
    try:
        checked_urls(value)
    except ValueError:
        said.append(traceback.format_exc())
    said.append(repr([check_url(url) for url in (value, *split_urls(value))]))
    for mark in marks:
        assert not any(mark in one for one in said), (mark, said)
