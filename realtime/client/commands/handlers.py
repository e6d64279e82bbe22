"""Which handler answers which command. `ping` is not among them: no client sends it, and it ends the connection."""

from flotilla.realtime.client.command_queue import Handler
from flotilla.realtime.client.commands import connect, history, presence, publish, refresh, rpc, subscribe

HANDLERS: dict[str, Handler] = {
    "connect": connect.connect,
    "subscribe": subscribe.subscribe,
    "unsubscribe": subscribe.unsubscribe,
    "publish": publish.publish,
    "presence": presence.presence,
    "presence_stats": presence.presence_stats,
    "history": history.history,
    "rpc": rpc.rpc,
    "send": rpc.send,
    "refresh": refresh.refresh,
    "sub_refresh": refresh.sub_refresh,
}
