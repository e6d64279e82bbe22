"""Publications as commands show them: rows of a document, whose payload keeps every byte, and cells of a table."""

from typing import Any

import msgspec

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.management.commands._table import shortened
from flotilla.realtime.protocol import bodies, foreign, maps


class _Body(msgspec.Struct):
    """What of a publication is shown."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    info: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    key: str = ""
    removed: bool = False


def row_of(publication: Publication) -> dict[str, Any]:
    """`{"offset", "data", "info"?, "tags"?, "key"?, "removed"?}`; offset 0 in a channel without history. The last two
    are of a map's entries."""
    try:
        body, _ = foreign.read(bodies.shown(publication.body), _Body)
    except foreign.UNREADABLE:
        return {"offset": publication.offset, "data": None, "error": "this cannot be read as JSON"}
    told: dict[str, Any] = {"info": body.info, "tags": body.tags}
    if maps.is_entry(publication.body):
        told |= {"key": body.key, "removed": body.removed}
    return {"offset": publication.offset, "data": body.data, **{key: one for key, one in told.items() if one}}


def author(row: dict[str, Any]) -> str:
    """Who published it: a user's id, a visitor, or the server."""
    info = row.get("info")
    if not info:
        return "(server)"
    return str(info.get("user") or "(visitor)")


def payload_text(row: dict[str, Any]) -> str:
    """The beginning of its data, as JSON."""
    return shortened(bytes(row["data"]).decode()) if "error" not in row else f"({row['error']})"
