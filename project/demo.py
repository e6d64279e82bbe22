"""What `make run` is set up with and nothing else is: a namespace in which everybody may do everything."""

from typing import Any

_EVERYBODY = {
    f"allow_{action}_for_{who}": True
    for action in ("subscribe", "publish", "presence", "history")
    for who in ("client", "anonymous")
}

REALTIME: dict[str, Any] = {
    "anonymous": True,
    "show_instance": True,
    "namespaces": {
        "demo": {
            "presence": True,
            "join_leave": True,
            "force_push_join_leave": True,
            "history_size": 300,
            "history_ttl": "10m",
            "force_recovery": True,
            **_EVERYBODY,
        }
    },
}
