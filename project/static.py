"""Static files by WhiteNoise, without a thread hop for every request that is for no static file.

The stock middleware is synchronous: under ASGI each request would pass through a thread to ask whether its path is a
file's, and the file's blocking iterator would be consumed by Django with a warning.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import closing
from http import HTTPStatus
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import Response, SlicedFile, StaticFile

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
MAX_AT_ONCE = 256 * 1024  # bytes of a file that is read whole


class RangedFile(StaticFile):  # type: ignore[misc]
    """WhiteNoise's file; a range of a single byte is one too, and what is no range is ignored (RFC 9110, 14.2)."""

    def get_range_response(self, range_header: str, base_headers: Any, file_handle: Any) -> Any:
        """The part that was asked for, 416 when there is none, ValueError for what is no range."""
        sizes = [int(value) for name, value in base_headers if name == "Content-Length"]
        start, end = self.get_byte_range(range_header, sizes[0])
        if start > end:
            return self.get_range_not_satisfiable_response(file_handle, sizes[0])
        headers = [header for header in base_headers if header[0] != "Content-Length"]
        headers.append(("Content-Range", f"bytes {start}-{end}/{sizes[0]}"))
        headers.append(("Content-Length", str(end - start + 1)))
        part = None if file_handle is None else SlicedFile(file_handle, start, end)
        return Response(HTTPStatus.PARTIAL_CONTENT, headers, part)

    @staticmethod
    def parse_byte_range(range_header: str) -> tuple[int, int | None]:
        """Where a range begins (negative: from the end) and ends. Raises ValueError for what is no single range."""
        found = _RANGE.fullmatch(range_header.strip())
        if found is None or found.groups() == ("", ""):
            raise ValueError(range_header)
        first, last = found.groups()
        if not first:
            return -int(last), None
        return int(first), int(last) if last else None


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serves what the static files' finders know (and STATIC_ROOT, when there is one) at STATIC_URL."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def get_static_file(self, *arguments: Any, **options: Any) -> Any:
        """As the base's, which names its class of files itself."""
        found = super().get_static_file(*arguments, **options)
        if type(found) is StaticFile:
            found.__class__ = RangedFile
        return found

    def __call__(self, request: HttpRequest) -> Any:
        """A response, or a coroutine that gives one."""
        if iscoroutinefunction(self):
            return self._answer(request)
        return super().__call__(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(self.static_prefix):
            found = await sync_to_async(self._read, thread_sensitive=False)(request)
            if found is not None:
                return found
        return await cast(Awaitable[HttpResponse], self.get_response(request))

    def _read(self, request: HttpRequest) -> HttpResponse | None:
        find = self.find_file if self.autorefresh else self.files.get
        file = find(request.path_info)
        if file is None:
            return None
        response = self.serve(file, request)
        if int(response.headers.get("Content-Length", "0")) > MAX_AT_ONCE and request.method != "HEAD":
            return cast(HttpResponse, response)  # a stream of pieces (project.streaming)
        with closing(response):
            return HttpResponse(
                b"".join(response.streaming_content), status=response.status_code, headers=response.headers
            )
