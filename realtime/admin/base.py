"""What the pages of the cluster share: a list without a table, live and in pages, with actions and an audit.

Seeing needs `view_<model>`, acting `control_<model>`; either may be held for all objects or, where an authentication
backend knows of such, for one. Whatever an action did is in the admin's log, with who did it. Rows come a page at a
time and are never all in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst

from flotilla.natural_names import UnknownName, sentence
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.fields import DURATIONS, FIELDS
from flotilla.realtime.admin.ordering import ORDER, Column, covered, heads
from flotilla.realtime.admin.words import count
from flotilla.realtime.api.inspection import Page
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import StoreUnavailable

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Model]
else:
    _ModelAdmin = admin.ModelAdmin

PAGE = 50
REFRESH_EVERY = 3  # seconds
MAX_SELECTED = 200
_NOT_AGAIN = ("csrfmiddlewaretoken", "selected")  # of what was posted: the confirmation has its own

AWAY = (StoreUnavailable, DatabaseError)

Errors = list[tuple[str, str]]  # an action's field, and what is wrong with it


@dataclass(frozen=True, slots=True)
class Act:
    """An action of a page, done by the method `act_<its name>(request, selected, **given)`, which returns how many it
    hit and says so in words. `fields` are the inputs it wants (`fields.FIELDS`); `permission` stands in place of the
    page's own; without `selects` it is about no row. A dangerous one `asks` first, on a page of its own that lists whom
    it hits (`LiveAdmin.affected`) and says in these words what follows."""

    label: str
    fields: tuple[str, ...] = ()
    permission: str = ""
    selects: bool = True
    asks: str = ""


class Tableless(_ModelAdmin):
    """A page of its own in place of a table's; nothing to add, change or delete."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list alone: there is no table behind other pages."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]


class LiveAdmin(Tableless):
    """A list of what is, with actions."""

    filters: ClassVar[Mapping[str, str]] = {"q": ""}  # query parameter → what its input says
    columns: ClassVar[Sequence[Column]] = ()  # with their orders, which go to `look` as ORDER
    acts: ClassVar[Mapping[str, Act]] = {}
    note: ClassVar[str] = ""  # a line of help above the list

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """The page of rows that is asked for. May raise what is in AWAY."""
        raise NotImplementedError

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Of filters that are no text: their values beside none. One that has a single value is not shown."""
        return {}

    def object_of(self, name: str) -> Any:
        """The object whose name a row's box carries."""
        return self.model(pk=name)

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        """Whom an action that asks first will hit. May raise StoreUnavailable, ValueError, CommandError."""
        return Affected(count(len(selected), str(self.opts.verbose_name)), selected)

    def name_of(self, row: Mapping[str, Any]) -> str:
        """What a row's box carries."""
        return str(row[self.model._meta.pk.name])

    # Who may

    def _permission(self, what: str) -> str:
        return f"{self.opts.app_label}.{what}_{self.opts.model_name}"

    def _has(self, request: HttpRequest, permission: str, obj: Any) -> bool:
        user = request.user
        return user.has_perm(permission) or (obj is not None and user.has_perm(permission, obj))

    def may_control(self, request: HttpRequest, obj: Any = None, permission: str = "") -> bool:
        """Whether this user may act, on all objects or on this one."""
        return self._has(request, permission or self._permission("control"), obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._has(request, self._permission("view"), obj) or self.may_control(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    # The list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; its rows alone for who looks at it live (`?rows`); an action when posted."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        errors: Errors = []
        if request.method == "POST" and (done := self.act(request, self.acts, errors=errors)) is not None:
            return done
        page, fault = self._page(request.GET)
        wanted = {name: request.GET.get(name, "") for name in (*self.filters, ORDER)}
        following = {**wanted, "after": page.next}
        context = self.context(request) | {
            "title": capfirst(str(self.opts.verbose_name_plural)),
            "page": page,
            "fault": fault,
            "help": self.note,
            "errors": errors,
            "filters": self._inputs(wanted),
            "filtered": any(wanted.values()),
            "order": wanted[ORDER],
            "heads": heads(self.columns, wanted),
            "covered": covered(self.columns, wanted, page),
            "first": urlencode({key: value for key, value in wanted.items() if value}),
            "paged": bool(request.GET.get("after")),
            "following": urlencode({key: value for key, value in following.items() if value}) if page.next else "",
            **self.offered(request, page.rows),
        }
        template = "list.html" if "rows" not in request.GET else "rows.html"
        return TemplateResponse(request, f"admin/realtime/{template}", context)

    def context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page of the admin, and every one of ours, is given."""
        return self.admin_site.each_context(request) | {
            "opts": self.opts,
            "columns": f"admin/realtime/{self.opts.model_name}_rows.html",
            "every": REFRESH_EVERY,
            "durations": DURATIONS,
            "given": request.POST,
            "ticked": request.POST.getlist("selected"),
        }

    def _inputs(self, wanted: Mapping[str, str]) -> list[tuple[str, str, str, Sequence[str]]]:
        """The filters with what they say, their values now, and those they may have."""
        choices = self.choices()
        shown = [name for name in self.filters if len(choices.get(name, ())) != 1]
        return [(name, self.filters[name], wanted[name], choices.get(name, ())) for name in shown]

    def _page(self, query: QueryDict) -> tuple[Page, str]:
        """The page that is asked for, or why there is none."""
        wanted = {name: query.get(name, "").strip() for name in (*self.filters, ORDER)}
        try:
            return self.look(wanted, query.get("after", "")), ""
        except AWAY as error:
            return Page([]), no_answer(error)
        except UnknownName as error:
            return Page([]), sentence(error)

    def offered(self, request: HttpRequest, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The actions this user has, and in the rows: what their boxes carry, and whether there is one."""
        for row in rows:
            row["box"] = self.name_of(row)
            row["may"] = self.may_control(request, self.object_of(row["box"]))
        for_some = any(row["may"] for row in rows)
        mine = {
            name: act
            for name, act in self.acts.items()
            if self.may_control(request, permission=act.permission) or (for_some and act.selects and not act.permission)
        }
        to_any = any(act.permission for act in mine.values())
        for row in rows:
            row["may"] = row["may"] or to_any
        return {
            "acts": mine,
            "fields": fields_of(mine),
            "selecting": any(act.selects for act in mine.values()),
        }

    # Actions

    def act(
        self,
        request: HttpRequest,
        acts: Mapping[str, Act],
        about: list[str] | None = None,
        errors: Errors | None = None,
    ) -> HttpResponse | None:
        """Do what was posted, to `about` or to what was selected, or ask whether it is meant. None when the form is to
        be shown again, with what is wrong in `errors`."""
        name, selected = request.POST.get("action", ""), about
        if selected is None:
            selected = _names(request.POST.getlist("selected"))
        act = acts.get(name)
        if act is None:
            if not any(self.may_control(request, permission=one.permission) for one in acts.values()):
                raise PermissionDenied
            self.message_user(request, "Choose an action.", messages.WARNING)
            return None
        self._require(request, act, selected)
        if act.selects and not selected:
            self.message_user(request, "Select at least one row.", messages.WARNING)
            return None
        given, wrong = _read(request.POST, act)
        if wrong:
            self.message_user(request, " ".join(says for _, says in wrong), messages.ERROR)
            errors = errors if errors is not None else []
            errors += wrong
            return None
        return self._attempt(request, name, act, selected, given)

    def _attempt(
        self, request: HttpRequest, name: str, act: Act, selected: list[str], given: dict[str, Any]
    ) -> HttpResponse | None:
        try:
            if act.asks and "confirmed" not in request.POST:
                return self._ask(request, act, selected, self.affected(name, selected, **given))
            hit, words = getattr(self, f"act_{name}")(request, selected, **given)
        except ValueError as error:
            self.message_user(request, _sentence(error), messages.ERROR)
            return None
        except CommandError as error:
            self.message_user(request, f"This cannot be done: {error.message}.", messages.ERROR)
            return None
        except AWAY as error:
            self.message_user(request, no_answer(error), messages.ERROR)
            return None
        self.message_user(request, words, messages.SUCCESS if hit else messages.WARNING)
        return HttpResponseRedirect(request.get_full_path())

    def _ask(self, request: HttpRequest, act: Act, selected: list[str], affected: Affected) -> HttpResponse:
        """The page that asks whether it is meant: what was posted, to be posted again with `confirmed`."""
        said = [(name, value) for name, values in request.POST.lists() for value in values if name not in _NOT_AGAIN]
        context = self.context(request) | {
            "title": "Are you sure?",
            "act": act,
            "affected": affected,
            "posted": [*said, *(("selected", one) for one in selected)],
            "back": request.get_full_path(),
        }
        return TemplateResponse(request, "admin/realtime/confirmation.html", context)

    def _require(self, request: HttpRequest, act: Act, selected: list[str]) -> None:
        if self.may_control(request, permission=act.permission):
            return
        objects = [self.object_of(one) for one in selected] if not act.permission else []
        if not objects or not all(self.may_control(request, one) for one in objects):
            raise PermissionDenied

    def log(self, request: HttpRequest, name: str, deed: str, more: str = "") -> None:
        """Who did what to the object of this name: `deed` is what “Recent actions” and the object's history show, as
        `disconnected ann (3 connections)`; `more` stands behind it in the history."""
        LogEntry.objects.create(
            user=cast(User, request.user),
            content_type=ContentType.objects.get_for_model(self.model),
            object_id=name,
            object_repr=deed[:200],
            action_flag=CHANGE,
            change_message=f"{deed}: {more}" if more else deed,
        )


def no_answer(error: Exception) -> str:
    """Of which of the two there is no answer, and why."""
    if isinstance(error, DatabaseError):
        return f"The database does not answer: {str(error).partition(chr(10))[0]}"
    return f"Redis does not answer: {error}"


def _read(form: QueryDict, act: Act) -> tuple[dict[str, Any], Errors]:
    """What an action's inputs say, and what is wrong with them."""
    given: dict[str, Any] = {}
    wrong: Errors = []
    for field in act.fields:
        try:
            given[field] = FIELDS[field](form)
        except ValueError as error:
            wrong.append((field, _sentence(error)))
    return given, wrong


def _sentence(error: ValueError) -> str:
    return f"{capfirst(str(error))}."


def _names(selected: list[str]) -> list[str]:
    """What was selected, each once. A row's name is never empty: for the API, no name would be everybody."""
    return list(dict.fromkeys(one for one in selected if one and "\0" not in one))[:MAX_SELECTED]


def fields_of(acts: Mapping[str, Act]) -> list[str]:
    """The inputs these actions want, each once."""
    names = {field for act in acts.values() for field in act.fields}
    return [field for field in FIELDS if field in names]
