"""The page: a table of a hundred rows, by a template. And a view that does nothing, under any last word of its path, so
that what stands around a view can be measured."""

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import path

ROWS = 100
PATH = "/bench/page/"
EMPTY, EMPTY_COROUTINE = "/bench/empty/", "/bench/coroutine/"
_TEMPLATE = Engine().from_string(
    "<!doctype html><title>{{ title }}</title><table>{% for row in rows %}"
    "<tr class='{% cycle 'odd' 'even' %}'><td>{{ row.number }}</td><td>{{ row.name|upper }}</td></tr>"
    "{% endfor %}</table>"
)


def page(_: HttpRequest) -> HttpResponse:
    """Rendered anew for everybody."""
    rows = [{"number": number, "name": f"<row {number}>"} for number in range(ROWS)]
    return HttpResponse(_TEMPLATE.render(Context({"title": "A page", "rows": rows})))


def empty(_: HttpRequest, what: str) -> HttpResponse:
    """As little as a view can do."""
    return HttpResponse(what)


async def empty_coroutine(_: HttpRequest, what: str) -> HttpResponse:
    """The same without a thread."""
    return HttpResponse(what)


urlpatterns = [
    path(PATH.removeprefix("/"), page),
    path(f"{EMPTY.removeprefix('/')}<str:what>", empty),
    path(f"{EMPTY_COROUTINE.removeprefix('/')}<str:what>", empty_coroutine),
]
