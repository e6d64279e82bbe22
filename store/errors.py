"""What a caller of Redis must be ready for: no answer, an error as the answer, or an answer that cannot be read.

All are StoreUnavailable, so a caller that handles a Redis that is away handles every fault of it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

ELSEWHERE = frozenset({"READONLY", "LOADING", "MASTERDOWN"})
"""Codes of a server that is not, or not yet, the right one: the address may lead to another one by now."""

MOVED = "MOVED"
_NOT_HERE = frozenset({MOVED, "ASK", "TRYAGAIN", "CLUSTERDOWN"})

UNKNOWN_SCRIPT = "NOSCRIPT"
_NO_PASSWORD = "Authentication required."
_OF_CLASS = {
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
"""The codes of redis-py's errors by the names of their classes: before 7.2 they carry none."""
_CODE = re.compile(r"[A-Z][A-Z0-9]+(?= |$)")
_NO_RIGHT = (
    "The user executing the script can't ",
    "ACL failure in script: ",
)  # before 7.2, and since: called ERR there
_IN_SCRIPT = re.compile(r"^ERR Error running script .*?-([A-Z][A-Z0-9]+) ")  # Redis before 7 hides the code there


class StoreUnavailable(Exception):
    """Redis did not answer: connection refused or lost, or no reply within the deadline.

    A write may or may not have happened. The caller tells its client to try again, or repeats an idempotent call.
    """

    def again(self) -> "StoreUnavailable":
        """The same error for another call: the traceback of one object that is raised again and again would grow."""
        return type(self)(str(self))


class StoreSilent(StoreUnavailable):
    """Redis did not answer within the time that the call had."""


class StoreNotAsked(StoreUnavailable):
    """Nothing was sent, for it would only have been waited for: Redis is known to be silent, or the caller's time is
    used up."""


class StoreRefused(StoreUnavailable):
    """Redis answered with an error. `code` is the error's first word: READONLY, BUSY, OOM, NOPERM, WRONGTYPE, ERR, …

    A script may have done a part of its work before it met the error.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"Redis refused: {text}")
        self.code = code
        self.text = text

    def again(self) -> "StoreRefused":
        """As the base's."""
        return StoreRefused(self.code, self.text)


def not_here(error: Exception) -> bool:
    """Whether a node of a cluster has executed nothing of a call, because its slot is another node's (MOVED), is on its
    way to one, or is nobody's just now: the same call may be made again."""
    return isinstance(error, StoreRefused) and error.code in _NOT_HERE and error.text.startswith(error.code)


class Unreadable(StoreUnavailable):
    """Redis answered with something of another shape than the question has."""


def refused(text: str) -> StoreRefused:
    """The error for an error reply as Redis wrote it."""
    if any(words in text for words in _NO_RIGHT):
        return StoreRefused("NOPERM", text)
    if (hidden := _IN_SCRIPT.match(text)) is not None:
        return StoreRefused(hidden[1], text)
    plain = _CODE.match(text)
    return StoreRefused(plain[0] if plain is not None else "ERR", text)


def from_client(error: Exception) -> StoreUnavailable:
    """The error for what redis-py or the system raised. redis-py removes the code from the text of errors that it
    knows: it is put back."""
    if isinstance(error, StoreUnavailable):
        return error
    # What Redis answers while a connection is made is the cause of what redis-py calls a fault of the network.
    for told in (error.__cause__, error):
        if code := _code_of(told):
            return refused(f"{code} {told}")
        if isinstance(told, ResponseError):
            return refused(str(told))
    text = str(error)
    kind = StoreSilent if isinstance(error, TimeoutError | RedisTimeoutError) else StoreUnavailable
    return kind(f"Redis does not answer: {text or type(error).__name__}")


def _code_of(error: BaseException | None) -> str:
    """The code that redis-py took off an error reply's text; "" when it took none."""
    if not isinstance(error, RedisError):
        return ""
    if str(error) == _NO_PASSWORD:
        return "NOAUTH"
    return getattr(error, "status_code", None) or _OF_CLASS.get(type(error).__name__, "")


def is_unknown_command(text: str) -> bool:
    """Whether an error reply says that the server has no such command."""
    return "unknown command" in text


@contextmanager
def reading(what: str) -> Iterator[None]:
    """For code that takes an answer apart: an answer of the wrong shape raises Unreadable."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise Unreadable(f"Redis answered {what} in a shape that cannot be read: {error!r}") from error
