"""`GET /flotilla/state/<channel>`: a page of the rows that live models show in a channel, with the stream's position.

For the `getState` of the JavaScript SDK, and for `live.js`, which uses it (docs/LIVE.md, "State"). Who may subscribe to
the channel gets it (`state_access`), and pages of the origins that may connect. Everybody gets the same: whatever a
channel carries each of its subscribers may see.

4xx is final, but for 401 (a token that has expired), 410 (begin with the first page again) and 429; 503 is tried again.
A page is confirmed with 304 without reading its rows, where the client says what it has (If-None-Match).
"""

import logging
from collections.abc import Callable
from functools import partial

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags

from flotilla.ratelimit.http.requests import address_of
from flotilla.realtime.access.cors import cors_headers, preflight_headers, why_refused
from flotilla.realtime.api.answers import as_json
from flotilla.realtime.api.errors import refusal, status_of
from flotilla.realtime.api.python import history
from flotilla.realtime.api.state_access import require_not_blocked, require_subscriber, scope_of
from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.live.state import Asked, BadCursor, NotLive, Outlived, Page, page, shown_in
from flotilla.realtime.live.state_cursor import read as read_cursor
from flotilla.realtime.live.state_turns import Busy
from flotilla.realtime.protocol.codes import CommandError, DisconnectError, ErrorCode
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.api")

METHODS = ("GET", "HEAD", "OPTIONS")
LIMIT, MOST = 1000, 5000  # rows
_HIGHEST = 2**63 - 1
_VARY = "Authorization, Cookie, X-Subscription-Token"


@login_not_required  # a redirect to a page is no answer for an SDK
@non_atomic_requests  # nothing is written, and what is read has a transaction of its own
async def state(request: HttpRequest, channel: str) -> HttpResponse:
    """Answer with a page of a channel's state."""
    return await respond(request, channel, _reader)


Reader = Callable[[HttpRequest, str], Callable[[], HttpResponse]]
"""Reads what a request asks of a channel and returns what answers it, for threads. Either may raise what `state` does,
and CommandError."""


async def respond(request: HttpRequest, channel: str, reader: Reader) -> HttpResponse:
    """Answer with what a reader makes of a channel, for who may subscribe to it, from where they may connect."""
    config, scope = get_config(), scope_of(request)
    if request.method == "OPTIONS":
        answer = HttpResponse(status=204, headers={"Allow": ", ".join(METHODS)})
        return _with(answer, preflight_headers(scope, config, METHODS))
    if request.method not in METHODS:
        answer = _problem(405, f"use {METHODS[0]}", Allow=", ".join(METHODS))
    elif problem := why_refused(scope, config):
        logger.warning("a request for a state was refused: %s", problem)
        answer = _problem(403, "requests from this origin are not allowed")
    else:
        answer = await _answered(request, channel, reader)
    answer.headers.setdefault("Access-Control-Expose-Headers", "ETag, Retry-After")
    return _with(answer, cors_headers(scope, config))


async def _answered(request: HttpRequest, channel: str, reader: Reader) -> HttpResponse:
    try:
        read = reader(request, channel)
        user = await require_subscriber(request, channel, get_config())
        return await sync_to_async(partial(_read, read, user, address_of(request)))()
    except CommandError as error:
        if error.code == ErrorCode.INTERNAL:
            return _later(error.message)
        status = 401 if error.code == ErrorCode.TOKEN_EXPIRED else status_of(error.code)
        return as_json(refusal("state", error), status)
    except DisconnectError as error:
        return as_json({"error": {"code": int(error.code), "message": error.reason}}, 403)
    except BadCursor:
        return _problem(400, "`after` is no cursor that a page has given: begin with the first page")
    except NotLive:
        return _problem(404, "no live model shows rows in this channel")
    except Outlived:
        return _problem(410, "more has changed than later pages can say: begin with the first page again")
    except Busy:
        return _later("too many states are being read")
    except (StoreUnavailable, DatabaseError, InterfaceError) as error:
        logger.warning("the state of %r could not be read: %s", channel, error)
        return _later("the state cannot be read now")


def _read(read: Callable[[], HttpResponse], user: str, address: str) -> HttpResponse:
    """For threads: everything that waits for Redis and the database."""
    require_not_blocked(user, address)
    return read()


def _reader(request: HttpRequest, channel: str) -> Callable[[], HttpResponse]:
    return partial(_state, asked_by(request, channel))


def _state(asked: Asked) -> HttpResponse:
    alias, shown = shown_in(asked.channel)
    return _page(page(asked, alias, shown, position_of(asked.channel)))


def position_of(channel: str) -> StreamPosition:
    """Where a channel's stream is now. Raises StoreUnavailable, CommandError 108 without history."""
    top = history(channel, limit=0)
    return StreamPosition(top.epoch, top.offset)


def asked_by(request: HttpRequest, channel: str) -> Asked:
    """What is asked for. Raises BadCursor, Outlived, CommandError 107."""
    after = request.GET.get("after")
    return Asked(
        channel,
        min(_number(request, "limit", LIMIT, 1), MOST),
        None if after is None else read_cursor(after),
        # without the version of the first page a later one could not say what was removed since
        0 if after is None else _number(request, "since", None, 0),
        frozenset(tag.removeprefix("W/").strip('"') for tag in parse_etags(request.headers.get("If-None-Match", ""))),
    )


def _number(request: HttpRequest, name: str, default: int | None, least: int) -> int:
    text = request.GET.get(name)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= _HIGHEST):
        raise CommandError(ErrorCode.BAD_REQUEST, f"`{name}` is a whole number from {least}")
    return int(text)


def _page(found: Page) -> HttpResponse:
    if found.body is None:
        answer = HttpResponse(status=304)
    else:
        answer = HttpResponse(found.body, content_type="application/json")
    answer["ETag"] = f'"{found.tag}"'
    answer["Cache-Control"] = "private, no-cache"  # kept, and asked about each time
    answer["Vary"] = _VARY
    return answer


def _later(message: str) -> HttpResponse:
    answer = _problem(503, message)
    answer["Retry-After"] = "1"
    return answer


def _problem(status: int, message: str, **headers: str) -> HttpResponse:
    answer = as_json({"error": {"code": status, "message": message}}, status)
    for name, value in headers.items():
        answer[name] = value
    return answer


def _with(answer: HttpResponse, headers: list[tuple[bytes, bytes]]) -> HttpResponse:
    for name, value in headers:
        text = value.decode("latin-1")
        known = answer.headers.get(name.decode(), "") if name == b"vary" else ""
        answer[name.decode().title()] = f"{known}, {text}" if known else text
    return answer
