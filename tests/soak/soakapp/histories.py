"""Makes histories short that are kept for longer than a run lasts: an hour of figures, a thousand changes of who is
present. Until they are full they look like a leak."""

import msgspec

from flotilla.monitoring import figure_history
from flotilla.realtime.access.channels import PRESENCE_MAP

SIZE = 20  # changes; Redis keeps up to a hundred more, which it lets go together


def shorten() -> None:
    """To be called before anything is published."""
    for options in (figure_history.OPTIONS, PRESENCE_MAP):
        msgspec.structs.force_setattr(options, "history_size", SIZE)
