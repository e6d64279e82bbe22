"""Django's error handlers that answer with the pages of `flotilla.error_pages`: for projects that choose them.

    from flotilla.error_handlers import handler400, handler403, handler404, handler500    in the project's urls.py
    CSRF_FAILURE_VIEW = "flotilla.error_handlers.csrf_failure"                            in its settings

A browser gets a page, everybody else a problem of RFC 9457. Neither says what the exception said.
"""

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.urls import get_script_prefix

from flotilla.error_pages import answer

FORM_NOT_TRUSTED = (
    "This form was open for too long, or you have logged in or out since, or it came from another site."
    " Go back, reload the page and send it again. It needs this site's cookies."
)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that is none: 413 where it is too large, else 400."""
    return _response(request, 413 if isinstance(exception, RequestDataTooBig) else 400)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What this user may not do."""
    return _response(request, 403, linked=True)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Nothing is at this address, or not for this user."""
    return _response(request, 404, linked=True)


def handler500(request: HttpRequest) -> HttpResponse:
    """A fault of the project, which Django has logged."""
    return _response(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that cannot be trusted; Django has logged the reason."""
    return _response(request, 403, FORM_NOT_TRUSTED)


def _response(request: HttpRequest, status: int, detail: str = "", *, linked: bool = False) -> HttpResponse:
    """`linked`: a page has a link to the start of the site."""
    home = get_script_prefix() if linked else ""
    headers, body = answer(request.headers.get("Accept", ""), status, detail, home=home)
    return HttpResponse(body, status=status, headers=headers)
