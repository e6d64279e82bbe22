"""Instances in the admin: the processes that hold a lease, what each says of itself, and draining one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.connections import dress
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.words import count
from flotilla.realtime.api.inspection import Page, channels, connections, instances
from flotilla.realtime.api.messaging import drain
from flotilla.realtime.models import Instance

MAX_INSTANCES = 10_000  # of a cluster
FEW = 10  # rows of an instance's own page


@admin.register(Instance)
class InstanceAdmin(DetailAdmin):
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

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What an instance says of itself, who reads too slowly there, and what happens most."""
        found = instances(text=name, limit=1)
        if not found.rows:
            gone = "No living instance has this name: it has ended, or its lease ran out. Another may have followed it."
            return {"page": found, "gone": gone}
        facts = found.rows[0]
        facts["since"] = datetime.now(UTC) - timedelta(seconds=facts["uptime"])
        slowest = connections(instance=facts["incarnation"], order="-waiting", limit=FEW)
        dress(slowest.rows)
        busiest = channels(instance=facts["incarnation"], order="-per_second", limit=FEW)
        return {"page": slowest, "facts": facts, "slowest": slowest, "busiest": busiest}

    def title_of(self, name: str, facts: Mapping[str, Any]) -> str:
        """Its configured name, where it is there."""
        return str(facts["facts"]["name"]) if facts.get("facts") else name

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
