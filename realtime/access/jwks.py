"""The public keys that an issuer publishes at a JWKS URL: kept, renewed, and fetched when a token names another.

All tokens of a process share one fetch at a time. Keys are renewed in the background once they are REFRESH_AFTER old,
and stay in use while the issuer is away. A key that is not among them leads to one fetch in INTERVAL at most, whoever
sends how many tokens: those that cannot be decided meanwhile are told to try again, never that they are wrong. That a
fetch did not bring a key is remembered as long.

Who asks waits for the fetch within its own time; how the document is fetched is `jwks_fetch`, how it is read
`public_keys`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from flotilla.realtime.access import jwks_fetch
from flotilla.realtime.access.public_keys import KeySet, PublicKey, UnusableKey, read_set

logger = logging.getLogger("flotilla.realtime.jwks")

REFRESH_AFTER = 300.0  # seconds until keys are renewed when a token comes: a key that was withdrawn counts no longer
STALE_AFTER = 1800.0  # seconds from which a token waits for the renewal; only where the issuer is away it does not
INTERVAL = 10.0  # seconds between two fetches for keys that are not known
RETRY_FIRST, RETRY_MOST = 1.0, 60.0  # seconds until the next attempt after a failure, which double
MAX_ABSENT = 256  # key ids that a fetch did not bring; the oldest is forgotten first


class KeysUnavailable(Exception):
    """Whether a token is the issuer's cannot be said for now."""


class Issuer:
    """One JWKS URL, in one event loop. `keys` is replaced as a whole."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], Awaitable[bytes]] = jwks_fetch.fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is seconds that never go back."""
        self.url = url
        self.keys = KeySet({})
        self.fetches = 0
        self._fetch = fetch
        self._clock = clock
        self._known_since: float | None = None
        self._next_fetch = 0.0
        self._failures = 0
        self._absent: dict[tuple[str, str], float] = {}
        self._fetching: asyncio.Task[None] | None = None

    def find(self, kid: str, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys at hand that fit."""
        return self.keys.find(kid, algorithm)

    async def look_up(self, kid: str, algorithm: str) -> None:
        """Have the key of a token at hand, if the issuer has it. Raises KeysUnavailable where that cannot be said."""
        now = self._clock()
        if self.find(kid, algorithm):
            await self._renew(now)
            return
        until = self._absent.get((kid, algorithm))
        if until is not None and now < until:
            return
        joined = self._fetching is not None
        if not joined and now < self._next_fetch:
            raise KeysUnavailable("a key that is not known, and its issuer was asked just now")
        await self._wait_for_fetch()
        if self.find(kid, algorithm):
            return
        if self._failures or joined:  # a fetch that began before the token came may be older than the token's key
            raise KeysUnavailable("its issuer could not be asked for the key")
        self._remember_absent((kid, algorithm), self._clock() + INTERVAL)

    def begin(self) -> None:
        """Fetch in the background keys that were never had: a key of another issuer may have the same id."""
        if self._known_since is None and self._fetching is None and self._clock() >= self._next_fetch:
            self._start()

    async def _renew(self, now: float) -> None:
        """Keep the keys fresh. Waits only where they are old and the issuer is thought to answer."""
        age = now - (self._known_since if self._known_since is not None else now)
        if age <= REFRESH_AFTER:
            return
        if self._fetching is None and now >= self._next_fetch:
            self._start()
        if age > STALE_AFTER and not self._failures and self._fetching is not None:
            await self._wait_for_fetch()

    async def _wait_for_fetch(self) -> None:
        """Wait for the fetch under way, or for a new one. It goes on when the waiting is cancelled."""
        await asyncio.wait({self._fetching or self._start()})

    def _start(self) -> "asyncio.Task[None]":
        self._fetching = asyncio.get_running_loop().create_task(self._fetch_once(), name="jwks")
        self._fetching.add_done_callback(self._done)
        return self._fetching

    async def _fetch_once(self) -> None:
        self.fetches += 1
        self._next_fetch = self._clock() + INTERVAL
        try:
            keys = read_set(await self._fetch(self.url))
        except (jwks_fetch.FetchFailed, UnusableKey) as error:
            self._failed(str(error))
            return
        for why in keys.skipped if keys.skipped != self.keys.skipped else ():
            logger.info("the key set of %s: %s", self.url, why)
        if self._failures:
            logger.info("the keys of %s are known again", self.url)
        self.keys, self._failures = keys, 0
        self._known_since = self._clock()

    def _failed(self, why: str) -> None:
        """Keep what is known, and try again after a growing pause. The log has the first of several failures."""
        if not self._failures:
            kept = "those known are used on" if self.keys.keys else "tokens of it cannot be verified"
            logger.error("the keys of %s cannot be fetched (%s): %s", self.url, kept, why)
        self._next_fetch = self._clock() + min(RETRY_MOST, RETRY_FIRST * 2**self._failures)
        self._failures = min(self._failures + 1, 16)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("fetching the keys of %s failed", self.url, exc_info=error)
            self._failed(type(error).__name__)

    def _remember_absent(self, key: tuple[str, str], until: float) -> None:
        self._absent.pop(key, None)
        while len(self._absent) >= MAX_ABSENT:
            del self._absent[next(iter(self._absent))]
        self._absent[key] = until


_issuers: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Issuer]]" = WeakKeyDictionary()


def issuer_at(url: str) -> Issuer:
    """The issuer of a URL, the same for all of the running event loop."""
    known = _issuers.setdefault(asyncio.get_running_loop(), {})
    if url not in known:
        known[url] = Issuer(url)
    return known[url]
