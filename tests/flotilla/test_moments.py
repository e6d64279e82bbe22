"""Times as people are told them: how far away, and the time of day in the project's zone, by its name."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import timezone as django_timezone

from flotilla.moments import clock, distance, moment

NOW = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (-0.9, "now"),
        (0.9, "now"),
        (-1, "1 s ago"),
        (-59.9, "59 s ago"),
        (-60, "1 min ago"),
        (-3599, "59 min ago"),
        (-7200, "2 h ago"),
        (-86_400 * 3, "3 d ago"),
        (30, "in 30 s"),
        (90, "in 1 min"),
        (86_399, "in 23 h"),
    ],
)
def test_a_distance_is_in_whole_units(seconds: float, said: str) -> None:
    assert distance(seconds) == said


def test_a_time_is_in_the_projects_zone_which_is_named(settings: Any) -> None:
    """In summer time; whatever zone the time itself came in."""
    settings.TIME_ZONE = "Europe/Berlin"
    when = NOW - timedelta(minutes=3)
    for told in (when, when.astimezone(timezone(timedelta(hours=-7)))):
        assert clock(told, NOW) == "13:57:00 Europe/Berlin"
        assert "<span>3 min ago</span> · 13:57:00 Europe/Berlin</time>" in moment(told, NOW)
    assert 'datetime="2026-07-01T11:57:00+00:00"' in moment(when, NOW)


def test_another_day_has_its_date(settings: Any) -> None:
    """By the zone's midnight, not by that of UTC."""
    settings.TIME_ZONE = "Europe/Berlin"
    late, early = datetime(2026, 7, 1, 22, 30, tzinfo=UTC), datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
    assert clock(early, late) == "2026-07-01 23:30:00 Europe/Berlin"
    assert clock(late, early) == "2026-07-02 00:30:00 Europe/Berlin"
    assert clock(late, late + timedelta(hours=2)) == "00:30:00 Europe/Berlin"


def test_a_zone_that_the_request_has_counts(settings: Any) -> None:
    with django_timezone.override("Asia/Kathmandu"):
        assert clock(NOW, NOW) == "17:45:00 Asia/Kathmandu"


def test_a_naive_time_is_of_the_zone(settings: Any) -> None:
    """As a project without USE_TZ has them."""
    settings.TIME_ZONE = "Europe/Berlin"
    assert "1 h ago</span> · 13:00:00" in moment(datetime(2026, 7, 1, 13, 0, 0), NOW)


def test_templates_say_it_alike() -> None:
    """And a dash for no time."""
    shown = Template("{% load flotilla_moments %}{{ when|moment }}{{ never|moment }}")
    text = shown.render(Context({"when": datetime.now(UTC) - timedelta(hours=5), "never": None}))
    assert "<span>5 h ago</span>" in text
    assert text.endswith(" UTC</time>–")
