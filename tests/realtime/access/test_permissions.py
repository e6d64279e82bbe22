"""The permission matrix, exhaustively: every combination of options and flags against the rule written another way."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import pytest

from flotilla.realtime.access import permissions
from flotilla.realtime.access.permissions import Granted
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.protocol.codes import CommandError

FLAGS = (False, True)
USERS = ("", "42")


def hook(user: object, channel: str, info: object) -> bool:
    raise AssertionError("the matrix asks nobody itself")


def every(*choices: Iterable[Any]) -> Iterator[Any]:
    """All combinations."""
    return product(*choices)


def code_of(call: Any, *args: Any, **flags: Any) -> Any:
    """The refusal's code, else what was returned."""
    try:
        return call(*args, **flags)
    except CommandError as error:
        return error.code


@pytest.mark.parametrize("channel", ["room", "ns:room"])
def test_subscribing_to_an_ordinary_channel(channel: str) -> None:
    for user, client, anonymous, limited, personal, token, insecure in every(USERS, *[FLAGS] * 6):
        options = ChannelOptions(
            allow_subscribe_for_client=client,
            allow_subscribe_for_anonymous=anonymous,
            allow_user_limited_channels=limited,
        )
        expected = token or insecure or (client and (user == "42" or anonymous))
        flags = {"user": user, "has_token": token, "personal": personal, "insecure": insecure}
        assert code_of(permissions.subscribe, channel, options, **flags) == (None if expected else 103)


def test_a_private_channel_needs_a_token_whatever_else_is_open() -> None:
    for channel, user, token, insecure, with_hook in every(
        ["$room", "$ns:room", "$room#42", "$#42"], USERS, *[FLAGS] * 3
    ):
        options = ChannelOptions(
            allow_subscribe_for_client=True,
            allow_subscribe_for_anonymous=True,
            allow_user_limited_channels=True,
            subscribe_permission=hook if with_hook else None,
        )
        flags = {"user": user, "has_token": token, "personal": True, "insecure": insecure}
        expected = None if token or insecure else 103
        assert code_of(permissions.subscribe, channel, options, **flags) == expected


def test_a_user_limited_channel_is_open_to_those_it_names_alone() -> None:
    channels = {
        "room#42": "42",
        "room#41,42": "42",
        "room#421": "",
        "room#4,2": "",
        "room#": "",
        "room#,": "",
        "42#1": "",
    }
    for (channel, named), user, client, token, insecure in every(channels.items(), USERS, *[FLAGS] * 3):
        options = ChannelOptions(
            allow_user_limited_channels=True,
            allow_subscribe_for_client=client,
            allow_subscribe_for_anonymous=client,
        )
        expected = token or insecure or (user != "" and user == named)
        flags = {"user": user, "has_token": token, "insecure": insecure}
        assert code_of(permissions.subscribe, channel, options, **flags) == (None if expected else 103)


def test_a_hash_means_nothing_where_neither_limited_nor_personal_channels_are_on() -> None:
    for channel, client in every(["room#7", "#7"], FLAGS):
        options = ChannelOptions(allow_subscribe_for_client=client)
        assert code_of(permissions.subscribe, channel, options, user="42") == (None if client else 103)


def test_a_personal_channel_is_its_users_alone_even_in_an_open_namespace() -> None:
    for channel, user, client, limited in every(["#42", "#7", "#"], USERS, *[FLAGS] * 2):
        options = ChannelOptions(
            allow_subscribe_for_client=client,
            allow_subscribe_for_anonymous=client,
            allow_user_limited_channels=limited,
        )
        expected = None if (user, channel) == ("42", "#42") else 103
        assert code_of(permissions.subscribe, channel, options, user=user, personal=True) == expected


def test_an_id_with_a_comma_shares_no_channel_with_the_users_it_spells() -> None:
    options = ChannelOptions()
    assert code_of(permissions.subscribe, "#a,b", options, user="a,b", personal=True) == 103
    assert code_of(permissions.subscribe, "#a,b", options, user="a", personal=True) == 103


def test_the_subscribe_hook_decides_alone_beside_tokens_and_insecure_mode() -> None:
    for user, client, limited, token, insecure in every(USERS, *[FLAGS] * 4):
        for channel in ("room", "room#42", "room#7", "#42"):
            options = ChannelOptions(
                allow_subscribe_for_client=client,
                allow_user_limited_channels=limited,
                subscribe_permission=hook,
            )
            flags = {"user": user, "has_token": token, "personal": True, "insecure": insecure}
            expected = None if token or insecure else hook
            assert code_of(permissions.subscribe, channel, options, **flags) is expected


@pytest.mark.parametrize("action", ["publish", "presence", "history"])
def test_publishing_and_looking(action: str) -> None:
    for user, client, subscriber, anonymous, subscribed, insecure in every(USERS, *[FLAGS] * 5):
        options = ChannelOptions(
            presence=True,
            history_size=1,
            history_ttl=1,
            **{
                f"allow_{action}_for_client": client,
                f"allow_{action}_for_subscriber": subscriber,
                f"allow_{action}_for_anonymous": anonymous,
            },
        )
        expected = insecure or ((client or (subscriber and subscribed)) and (user == "42" or anonymous))
        flags = {"user": user, "subscribed": subscribed, "insecure": insecure}
        assert code_of(getattr(permissions, action), options, **flags) == (None if expected else 103)


@pytest.mark.parametrize("action", ["publish", "presence", "history"])
def test_the_options_of_one_action_open_no_other(action: str) -> None:
    names = [name for name in ChannelOptions.__struct_fields__ if name.startswith("allow_") and action not in name]
    names = [name for name in names if name != "allow_user_limited_channels"]
    opened: dict[str, Any] = dict.fromkeys(names, True)
    options = ChannelOptions(presence=True, history_size=1, history_ttl=1, **opened)
    assert code_of(getattr(permissions, action), options, user="42", subscribed=True) == 103


def test_the_publish_hook_decides_alone_but_for_insecure_mode() -> None:
    for user, client, subscribed, insecure in every(USERS, *[FLAGS] * 3):
        options = ChannelOptions(
            allow_publish_for_client=client, allow_publish_for_anonymous=client, publish_permission=hook
        )
        flags = {"user": user, "subscribed": subscribed, "insecure": insecure}
        assert code_of(permissions.publish, options, **flags) is (None if insecure else hook)


@pytest.mark.parametrize("insecure", FLAGS)
def test_what_a_channel_does_not_keep_is_not_available_even_in_insecure_mode(insecure: bool) -> None:
    assert code_of(permissions.presence, ChannelOptions(), user="42", insecure=insecure) == 108
    assert code_of(permissions.history, ChannelOptions(), user="42", insecure=insecure) == 108
    assert code_of(permissions.history, ChannelOptions(history_size=1), user="42", insecure=insecure) == 108


HISTORY_ACCESS = ("allow_history_for_client", "allow_history_for_subscriber")
PRESENCE_ACCESS = ("allow_presence_for_client", "allow_presence_for_subscriber")


def test_recovery_is_granted_by_force_or_by_wish_and_right_where_there_is_history() -> None:
    for user, kept, force, wish, allow, client, subscriber, anonymous, insecure in every(USERS, *[FLAGS] * 8):
        options = ChannelOptions(
            history_size=int(kept),
            history_ttl=float(kept),
            force_recovery=force,
            allow_recovery=allow,
            allow_history_for_client=client,
            allow_history_for_subscriber=subscriber,
            allow_history_for_anonymous=anonymous,
        )
        right = allow or insecure or ((client or subscriber) and (user == "42" or anonymous))
        expected = kept and (force or (wish and right))
        granted = permissions.grants(options, user=user, recoverable=wish, insecure=insecure)
        assert granted == Granted(recoverable=expected, positioned=expected)


def test_positioning_is_granted_alone_and_without_recovery() -> None:
    for kept, force, wish, allow, readable in every(*[FLAGS] * 5):
        options = ChannelOptions(
            history_size=int(kept),
            history_ttl=float(kept),
            force_positioning=force,
            allow_positioning=allow,
            allow_history_for_client=readable,
        )
        expected = kept and (force or (wish and (allow or readable)))
        granted = permissions.grants(options, user="42", positioned=wish)
        assert granted == Granted(recoverable=False, positioned=expected)


def test_join_and_leave_are_granted_by_force_or_by_wish_and_presence_access() -> None:
    for user, on, force, wish, client, subscriber, anonymous, insecure in every(USERS, *[FLAGS] * 7):
        options = ChannelOptions(
            join_leave=on,
            force_push_join_leave=force,
            allow_presence_for_client=client,
            allow_presence_for_subscriber=subscriber,
            allow_presence_for_anonymous=anonymous,
        )
        access = insecure or ((client or subscriber) and (user == "42" or anonymous))
        granted = permissions.grants(options, user=user, join_leave=wish, insecure=insecure)
        assert granted == Granted(join_leave=on and (force or (wish and access)))
