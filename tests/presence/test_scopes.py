"""Scopes: their kinds never meet, whatever the names are."""

from typing import Any

import pytest

from flotilla.presence.keys import home_of, own_keys
from flotilla.presence.scopes import Scope
from flotilla.store.slots import key_slot


@pytest.mark.parametrize("name", ["", "room", "u:ann", "c:room", "ns:room"])
def test_a_scope_says_its_kind_and_its_name(name: str) -> None:
    """Also where a channel is named like a user's scope, or the other way round."""
    channel, user = Scope.channel(name), Scope.user(name)
    assert (Scope.channel_of(channel), Scope.user_of(channel)) == (name, None)
    assert (Scope.channel_of(user), Scope.user_of(user)) == (None, name)


def test_how_scopes_are_written_is_what_living_clusters_have() -> None:
    """They are in Redis and in the signals."""
    assert (Scope.channel("room"), Scope.user("ann")) == ("c:room", "u:ann")


def test_what_is_no_scope_has_no_home() -> None:
    """Nothing is written under a name of unknown kind."""
    with pytest.raises(ValueError, match="no scope"):
        home_of("room")


@pytest.mark.parametrize("scope", [Scope.channel("room"), Scope.user("ann")])
def test_keys_follow_the_settings(settings: Any, scope: str) -> None:
    """As for a process whose settings name a Redis first, then a cluster, and then one of other virtual shards."""
    found = {}
    for url in ("redis://one", "redis+cluster://one?shards=3", "redis+cluster://one?shards=12"):
        settings.REDIS_URLS = [url]
        home = home_of(scope)
        found[url] = tuple(home.of("i"))
        assert own_keys(scope, "i") == found[url]
        assert len({key_slot(key) for key in (*found[url], home.placement.partition_key("partition"))}) == 1
    assert len(set(found.values())) == 3
