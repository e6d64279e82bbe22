"""Whether two epochs name one stream. Pure.

The epoch of a stream is `<generation>.<stamp>` (`lua/_common.lua`). Where a channel has no stream, reading makes none:
the position that is given then is provisional, `<generation>~<stamp>`, the stamp being the moment of the question. It
holds for the stream that is made next: a stream lives for its meta TTL at least, so within that time of the question
none can have come and gone unseen.
"""

import re

_EPOCH = re.compile(r"([-_A-Za-z0-9]{1,32})([.~])([0-9a-f]{1,12})")


def continues(earlier: str, later: str, meta_ttl: float) -> bool:
    """Whether what was given out under `earlier` counts under `later`, which was given out after it. Seconds.

    Both may come from clients: what no script has made continues nothing.
    """
    if earlier == later:
        return True
    before, after = _EPOCH.fullmatch(earlier), _EPOCH.fullmatch(later)
    if before is None or after is None or before[2] == "." or before[1] != after[1]:
        return False
    return 0 <= int(after[3], 16) - int(before[3], 16) < meta_ttl * 1000
