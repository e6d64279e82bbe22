"""Personal limits in the admin, and a page with the policies and the keys they deny most.

An API key is typed once and kept as a digest; it is never shown again.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError
from django.db.models import ForeignKey
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import parse_rate
from flotilla.ratelimit.models import PersonalLimit
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import configured
from flotilla.ratelimit.subjects import HEADER, digest_of
from flotilla.store import StoreUnavailable

if TYPE_CHECKING:
    _Form = forms.ModelForm[PersonalLimit]
    _Admin = admin.ModelAdmin[PersonalLimit]
else:
    _Form = forms.ModelForm
    _Admin = admin.ModelAdmin


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
        """The digest is no field of the form, but the model's rules are about it too."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"key_digest"}


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
    list_display = ("policy", "subject", "what", "note", "changed")
    list_filter = ("policy", "exempt")
    search_fields = ("policy", "note", "group__name")
    autocomplete_fields = ("user", "group")
    list_select_related = ("user", "group")
    change_list_template = "admin/ratelimit/personallimit/change_list.html"

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

    def formfield_for_foreignkey(self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        """Users and groups are found by typing."""
        return super().formfield_for_foreignkey(
            db_field, request, **{"widget": Choice(db_field, self.admin_site), **kwargs}
        )

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
            context["hottest"] = inspection.hottest()
        except StoreUnavailable:
            context["away"] = True
        return TemplateResponse(request, "admin/ratelimit/hottest.html", context)
