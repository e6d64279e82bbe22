"""The project's routes, and views that the limits' tests ask: plain ones, decorated ones, a streaming one."""

from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from flotilla.ratelimit.http.decorators import ratelimit
from tests.cluster.support.clusterapp import http_views


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"part\n"

    return StreamingHttpResponse(parts())


@ratelimit(group="decorated", key="ip", rate="3/m")
def decorated(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(group="decorated-coroutine", key="ip", rate="3/m")
async def decorated_coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(group="seen", key="ip", rate="3/m", block=False)
async def seen(request: HttpRequest) -> HttpResponse:
    return HttpResponse("limited" if request.limited else "ok")  # type: ignore[attr-defined]


urlpatterns = [
    path("limited/plain", plain, name="plain"),
    path("limited/coroutine", coroutine, name="coroutine"),
    path("limited/stream", stream, name="stream"),
    path("burst/<str:kind>", lambda request, kind: HttpResponse(kind)),
    path("decorated", decorated),
    path("decorated/coroutine", decorated_coroutine),
    path("decorated/seen", seen),
    *http_views.urlpatterns,
    path("", include("project.urls")),
]
