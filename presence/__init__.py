"""Who is where: connections per channel and per user, true in the whole cluster and through the death of any process.

Imports nothing of ours but `store`, and knows nothing of consumers. `Presence` is the interface; `signals` is for
other apps.
"""

from flotilla.presence.ends import End
from flotilla.presence.entries import Announcement, Full, Holder
from flotilla.presence.leases import Fenced
from flotilla.presence.reaper import Reaped
from flotilla.presence.registry import Presence

__all__ = ["Announcement", "End", "Fenced", "Full", "Holder", "Presence", "Reaped"]
