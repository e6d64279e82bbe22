"""The official HTTP API client, PyPI `cent`, with a shorthand for its commonest call."""

from typing import Any

import cent

from tests.cluster.support.harness import API_KEY


class Api(cent.AsyncClient):  # type: ignore[misc]
    """A client of one instance's HTTP API; requests as in `cent`."""

    def __init__(self, http: str) -> None:
        super().__init__(f"{http}/api", API_KEY)

    async def say(self, channel: str, data: Any, **more: Any) -> Any:
        """Publish; returns the result, with `offset` and `epoch`."""
        return await self.publish(cent.PublishRequest(channel=channel, data=data, **more))

    async def say_all(self, channel: str, *data: Any) -> Any:
        """Publish several in one request; returns the last result."""
        requests = [cent.PublishRequest(channel=channel, data=item) for item in data]
        return (await self.batch(cent.BatchRequest(requests=requests))).replies[-1]
