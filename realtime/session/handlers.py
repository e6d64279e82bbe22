"""Which handler answers which command. `ping` is not among them: no client sends it, and it ends the connection."""

from flotilla.realtime.session import calls, channels, connect, refreshing
from flotilla.realtime.session.session import Handler

HANDLERS: dict[str, Handler] = {
    "connect": connect.connect,
    "subscribe": channels.subscribe,
    "unsubscribe": channels.unsubscribe,
    "publish": channels.publish,
    "presence": channels.presence,
    "presence_stats": channels.presence_stats,
    "history": channels.history,
    "rpc": calls.rpc,
    "send": calls.send,
    "refresh": refreshing.refresh,
    "sub_refresh": refreshing.sub_refresh,
}
