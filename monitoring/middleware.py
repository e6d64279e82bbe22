"""django-prometheus's middleware for ASGI, with labels that no client can multiply.

The stock ones hop into a thread before and after every request, take any word for a method as a label's value, and
fail on a Content-Length that is no number. Without django-prometheus (the extra `metrics`) Django leaves both out, and
`manage.py check` says that requests are not counted.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

FROM_THE_START = ("200", "429", "500")  # a rate needs a beginning at 0, and a rule something to look at
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"})


class _NotCounted:
    """What there is of a middleware without django-prometheus: nothing that is called."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise MiddlewareNotUsed("django-prometheus is not installed")


try:
    from django_prometheus.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware
except ImportError:
    PrometheusAfterMiddleware = PrometheusBeforeMiddleware = _NotCounted


class _WithoutHops:
    """What both have in common: counting is quick, so it happens where the request is."""

    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]
    process_request: Callable[[HttpRequest], None]
    process_response: Callable[[HttpRequest, HttpResponse], HttpResponse]

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
        self.process_request(request)
        return self.process_response(request, await self.get_response(request))


class CountBefore(_WithoutHops, PrometheusBeforeMiddleware):  # type: ignore[misc]
    """The outermost middleware."""


class CountAfter(_WithoutHops, PrometheusAfterMiddleware):  # type: ignore[misc]
    """The innermost middleware."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for status in FROM_THE_START:
            self.metrics.responses_by_status.labels(status=status)

    def process_request(self, request: HttpRequest) -> None:
        length = request.META.get("CONTENT_LENGTH", "")
        if length and not (length.isascii() and length.isdigit()):
            request.META["CONTENT_LENGTH"] = ""
            request.__dict__.pop("headers", None)  # made from META once, and kept
        super().process_request(request)

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: Any) -> Any:
        """As the base's; a method that is none of HTTP's shares one label."""
        if labels.get("method", "GET") not in METHODS:
            labels["method"] = "<invalid method>"
        return super().label_metric(metric, request, response, **labels)
