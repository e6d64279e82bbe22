"""Instances in the admin: the processes that hold a lease, what each says of itself, and draining one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.api.inspection import Page, instances
from flotilla.realtime.api.messaging import drain
from flotilla.realtime.models import Instance


@admin.register(Instance)
class InstanceAdmin(LiveAdmin):
    """Every living instance; figures are those of its last renewal, two seconds old at most."""

    filters = {"q": "beginning of a name"}
    acts = {"drain": Act("Drain and end")}
    note = "Figures are those of the last lease renewal. A drained instance tells its clients to reconnect, and ends."

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of instances, in the order of their names."""
        page = instances(text=query["q"], after=after, limit=base.PAGE)
        for row in page.rows:
            row["since"] = datetime.now(UTC) - timedelta(seconds=row["uptime"])
        return page

    def act_drain(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """One after another is told; each ends by itself."""
        told = 0
        for incarnation in selected:
            done = drain(incarnation)
            told += done.hit
            if done.hit:
                self.log(request, incarnation, "Drained.")
        return told, f"{told} of {len(selected)} instances begin to drain."
