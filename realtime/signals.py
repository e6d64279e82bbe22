"""Lifecycle hooks for other apps: Django signals, sent after the fact, whatever a receiver does.

Receivers may be synchronous and use the ORM, or be coroutines. They get keyword arguments: `user` (its id, "" for
anonymous), `client` (the connection's id), `instance` (the name of the instance that served it), and for
`on_disconnect` also `code` and `reason`. When an instance dies, a surviving one sends `on_disconnect` for its
connections, with reason "instance lost".
"""

from django.dispatch import Signal

on_connect = Signal()
on_disconnect = Signal()
