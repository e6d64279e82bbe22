"""Channel names: what is valid, whose namespace, and what `$` and `#` mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.access import channels
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError

CHAT = ChannelOptions(presence=True)
CONFIG = RealtimeConfig(namespaces={"chat": CHAT, "#odd": CHAT})
PERSONAL = RealtimeConfig(user_personal_channel=True)


@pytest.mark.parametrize("name", ["a", "a" * 255, "a b", " ", "chat:room", "$chat:x#1,2", "~!@%^&*(){}[]", "a:b:c"])
def test_printable_ascii_up_to_255_bytes_is_a_name(name: str) -> None:
    channels.check_name(name, CONFIG)


@pytest.mark.parametrize("name", ["", "a" * 256, "é", "a\n", "\x00", "a\tb", "\x7f", "日本", "\u2028", "\ud800"])
def test_other_names_are_a_bad_request(name: str) -> None:
    with pytest.raises(CommandError) as caught:
        channels.options_for(name, CONFIG)
    assert caught.value.code == 107


@given(st.text(max_size=300))
def test_a_name_is_valid_exactly_when_its_bytes_are_printable_ascii(name: str) -> None:
    valid = 1 <= len(name) <= 255 and all(0x20 <= ord(letter) <= 0x7E for letter in name)
    try:
        channels.check_name(name, CONFIG)
    except CommandError:
        assert not valid
    else:
        assert valid


def test_the_longest_name_is_configurable() -> None:
    with pytest.raises(CommandError):
        channels.check_name("abcd", RealtimeConfig(max_channel_length=3))


@pytest.mark.parametrize("name", ["chat:room", "$chat:room", "chat:", "chat:a:b", "chat:room#1,2", "$chat:#1"])
def test_the_namespace_is_read_before_the_first_colon_and_after_the_dollar(name: str) -> None:
    assert channels.options_for(name, CONFIG) is CHAT


@pytest.mark.parametrize("name", ["room", "$room", "room#1", "#1", "chat", "#odd:user", "$#odd:user"])
def test_a_name_without_namespace_has_the_options_without_namespace(name: str) -> None:
    assert channels.options_for(name, CONFIG) is CONFIG.without_namespace


@pytest.mark.parametrize("name", ["other:room", ":room", "$:room", "Chat:room", " chat:room", "a#chat:1", "$$chat:x"])
def test_an_unknown_namespace_is_an_unknown_channel(name: str) -> None:
    with pytest.raises(CommandError) as caught:
        channels.options_for(name, CONFIG)
    assert caught.value.code == 102


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("room", None),
        ("room#", ()),
        ("room#1", ("1",)),
        ("room#1,2", ("1", "2")),
        ("a#b#1,,2,", ("1", "2")),
        ("#1", ("1",)),
    ],
)
def test_the_users_of_a_limited_channel_follow_the_last_hash(name: str, users: tuple[str, ...] | None) -> None:
    assert channels.limited_users(name) == users


def test_only_a_leading_dollar_is_private() -> None:
    assert channels.is_private("$a")
    assert not channels.is_private("a$")


@pytest.mark.parametrize(("user", "channel"), [("42", "#42"), ("ldap:ann", "#ldap:ann"), ("a b", "#a b")])
def test_a_user_has_a_personal_channel_without_namespace(user: str, channel: str) -> None:
    assert channels.personal_channel(user, PERSONAL) == channel
    assert channels.options_for(channel, PERSONAL) is PERSONAL.without_namespace


@pytest.mark.parametrize("user", ["", "a,b", "a#b", "é", "x" * 255, "a\n"])
def test_who_cannot_be_named_has_no_personal_channel(user: str) -> None:
    assert channels.personal_channel(user, PERSONAL) is None


def test_personal_channels_are_off_by_default() -> None:
    assert channels.personal_channel("42", RealtimeConfig()) is None
