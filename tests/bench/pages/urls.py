"""The page: a table of a hundred rows, by a template."""

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import path

ROWS = 100
PATH = "/bench/page/"
_TEMPLATE = Engine().from_string(
    "<!doctype html><title>{{ title }}</title><table>{% for row in rows %}"
    "<tr class='{% cycle 'odd' 'even' %}'><td>{{ row.number }}</td><td>{{ row.name|upper }}</td></tr>"
    "{% endfor %}</table>"
)


def page(_: HttpRequest) -> HttpResponse:
    """Rendered anew for everybody."""
    rows = [{"number": number, "name": f"<row {number}>"} for number in range(ROWS)]
    return HttpResponse(_TEMPLATE.render(Context({"title": "A page", "rows": rows})))


urlpatterns = [path(PATH.removeprefix("/"), page)]
