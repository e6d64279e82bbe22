"""Views for the tests of the middleware and the decorators."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from flotilla.ratelimit.http.decorators import ratelimit


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield from (b"one ", b"two")

    async def aparts() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    return StreamingHttpResponse(aparts() if request.headers.get("X-Async") else parts())


@ratelimit(key="ip", rate="2/m")
def limited(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(key="ip", rate="2/m")
async def limited_coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(group="noticed", key="ip", rate="2/m", block=False)
def noticed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("limited" if request.limited else "ok")  # type: ignore[attr-defined]


@ratelimit(group="noticed-coroutine", key="ip", rate="2/m", block=False)
async def noticed_coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("limited" if request.limited else "ok")  # type: ignore[attr-defined]


@ratelimit(group="posts", key="ip", rate="1/m", method="POST")
def posts(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def by_length(group: str, request: HttpRequest) -> str:
    return str(len(request.GET.get("q", "")))


def rate_of(group: str, request: HttpRequest) -> str | None:
    return None if request.GET.get("vip") else "1/m"


@ratelimit(group="called", key="tests.ratelimit.urls.by_length", rate="tests.ratelimit.urls.rate_of")
def called(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(group="outer", key="ip", rate="3/m")
@ratelimit(group="inner", key="header:X-Api-Key", rate="1/m", block=False)
def stacked(request: HttpRequest) -> HttpResponse:
    return HttpResponse("limited" if request.limited else "ok")  # type: ignore[attr-defined]


def broken_key(subject: Any) -> str:
    raise RuntimeError("a key function of the tests that always fails")


def by_agent(subject: Any) -> str | None:
    return subject.header("User-Agent") or None


nested: list[Any] = [path("inner", plain, name="inner")]

urlpatterns: list[Any] = [
    path("plain", plain, name="plain"),
    path("coroutine", coroutine, name="coroutine"),
    path("stream", stream, name="stream"),
    path("limited", limited),
    path("limited-coroutine", limited_coroutine),
    path("noticed", noticed),
    path("noticed-coroutine", noticed_coroutine),
    path("posts", posts),
    path("called", called),
    path("stacked", stacked),
    path("nested/", include((nested, "nested"))),
]
