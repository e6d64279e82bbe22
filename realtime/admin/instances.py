"""Instances in the admin: the processes that hold a lease, what each says of itself, and draining one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.admin.words import count
from flotilla.realtime.api.inspection import Page, instances
from flotilla.realtime.api.messaging import drain
from flotilla.realtime.models import Instance

MAX_INSTANCES = 10_000  # of a cluster


@admin.register(Instance)
class InstanceAdmin(LiveAdmin):
    """Every living instance; figures are those of its last renewal, two seconds old at most."""

    filters = {"q": "beginning of a name"}
    acts = {
        "drain": Act(
            "Drain and end",
            asks="Each tells its clients to connect elsewhere, and its process ends. Nobody misses a message while "
            "another instance serves.",
        )
    }
    note = "Figures are those of the last lease renewal. A drained instance tells its clients to reconnect, and ends."

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of instances, in the order of their names."""
        page = instances(text=query["q"], after=after, limit=base.PAGE)
        for row in page.rows:
            row["since"] = datetime.now(UTC) - timedelta(seconds=row["uptime"])
            row["called"] = row["name"]
        return page

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        about = _about(selected)
        total = sum(one["num_clients"] for one in about.values())
        lines = [
            f"{one['name']} on {one['host']}: {count(one['num_clients'], 'connection')}"
            f" of {count(one['num_users'], 'user')}"
            for one in about.values()
        ]
        return Affected(f"{count(len(about), 'instance')} with {count(total, 'connection')}", lines)

    def act_drain(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """One after another is told; each ends by itself."""
        told, about = 0, _about(selected)
        for incarnation in selected:
            done = drain(incarnation)
            told += done.hit
            if done.hit:
                one = about.get(incarnation, {"name": incarnation, "num_clients": 0})
                self.log(request, incarnation, f"drained {one['name']} ({count(one['num_clients'], 'connection')})")
        return told, f"Draining begins at {told} of {count(len(selected), 'instance')}."


def _about(incarnations: list[str]) -> dict[str, dict[str, Any]]:
    """What the living ones say of themselves."""
    return {
        row["incarnation"]: row for row in instances(limit=MAX_INSTANCES).rows if row["incarnation"] in incarnations
    }
