"""What `make run` is set up with and nothing else is: rooms in which everybody may do everything, but not too fast;
and beside them the example's, which have members."""

from typing import Any

from examples.rooms.namespaces import NAMESPACES

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
        },
        **NAMESPACES,
    },
}

RATE_LIMITS: dict[str, Any] = {
    "messages": {"guards": "ws.publish", "key": "connection", "rate": "10/s", "burst": 40, "failure": "local"},
    "messages-per-address": {"guards": "ws.publish", "key": "ip", "rate": "50/s", "burst": 400, "failure": "local"},
    "handshakes": {"guards": "ws.connect", "key": "ip", "rate": "20/s", "burst": 100},
    "logins": {"guards": ["http:rooms:login", "http:admin:login"], "methods": ["POST"], "key": "ip", "rate": "60/m"},
}
