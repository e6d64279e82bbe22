"""`{% load flotilla_moments %}`, then `{{ row.since|moment }}`: a time as `flotilla.moments` says it to people."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from flotilla import moments

register = template.Library()


@register.filter
def moment(when: datetime | None) -> SafeString | str:
    """`3 min ago · 14:05:12 Europe/Berlin`; a dash for no time."""
    return "–" if when is None else moments.moment(when)
