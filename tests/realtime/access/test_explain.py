"""Explanations: their verdicts are those that clients meet, and their rules are those that decided."""

import json
from contextlib import nullcontext
from functools import partial
from io import StringIO
from itertools import product
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.explain import explain
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig, get_config
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


async def says_yes(user: Any, channel: str, info: Any) -> bool:
    return True


async def says_no(user: Any, channel: str, info: Any) -> bool:
    return False


async def fails(user: Any, channel: str, info: Any) -> bool:
    raise KeyError(channel)


FLAGS = [name for name in ChannelOptions.__struct_fields__ if name.startswith("allow_")]
HOOKS = st.sampled_from([None, None, says_yes, says_no, fails])
OPTIONS = st.builds(
    ChannelOptions,
    presence=st.booleans(),
    history_size=st.integers(0, 1),
    history_ttl=st.just(1.0),
    subscribe_permission=HOOKS,
    publish_permission=HOOKS,
    **{name: st.booleans() for name in FLAGS},
)
CONFIGS = st.builds(
    RealtimeConfig,
    without_namespace=OPTIONS,
    namespaces=st.builds(lambda options: {"in": options}, OPTIONS),
    anonymous=st.booleans(),
    insecure=st.booleans(),
    user_personal_channel=st.booleans(),
)
CHANNELS = ["room", "in:room", "nowhere:room", "$room", "$in:room#x", "room#x,y", "in:room#y", "#x", "#", "#a,b", ""]


async def decision(action: str, config: RealtimeConfig, user: str, channel: str, subscribed: bool) -> str:
    """What a client meets: "" when it may, else the error's message."""
    try:
        options = options_for(channel, config)
        rules: dict[str, Any] = {
            "subscribe": partial(permissions.subscribe, channel, options, personal=config.user_personal_channel),
            "publish": partial(permissions.publish, options, subscribed=subscribed),
            "presence": partial(permissions.presence, options, subscribed=subscribed),
            "history": partial(permissions.history, options, subscribed=subscribed),
        }
        hook = rules[action](user=user, insecure=config.insecure)
        await hooks.require(hook, user, channel, None, {})
    except Refused as error:
        return error.message
    return ""


async def explains_what_is_decided(config: RealtimeConfig, user: str, channel: str) -> None:
    found = await verdicts(user, channel, config)
    connects = found.pop("connect").allowed
    assert connects is (user != "" or config.anonymous or config.insecure)
    subscribed = not found["subscribe"].error
    for action, verdict in found.items():
        assert verdict.error == await decision(action, config, user, channel, subscribed), action
        assert verdict.allowed is (connects and not verdict.error), action
        assert (verdict.rules[-1][1] == "yes") is (not verdict.error), "the last rule decides"


@given(CONFIGS, st.sampled_from(["", "x", "y", "a,b"]), st.sampled_from(CHANNELS))
@hypothesis_settings(deadline=None)
def test_the_explanation_is_the_decision(config: RealtimeConfig, user: str, channel: str) -> None:
    """Whatever the options, the user and the channel: the same verdict and error, and the last rule that was asked
    is the one that decided."""
    async_to_sync(explains_what_is_decided)(config, user, channel)


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


def test_the_command(configured: Any) -> None:
    """By id or by name; one line a rule, one a verdict."""
    configured.REALTIME = {"namespaces": {"asked": {"subscribe_permission": only_ann}}}
    get_config.reset()
    ann = User.objects.create_user("ann")

    def run(*words: str, denied: bool = False) -> str:
        out = StringIO()
        with pytest.raises(CommandError, match=r"^denied: ") if denied else nullcontext():
            call_command("explain_access", *words, stdout=out, no_color=True)
        return out.getvalue()

    by_name = run("ann", "asked:a")
    assert by_name == run(str(ann.pk), "asked:a")
    assert f"  subscribe_permission: {__name__}.only_ann: yes\nsubscribe: allowed\n" in by_name
    assert "publish: denied (permission denied)" in by_name
    assert by_name.startswith(f"user: ann (id {ann.pk})\n")
    assert "publish: denied" in run("ann", "asked:a", "--action", "publish", denied=True)
    assert "subscribe: allowed" in run("id:nobody", "asked:a", "--data", '{"please": true}')
    assert "subscribe: denied" in run("id:nobody", "asked:a", denied=True)
    assert "connect: denied" in run("", "asked:a", denied=True)
    assert "unknown channel" in run("ann", "nowhere:a", "--action", "history", denied=True)
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        run("nobody", "asked:a")
    told = json.loads(run("ann", "asked:a", "--json"))
    assert (told["user"], told["username"], told["channel"]) == (str(ann.pk), "ann", "asked:a")
    assert {one["action"]: one["allowed"] for one in told["verdicts"]} == {
        "connect": True,
        "subscribe": True,
        "publish": False,
        "presence": False,
        "history": False,
    }
    with pytest.raises(CommandError, match="not JSON"):
        run("ann", "asked:a", "--data", "{")
    assert async_to_sync(explain)("x", "room", RealtimeConfig())
