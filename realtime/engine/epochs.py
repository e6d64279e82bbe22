"""Whether a position counts under the epoch that stands now. Pure.

An epoch is `<generation>.<era>`, as the channel's partition has them when the stream is made (`lua/_common.lua`).
Reading makes no stream: where there is none, the position that is given is the one a stream made now would begin with.
If the era is another by the time one is made, that position still holds: a stream lives for its meta TTL at least, so
within that time of the era none can have come and gone unseen.
"""

import re

from flotilla.realtime.engine.publication import StreamPosition

_EPOCH = re.compile(r"([-_A-Za-z0-9]{1,32})\.([0-9a-f]{1,12})")


def continues(earlier: StreamPosition, epoch: str, meta_ttl: float) -> bool:
    """Whether what was given out as `earlier` counts under an epoch that was given out later. Seconds.

    Both may come from clients: what no script has made continues nothing.
    """
    if earlier.epoch == epoch:
        return True
    if earlier.offset:
        return False
    before, after = _EPOCH.fullmatch(earlier.epoch), _EPOCH.fullmatch(epoch)
    if before is None or after is None or before[1] != after[1]:
        return False
    return 0 <= int(after[2], 16) - int(before[2], 16) < meta_ttl * 1000
