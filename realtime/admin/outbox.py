"""The outbox in the admin: what waits, what was sent lately, and what could not be; trying that again, or giving it up.

A row's publication is shown to those alone who may see payloads, and no more than its beginning is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.ordering import Column
from flotilla.realtime.admin.tail import PAYLOADS
from flotilla.realtime.admin.words import count
from flotilla.realtime.api import outbox
from flotilla.realtime.api.inspection import Page
from flotilla.realtime.api.outbox import MAX_BODY, SET_ASIDE, STATES
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.backlog import databases

NOT_TRIED = "What waits is sent by itself; only what was set aside is tried again, or dropped."


@admin.register(OutboxRow)
class OutboxRowAdmin(DetailAdmin):
    """Every row that is kept, of one database at a time."""

    filters = {"q": "whole name of a channel", "state": "in any state", "database": "database"}
    columns = (
        Column("Row"),
        Column("Channel"),
        Column("What"),
        Column("State"),
        Column("Written"),
        Column("Attempts", is_number=True),
        Column("Error"),
    )
    acts = {
        "retry": Act("Try again"),
        "drop": Act(
            "Drop", asks="What they say is never sent. Whoever shows it stays as it was until the next change."
        ),
    }
    note = "Publications that were written in a transaction. Rows that were sent are kept for a while (outbox_keep)."

    def choices(self) -> Mapping[str, Sequence[str]]:
        return {"state": STATES, "database": databases()}

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of rows: what waits in the order in which it will be sent, all else with the newest first."""
        known = databases()
        if not known:
            return Page([])
        using = query["database"] if query["database"] in known else known[0]
        page = outbox.rows(using, state=query["state"], channel=query["q"], after=after, limit=base.PAGE)
        return replace(page, rows=[_dress(row) for row in page.rows])

    def name_of(self, row: Mapping[str, Any]) -> str:
        return str(row["row"])

    def object_of(self, name: str) -> Any:
        """For a right on one row."""
        try:
            using, pk = outbox.row_named(name)
        except ValueError:
            return None
        found = OutboxRow(pk=pk)
        found._state.db = using
        return found

    def title_of(self, name: str, facts: Mapping[str, Any]) -> str:
        """Which publication it is."""
        return f"{facts['facts']['channel']}, row {name}" if "facts" in facts else name

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """All that is known of a row."""
        try:
            facts = outbox.row(*outbox.row_named(name), body=True)
        except ValueError as error:
            return {"gone": f"{str(error)[:1].upper()}{str(error)[1:]}."}
        if facts is None:
            return {"gone": "There is no such row: it was sent some time ago, or dropped, or never was."}
        return {"facts": _dress(facts), "most": MAX_BODY}

    def _facts(self, name: str, request: HttpRequest) -> dict[str, Any]:
        """The publication is for those who may see payloads."""
        found = super()._facts(name, request)
        if "facts" in found:
            beginning, row = found["facts"].pop("beginning", None), self.object_of(name)
            found["may_see"] = request.user.has_perm(PAYLOADS) or request.user.has_perm(PAYLOADS, row)
            if found["may_see"] and beginning is not None:
                found["said"] = beginning.decode(errors="replace")
        return found

    def offered(self, request: HttpRequest, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """As everywhere; but only what was set aside can be selected."""
        found = super().offered(request, rows)
        for row in rows:
            row["may"] = row["may"] and row["state"] == SET_ASIDE
        return found

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        rows = [row for row in map(_found, selected) if row is not None]
        lines = [f"{row['channel']}: {_what(row)}, {row['bytes'] or 0} bytes, row {row['row']}" for row in rows]
        return Affected(count(len(rows), "publication"), lines)

    def act_retry(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Rows that were set aside wait again, at the end of their channels."""
        done = self._each(request, selected, outbox.retry, "tries again to send")
        return done, f"{count(done, 'publication')} will be tried again." if done else NOT_TRIED

    def act_drop(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Rows that were set aside are deleted."""
        done = self._each(request, selected, outbox.drop, "dropped")
        return done, f"{count(done, 'publication')} dropped." if done else NOT_TRIED

    def _each(self, request: HttpRequest, selected: list[str], do: Callable[[str, int], bool], deed: str) -> int:
        """Do it to each row, and log it with its channel. Returns how many were set aside until then."""
        done = 0
        for name in selected:
            row = _found(name)
            if row is not None and do(row["database"], row["id"]):
                done += 1
                self.log(request, name, f"{deed} a publication to {row['channel']}", f"{_what(row)}, row {name}")
        return done


def _found(name: str) -> dict[str, Any] | None:
    """A row by its name; None for what is none."""
    try:
        return outbox.row(*outbox.row_named(name))
    except ValueError:
        return None


def _what(row: Mapping[str, Any]) -> str:
    """What a row does: `publish`, or `set 7 of shop.Order` for that of a live model."""
    if row["operation"] == "publish":
        return "publish"
    about = f"{row['operation']} {row['key']}".rstrip()
    return f"{about} of {row['live']}" if row["live"] else about


def _dress(row: dict[str, Any]) -> dict[str, Any]:
    """Times as the templates want them, and what the row does in words."""
    for key in ("written_at", "sent_at", "failed_at"):
        row[key] = datetime.fromtimestamp(row[key], UTC) if row[key] else None
    return row | {"what": _what(row)}
