"""The official HTTP API client, PyPI `cent`, with a shorthand for its commonest call."""

import asyncio
import json
import urllib.request
from typing import Any

import cent

from tests.cluster.support.harness import API_KEY
from tests.cluster.support.processes import PATIENCE


class Api(cent.AsyncClient):  # type: ignore[misc]
    """A client of one instance's HTTP API; requests as in `cent`."""

    def __init__(self, http: str) -> None:
        super().__init__(f"{http}/api", API_KEY)
        self._address = f"{http}/api"

    async def post(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """A request that `cent` has no words for; returns the whole answer."""
        return await asyncio.to_thread(self._post, method, json.dumps(body).encode())

    def _post(self, method: str, body: bytes) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._address}/{method}", body, {"X-API-Key": API_KEY})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    async def say(self, channel: str, data: Any, **more: Any) -> Any:
        """Publish; returns the result, with `offset` and `epoch`."""
        return await self.publish(cent.PublishRequest(channel=channel, data=data, **more))

    async def say_all(self, channel: str, *data: Any) -> Any:
        """Publish several in one request; returns the last result."""
        requests = [cent.PublishRequest(channel=channel, data=item) for item in data]
        return (await self.batch(cent.BatchRequest(requests=requests))).replies[-1]
