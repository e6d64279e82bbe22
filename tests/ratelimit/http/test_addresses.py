import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.ratelimit.http.addresses import address_of, client_address, counted, networks

TRUSTED = networks(["10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.1", "", "203.0.113.1"),
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),  # not a proxy of ours: it may say what it likes
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("2001:db8:1::1", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", "198.51.100.1"),  # behind a Unix socket
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address("203.0.113.1", "198.51.100.1", ()) == "203.0.113.1"


@given(st.text(max_size=60))
def test_no_header_makes_it_stumble_nor_hides_who_asks_directly(forwarded: str) -> None:
    client_address("10.0.0.1", forwarded, TRUSTED)
    assert client_address("203.0.113.1", forwarded, TRUSTED) == "203.0.113.1"


@pytest.mark.parametrize(
    ("address", "as_"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_ipv6_is_counted_by_64(address: str, as_: str) -> None:
    assert counted(address) == as_


@pytest.mark.parametrize(
    ("typed", "as_"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\n", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:DB8::7", "2001:db8::/64"),
        ("2001:db8::7/64", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("::1", "::/64"),
    ],
)
def test_a_typed_address_is_what_a_client_from_there_is_counted_by(typed: str, as_: str) -> None:
    assert address_of(typed) == as_
    assert address_of(as_) == as_


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "10.0.0.300", "10.9.9", "10.9.9.9/8", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.1/33", "10.0.0.1/", "/64"),
        *("010.0.0.1", "10.0.0.1:80", "[::1]", "2001:db8::/48", "2001:db8::1/128", "::/0", "::ffff:10.0.0.1/64"),
        *("::ffff:10.0.0.0/104", "::ffff:10.0.0.1/128", "10.0.0.1%eth0/8", "fe80::1%eth0/8", "2001:db8:::1", "a::b::c"),
        *(
            "１０.0.0.1",
            "10.0.0.1, 10.0.0.2",
            "localhost",
            "10.0.0.1%eth0",
            "167772161",
            "0x0a000001",
            "10.0.0.1/255.0.0.0",
            "9" * 5000,
        ),
    ],
)
def test_what_is_typed_and_would_match_nobody_is_refused_with_the_mend(typed: str) -> None:
    with pytest.raises(ValueError, match=r"(is not an address|is a network, and .*): write") as refused:
        address_of(typed)
    assert len(str(refused.value)) < 300
