"""Which handler answers which command. `ping` is not among them: no client sends it, and it ends the connection."""

from flotilla.realtime.client.client import Handler
from flotilla.realtime.client.commands import channels, connect, refresh, rpc

HANDLERS: dict[str, Handler] = {
    "connect": connect.connect,
    "subscribe": channels.subscribe,
    "unsubscribe": channels.unsubscribe,
    "publish": channels.publish,
    "presence": channels.presence,
    "presence_stats": channels.presence_stats,
    "history": channels.history,
    "rpc": rpc.rpc,
    "send": rpc.send,
    "refresh": refresh.refresh,
    "sub_refresh": refresh.sub_refresh,
}
