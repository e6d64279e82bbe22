"""Publications over HTTP at an even rate, each said again until it is answered.

Each has an idempotency key, so that what is said twice is published once: `published` is what history must hold.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.cluster.support.harness import API_KEY

BATCH = 10  # publications in one request


@dataclass
class Publisher:
    """Publishes into the rooms in turn, `rate` a second, over HTTP; what a request does not answer is repeated."""

    http: str
    rooms: list[str]
    rate: float
    key: Callable[[], str] = lambda: API_KEY
    published: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    errors: list[str] = field(default_factory=list)
    enough: bool = False

    async def run(self) -> None:
        """Publish until it is enough, evenly, whatever the answers take."""
        began, number = time.monotonic(), 0
        requests: set[asyncio.Task[None]] = set()
        while not self.enough:
            keys = range(number, number + BATCH)
            number += BATCH
            request = asyncio.create_task(asyncio.to_thread(self._publish, keys))
            requests.add(request)
            request.add_done_callback(requests.discard)
            for key in keys:
                self.published[self.rooms[key % len(self.rooms)]] += 1
            await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
        await asyncio.gather(*requests)

    def _publish(self, keys: range) -> None:
        said = [
            {"publish": {"channel": self.rooms[key % len(self.rooms)], "data": key, "idempotency_key": f"k{key}"}}
            for key in keys
        ]
        body = json.dumps({"commands": said}).encode()
        for _ in range(20):
            headers = {"X-API-Key": self.key(), "Content-Type": "application/json"}
            request = urllib.request.Request(f"{self.http}/api/batch", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    replies = json.load(response)["replies"]
                if all("publish" in reply for reply in replies):
                    return
                self.errors.append(f"a publication was answered with {replies}")
            except (urllib.error.URLError, OSError, ValueError) as error:
                self.errors.append(f"a request failed: {error!r}")
            time.sleep(0.1)
        raise AssertionError("publishing never worked again")
