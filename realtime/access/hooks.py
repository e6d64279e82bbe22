"""Asks a project's own permission hook: `(user, channel, info) -> bool`, sync (ORM allowed) or async.

A hook gets the Django user where the id is a primary key of one, else the id itself. It answers a bool, or
`Cached(bool)` to have the answer kept for the connection until access is looked at again. Any other answer and any
exception is logged with the hook's name and answered with error 100, so a fault never counts as a yes.
"""

import inspect
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.utils.module_loading import import_string

from flotilla import tracing
from flotilla.realtime.access.hook_stats import NO, YES, hook_stats
from flotilla.realtime.conf import Hook
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

logger = logging.getLogger(__name__)

MAX_CACHED_ANSWERS = 256
"""Answers kept per connection; the oldest goes first. A client may name any number of channels."""

_USER = "user"
_WAS = "was a user"


@dataclass(frozen=True, slots=True)
class Cached:
    """A hook's answer that holds for this channel until access is looked at again, or the connection ends."""

    answer: bool


async def ask(hook: Hook, user_id: str, channel: str, info: Any, memory: dict[Any, Any]) -> bool:
    """The hook's answer. `memory` is the connection's own, empty at first. Raises CommandError 100 on any fault."""
    try:
        function = resolve(hook)
        key = (id(function), channel)
        if key in memory:
            return bool(memory[key].answer)
        with tracing.step("permission", hook=name_of(hook)):
            user = await user_of(user_id, memory)
            with hook_stats.call(name_of(hook)) as call:
                answer = await called(function, user, channel, info)
                allowed = _yes_or_no(answer)
                call.outcome = YES if allowed else NO
        if isinstance(answer, Cached):
            _remember(memory, key, answer)
    except Exception:
        logger.exception("permission hook %s failed for user %r in channel %r", name_of(hook), user_id, channel)
        raise CommandError(ErrorCode.INTERNAL) from None
    return allowed


def _yes_or_no(answer: Any) -> bool:
    said = answer.answer if isinstance(answer, Cached) else answer
    if not isinstance(said, bool):
        raise TypeError(f"expected a bool or Cached(bool), got {type(said).__name__}")
    return said


async def require(hook: Hook, user_id: str, channel: str, info: Any, memory: dict[Any, Any]) -> None:
    """Raise CommandError 103 unless the hook says yes; no hook (None) is a yes."""
    if hook is not None and not await ask(hook, user_id, channel, info, memory):
        raise CommandError(ErrorCode.PERMISSION_DENIED)


def resolve(hook: Hook) -> Callable[..., Any]:
    """The hook's callable. Raises ImportError for a path that leads nowhere, TypeError for what cannot be called."""
    found = _imported(hook) if isinstance(hook, str) else hook
    if not callable(found):
        raise TypeError(f"{name_of(hook)} is not callable")
    return found


def name_of(hook: Hook) -> str:
    """The hook as its author would name it."""
    if isinstance(hook, str):
        return hook
    return f"{getattr(hook, '__module__', '?')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"


@cache
def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except Exception as error:  # a project's module can raise anything
        raise ImportError(f"importing {path} failed: {type(error).__name__}: {error}") from error


async def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the project's returns, sync (in a thread that may use the database) or async."""
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        return await function(*arguments)
    answer = await database_sync_to_async(function)(*arguments)
    return await answer if inspect.isawaitable(answer) else answer


async def user_of(user_id: str, memory: dict[Any, Any]) -> Any:
    """The Django user of an id, or the id itself; looked up once per connection, kept in its `memory`."""
    if _USER not in memory:
        memory[_USER] = await database_sync_to_async(_find_user)(user_id) if user_id else user_id
    return memory[_USER]


def renewed(memory: dict[Any, Any]) -> dict[Any, Any]:
    """A memory to begin again with: it keeps only that there was such a Django user."""
    was = memory.get(_WAS, False) or not isinstance(memory.get(_USER, ""), str)
    return {_WAS: True} if was else {}


def remember_user(user: Any, memory: dict[Any, Any]) -> None:
    """Keep a user that the caller has just looked up, so that `user_of` need not."""
    memory[_USER] = user


def is_gone(user: Any, memory: dict[Any, Any]) -> bool:
    """Whether the user was in the database before, and now is an id alone."""
    return isinstance(user, str) and _WAS in memory


async def find_users(user_ids: Collection[str]) -> dict[str, Any]:
    """The Django users of ids, in one query; ids that are no user's are missing."""
    found: dict[str, Any] = await database_sync_to_async(users_of)(user_ids)
    return found


def users_of(user_ids: Collection[str]) -> dict[str, Any]:
    """The same for threads."""
    model = get_user_model()
    keys = []
    for user_id in user_ids:
        try:
            keys.append(_key_of(model._meta.pk, user_id))
        except (ValidationError, ValueError, TypeError, OverflowError):
            continue
    users = model._default_manager.filter(pk__in=keys) if keys else ()
    return {str(user.pk): user for user in users}


def _key_of(field: Any, user_id: str) -> Any:
    """The primary key an id stands for. Raises, as to_python does, for a value that no database takes in a query."""
    if "\0" in user_id:
        raise ValueError("no key has NUL characters")
    key = field.to_python(user_id)
    field.run_validators(key)  # raises for a number that the column cannot hold
    return key


def _find_user(user_id: str) -> Any:
    """The user whose key is written exactly like the id: `007` is not user 7, though Django would find that user."""
    try:
        user = get_user_model()._default_manager.get(pk=user_id)
    except (ObjectDoesNotExist, ValidationError, ValueError, TypeError, OverflowError):
        return user_id
    return user if str(user.pk) == user_id else user_id


def _remember(memory: dict[Any, Any], key: tuple[int, str], answer: Cached) -> None:
    answers = [known for known in memory if isinstance(known, tuple)]
    if len(answers) >= MAX_CACHED_ANSWERS:
        del memory[answers[0]]
    memory[key] = answer
