"""Silent connections are bounded for each address and in all, and the oldest of who has most is closed first."""

import random
import resource
from typing import Any

import pytest

from flotilla.realtime.server.waiting_connections import WaitingConnections, new_waiting_connections


class Silent:
    """A connection that says nothing."""

    def __init__(self, waiting: WaitingConnections, address: str) -> None:
        self.gone = False
        self._waiting = waiting
        self.address = address
        waiting.add(self, address)

    def give_up(self) -> None:
        assert not self.gone
        self.gone = True
        self._waiting.remove(self)  # as a connection does that is lost


def made(per_address: int = 3, in_all: int = 100) -> WaitingConnections:
    return WaitingConnections(per_address, in_all, lambda address: address.startswith("10."))


def crowd(waiting: WaitingConnections, *addresses: str) -> list[Silent]:
    return [Silent(waiting, address) for address in addresses]


def gone(connections: list[Silent]) -> list[bool]:
    return [connection.gone for connection in connections]


def test_the_oldest_of_an_address_that_has_too_many_goes() -> None:
    waiting = made()
    other = Silent(waiting, "192.0.2.9")
    silent = crowd(waiting, *["192.0.2.1"] * 5)
    assert gone(silent) == [True, True, False, False, False]
    assert (other.gone, waiting.size, waiting.closed) == (False, 4, 2)


def test_who_says_what_it_wants_makes_room() -> None:
    """And leaving twice does so once."""
    waiting = made()
    silent = crowd(waiting, *["192.0.2.1"] * 3)
    waiting.remove(silent[1])
    waiting.remove(silent[1])
    silent += crowd(waiting, "192.0.2.1")
    assert not any(gone(silent))
    assert waiting.size == 3


def test_who_asked_again_is_the_youngest() -> None:
    """A connection that is idle after a request goes after those that were idle before it."""
    waiting = made()
    silent = crowd(waiting, *["192.0.2.1"] * 3)
    waiting.remove(silent[0])
    waiting.add(silent[0], "192.0.2.1")
    waiting.add(silent[1], "192.0.2.1")
    silent += crowd(waiting, "192.0.2.1")
    assert gone(silent) == [False, False, True, False]


def test_when_all_are_too_many_the_address_with_most_gives_way() -> None:
    """Whoever has few is not pushed out by whoever has many, though it came first."""
    waiting = made(per_address=50, in_all=10)
    few = crowd(waiting, "192.0.2.1", "192.0.2.2")
    many = crowd(waiting, *["198.51.100.1"] * 20)
    assert not any(gone(few))
    assert gone(many) == [True] * 12 + [False] * 8
    assert waiting.size == 10


def test_only_the_whole_is_bounded_for_trusted_proxies_and_unix_sockets() -> None:
    """And whoever holds many places under an address of its own gives way to them."""
    waiting = made(per_address=2, in_all=10)
    proxied = crowd(waiting, *["10.0.0.1"] * 5, *[""] * 3)
    direct = crowd(waiting, *["192.0.2.1"] * 2)
    assert not any(gone(proxied + direct))
    proxied += crowd(waiting, "10.0.0.1")
    assert (gone(direct), any(gone(proxied))) == ([True, False], False)
    proxied += crowd(waiting, *["10.0.0.1"] * 10)
    assert waiting.size == 10
    assert gone(proxied)[-9:] == [False] * 9


def test_a_forwarded_address_counts_when_a_head_has_said_it() -> None:
    """A connection of a proxy that waited on its own account waits on its client's account from then on."""
    waiting = made(per_address=2)
    proxied = crowd(waiting, *["10.0.0.1"] * 4)
    for connection in proxied:
        waiting.add(connection, "192.0.2.1")
    assert gone(proxied) == [True, True, False, False]


def test_an_ipv6_client_counts_by_its_networks() -> None:
    """One /64 is one address; somebody with a /48, or with a /32, has not as many shares as it has networks."""
    waiting = made(per_address=2, in_all=10_000)
    crowd(waiting, *(f"2001:db8:0:1::{host:x}" for host in range(20)))
    assert waiting.size == 2
    crowd(waiting, *(f"2001:db8:0:{network:x}::1" for network in range(2, 100)))
    assert waiting.size == 8
    crowd(waiting, *(f"2001:db8:{network:x}::1" for network in range(2, 1000)))
    assert waiting.size == 32
    other = Silent(waiting, "2001:db9::1")
    crowd(waiting, *(f"2001:db8:{network:x}::2" for network in range(2, 1000)))
    assert not other.gone
    assert waiting.size == 33


def test_ipv4_in_ipv6_counts_as_ipv4() -> None:
    waiting = made(per_address=2)
    silent = crowd(waiting, "192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1%eth0")
    assert gone(silent) == [True, False, False]


def test_addresses_that_hold_nothing_are_forgotten() -> None:
    """Whatever came and went in whatever order; the bounds hold throughout."""
    rng = random.Random(7)
    waiting = made(per_address=3, in_all=40)
    silent: list[Silent] = []
    for _ in range(5000):
        if silent and rng.random() < 0.45:
            waiting.remove(silent.pop(rng.randrange(len(silent))))
        else:
            kind = rng.randrange(3)
            number = rng.randrange(30)
            silent.append(Silent(waiting, ("192.0.2.%d", "2001:db8::%x:0:0:0:1", "10.0.0.%d")[kind] % number))
        silent = [connection for connection in silent if not connection.gone]
        assert waiting.size == len(silent) <= 40
        held = [connection.address for connection in silent if connection.address.startswith("192")]
        assert all(held.count(address) <= 3 for address in held)
    for connection in silent:
        waiting.remove(connection)
    assert waiting.size == 0
    assert not waiting._paths
    assert not waiting._shares._inner
    assert not waiting._shares._by_size


def test_a_process_that_may_open_few_files_keeps_most_of_them(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or silent connections would leave none for the next client, for Redis and the database."""
    settings.HTTP_MAX_WAITING, settings.HTTP_MAX_WAITING_PER_ADDRESS = 20, 20
    monkeypatch.setattr(resource, "getrlimit", lambda which: (24, 24))
    waiting = new_waiting_connections()
    crowd(waiting, *["192.0.2.1"] * 12)
    assert waiting.size == 8


def test_the_settings_bound_it(settings: Any) -> None:
    settings.HTTP_MAX_WAITING, settings.HTTP_MAX_WAITING_PER_ADDRESS = 20, 2
    settings.RATE_LIMIT_TRUSTED_PROXIES = ["10.0.0.0/8"]
    waiting = new_waiting_connections()
    crowd(waiting, *["192.0.2.1"] * 5, *["10.0.0.1"] * 5)
    assert waiting.size == 7
    crowd(waiting, *["10.0.0.1"] * 30)
    assert waiting.size == 20
