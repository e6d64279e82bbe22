"""Every metric of ours, each with what it counts. Others import the objects and count; nothing here knows who.

Labels are bounded: no user, channel, client or raw path. Codes that are not the protocol's own are counted as "other".
HTTP and database metrics are django-prometheus's.
"""

from prometheus_client import Counter, Gauge

from realtime.protocol.codes import DisconnectCode

OPENED = Counter("flotilla_connections_opened", "WebSocket connections accepted.")
CLOSED = Counter("flotilla_connections_closed", "WebSocket connections that ended, by close code.", ["code"])
PUBLICATIONS_IN = Counter("flotilla_publications_in", "Publications accepted by this instance.")
PUBLICATIONS_OUT = Counter("flotilla_publications_out", "Publications written to this instance's connections.")

CONNECTIONS = Gauge("flotilla_connections", "WebSocket connections open now.")
USERS = Gauge("flotilla_users", "Distinct users connected to this instance now.")
CHANNELS = Gauge("flotilla_channels", "Channels with a subscriber on this instance now.")
READY = Gauge("app_ready", "1 while this instance should get new clients, as the engine sees it; 0 else.")

_STANDARD = {1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011}
_KNOWN = _STANDARD | {int(code) for code in DisconnectCode}


def close_label(code: int) -> str:
    """The `code` label for a close code."""
    return str(code) if code in _KNOWN else "other"


def watch_node() -> None:
    """Let the gauges ask this process's node when they are read."""
    from realtime.engine.node import current_node  # the engine may import this module to count

    CONNECTIONS.set_function(lambda: len(node.sessions) if (node := current_node()) else 0)
    USERS.set_function(lambda: len(node.users) if (node := current_node()) else 0)
    CHANNELS.set_function(lambda: len(node.hub.channels) if (node := current_node()) else 0)
    READY.set_function(lambda: float(all(node.checks().values())) if (node := current_node()) else 0.0)
