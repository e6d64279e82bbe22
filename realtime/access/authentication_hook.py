"""Asks a project's own authentication who a connecting client is: `authenticate(request) -> user`, sync or async.

The hook gets the handshake as a request (`handshake_request`). It answers with a user of Django, a user id, or None,
which leaves the question to token and session; the pair `(user, auth)` of Django REST Framework is fine as well, and so
is one of its authentication classes in place of a function. An inactive user is refused.

It says no by raising PermissionDenied, an exception with the `status_code` 401 or 403 (as those of REST Framework), or
a CommandError or DisconnectError with a code of its choice. Any other exception, and no answer within HOOK_WITHIN, is a
fault: the client is told to try again, and the log has the first fault of a minute with its traceback, and a count of
the others. So a broken hook neither lets anybody in nor fills the disk.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from django.core.exceptions import PermissionDenied

from flotilla.realtime.access import hooks
from flotilla.realtime.access.handshake_request import HandshakeRequest
from flotilla.realtime.access.hook_stats import ABSTAINED, NO, YES, hook_stats
from flotilla.realtime.access.identity import Identity
from flotilla.realtime.conf import Hook
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

logger = logging.getLogger("flotilla.realtime.authentication")

HOOK_WITHIN = 3.0  # seconds; a command has 4
FAULT_EVERY = 60.0  # seconds between two faults that the log has in full
SPREAD = 0.1  # the part of `again` by which ends differ, so that clients that came together do not come back together


class _Faults:
    """Says in the log what is wrong with the hook, once in FAULT_EVERY."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until = 0.0
        self._untold = 0

    def tell(self, hook: Hook, error: BaseException) -> None:
        if self._clock() < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} times more since the last such line)" if self._untold else ""
        logger.error("the hook authenticate (%s) failed%s", hooks.name_of(hook), more, exc_info=error)
        self._quiet_until, self._untold = self._clock() + FAULT_EVERY, 0


_faults = _Faults()
_abandoned: set["asyncio.Task[Any]"] = set()


async def identity_from_hook(hook: Hook, request: HandshakeRequest, again: float, now: float) -> Identity | None:
    """The identity that a hook gives at Unix time `now`, None where it leaves that to others.

    The connection ends when the hook says (`request.expire_at`), else after `again` seconds (0: never): then the client
    comes back by itself, and the hook is asked again. Raises DisconnectError 3500 or 3507 where it says no,
    CommandError 100 for a fault, and what the hook raises of these two kinds.
    """
    with hook_stats.call(hooks.name_of(hook)) as call:
        try:
            answer = await _within(hooks.called(resolved(hook), request), HOOK_WITHIN)
            user = _user_id(answer)
            call.outcome = YES if user else ABSTAINED
        except (CommandError, DisconnectError):
            call.outcome = NO
            raise
        except Exception as error:
            if (code := _refusal(error)) is not None:
                call.outcome = NO
                raise DisconnectError(code, detail=f"refused by {hooks.name_of(hook)}: {str(error)[:200]}") from error
            _faults.tell(hook, error)
            raise CommandError(ErrorCode.INTERNAL) from error
    if not user:
        return None
    end = request.expire_at
    if end is None and again:
        end = now + again * random.uniform(1 - SPREAD, 1)
    return Identity(user, expire_at=end, via="hook")


def resolved(hook: Hook) -> Callable[..., Any]:
    """What is called: the hook, or the method `authenticate` of the class that it names. Raises as `hooks.resolve`."""
    found = hooks.resolve(hook)
    if isinstance(found, type) and hasattr(found, "authenticate"):
        method: Callable[..., Any] = found().authenticate
        return method
    return found


def _user_id(answer: Any) -> str:
    """The id that an answer stands for, "" for nobody. Raises DisconnectError 3507, TypeError for what is no user."""
    user = answer[0] if isinstance(answer, tuple) and len(answer) == 2 else answer
    if user is None or getattr(user, "is_anonymous", False) is True:
        return ""
    if isinstance(user, str) or (isinstance(user, int) and not isinstance(user, bool)):
        return str(user)
    if getattr(user, "pk", None) is None:
        raise TypeError(f"expected a user, an id or None, got {type(user).__name__}")
    if not getattr(user, "is_active", True):
        raise DisconnectError(DisconnectCode.PERMISSION_DENIED, detail=f"the user {user.pk} is not active")
    return str(user.pk)


def _refusal(error: Exception) -> DisconnectCode | None:
    """The code for a hook that says no; None where the exception is a fault."""
    status = getattr(error, "status_code", None)
    if isinstance(error, PermissionDenied) or status == 403:
        return DisconnectCode.PERMISSION_DENIED
    return DisconnectCode.INVALID_TOKEN if status == 401 else None


async def _within(work: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """The result of the project's code, or TimeoutError; then it is cancelled, and nobody waits for its end."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


def _abandon(task: "asyncio.Task[Any]") -> None:
    if not task.done():
        task.cancel()
        _abandoned.add(task)
    task.add_done_callback(_stopped)


def _stopped(task: "asyncio.Task[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.info("the hook authenticate failed after its time was over: %s", type(error).__name__)
