"""The public names, from where they are at home. Needs Django's apps, so `flotilla` imports it at the first use of
one."""

from flotilla._asgi import asgi
from flotilla.admin_sites import register_admin
from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token
from flotilla.realtime.api.blocks import ablock, aunblock, block, unblock
from flotilla.realtime.api.control import (
    adisconnect,
    areauthorize,
    arefresh,
    asubscribe,
    aunsubscribe,
    disconnect,
    reauthorize,
    refresh,
    subscribe,
    unsubscribe,
)
from flotilla.realtime.api.maps import amap_get, amap_remove, amap_set, map_get, map_remove, map_set
from flotilla.realtime.api.messaging import asend_message, send_message
from flotilla.realtime.api.python import (
    abroadcast,
    ahistory,
    apresence,
    apublish,
    broadcast,
    history,
    presence,
    publish,
)
from flotilla.realtime.changes import Affected, affects
from flotilla.realtime.live.declaration import live
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.queryset import LiveManager, LiveQuerySet

__all__ = [
    "Affected",
    "LiveManager",
    "LiveModel",
    "LiveQuerySet",
    "ablock",
    "abroadcast",
    "adisconnect",
    "affects",
    "ahistory",
    "amap_get",
    "amap_remove",
    "amap_set",
    "apresence",
    "apublish",
    "areauthorize",
    "arefresh",
    "asend_message",
    "asgi",
    "asubscribe",
    "aunblock",
    "aunsubscribe",
    "block",
    "broadcast",
    "disconnect",
    "history",
    "live",
    "make_connection_token",
    "make_subscription_token",
    "map_get",
    "map_remove",
    "map_set",
    "presence",
    "publish",
    "reauthorize",
    "refresh",
    "register_admin",
    "send_message",
    "subscribe",
    "unblock",
    "unsubscribe",
]
