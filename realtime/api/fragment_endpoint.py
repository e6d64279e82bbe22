"""`GET /flotilla/fragment/<channel>`: rows of a channel as HTML, for the pages that `{% live %}` made.

`template` and `signature`, one or several times: with which templates, as `{% live %}` signed them for this channel.
`key`, up to 50 times: those rows alone, `{"version", "rows"}`. Without a key all, as `state` has them: pages, and the
stream's position. Access is that of `state` (`state_endpoint`). A row is `{"key", "html": {template: HTML}}`; "" where
a template does not show it. A template that no live model names is given the request, and with it the page's own user.
"""

from collections.abc import Callable
from functools import partial

from django.contrib.auth.decorators import login_not_required
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse

from flotilla.realtime.api.answers import as_json
from flotilla.realtime.api.state_endpoint import asked_by, position_of, respond
from flotilla.realtime.live.fragment_pages import MOST_KEYS, Look, all_rows, some_rows
from flotilla.realtime.live.fragments import is_signed
from flotilla.realtime.live.state import Asked, shown_in
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

MOST_TEMPLATES = 8


@login_not_required  # a redirect to a page is no answer for a script
@non_atomic_requests  # nothing is written, and what is read has a transaction of its own
async def fragment(request: HttpRequest, channel: str) -> HttpResponse:
    """Answer with rows of a channel as HTML."""
    return await respond(request, channel, _reader)


def _reader(request: HttpRequest, channel: str) -> Callable[[], HttpResponse]:
    """Raises CommandError 103 for a template that `{% live %}` did not sign, 107 for what cannot be asked."""
    templates, signatures = request.GET.getlist("template"), request.GET.getlist("signature")
    if not 0 < len(templates) == len(signatures) <= MOST_TEMPLATES:
        raise CommandError(ErrorCode.BAD_REQUEST, f"`template` and `signature`: 1 to {MOST_TEMPLATES} of each")
    if not all(is_signed(channel, *pair) for pair in zip(templates, signatures, strict=True)):
        raise CommandError(
            ErrorCode.PERMISSION_DENIED, "a template was not signed for this channel: load the page anew"
        )
    keys = request.GET.getlist("key")
    if len(keys) > MOST_KEYS:
        raise CommandError(ErrorCode.BAD_REQUEST, f"`key`: at most {MOST_KEYS} at a time")
    look = Look(channel, templates, request)
    return partial(_some, look, keys) if keys else partial(_all, look, asked_by(request, channel))


def _some(look: Look, keys: list[str]) -> HttpResponse:
    return as_json(some_rows(look, keys, *shown_in(look.channel)))


def _all(look: Look, asked: Asked) -> HttpResponse:
    alias, shown = shown_in(look.channel)
    return as_json(all_rows(look, asked, alias, shown, position_of(look.channel)))
