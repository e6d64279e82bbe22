"""A page for one thing of the cluster: its facts, what belongs to it, its actions, and following it live.

Whatever name the address has, the page is found: what is not there (any more) is said.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from flotilla.realtime.admin.base import AWAY, Act, Errors, LiveAdmin, fields_of, no_answer
from flotilla.realtime.admin.tail import LONGEST_NAME, TailedAdmin
from flotilla.realtime.protocol.codes import CommandError


class DetailAdmin(LiveAdmin):
    """A list whose things have pages of their own: `<name>/change/`, as Django's have."""

    row_acts: ClassVar[Mapping[str, Act]] = {}  # about rows of a thing's page, in place of the thing; by a permission

    def get_urls(self) -> list[URLPattern]:
        """The list, and a thing's page."""
        view = self.admin_site.admin_view(self.detail_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_change"
        return [*super().get_urls(), path("<path:object_id>/change/", view, name=name)]

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What the template `<model>.html` shows; `gone` says why there is nothing. May raise what is in AWAY, or
        CommandError."""
        raise NotImplementedError

    def title_of(self, name: str, facts: Mapping[str, Any]) -> str:
        """The page's title."""
        return name

    def detail_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page; its rows alone for who looks at it live (`?rows`); an action when posted."""
        name = unquote(object_id)
        thing = self.object_of(name)
        if not self.has_view_permission(request, thing):
            raise PermissionDenied
        own = {key: act for key, act in self.acts.items() if self.may_control(request, thing, act.permission)}
        in_rows = {key: act for key, act in self.row_acts.items() if self.may_control(request, None, act.permission)}
        errors: Errors = []
        if request.method == "POST":
            chosen = request.POST.get("action", "")
            about = None if chosen in self.row_acts else [name]
            if (done := self.act(request, {**self.acts, **self.row_acts}, about, errors)) is not None:
                return done
        facts = self._facts(name, request)
        acts = {**own, **in_rows} if not facts.get("gone") else {}
        context = self.context(request) | {
            "title": self.title_of(name, facts),
            "original": thing,
            "paged": bool(request.GET.get("after")),
            "columns": f"admin/realtime/{self.opts.model_name}.html",
            "acts": acts,
            "errors": errors,
            "fields": fields_of(acts),
            "selecting": bool(in_rows),
            "list_url": reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist"),
            **self._tail(request, name),
            **facts,
        }
        template = "rows.html" if "rows" in request.GET else "detail_page.html"
        return TemplateResponse(request, f"admin/realtime/{template}", context)

    def _facts(self, name: str, request: HttpRequest) -> dict[str, Any]:
        what = f"This cannot be a {self.opts.verbose_name}"
        if "\0" in name or len(name) > LONGEST_NAME:  # no database would take it
            return {"fault": f"{what}: a name has at most {LONGEST_NAME} characters, and no NUL."}
        try:
            return self.detail(name, request.GET.dict())
        except AWAY as error:
            return {"fault": no_answer(error)}
        except CommandError as error:
            return {"fault": f"{what}: {error.message}."}

    def _tail(self, request: HttpRequest, name: str) -> dict[str, Any]:
        if not isinstance(self, TailedAdmin):
            return {}
        route = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_tail"
        return {**self.tail_offered(request, name), "tail_url": reverse(route, args=[quote(name)])}
