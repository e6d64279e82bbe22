"""Django's side of the HTTP tests: files, streams, conditional answers, bodies, cookies."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition
from django.views.static import serve

FOLDER = Path(settings.VAR_DIR)
CONTENT = b"".join(b"line %06d of the file\n" % index for index in range(5000))

PIECE = b"p" * 65536


def _file() -> Path:
    made = FOLDER / "flotilla-http-test.txt"
    if not made.exists() or made.read_bytes() != CONTENT:
        fresh = Path(tempfile.mkstemp(dir=FOLDER)[1])
        fresh.write_bytes(CONTENT)
        fresh.replace(made)
    return made


def file(request: HttpRequest) -> FileResponse:
    """A file as Django sends it."""
    return FileResponse(_file().open("rb"))


def served(request: HttpRequest) -> HttpResponseBase:
    """A file as Django's own static view sends it: with conditions on its date."""
    return serve(request, _file().name, str(FOLDER))


@condition(etag_func=lambda request: '"the one"')
def tagged(request: HttpRequest) -> HttpResponse:
    return HttpResponse("tagged")


async def streamed(request: HttpRequest) -> StreamingHttpResponse:
    """`?count=3&pause=0`"""

    async def parts() -> AsyncIterator[bytes]:
        for index in range(int(request.GET.get("count", 3))):
            yield b"part %d\n" % index
            await asyncio.sleep(float(request.GET.get("pause", 0)))

    return StreamingHttpResponse(parts())


async def large(request: HttpRequest) -> StreamingHttpResponse:
    """`?size=1000000`, in pieces of 64 KiB."""

    async def parts() -> AsyncIterator[bytes]:
        left = int(request.GET.get("size", 1_000_000))
        while left > 0:
            yield PIECE[:left]
            left -= len(PIECE)

    return StreamingHttpResponse(parts())


def largefile(request: HttpRequest) -> FileResponse:
    """A file of 64 MB."""
    made = FOLDER / "large.bin"
    if not made.exists():
        with made.open("wb") as hole:
            hole.truncate(64 << 20)
    return FileResponse(made.open("rb"))


@csrf_exempt
def body(request: HttpRequest) -> JsonResponse:
    """How much of a body came, and what was in its form."""
    if request.content_type.startswith(("multipart/", "application/x-www")):
        files = {name: one.size for name, one in request.FILES.items()}
        return JsonResponse({"form": request.POST.dict(), "files": files})
    return JsonResponse({"size": len(request.body)})


def cookies(request: HttpRequest) -> JsonResponse:
    return JsonResponse(request.COOKIES)


def host(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {"host": request.get_host(), "path": request.get_full_path(), "uri": request.build_absolute_uri()}
    )


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("as it always does")


VIEWS = (file, served, tagged, streamed, large, largefile, body, cookies, host, broken)
urlpatterns = [path(f"http/{view.__name__}", view) for view in VIEWS]
