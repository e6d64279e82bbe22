"""What goes into FLOTILLA["namespaces"]: the two kinds of channels a room has."""

from typing import Any

NAMESPACES: dict[str, dict[str, Any]] = {
    # what is said: kept for a while, so that who comes back from an outage misses nothing; clients cannot publish here
    "room": {
        "subscribe_permission": "examples.rooms.rules.is_member",
        "history_size": 100,
        "history_ttl": "10m",
        "force_recovery": True,
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
        "allow_presence_for_subscriber": True,
    },
    # who is typing: straight from client to clients, kept nowhere
    "typing": {"subscribe_permission": "examples.rooms.rules.is_member", "allow_publish_for_subscriber": True},
}
