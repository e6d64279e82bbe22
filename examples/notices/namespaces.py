"""What goes into FLOTILLA["namespaces"]."""

from typing import Any

NAMESPACES: dict[str, dict[str, Any]] = {
    # `notices:#7` is for user 7 alone. It says that something has changed: of that the newest is enough, and its
    # position tells a page whether it missed any.
    "notices": {
        "allow_user_limited_channels": True,
        "history_size": 1,
        "history_ttl": "1h",
        "force_recovery": True,
    },
}
