"""Permission hooks: how they are called, what they are given, and that no fault counts as yes."""

import asyncio
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from flotilla.realtime.access import hooks
from flotilla.realtime.access.hooks import Cached
from flotilla.realtime.protocol.codes import CommandError

pytestmark = pytest.mark.django_db(transaction=True)


def sync_yes(user: Any, channel: str, info: Any) -> bool:
    return True


async def async_yes(user: Any, channel: str, info: Any) -> bool:
    await asyncio.sleep(0)
    return True


class CallableYes:
    async def __call__(self, user: Any, channel: str, info: Any) -> bool:
        return True


def yes_later(user: Any, channel: str, info: Any) -> Any:
    return async_yes(user, channel, info)


def with_prefix(prefix: bool, user: Any, channel: str, info: Any) -> bool:
    return prefix


NAME = f"{__name__}.sync_yes"
YES = [sync_yes, async_yes, CallableYes(), yes_later, partial(with_prefix, True), NAME]


@pytest.mark.parametrize("hook", YES, ids=hooks.name_of)
async def test_every_kind_of_callable_is_asked(hook: Any) -> None:
    assert await hooks.ask(hook, "", "room", None, {}) is True


async def test_no_is_an_answer_and_permission_is_denied() -> None:
    no = partial(with_prefix, False)
    assert await hooks.ask(no, "", "room", None, {}) is False
    with pytest.raises(CommandError) as caught:
        await hooks.require(no, "", "room", None, {})
    assert caught.value.code == 103


async def test_without_a_hook_nothing_more_is_required() -> None:
    await hooks.require(None, "", "room", None, {})
    await hooks.require(sync_yes, "", "room", None, {})


def raising(user: Any, channel: str, info: Any) -> bool:
    raise ValueError("broken inside")


async def raising_later(user: Any, channel: str, info: Any) -> bool:
    raise PermissionError("broken inside")


def returning(answer: Any, user: Any, channel: str, info: Any) -> Any:
    return answer


BROKEN = [raising, raising_later, f"{__name__}.raising", "no.such.hook", f"{__name__}.NAME", partial(returning, "yes")]
BROKEN += [partial(returning, None), partial(returning, 1), partial(returning, Cached("yes")), lambda: True]  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", BROKEN, ids=hooks.name_of)
async def test_any_fault_is_logged_with_the_hooks_name_and_answered_with_100(hook: Any, caplog: Any) -> None:
    with pytest.raises(CommandError) as caught:
        await hooks.ask(hook, "", "room", None, {})
    assert caught.value.code == 100
    assert caught.value.temporary
    (record,) = caplog.records
    assert hooks.name_of(hook) in record.getMessage()
    assert record.exc_info


async def test_a_cancelled_hook_stays_cancelled() -> None:
    async def cancelled(user: Any, channel: str, info: Any) -> bool:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await hooks.ask(cancelled, "", "room", None, {})


class Recorder:
    """A hook that keeps what it was called with."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.calls = answer, []  # type: tuple[Any, list[Any]]

    def __call__(self, user: Any, channel: str, info: Any) -> Any:
        self.calls.append((user, channel, info))
        return self.answer


async def test_a_plain_answer_is_asked_for_every_time() -> None:
    hook, memory = Recorder(True), {}  # type: tuple[Recorder, dict[Any, Any]]
    for _ in range(3):
        assert await hooks.ask(hook, "", "room", {"a": 1}, memory)
    assert hook.calls == [("", "room", {"a": 1})] * 3


@pytest.mark.parametrize("answer", [True, False])
async def test_a_cached_answer_holds_for_its_channel_and_connection(answer: bool) -> None:
    hook, memory = Recorder(Cached(answer)), {}  # type: tuple[Recorder, dict[Any, Any]]
    for channel in ("a", "a", "b", "a"):
        assert await hooks.ask(hook, "", channel, None, memory) is answer
    assert [channel for _, channel, _ in hook.calls] == ["a", "b"]
    await hooks.ask(hook, "", "a", None, {})
    assert len(hook.calls) == 3


async def test_two_hooks_do_not_share_cached_answers() -> None:
    memory: dict[Any, Any] = {}
    assert await hooks.ask(Recorder(Cached(True)), "", "a", None, memory)
    yes, no = Recorder(Cached(True)), Recorder(Cached(False))
    assert await hooks.ask(yes, "", "b", None, memory)
    assert not await hooks.ask(no, "", "b", None, memory)


async def test_cached_answers_are_bounded_and_the_oldest_goes_first() -> None:
    hook, memory = Recorder(Cached(True)), {}  # type: tuple[Recorder, dict[Any, Any]]
    for number in range(hooks.MAX_CACHED_ANSWERS + 10):
        await hooks.ask(hook, "", f"room{number}", None, memory)
    assert len(memory) <= hooks.MAX_CACHED_ANSWERS + 1
    calls = len(hook.calls)
    await hooks.ask(hook, "", f"room{number}", None, memory)
    assert len(hook.calls) == calls
    await hooks.ask(hook, "", "room0", None, memory)
    assert len(hook.calls) == calls + 1


async def test_the_user_is_looked_up_once_per_connection(django_assert_num_queries: Any) -> None:
    user = await User.objects.acreate(username="ann")
    hook, memory = Recorder(True), {}  # type: tuple[Recorder, dict[Any, Any]]
    await hooks.ask(hook, str(user.pk), "a", None, memory)
    await user.adelete()
    await hooks.ask(hook, str(user.pk or hook.calls[0][0].pk), "b", None, memory)
    assert [seen.username for seen, _, _ in hook.calls] == ["ann", "ann"]


@pytest.mark.parametrize("form", ["0{}", " {}", "{} ", "+{}", "{}.0", "{}_0"])
async def test_only_the_exact_key_is_the_user(form: str) -> None:
    user = await User.objects.acreate(username="ann", pk=7)
    hook = Recorder(True)
    await hooks.ask(hook, form.format(user.pk), "a", None, {})
    assert hook.calls[0][0] == form.format(user.pk)


@pytest.mark.parametrize("user_id", ["", "bob", "٧", "9" * 40, "-1", "\x00", "7' or 1=1", "ldap:ann"])
async def test_an_id_that_is_no_users_key_is_passed_as_it_is(user_id: str) -> None:
    await User.objects.acreate(username="ann", pk=7)
    hook = Recorder(True)
    await hooks.ask(hook, user_id, "a", None, {})
    assert hook.calls[0][0] == user_id


async def test_a_sync_hook_may_use_the_orm() -> None:
    user = await User.objects.acreate(username="ann")

    def is_ann(user: Any, channel: str, info: Any) -> bool:
        return User.objects.filter(pk=user.pk, username="ann").exists()

    assert await hooks.ask(is_ann, str(user.pk), "a", None, {})


@pytest.mark.parametrize("user_id", ["9" * 20, "-" + "9" * 30, str(2**63), "9" * 5000, "a\0b", "٣", "x"])
def test_an_id_that_no_database_can_be_asked_for_is_nobodys(user_id: str) -> None:
    """A token may hold it; others who are looked for with it are found."""
    known = User.objects.create_user("known")
    assert hooks.users_of([user_id, str(known.pk)]) == {str(known.pk): known}
