"""/health/ as views of Django, for a project whose requests come to Django first (`flotilla.urls`).

Django refuses a Host header that it does not know, and may need a thread for its middleware: probes of an instance are
better served by `flotilla.asgi`, which answers before Django.
"""

from typing import Any

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from flotilla.monitoring import health

WITHOUT_ASGI = "this process serves WSGI, and takes no clients: ask one that serves ASGI"


@login_not_required
@require_safe
async def live(request: HttpRequest) -> HttpResponse:
    """GET health/live: 200 while the event loop turns."""
    return _answer(200, health.live())


@login_not_required
@require_safe
async def ready(request: HttpRequest) -> HttpResponse:
    """GET health/ready: 200 when this instance should get clients, else 503. A process under WSGI never should."""
    if not isinstance(request, ASGIRequest):
        return _answer(503, health.live() | {"ready": False, "problem": WITHOUT_ASGI})
    found = await health.ready()
    return _answer(200 if found["ready"] else 503, found)


def _answer(status: int, content: dict[str, Any]) -> HttpResponse:
    answer = HttpResponse(msgspec.json.encode(content), status=status, content_type="application/json")
    answer["Cache-Control"] = "no-store"
    return answer
