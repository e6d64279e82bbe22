"""Personal limits in the admin, and a page with the policies and the keys they deny most.

An API key is typed once and kept as a digest; it is never shown again.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.admin.widgets import AdminTextInputWidget, AutocompleteSelect
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError
from django.db.models import ForeignKey, Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse

from flotilla import moments
from flotilla.admin_sites import group_pages
from flotilla.natural_names import UnknownName, natural_name, object_named, sentence
from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import parse_rate
from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.personal import has_groups
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import configured
from flotilla.ratelimit.subjects import HEADER, digest_of
from flotilla.store import StoreUnavailable

if TYPE_CHECKING:
    _Form = forms.ModelForm[PersonalLimit]
    _Admin = admin.ModelAdmin[PersonalLimit]
    _Choice = forms.ModelChoiceField[Model]
else:
    _Form = forms.ModelForm
    _Admin = admin.ModelAdmin
    _Choice = forms.ModelChoiceField


PAGES = {
    "user": ("connecteduser", ""),
    "connection": ("connection", ""),
    "channel": ("channel", ""),
    "ip": ("connection", "address"),
    "net": ("connection", "address"),
}
"""Where kinds of identities (`subjects`) are found in the admin: on a model's page, or in its list by a field."""


class PersonalLimitForm(_Form):
    """Refuses limits that would have no effect."""

    policy = forms.ChoiceField(choices=())
    api_key = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Only a digest is stored. Leave it empty to keep the key of an existing limit.",
    )

    class Meta:
        model = PersonalLimit
        fields = ("policy", "user", "group", "api_key", "exempt", "rate", "note")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [policy.name for policy in configured()[0]]
        if self.instance.pk and self.instance.policy not in names:
            names.append(self.instance.policy)
        self.fields["policy"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Set the digest, and check that the policy counts what the limit is for."""
        data: dict[str, Any] = super().clean() or {}
        if data.get("api_key"):
            self.instance.key_digest = digest_of(data["api_key"])
        elif data.get("user") or data.get("group"):
            self.instance.key_digest = ""
        policy = next((p for p in configured()[0] if p.name == data.get("policy")), None)
        if policy is not None and (fault := _misfit(policy, data, bool(self.instance.key_digest))):
            raise ValidationError(fault)
        return data

    def _get_validation_exclusions(self) -> set[str]:
        """The model's rules are about the digest and the group, too, where they are no fields of the form."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"key_digest"} - ({"group"} - self.fields.keys())


def _misfit(policy: Policy, data: dict[str, Any], by_key: bool) -> str:
    """Why a limit would have no effect; "" when it has."""
    if (data.get("user") or data.get("group")) and policy.key not in ("user", "user_or_ip"):
        return f"{policy.name} does not count users: its key is {policy.counts_by}."
    if by_key and not (isinstance(policy.key, str) and policy.key.startswith(HEADER)):
        return f"{policy.name} does not count API keys: its key is {policy.counts_by}."
    try:
        quota = parse_rate(data["rate"]).quota if data.get("rate") else policy.cost
    except ValueError:
        return ""  # the field says so itself
    return "" if quota >= policy.cost else f"One request costs {policy.cost}: a quota of {quota} is too small."


class NamedChoice(_Choice):
    """A user or a group by its name or its primary key, typed: for projects whose admin cannot search for them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "widget": AdminTextInputWidget()})

    def to_python(self, value: Any) -> Any:
        """The object that is meant."""
        if value in self.empty_values:
            return None
        try:
            return object_named(self._model, str(value))
        except UnknownName as error:
            raise ValidationError(sentence(error)) from None

    def prepare_value(self, value: Any) -> Any:
        """What stands in the input: the name for a key; what was typed is left as it is."""
        if isinstance(value, str) or value in self.empty_values:
            return value
        found = self._model._default_manager.filter(pk=value).first()
        return value if found is None else natural_name(found)

    @property
    def _model(self) -> type[Model]:
        assert self.queryset is not None  # a field of a model's form has one
        return self.queryset.model


class Choice(AutocompleteSelect):
    """Django's own widget, which would ask the database for whatever was typed: here only for what can be a key."""

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> Any:
        return super().optgroups(name, [one for one in value if not one or self._is_key(one)], attrs)

    def _is_key(self, value: str) -> bool:
        key = self.field.remote_field.model._meta.pk
        try:
            key.run_validators(key.to_python(value))
        except ValidationError:
            return False
        return "\0" not in value


@admin.register(PersonalLimit)
class PersonalLimitAdmin(_Admin):
    """Effective on all instances within two seconds."""

    form = PersonalLimitForm
    list_display = ("policy", "subject", "what", "note", "since")
    list_filter = ("policy", "exempt")
    list_select_related = ("user", "group")
    change_list_template = "admin/ratelimit/personallimit/change_list.html"

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["ratelimit/admin.css"]}

    @admin.display(description="for")
    def subject(self, limit: PersonalLimit) -> str:
        """Whom it is for."""
        if limit.user:
            return f"user {limit.user}"
        return f"group {limit.group}" if limit.group else f"API key {limit.key_digest[:8]}…"

    @admin.display(description="limit")
    def what(self, limit: PersonalLimit) -> str:
        """The rate or the exemption."""
        return "exempt" if limit.exempt else limit.rate

    @admin.display(description="changed", ordering="changed")
    def since(self, limit: PersonalLimit) -> str:
        """When it was changed."""
        return moments.moment(limit.changed)

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A user model without groups has no use for a group's limit."""
        return () if has_groups() else ("group",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Users by the name that they log in with."""
        return ("policy", "note", "group__name", f"user__{get_user_model().USERNAME_FIELD}")

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Users and groups are found by typing, where this site's pages of them can be searched. A check of Django
        refuses a fixed list where they cannot."""
        return [name for name in ("user", "group") if self._is_searched(name, request)]

    def formfield_for_foreignkey(self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        """Users and groups are found by typing, or named."""
        if self._is_searched(db_field.name, request):
            chosen: dict[str, Any] = {"widget": Choice(db_field, self.admin_site)}
        else:
            chosen = {"form_class": NamedChoice, "help_text": "The name or the primary key."}
        return super().formfield_for_foreignkey(db_field, request, **{**chosen, **kwargs})

    def _is_searched(self, name: str, request: HttpRequest) -> bool:
        related = self.model._meta.get_field(name).related_model
        if not (isinstance(related, type) and self.admin_site.is_registered(related)):
            return False
        page = self.admin_site.get_model_admin(related)
        return bool(page.get_search_fields(request)) and page.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A filter value that no column can hold is called wrong, as Django does with others."""
        try:
            return super().changelist_view(request, extra_context)
        except (OverflowError, DataError):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")

    def get_urls(self) -> list[URLPattern]:
        """The model's pages and ours."""
        own = path("hottest/", self.admin_site.admin_view(self.hottest), name="flotilla_ratelimit_hottest")
        return [own, *super().get_urls()]

    def hottest(self, request: HttpRequest) -> HttpResponse:
        """The policies, and the keys they denied most in the last hour."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self.admin_site.each_context(request) | {
            "title": "Rate limits",
            "opts": self.model._meta,
            "policies": configured()[0],
        }
        try:
            context["hottest"] = [(hot, self._page_of(hot.identity)) for hot in inspection.hottest()]
        except StoreUnavailable:
            context["away"] = True
        return TemplateResponse(request, "admin/ratelimit/hottest.html", context)

    def _page_of(self, identity: str) -> str:
        """The address of the page of the user, connection or channel behind a key, or of the connections from an
        address, where its actions are; "" for a key of another kind, and without those pages."""
        kind, _, value = identity.partition(":")
        model, field = PAGES.get(kind, ("", ""))
        try:
            if not model or not value:
                return ""
            if not field:
                return reverse(f"{self.admin_site.name}:flotilla_realtime_{model}_change", args=[quote(value)])
            address = reverse(f"{self.admin_site.name}:flotilla_realtime_{model}_changelist")
        except NoReverseMatch:
            return ""
        return f"{address}?{urlencode({field: value.partition('/')[0].removesuffix('::')})}"


group_pages(admin.site)
