"""Which codes make the official clients stop and which make them come back, under each server."""

import pytest
from cent import DisconnectRequest
from cent.dto import Disconnect

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import Cluster
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import MakeClient, PythonClient, SdkClient

pytestmark = pytest.mark.asyncio

FINAL = [3500, 3501, 3502, 3503, 3504, 3505, 3506, 3507, 3508, 3509, 4500, 4999]
PASSING = [3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013, 3014, 4000, 4499]
SERVERS = pytest.mark.parametrize("server", [0, 2, 3, 4], ids=["flotilla", "daphne", "uvicorn", "hypercorn"])


STOCK_DAPHNE = 2


def told(client: SdkClient, server: int, code: int) -> set[tuple[int, str]]:
    """What a client may make of the end of its connection. Daphne as it comes sends close frames without a reason, and
    the Python SDK takes in the push that has it beside the frame, whichever is first."""
    beside = isinstance(client, PythonClient) and server == STOCK_DAPHNE
    return {(code, f"because of {code}")} | ({(code, "")} if beside else set())


async def tell(api: Api, user: str, code: int) -> None:
    """End a user's connections with a code, from another instance."""
    await api.disconnect(DisconnectRequest(user=user, disconnect=Disconnect(code=code, reason=f"because of {code}")))


@SERVERS
async def test_final_codes_stop_the_client(cluster: Cluster, api: Api, make_client: MakeClient, server: int) -> None:
    client = make_client(cluster[server].url, lambda _: token("stops"))
    for count, code in enumerate(FINAL, 1):
        await client.connect()
        await client.seen.event("connected", nth=count)
        await tell(api, "stops", code)
        last = await client.seen.event("disconnected", nth=count)
        assert (last["code"], last["reason"]) in told(client, server, code)
    assert len(client.seen.named("connecting")) == len(FINAL)


@SERVERS
async def test_passing_codes_bring_the_client_back(
    cluster: Cluster, api: Api, make_client: MakeClient, server: int
) -> None:
    client = make_client(cluster[server].url, lambda _: token("returns"))
    await client.connect()
    await client.seen.event("connected")
    for count, code in enumerate(PASSING, 2):
        await tell(api, "returns", code)
        again = await client.seen.event("connecting", nth=count)
        assert (again["code"], again["reason"]) in told(client, server, code)
        await client.seen.event("connected", nth=count)
    assert not client.seen.named("disconnected")


@SERVERS
async def test_a_close_carries_code_and_reason(cluster: Cluster, api: Api, server: int) -> None:
    async with RawClient(cluster[server].url) as client:
        await client.connect("raw")
        await tell(api, "raw", 3503)
        assert await client.closed() == (3503, "because of 3503")


@SERVERS
async def test_sdk_stops_on_a_bad_token(cluster: Cluster, make_client: MakeClient, server: int) -> None:
    client = make_client(cluster[server].url, lambda _: "no token")
    await client.connect()
    assert (await client.seen.event("disconnected"))["code"] == 3500
