"""Codes, reasons, and what a client makes of them."""

import json

import pytest

from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode, UnsubscribeCode


@pytest.mark.parametrize("code", DisconnectCode)
def test_a_reason_is_fit_for_a_close_frame(code: DisconnectCode) -> None:
    """Non-empty, at most 123 bytes, and no JSON: clients would read it as advice, or ignore the code."""
    assert 0 < len(code.reason.encode()) <= 123
    with pytest.raises(json.JSONDecodeError):
        json.loads(code.reason)


@pytest.mark.parametrize("code", UnsubscribeCode)
def test_an_unsubscribe_has_a_reason(code: UnsubscribeCode) -> None:
    """And its code is in the protocol's range."""
    assert code.reason
    assert 2000 <= code < 3000


def test_the_temporary_errors_are_three() -> None:
    """Only these make clients try again."""
    assert [code for code in ErrorCode if code.temporary] == [100, 111, 113]
    assert all(100 <= code < 400 and code.message for code in ErrorCode)


def test_the_protocols_words_are_kept() -> None:
    """Messages as clients know them."""
    assert ErrorCode.INTERNAL.message == "internal server error"
    assert ErrorCode.PERMISSION_DENIED.message == "permission denied"
    assert DisconnectCode.FORCE_DISCONNECT.reason == "force disconnect"
    assert DisconnectCode.SHUTDOWN.reason == "shutdown"


def test_a_command_error_fills_in_what_is_known() -> None:
    """Known codes bring their message; application codes get a general one; both can be given."""
    known = CommandError(ErrorCode.TOO_MANY_REQUESTS)
    assert (known.code, known.message, known.temporary) == (111, "too many requests", True)
    own = CommandError(1000)
    assert (own.code, own.message, own.temporary) == (1000, "application error", False)
    given = CommandError(109, "late", temporary=True)
    assert (given.code, given.message, given.temporary) == (109, "late", True)


def test_a_disconnect_keeps_its_detail_to_itself() -> None:
    """The reason is for the client, the detail for the log."""
    error = DisconnectError(DisconnectCode.INVALID_TOKEN, detail="bad signature")
    assert error.reason == "invalid token"
    assert error.detail == "bad signature"
    assert DisconnectError(4001).reason == "disconnected"
