"""The cluster in Django's admin: instances, channels, users, connections and blocks, live; a page each."""

from flotilla.realtime.admin import blocks, channels, connections, instances, users  # noqa: F401
