"""Which SDKs clients say they are, as labels that no client can multiply.

A client may say anything. A name or version that is longer or odder than those of SDKs is "other"; one that is not
said is "unknown". Of the rest, those with the most connections become labels, and stay: at most MAX_PAIRS in the life
of the process.
"""

import re
from collections import Counter
from collections.abc import Mapping

Sdk = tuple[str, str]
"""Name and version."""

MAX_PAIRS = 40
OTHER: Sdk = ("other", "other")
_USUAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/@-]{0,30}")


class SdkLabels:
    """The labels that were given so far."""

    def __init__(self) -> None:
        self._known: set[Sdk] = set()

    def counted(self, said: Mapping[Sdk, int]) -> Counter[Sdk]:
        """Connections by label, from connections by what their clients said. Labels without any are in it with 0."""
        usual: Counter[Sdk] = Counter()
        for (name, version), count in said.items():
            usual[label(name), label(version)] += count
        for sdk, _ in usual.most_common():
            if len(self._known) < MAX_PAIRS:
                self._known.add(sdk)
        found: Counter[Sdk] = Counter(dict.fromkeys((*self._known, OTHER), 0))
        for sdk, count in usual.items():
            found[sdk if sdk in self._known else OTHER] += count
        return found


def label(said: str) -> str:
    """A name or version as a label."""
    if not said:
        return "unknown"
    return said if _USUAL.fullmatch(said) else "other"
