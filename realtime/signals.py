"""Lifecycle hooks for other apps: Django signals, sent soon after the fact, whatever a receiver does.

Receivers may be synchronous and use the ORM, or be coroutines. They get keyword arguments: `user` (its id, "" for
anonymous), `client` (the connection's id), `instance` (the name of the instance that served it), and for
`on_disconnect` also `code` and `reason`. When an instance dies, a surviving one sends `on_disconnect` for its
connections, with reason "instance lost". It is sent once for each connection, by one instance of the cluster, after
`on_connect`; only the death of the process within the very call leaves it unsent. `client` is what to tell by whether
an end was counted already, should Redis have lost data.
"""

from django.dispatch import Signal

on_connect = Signal()
on_disconnect = Signal()
