"""Following a channel, a user or a connection live from its page in the admin.

It takes `tail_<model>`, and payloads are masked without `flotilla_realtime.tail_payloads` and the explicit wish to see
them. Beginning is a form's POST, so that nobody is made to look, and is in the admin's log with who looked at what. The
answer carries a signed ticket, with which that user's browser collects what was seen: as server-sent events, from any
instance, or by asking again and again where the server knows no streams.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
from asgiref.sync import sync_to_async
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path

from flotilla.realtime.admin.base import LiveAdmin
from flotilla.realtime.api import tails
from flotilla.realtime.api.tails import About, Look
from flotilla.realtime.node.node import current_node
from flotilla.store import StoreUnavailable

PAYLOADS = "flotilla_realtime.tail_payloads"
SALT = "flotilla.realtime.tail"
TICKET_LASTS = timedelta(seconds=2 * tails.LASTS)
COME_AGAIN = 1000  # ms after which a browser that lost the stream connects again
ASK_AGAIN_EVERY = 15.0  # seconds between looks at whether the user still may
LONGEST_NAME = 255  # characters


class TailedAdmin(LiveAdmin):
    """Pages whose things can be followed live: `<name>/tail/` beside a thing's own page."""

    tail_about: ClassVar[About]

    def get_urls(self) -> list[URLPattern]:
        """The tail's, before all others."""
        view = self.admin_site.admin_view(self.tail_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_tail"
        return [path("<path:object_id>/tail/", view, name=name), *super().get_urls()]

    def tail_offered(self, request: HttpRequest, name: str) -> dict[str, Any]:
        """What a page needs to offer it; "" stands for who may not."""
        obj = self.object_of(name)
        return {"tail": self._may_tail(request.user, obj), "tail_payloads": self._may_see(request.user, obj)}

    def tail_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """POST begins a tail, and GET collects what it has seen."""
        name = unquote(object_id)
        if not name or "\0" in name or len(name) > LONGEST_NAME:
            raise Http404
        if not self._may_tail(request.user, self.object_of(name)):
            raise PermissionDenied
        if request.method == "POST":
            return self._begin(request, name)
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET", "POST"])
        look = self._look_of(request, name)
        if look.is_over:
            return HttpResponse(status=204)  # no event stream connects again after this
        if isinstance(request, ASGIRequest) and "poll" not in request.GET:
            return _streamed(self._seen(request, look))
        return self._collected(look)

    # Who may

    def _may_tail(self, user: Any, obj: Any) -> bool:
        permission = self._permission("tail")
        return bool(user.has_perm(permission) or user.has_perm(permission, obj))

    def _may_see(self, user: Any, obj: Any) -> bool:
        return bool(user.has_perm(PAYLOADS) or user.has_perm(PAYLOADS, obj))

    def _still_may(self, pk: Any, look: Look) -> bool:
        """As the database has it now: rights may have been taken away meanwhile."""
        user, obj = get_user_model()._default_manager.filter(pk=pk, is_active=True).first(), self.object_of(look.name)
        return user is not None and self._may_tail(user, obj) and (not look.payloads or self._may_see(user, obj))

    # Beginning

    def _begin(self, request: HttpRequest, name: str) -> HttpResponse:
        payloads = bool(request.POST.get("payloads"))
        if payloads and not self._may_see(request.user, self.object_of(name)):
            raise PermissionDenied
        try:
            look, done = tails.begin(self.tail_about, name, payloads=payloads)
        except StoreUnavailable as error:
            return JsonResponse({"fault": f"Redis does not answer: {error}"}, status=503)
        if not done.hit:
            fault = "No instance follows it: each follows only so many things at a time, and has to be reached."
            return JsonResponse({"fault": fault}, status=503)
        shown = "with payloads" if payloads else "payloads masked"
        self.log(request, name, f"followed {name} live, {shown}")
        said = {
            "ticket": signing.dumps([request.user.pk, *look], salt=SALT),
            "streams": isinstance(request, ASGIRequest),
            "instances": done.instances,
            "following": done.hit,
            "seconds": tails.LASTS,
        }
        return JsonResponse(said)

    def _look_of(self, request: HttpRequest, name: str) -> Look:
        """The look that a ticket stands for: this user's, at this thing."""
        try:
            pk, *parts = signing.loads(request.GET.get("ticket", ""), salt=SALT, max_age=TICKET_LASTS)
            look = Look(*parts)
        except (signing.BadSignature, TypeError, ValueError):
            raise PermissionDenied from None
        if (pk, look.about, look.name) != (request.user.pk, self.tail_about, name):
            raise PermissionDenied
        if look.payloads and not self._may_see(request.user, self.object_of(name)):
            raise PermissionDenied
        return look

    # Collecting

    def _collected(self, look: Look) -> HttpResponse:
        try:
            return HttpResponse(msgspec.json.encode(tails.collect_sync(look)), content_type="application/json")
        except StoreUnavailable as error:
            return JsonResponse({"fault": f"Redis does not answer: {error}"}, status=503)

    async def _seen(self, request: HttpRequest, look: Look) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % COME_AGAIN
        asked, pk = time.monotonic(), request.user.pk
        try:
            async with aclosing(tails.follow(look)) as batches:
                async for seen in batches:
                    yield b"data: %s\n\n" % msgspec.json.encode(seen) if seen else b": nothing\n\n"
                    if time.monotonic() > asked + ASK_AGAIN_EVERY:
                        asked = time.monotonic()
                        if not await sync_to_async(self._still_may)(pk, look):
                            yield _over("You may not look at this any more.")
                            return
        except StoreUnavailable as error:
            yield b"event: away\ndata: %s\n\n" % msgspec.json.encode(f"Redis does not answer: {error}")
            return
        node = current_node()
        if node is None or not node.draining:  # else another instance goes on
            yield _over("Its time is up." if look.is_over else f"{tails.MAX_EVENTS} events were shown.")


def _over(why: str) -> bytes:
    return b"event: over\ndata: %s\n\n" % msgspec.json.encode(why)


def _streamed(parts: AsyncIterator[bytes]) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would wait for more
    return StreamingHttpResponse(parts, content_type="text/event-stream", headers=headers)
