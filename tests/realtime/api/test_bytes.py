"""Channels whose publications are bytes of any kind: in Python, and over HTTP in base64."""

import asyncio
from base64 import b64decode, b64encode
from typing import Any

import pytest

from flotilla import history, publish
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import get_store
from tests.realtime.api.test_views import Api, api

__all__ = ["api"]

DATA = bytes(range(256))


def in_base64(data: bytes) -> str:
    return b64encode(data).decode()


class TestPython:
    @pytest.fixture(autouse=True)
    def _close(self, configured: Any) -> Any:
        """Close the synchronous connections."""
        yield
        asyncio.run(get_store().close())

    def test_bytes_go_in_and_come_out(self) -> None:
        publish("raw:a", DATA, tags={"a": "b"}, on_commit=False)
        (found,) = history("raw:a").publications
        assert found == {"offset": 1, "data": DATA, "tags": {"a": "b"}}

    def test_anything_else_is_sent_as_json(self) -> None:
        publish("raw:a", {"a": 1}, on_commit=False)
        assert history("raw:a").publications[0]["data"] == b'{"a":1}'

    def test_what_is_too_large_for_any_client_is_refused(self) -> None:
        with pytest.raises(CommandError):
            publish("raw:a", b"x" * 1_000_000, on_commit=False)


class TestHttp:
    pytestmark = pytest.mark.asyncio

    async def test_base64_goes_in_and_comes_out(self, api: Api) -> None:
        assert (await api("publish", channel="raw:a", b64data=in_base64(DATA)))["result"]["offset"] == 1
        assert (await api("publish", channel="raw:a", data={"a": 1}))["result"]["offset"] == 2
        found = (await api("history", channel="raw:a", limit=-1))["result"]["publications"]
        assert [b64decode(one["b64data"]) for one in found] == [DATA, b'{"a":1}']
        assert all("data" not in one for one in found)

    async def test_json_is_wanted_elsewhere(self, api: Api) -> None:
        for channel, b64data in (("open:a", in_base64(DATA)), ("raw:a", "no base64!"), ("raw:a", "")):
            assert (await api("publish", channel=channel, b64data=b64data))["error"]["code"] == 107
        assert (await api("publish", channel="open:a", b64data=in_base64(b"[1]")))["result"]["offset"] == 1
        assert await api.data() == [[1]]

    async def test_a_broadcast_is_for_each_channel_what_it_takes(self, api: Api) -> None:
        answer = await api("broadcast", channels=["raw:a", "open:a"], b64data=in_base64(DATA))
        outcomes = answer["result"]["responses"]
        assert outcomes[0]["result"]["offset"] == 1
        assert outcomes[1]["error"]["code"] == 107
        answer = await api("broadcast", channels=["raw:a", "open:a"], data=[1])
        assert [one["result"]["offset"] for one in answer["result"]["responses"]] == [2, 1]
        assert (await api("broadcast", channels=["open:a"], b64data=in_base64(DATA)))["error"]["code"] == 107
