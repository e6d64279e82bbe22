"""The engine in the process: what Flotilla needs of a Redis, for tests and for a first try, without a Redis.

It speaks Redis's protocol on a socket that only this user reaches, so everything above it is the code that runs in
production: scripts, streams, subscriptions, leases, limits. It knows the commands that Flotilla uses, and answers as
Redis does, errors included. It keeps nothing, belongs to one process, and is no store for a service.
"""

from flotilla.store.in_process.of_this_process import NEEDS_LUPA, InProcessUnavailable, can_run, engine, forget

__all__ = ["NEEDS_LUPA", "InProcessUnavailable", "can_run", "engine", "forget"]
