"""Static files by WhiteNoise, without a thread hop for every request that is for no static file.

The stock middleware is synchronous: under ASGI each request would pass through a thread to ask whether its path is a
file's, and the file's blocking iterator would be consumed by Django with a warning.
"""

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

MOST_AT_ONCE = 256 * 1024  # bytes of a file that is read whole


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serves what the static files' finders know (and STATIC_ROOT, when there is one) at STATIC_URL."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

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
        if int(response.headers.get("Content-Length", "0")) > MOST_AT_ONCE and request.method != "HEAD":
            return cast(HttpResponse, response)  # a stream of pieces (project.streaming)
        with closing(response):
            return HttpResponse(
                b"".join(response.streaming_content), status=response.status_code, headers=response.headers
            )
