"""Explanations: their verdicts are those that clients meet, and their rules are those that decided."""

from io import StringIO
from itertools import product
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from flotilla.realtime.access import permissions
from flotilla.realtime.access.explain import explain
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig, reset_config
from flotilla.realtime.protocol.codes import CommandError as Refused

pytestmark = pytest.mark.django_db(transaction=True)


def only_ann(user: Any, channel: str, info: Any) -> bool:
    return getattr(user, "username", "") == "ann" or info == {"please": True}


def broken(user: Any, channel: str, info: Any) -> bool:
    raise KeyError(channel)


CONFIG = RealtimeConfig(
    anonymous=True,
    user_personal_channel=True,
    namespaces={
        "asked": ChannelOptions(subscribe_permission=only_ann, publish_permission=f"{__name__}.only_ann"),
        "broken": ChannelOptions(subscribe_permission=broken),
    },
)


async def verdicts(user: str, channel: str, config: RealtimeConfig = CONFIG, info: Any = None) -> dict[str, Any]:
    return {verdict.action: verdict for verdict in await explain(user, channel, config, info)}


@pytest.mark.parametrize(("user", "insecure"), [("x", False), ("", False), ("", True)])
async def test_verdicts_are_those_of_the_permissions(user: str, insecure: bool) -> None:
    """For each mixture of options."""
    for flags in product([False, True], repeat=5):
        await agree(user, insecure, flags)


async def agree(user: str, insecure: bool, flags: tuple[bool, ...]) -> None:
    """The explanation and the permissions say the same."""
    client, subscriber, anonymous, presence, history = flags
    options = ChannelOptions(
        presence=presence,
        history_size=1 if history else 0,
        history_ttl=1.0 if history else 0.0,
        allow_subscribe_for_client=client,
        allow_subscribe_for_anonymous=anonymous,
        allow_publish_for_client=client,
        allow_publish_for_subscriber=subscriber,
        allow_publish_for_anonymous=anonymous,
        allow_presence_for_client=client,
        allow_presence_for_subscriber=subscriber,
        allow_history_for_subscriber=subscriber,
        allow_history_for_anonymous=anonymous,
    )
    config = RealtimeConfig(without_namespace=options, anonymous=True, insecure=insecure)

    def allowed(rule: Any, *channel: str, **more: Any) -> bool:
        try:
            rule(*channel, options, user=user, insecure=insecure, **more)
        except Refused:
            return False
        return True

    found = await verdicts(user, "room", config)
    inside = allowed(permissions.subscribe, "room")
    assert found["subscribe"].allowed is inside
    for action in ("publish", "presence", "history"):
        assert found[action].allowed is allowed(getattr(permissions, action), subscribed=inside), action
        assert found[action].rules


async def test_hooks_are_asked_and_named() -> None:
    """With what the client would send; a fault is said to be one."""
    ann = await User.objects.acreate_user("ann")
    found = await verdicts(str(ann.pk), "asked:a")
    assert (f"subscribe_permission: {__name__}.only_ann", "yes") in found["subscribe"].rules
    assert found["publish"].allowed
    found = await verdicts("7001", "asked:a")
    assert (f"publish_permission: {__name__}.only_ann", "no (permission denied)") in found["publish"].rules
    assert (await verdicts("7001", "asked:a", info={"please": True}))["subscribe"].allowed
    found = await verdicts("7001", "broken:a")
    assert found["subscribe"].rules[-1][1] == "no (internal server error)"


async def test_who_may_not_connect_may_do_nothing() -> None:
    """Though the rules of the channel would let them."""
    ann = await User.objects.acreate_user("ann", is_active=False)
    found = await verdicts(str(ann.pk), "asked:a")
    assert ("the user is active", "no") in found["connect"].rules
    assert not any(verdict.allowed for verdict in found.values())


async def test_names_that_decide() -> None:
    """Private channels, personal ones, unknown namespaces."""
    assert (await verdicts("x", "$room"))["subscribe"].rules[-1][1] == "no token here"
    personal = (await verdicts("x", "#x"))["subscribe"]
    assert personal.allowed
    assert personal.rules[-1] == ("the channel names its users (x)", "yes")
    assert not (await verdicts("y", "#x"))["subscribe"].allowed
    unknown = await verdicts("x", "nowhere:a")
    assert set(unknown) == {"connect", "subscribe"}
    assert unknown["subscribe"].error == "unknown channel"


def test_the_command(settings: Any) -> None:
    """By id or by name; one line a rule, one a verdict."""
    settings.REALTIME = {"namespaces": {"asked": {"subscribe_permission": only_ann}}}
    settings.REALTIME_CONFIG = None
    reset_config()
    ann = User.objects.create_user("ann")

    def run(*words: str) -> str:
        out = StringIO()
        call_command("explain_access", *words, stdout=out, no_color=True)
        return out.getvalue()

    by_name = run("ann", "asked:a")
    assert by_name == run(str(ann.pk), "asked:a")
    assert f"  subscribe_permission: {__name__}.only_ann: yes\nsubscribe: allowed\n" in by_name
    assert "publish: denied (permission denied)" in by_name
    assert "subscribe: allowed" in run("nobody", "asked:a", "--data", '{"please": true}')
    assert "connect: denied" in run("", "asked:a")
    with pytest.raises(CommandError, match="not JSON"):
        run("ann", "asked:a", "--data", "{")
    reset_config()
    assert async_to_sync(explain)("x", "room", RealtimeConfig())
