"""What has changed in a channel since a version, as the outbox has it: for pages of a state that are read one by one.

Of each key the newest change counts. A key that was to be set and is not shown (a change that only the database saw, of
a row that is gone by now) counts as removed. What cannot be told key by key, a bulk change or very many keys, is not
told: then the pages are read anew.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from flotilla.realtime.live.entries import Entries, Entry
from flotilla.realtime.live.keys import pages_with_keys
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.state_cursor import Outlived
from flotilla.realtime.models import OutboxRow


class Changes:
    """The changes since a version. `removed`: keys with the version of their removal."""

    def __init__(self, removed: dict[str, int], changed: dict[str, int]) -> None:
        self.removed = removed
        self._changed = changed

    def rows(
        self, channel: str, shown: Sequence[tuple[LiveModel, "QuerySet[Any]"]], most_bytes: int, entries: Entries
    ) -> list[Entry]:
        """The rows that were changed, as they are; in the snapshot that the changes were read in. Raises Outlived."""
        found: dict[str, Entry] = {}
        size = 0
        for live, rows in shown:
            for page in pages_with_keys(live, rows, self._changed):
                for row in entries(live, page):
                    if row.key in self._changed and (channel, row.key) in row.places:
                        found[row.key] = row
                        size += row.size
                if size > most_bytes:
                    raise Outlived
        self.removed |= {key: version for key, version in self._changed.items() if key not in found}
        return list(found.values())


def changes_since(channel: str, alias: str, since: int, most: int) -> Changes:
    """The changes of a channel above a version, of `most` keys at most. Raises Outlived."""
    above = OutboxRow.objects.using(alias).filter(channel=channel, position__gt=since).exclude(operation="publish")
    newest: dict[str, tuple[str, int]] = {}
    for operation, key, position in above.order_by("position").values_list("operation", "key", "position").iterator():
        newest[key] = operation, position or 0
        if operation == "reload" or len(newest) > most:
            raise Outlived
    removed = {key: position for key, (operation, position) in newest.items() if operation == "remove"}
    return Changes(removed, {key: at for key, (_, at) in newest.items() if key not in removed})
