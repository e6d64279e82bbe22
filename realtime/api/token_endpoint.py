"""`POST /flotilla/token/`: a token for whoever is logged in, as the `getToken` of SDKs wants it: `{"token": "…"}`.

With a channel (`?channel=`, or `channel` in a form or JSON body) it is a subscription token, for those who may
subscribe: the namespace's `token_permission` decides, and without one the rules of the command `subscribe`. So for a
channel whose name begins with `$` there are tokens only where `token_permission` is set.

The session says who it is, and Django's protection against forged requests counts, whatever middleware the project has.
Nothing keeps the answer. 403 is final for SDKs, and is for visitors and for those who may not; 429 (a rate limit on the
route `flotilla_token`) and 5xx are tried again.
"""

from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CSRF_SESSION_KEY
from django.views.decorators.csrf import csrf_protect

from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token, user_id
from flotilla.realtime.api.answers import as_json
from flotilla.realtime.api.errors import refusal, status_of
from flotilla.realtime.conf import RealtimeConfig, get_config
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

_VISITOR = {"code": int(ErrorCode.UNAUTHORIZED), "message": "log in first"}


class _Body(msgspec.Struct):
    channel: str = ""


@login_not_required  # a redirect to a page is no answer for an SDK: visitors get 403
async def token(request: HttpRequest) -> HttpResponse:
    """Give out a token that holds for `token_ttl`."""
    if settings.CSRF_USE_SESSIONS and hasattr(request, "session"):
        await request.session.aget(CSRF_SESSION_KEY)  # the check below is made in the event loop, and asks no database
    return await _token(request)


@csrf_protect
async def _token(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        answer = as_json({"error": {"code": 405, "message": "use POST"}}, status=405)
        answer["Allow"] = "POST"
        return answer
    if not hasattr(request, "auser"):
        raise ImproperlyConfigured("The token endpoint needs django.contrib.auth.middleware.AuthenticationMiddleware.")
    user = await request.auser()
    if not user.is_authenticated or not user.is_active:
        return as_json({"error": _VISITOR}, status=403)
    config = get_config()
    try:
        channel = _channel(request)
        if not channel:
            return as_json({"token": make_connection_token(user, ttl=config.token_ttl)})
        await _require(user, channel, config)
        return as_json({"token": make_subscription_token(user, channel, ttl=config.token_ttl)})
    except CommandError as error:
        return as_json(refusal("token", error), status=status_of(error.code))


def _channel(request: HttpRequest) -> str:
    """The channel that is asked for, "" for none. Raises CommandError 107."""
    found = request.GET.get("channel") or request.POST.get("channel") or ""
    if found or request.content_type != "application/json":
        return found
    try:
        return msgspec.json.decode(request.body or b"{}", type=_Body).channel
    except (msgspec.DecodeError, UnicodeError, RecursionError, RequestDataTooBig):
        raise CommandError(ErrorCode.BAD_REQUEST) from None


async def _require(user: Any, channel: str, config: RealtimeConfig) -> None:
    """Raise CommandError unless the user may have a token for the channel."""
    options = options_for(channel, config)
    memory: dict[Any, Any] = {}
    hooks.remember_user(user, memory)
    hook = options.token_permission or permissions.subscribe(
        channel, options, user=user_id(user), personal=config.user_personal_channel, insecure=config.insecure
    )
    await hooks.require(hook, user_id(user), channel, None, memory)
