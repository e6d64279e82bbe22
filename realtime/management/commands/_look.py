"""What the commands that look at the cluster share: a page of rows, as a table or as one JSON document.

Output has a bound (`--limit`) and goes on where it ended (`--after`), as the admin's pages do, which read from the same
place (`realtime.api.inspection`).
"""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.core.management.base import CommandError
from django.db import DatabaseError

from flotilla.command_line import whole_number
from flotilla.realtime.api.inspection import Page
from flotilla.realtime.api.user_names import name_users
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.realtime.management.commands._table import printable, table


@dataclass(slots=True)
class Listing:
    """What a command found. `about` stands beside the rows in the document; `summary` is the last line of the table;
    `next` is the cursor of the rows that follow ("": none); `silent` living instances have not answered."""

    rows: list[dict[str, Any]]
    about: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    next: str = ""
    silent: int = 0


class LookCommand(ClusterCommand):
    """A command that shows a page of rows. `rows_are` names them in the document."""

    rows_are: ClassVar[str]
    columns: ClassVar[Sequence[tuple[str, Callable[[dict[str, Any]], object]]]]
    limit: ClassVar[int] = 50
    max_limit: ClassVar[int] = 100

    def add_arguments(self, parser: ArgumentParser) -> None:
        asked = whole_number(1, self.max_limit)
        parser.add_argument(
            "--limit", type=asked, default=self.limit, help=f"most rows, 1 to {self.max_limit} (%(default)s)"
        )
        parser.add_argument("--after", default="", metavar="CURSOR", help="go on where an earlier page ended")

    def look(self, **options: Any) -> Listing:
        """The page that is asked for. May raise what the API raises."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        found = told(lambda: self.look(**options))
        if found.rows and "user" in found.rows[0]:
            named_rows(self, found.rows)
        if options["as_json"]:
            self.tell({**found.about, self.rows_are: found.rows, "next": found.next})
        else:
            self._show(found)
        if found.silent:
            raise CommandError(
                f"{found.silent} instances have not answered within the deadline: their rows are missing."
            )

    def _show(self, found: Listing) -> None:
        if found.rows:
            cells = [[cell(row) for _, cell in self.columns] for row in found.rows]
            for line in table([head for head, _ in self.columns], cells):
                self.stdout.write(line)
        self.stdout.write(found.summary)
        if found.next:
            self.stdout.write(f"more: --after {printable(found.next)}")


def named_rows(command: ClusterCommand, rows: list[dict[str, Any]]) -> None:
    """Put `username` into rows. Names are a help: without the database, ids are shown."""
    try:
        name_users(rows)
    except DatabaseError as error:
        command.stderr.write(f"Names are missing: the database does not answer ({str(error).partition(chr(10))[0]}).")
        for row in rows:
            row["username"] = ""


def of_instances(page: Page, one: str, many: str) -> Listing:
    """A listing of what instances have told."""
    about = {"total": page.total, "answered": page.answered, "instances": page.instances}
    count = len(page.rows) if page.total is None else page.total
    summary = f"{count} {one if count == 1 else many}; {page.answered} of {page.instances} instances answered"
    silent = max(0, page.instances - page.answered)
    return Listing(page.rows, about, summary, page.next, silent)


def person(row: dict[str, Any]) -> str:
    """The user of a row, by name where there is one."""
    if not row["user"]:
        return "(visitor)"
    return f"{row['username']} ({row['user']})" if row.get("username") else str(row["user"])
