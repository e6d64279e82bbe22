"""Every fault of Redis is one kind of error, and says which."""

import pytest
import redis

from flotilla.store import StoreRefused, StoreUnavailable, reading
from flotilla.store.errors import StoreSilent, Unreadable, from_client, refused


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 83f4, on @user_script:83.", "OOM"),
        (
            "ERR Error running script (call to f_83f4): @user_script:5: @user_script: 5: -READONLY You can't write "
            "against a read only replica.",
            "READONLY",
        ),
        ("ERR Error running script (call to f_83f4): @user_script:5: attempt to index a nil value", "ERR"),
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
        ("NOSCRIPT No matching script.", "NOSCRIPT"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"),
        ("user_script:1: something a script says itself", "ERR"),
        ("", "ERR"),
    ],
)
def test_an_error_reply_has_its_code(text: str, code: str) -> None:
    """Also where an older Redis hides it in the text of a script's error."""
    assert refused(text).code == code


def with_code(error: Exception, code: str) -> Exception:
    """As redis-py makes it since 7.2."""
    error.status_code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (with_code(redis.exceptions.ReadOnlyError("You can't write"), "READONLY"), "READONLY"),
        (with_code(redis.exceptions.AuthenticationError("invalid username-password pair"), "WRONGPASS"), "WRONGPASS"),
        (redis.exceptions.ReadOnlyError("You can't write"), "READONLY"),
        (redis.exceptions.BusyLoadingError("Redis is loading"), "LOADING"),
        (redis.exceptions.NoScriptError("No matching script."), "NOSCRIPT"),
        (redis.exceptions.ResponseError("BUSY Redis is busy running a script."), "BUSY"),
    ],
)
def test_what_the_client_library_raises_for_an_error_reply_is_one(error: Exception, code: str) -> None:
    """With the code that the library took off the text; before 7.2 its error's class alone says which."""
    found = from_client(error)
    assert isinstance(found, StoreRefused)
    assert found.code == code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.ConnectionError("Connection closed"), StoreUnavailable),
        (OSError("gone"), StoreUnavailable),
        (TimeoutError(), StoreSilent),
        (redis.TimeoutError("Timeout reading from socket"), StoreSilent),
    ],
)
def test_a_lost_connection_is_no_refusal(error: Exception, kind: type[Exception]) -> None:
    """It is the plain kind, or the one for a Redis that took too long, with words."""
    found = from_client(error)
    assert type(found) is kind
    assert str(found) != "Redis does not answer: "


@pytest.mark.parametrize("answer", [None, 5, [b"1"], [b"a", b"b"], [[], 1]])
def test_an_answer_of_another_shape_is_a_fault_of_redis(answer: object) -> None:
    """And no TypeError of ours."""
    with pytest.raises(Unreadable, match="TIME"), reading("TIME"):
        _, _ = map(int, answer)  # type: ignore[call-overload]
    assert issubclass(Unreadable, StoreUnavailable)
