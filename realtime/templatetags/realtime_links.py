"""Links between the admin's pages of the cluster: to a thing's page, and to a list that is searched."""

from urllib.parse import urlencode

from django import template
from django.contrib.admin.utils import quote
from django.template import Context
from django.urls import reverse

register = template.Library()


@register.simple_tag(takes_context=True)
def page(context: Context, model: str, name: str) -> str:
    """The page of one thing, on the admin site that is looked at."""
    return reverse(f"admin:flotilla_realtime_{model}_change", args=[quote(name)], current_app=_site(context))


@register.simple_tag(takes_context=True, name="list")
def searched(context: Context, model: str, field: str, text: str) -> str:
    """The list of a model, where `field` is searched for a text."""
    address = reverse(f"admin:flotilla_realtime_{model}_changelist", current_app=_site(context))
    return f"{address}?{urlencode({field: text})}"


def _site(context: Context) -> str | None:
    """The admin site of the request, as Django's own `url` finds it."""
    request = context["request"]
    found: str | None = getattr(request, "current_app", None) or request.resolver_match.namespace
    return found
