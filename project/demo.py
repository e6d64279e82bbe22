"""What `make run` is set up with and nothing else is: rooms in which everybody may do everything, but not too fast;
and beside them the examples', which have members and owners, or are for everybody who has logged in."""

from typing import Any

from examples.board.namespaces import NAMESPACES as OF_BOARD
from examples.notices.namespaces import NAMESPACES as OF_NOTICES
from examples.rooms.namespaces import NAMESPACES as OF_ROOMS

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
        **OF_ROOMS,
        **OF_NOTICES,
        **OF_BOARD,
    },
}

_READS = ["ws.history", "ws.presence", "ws.presence_stats"]
_PER_ADDRESS = {"key": "ip", "failure": "local"}

# As deploy/realtime.toml: everything that costs Redis something, and people do not meet them.
RATE_LIMITS: dict[str, Any] = {
    "handshakes": {"guards": "ws.connect", "key": "ip", "rate": "20/s", "burst": 100},
    "commands": {"guards": "ws.command", "key": "connection", "rate": "50/s", "burst": 300},
    "messages": {"guards": "ws.publish", "key": "connection", "rate": "10/s", "burst": 40},
    "messages-per-address": {"guards": "ws.publish", "rate": "50/s", "burst": 400, **_PER_ADDRESS},
    "reads": {"guards": _READS, "key": "connection", "rate": "20/s", "burst": 200},
    "subscribes-and-reads-per-address": {
        "guards": ["ws.subscribe", *_READS],
        "rate": "500/s",
        "burst": 5000,
        **_PER_ADDRESS,
    },
    "new-channels": {"guards": "ws.new_channel", "key": "connection", "rate": "10/s", "burst": 200},
    "new-channels-per-address": {"guards": "ws.new_channel", "rate": "200/s", "burst": 2000, **_PER_ADDRESS},
    "logins": {
        "guards": [f"http:{site}:login" for site in ("rooms", "notices", "admin")],
        "methods": ["POST"],
        "key": "ip",
        "rate": "60/m",
    },
}
