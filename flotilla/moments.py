"""Times as people are told them: how far away, and beside it the time of day in the project's zone, which is named.

The zone is Django's current one: `TIME_ZONE`, unless the project has activated another for the request. Imports nothing
of ours: pages of every app use it.
"""

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))  # seconds


def moment(when: datetime, now: datetime | None = None) -> SafeString:
    """HTML: `3 min ago · 14:05:12 Europe/Berlin`, with the date of another day. A naive time is of the zone."""
    when = timezone.make_aware(when) if timezone.is_naive(when) else when
    now = now or datetime.now(timezone.get_current_timezone())
    return format_html(
        '<time datetime="{}"><span>{}</span> · {}</time>',
        when.isoformat(timespec="seconds"),
        distance((when - now).total_seconds()),
        clock(when, now),
    )


def distance(seconds: float) -> str:
    """`in 3 min`, `2 h ago`, `now`: whole units, rounded down; less than a second is now."""
    size = int(abs(seconds))
    for unit, length in UNITS:
        if size >= length:
            return f"in {size // length} {unit}" if seconds > 0 else f"{size // length} {unit} ago"
    return "now"


def clock(when: datetime, now: datetime) -> str:
    """`14:05:12 Europe/Berlin`, with the date in front where that is not today's."""
    local = timezone.localtime(when)
    day = "" if local.date() == timezone.localtime(now).date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S} {timezone.get_current_timezone_name()}"
