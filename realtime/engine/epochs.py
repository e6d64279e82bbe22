"""Whether a position is still right when the stream has another epoch now. Pure.

An epoch is `<generation>.<era>`, as the channel's partition has them when the stream is made (`lua/_common.lua`).
Reading makes no stream: where there is none, the answer is the position at which a stream that is made now would begin.
If the partition has another era when the stream is made, that position is still right: a stream lives for its meta TTL
at least, so within that time of the earlier era none can have been made and have expired unseen.
"""

import re

from flotilla.realtime.engine.publication import StreamPosition

_EPOCH = re.compile(r"([-_A-Za-z0-9]{1,32})\.([0-9a-f]{1,12})")


def continues(earlier: StreamPosition, epoch: str, meta_ttl: float) -> bool:
    """Whether the position `earlier` is one of the stream with the later `epoch`, too. `meta_ttl` in seconds.

    Both may come from clients: anything that no script has made is not.
    """
    if earlier.epoch == epoch:
        return True
    if earlier.offset:
        return False
    before, after = _EPOCH.fullmatch(earlier.epoch), _EPOCH.fullmatch(epoch)
    if before is None or after is None or before[1] != after[1]:
        return False
    return 0 <= int(after[2], 16) - int(before[2], 16) < meta_ttl * 1000
