"""The demo page at ``/`` and the endpoint behind its "stop this instance" buttons.

Owns the page's headers (a Content-Security-Policy with no inline script or style) and the rule who may stop an
instance: only under ``settings.FLOTILLA_DEMO``, only from this machine, only by POST with a CSRF token; everyone else
gets 404, as if the endpoint did not exist. All that is live on the page is done by the browser through the protocol.
"""

from ipaddress import ip_address

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from realtime.siblings import STOP_SIGNALS, find_sibling, stop_later

ROOMS = ("demo:lobby", "demo:random")
FORWARDING_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@require_safe
@never_cache
def demo(request: HttpRequest) -> HttpResponse:
    """The page. It carries no data of its own: rooms and people come over the WebSocket."""
    scheme = "wss" if request.is_secure() else "ws"
    path = f"{get_script_prefix()}connection/websocket"
    websocket = f"{scheme}://{request.get_host()}{path}"
    context = {"rooms": ROOMS, "can_stop": may_stop(request), "websocket": websocket, "websocket_path": path}
    response = render(request, "realtime/demo.html", context)
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
    if not may_stop(request):
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
    """Whether this request may stop an instance: a demo, and a client on this very machine.

    A forwarded request is refused even when the proxy is local, for then the client's address is the proxy's.
    """
    if not getattr(settings, "FLOTILLA_DEMO", False):
        return False
    if any(header in request.META for header in FORWARDING_HEADERS):
        return False
    return _is_loopback(request.META.get("REMOTE_ADDR", ""))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


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
