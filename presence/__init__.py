"""Who is where: connections per channel and per user, true in the whole cluster and through the death of any process.

Imports nothing of ours but `store`, and knows nothing of consumers. `Presence` is the interface; `signals` is for
other apps.
"""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.presence")  # before anything else is imported under that name

from flotilla.presence.connection_ends import ConnectionEnd  # noqa: E402
from flotilla.presence.entries import Announcement, Full, Holder  # noqa: E402
from flotilla.presence.leases import Fenced  # noqa: E402
from flotilla.presence.names import NameTaken  # noqa: E402
from flotilla.presence.reaper import Reaped  # noqa: E402
from flotilla.presence.registry import Presence  # noqa: E402
from flotilla.presence.scopes import Scope  # noqa: E402

__all__ = ["Announcement", "ConnectionEnd", "Fenced", "Full", "Holder", "NameTaken", "Presence", "Reaped", "Scope"]
