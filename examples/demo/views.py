"""The demo page at ``/`` and the endpoint behind its "stop this instance" buttons.

Owns the page's headers (a Content-Security-Policy with no inline script or style) and the rule who may stop an
instance: only under ``settings.FLOTILLA_DEMO``, only its own user at this machine (`local_requests`), only by POST with
a CSRF token and the secret of the page; everyone else gets 404, as if the endpoint did not exist. All that is live on
the page is done by the browser through the protocol.
"""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from examples.demo.instances import STOP_SIGNALS, find_sibling, stop_later
from examples.demo.local_requests import is_local

ROOMS = ("demo:lobby", "demo:random")


@require_safe
@never_cache
def demo(request: HttpRequest) -> HttpResponse:
    """The page. It carries no data of its own: rooms and people come over the WebSocket."""
    scheme = "wss" if request.is_secure() else "ws"
    path = f"{get_script_prefix()}connection/websocket"
    websocket = f"{scheme}://{request.get_host()}{path}"
    secret = page_secret(request) if may_stop(request) else ""
    context = {"rooms": ROOMS, "secret": secret, "websocket": websocket, "websocket_path": path}
    response = render(request, "demo/demo.html", context)
    response["Content-Security-Policy"] = content_security_policy(request.get_host())
    response["Referrer-Policy"] = "same-origin"
    return response


@require_POST
@csrf_protect
def stop_instance(request: HttpRequest) -> HttpResponse:
    """Stop the instance named in the form field ``instance`` by ``how``: ``drain`` or ``kill``.

    The browser may have reached any instance of the address with this request, so the one to stop is found among the
    supervisor's children. Answers 202 before the signal is sent, 400 for an unknown ``how``, 404 for an unknown name.
    """
    if not may_stop(request) or not _knows_the_page(request):
        raise Http404
    how = request.POST.get("how", "drain")
    if how not in STOP_SIGNALS:
        return JsonResponse({"error": f"how: expected one of {', '.join(STOP_SIGNALS)}"}, status=400)
    name = request.POST.get("instance", "")
    process = find_sibling(name)
    if process is None:
        return JsonResponse({"error": "no such instance here"}, status=404)
    stop_later(process, STOP_SIGNALS[how])
    return JsonResponse({"stopping": name, "how": how}, status=202)


def may_stop(request: HttpRequest) -> bool:
    """Whether this request may stop an instance: a demo, and its own user, at this very machine."""
    return bool(getattr(settings, "FLOTILLA_DEMO", False)) and is_local(request)


def page_secret(request: HttpRequest) -> str:
    """What the page with the buttons has and no other page can read, also none of another port or name of this machine:
    it belongs to this demo (its SECRET_KEY) and to the address that the page was asked for."""
    return salted_hmac("realtime.demo.stop", request.get_host(), algorithm="sha256").hexdigest()


def _knows_the_page(request: HttpRequest) -> bool:
    return constant_time_compare(request.POST.get("secret", ""), page_secret(request))


def content_security_policy(host: str) -> str:
    """The page's policy. ``host`` is named for WebSockets because older browsers leave them out of ``'self'``."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' ws://{host} wss://{host}",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )
