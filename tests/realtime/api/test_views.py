"""The HTTP API through Django: statuses, keys, each method's outcome, batches."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from django.test import AsyncClient, AsyncRequestFactory

from flotilla import apresence, make_connection_token
from flotilla.presence.inspection import amembers
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.api import views
from flotilla.realtime.api.keys import holder
from flotilla.realtime.api.methods import METHODS
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.engine import pages
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import get_store
from flotilla.store.shards import reset_store
from tests.realtime.client.peers import Peer
from tests.store.places import nobody
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

ROOM = "open:a"
KEY = "k" * 32


class Api:
    """A caller of the API."""

    def __init__(self) -> None:
        self.client = AsyncClient()

    async def raw(self, method: str, body: bytes | str = b"{}", verb: str = "post", **headers: str) -> Any:
        headers = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        headers = {name: value for name, value in headers.items() if value}
        call = getattr(self.client, verb)
        if verb in ("get", "head"):
            return await call(f"/api/{method}", headers=headers)
        return await call(f"/api/{method}", data=body, content_type="application/json", headers=headers)

    async def __call__(self, method: str, **asked: Any) -> Any:
        response = await self.raw(method, json.dumps(asked))
        assert response.status_code == 200, response.content
        assert response["Content-Type"] == "application/json"
        return json.loads(response.content)

    async def data(self, channel: str = ROOM) -> list[Any]:
        return [one["data"] for one in (await self("history", channel=channel, limit=-1))["result"]["publications"]]


@pytest_asyncio.fixture
async def api(configured: Any) -> AsyncIterator[Api]:
    configured.ROOT_URLCONF = "flotilla.realtime.api.urls"
    configured.MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    configured.ALLOWED_HOSTS = ["*"]
    yield Api()
    await get_store().close()


class TestStatuses:
    async def test_an_unknown_method_is_404(self, api: Api) -> None:
        """Whoever asks."""
        for verb in ("get", "post"):
            assert (await api.raw("nothing", verb=verb, X_API_Key="")).status_code == 404

    @pytest.mark.parametrize("verb", ["get", "put", "delete", "head"])
    async def test_only_post_is_answered(self, api: Api, verb: str) -> None:
        """405, saying so."""
        response = await api.raw("publish", verb=verb)
        assert response.status_code == 405
        assert response["Allow"] == "POST"

    @pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "k", "\xe9"])
    async def test_a_wrong_key_is_401(self, api: Api, key: str) -> None:
        """Also for a body that could not be read; nothing happens."""
        response = await api.raw("publish", '{"channel":"open:a","data":1}', X_API_Key=key)
        assert response.status_code == 401
        assert (await api.raw("batch", "nonsense", X_API_Key=key)).status_code == 401
        assert await api.data() == []

    async def test_every_key_and_form_is_accepted(self, api: Api) -> None:
        """Any configured key, in either header; not in the address."""
        assert (await api.raw("info", X_API_Key="l" * 32)).status_code == 200
        assert (await api.raw("info", X_API_Key="", Authorization=f"apikey {KEY}")).status_code == 200
        assert (await api.raw("info", X_API_Key="", Authorization=f"Bearer {KEY}")).status_code == 401
        assert (await api.raw(f"info?api_key={KEY}", X_API_Key="")).status_code == 401

    async def test_without_configured_keys_nobody_may(self, api: Api, configured: Any) -> None:
        """Not even with an empty key."""
        configured.REALTIME_API_KEYS = ()
        for key in ("", KEY):
            assert (await api.raw("info", X_API_Key=key)).status_code == 401

    @pytest.mark.parametrize(
        ("method", "body"),
        [
            ("publish", b"nonsense"),
            ("publish", b"[]"),
            ("publish", b'{"channel":1}'),
            ("publish", b'{"channel":"open:a","data":"\xff"}'),
            ("publish", b'{"channel":"open:a","data":' + b"[" * 100_000),
            ("history", b'{"channel":"open:a","since":{"offset":-1}}'),
            ("history", b'{"channel":"open:a","limit":1180591620717411303424}'),
            ("history", b'{"channel":"open:a","limit":9223372036854775808}'),
            ("broadcast", b'{"channels":"open:a"}'),
            ("batch", b'{"commands":[1]}'),
            ("batch", b'{"commands":{}}'),
        ],
    )
    async def test_a_body_that_cannot_be_used_is_400(self, api: Api, method: str, body: bytes) -> None:
        """Never 500."""
        assert (await api.raw(method, body)).status_code == 400

    async def test_no_method_fails_on_an_empty_request(self, api: Api, node: Node) -> None:
        """Each answers with a result or an error, with 200."""
        for method in METHODS:
            answer = json.loads((await api.raw(method, b"")).content)
            assert set(answer) in ({"result"}, {"error"})

    async def test_a_redis_that_is_away_is_an_error(self, api: Api, configured: Any, tmp_path: Any) -> None:
        """100, in a broadcast each channel's own."""
        configured.REDIS_URLS = [nobody(tmp_path)]
        reset_store()
        assert (await api("publish", channel=ROOM, data=1))["error"]["code"] == 100
        answer = await api("broadcast", channels=[ROOM, "nowhere:a"], data=1)
        assert [one["error"]["code"] for one in answer["result"]["responses"]] == [100, 102]


class TestPublishing:
    async def test_the_place_is_returned(self, api: Api) -> None:
        """Offset and epoch with history, neither without."""
        first = (await api("publish", channel=ROOM, data={"n": 1}))["result"]
        second = (await api("publish", channel=ROOM, data=None))["result"]
        assert (first["offset"], second) == (1, {"offset": 2, "epoch": first["epoch"]})
        assert await api("publish", channel="plain:a", data=1) == {"result": {}}
        assert await api.data() == [{"n": 1}, None]

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"data": 1}, 107),
            ({"channel": "", "data": 1}, 107),
            ({"channel": "nowhere:a", "data": 1}, 102),
            ({"channel": ROOM}, 107),
            ({"channel": ROOM, "b64data": "!"}, 107),
            ({"channel": ROOM, "b64data": "ü"}, 107),
            ({"channel": ROOM, "b64data": base64.b64encode(b"{no").decode()}, 107),
        ],
    )
    async def test_what_cannot_be_published_is_an_error(self, api: Api, asked: dict[str, Any], code: int) -> None:
        """With its code and words, in 200."""
        answer = await api("publish", **asked)
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]

    async def test_payloads_become_one_line(self, api: Api) -> None:
        """A newline would cut a client's frame in two."""
        await api.raw("publish", b'{"channel":"open:a","data":{\n  "text": "a\\n b",\n "n" : 1.0 }}')
        await api("publish", channel=ROOM, b64data=base64.b64encode(b"[1,\n2]").decode())
        page = await api("history", channel=ROOM, limit=-1)
        assert [one["data"] for one in page["result"]["publications"]] == [{"text": "a\n b", "n": 1.0}, [1, 2]]
        raw = (await api.raw("history", '{"channel":"open:a","limit":-1}')).content
        assert b'{"text":"a\\n b","n":1.0}' in raw

    async def test_a_repeat_publishes_nothing(self, api: Api) -> None:
        """Same place; another key publishes."""
        first = await api("publish", channel=ROOM, data=1, idempotency_key="a")
        assert await api("publish", channel=ROOM, data=1, idempotency_key="a") == first
        await api("publish", channel=ROOM, data=2, idempotency_key="b")
        assert await api.data() == [1, 2]

    async def test_a_broadcast_has_an_outcome_for_each_channel(self, api: Api) -> None:
        """In order, errors included; unknown keys such as `push` are passed over; no channel at all is an error."""
        answer = await api("broadcast", channels=[ROOM, "nowhere:a", "", "plain:a"], data=[1], push=True)
        responses = answer["result"]["responses"]
        assert responses[0]["result"]["offset"] == 1
        assert [one["error"]["code"] for one in responses[1:3]] == [102, 107]
        assert responses[3] == {"result": {}}
        assert (await api("broadcast", channels=[], data=1))["error"]["code"] == 107
        assert (await api("broadcast", channels=[ROOM]))["error"]["code"] == 107

    async def test_a_key_is_not_for_clients(self, api: Api, node: Node) -> None:
        """It is refused where it would do nothing, in a broadcast for that channel alone."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("wall:a")
        await api("publish", channel="wall:a", data={"key": "mine"}, key="x")
        await until(lambda: len(peer.pushes("pub", "wall:a")) == 1)
        assert peer.pushes("pub", "wall:a") == [{"data": {"key": "mine"}, "offset": 1}]
        history = (await peer.ask(history={"channel": "wall:a", "limit": -1}))["history"]
        assert history["publications"] == [{"data": {"key": "mine"}, "offset": 1}]
        assert (await api("history", channel="wall:a", limit=-1))["result"]["publications"] == history["publications"]
        assert (await api("publish", channel=ROOM, data=1, key="x"))["error"]["code"] == 107
        responses = (await api("broadcast", channels=["wall:a", ROOM], data=1, key="x"))["result"]["responses"]
        assert ["error" in one for one in responses] == [False, True]

    async def test_history_of_any_length_has_a_size(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        """All of it in one answer, read in parts; beyond the bound it is refused."""
        for number in range(9):
            await api("publish", channel=ROOM, data={"n": number})
        monkeypatch.setattr(pages, "MAX_PUBLICATIONS", 2)
        assert await api.data() == [{"n": number} for number in range(9)]
        monkeypatch.setattr(pages, "MOST_BYTES", 60)
        assert (await api("history", channel=ROOM, limit=-1))["error"]["code"] == 106
        assert len((await api("history", channel=ROOM, limit=3))["result"]["publications"]) == 3

    async def test_a_publication_asks_for_deltas(self, api: Api) -> None:
        """Whoever delivers it sees that; nobody else does."""
        await api("publish", channel=ROOM, data={"n": 1}, delta=True)
        await api("broadcast", channels=[ROOM], data={"n": 2}, delta=True)
        await api("publish", channel=ROOM, data={"n": 3})
        page = await broker().history(ROOM, options_of(ROOM), limit=-1)
        assert [one.delta for one in page.publications] == [True, True, False]
        assert [one.body for one in page.publications] == [b'{"data":{"n":%d}}' % n for n in (1, 2, 3)]
        assert await api.data() == [{"n": 1}, {"n": 2}, {"n": 3}]

    async def test_subscribers_get_it_with_tags_and_without_an_author(self, api: Api, node: Node) -> None:
        """What the server says has no info."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe(ROOM)
        await api("publish", channel=ROOM, data=1, tags={"a": "b"})
        await api("publish", channel=ROOM, data=2, skip_history=True)
        await until(lambda: len(peer.pushes("pub", ROOM)) == 2)
        assert peer.pushes("pub", ROOM) == [{"data": 1, "tags": {"a": "b"}, "offset": 1}, {"data": 2}]


class TestReading:
    async def test_history_always_has_its_position(self, api: Api) -> None:
        """Limit 0 too; backward and since; not capped."""
        for number in range(10):
            place = (await api("publish", channel=ROOM, data=number))["result"]
        assert (await api("history", channel=ROOM))["result"] == {"publications": [], **place}
        page = await api("history", channel=ROOM, limit=2, reverse=True, since={"offset": 5, "epoch": place["epoch"]})
        assert [one["offset"] for one in page["result"]["publications"]] == [4, 3]
        assert len(await api.data()) == 10
        for asked, code in (
            ({"channel": ROOM, "since": {"offset": 1, "epoch": "x"}}, 112),
            ({"channel": ROOM, "since": {"offset": 0, "epoch": ""}, "reverse": True}, 107),
            ({"channel": "plain:a"}, 108),
        ):
            assert (await api("history", **asked))["error"]["code"] == code

    async def test_history_can_be_removed(self, api: Api) -> None:
        """The position stays."""
        place = (await api("publish", channel=ROOM, data=1))["result"]
        assert await api("history_remove", channel=ROOM) == {"result": {}}
        assert (await api("history", channel=ROOM, limit=-1))["result"] == {"publications": [], **place}
        assert (await api("history_remove", channel="plain:a"))["error"]["code"] == 108

    async def test_who_is_there(self, api: Api, node: Node) -> None:
        """Presence and its numbers, zeros included; 108 where it is off."""
        assert (await api("presence", channel=ROOM)) == {"result": {"presence": {}}}
        assert (await api("presence_stats", channel=ROOM)) == {"result": {"num_clients": 0, "num_users": 0}}
        peers = [Peer(node) for _ in range(2)]
        for peer in peers:
            await peer.connect(token=make_connection_token("7"))
            await peer.subscribe(ROOM)
        found = (await api("presence", channel=ROOM))["result"]["presence"]
        assert found == {p.client.id: {"user": "7", "client": p.client.id} for p in peers}
        assert (await api("presence_stats", channel=ROOM))["result"] == {"num_clients": 2, "num_users": 1}
        assert (await api("presence", channel="plain:a"))["error"]["code"] == 108

    async def test_more_than_one_answer_holds_are_not_told(
        self, api: Api, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """106; their number is told. So says the Python API, too."""
        monkeypatch.setattr(amembers, "__defaults__", (1,))
        peers = [Peer(node) for _ in range(2)]
        for peer in peers:
            await peer.connect(token=make_connection_token("7"))
            await peer.subscribe(ROOM)
        assert (await api("presence", channel=ROOM))["error"]["code"] == 106
        assert (await api("presence_stats", channel=ROOM))["result"] == {"num_clients": 2, "num_users": 1}
        with pytest.raises(CommandError) as caught:
            await apresence(ROOM)
        assert caught.value.code == 106

    async def test_channels_and_nodes(self, api: Api, node: Node) -> None:
        """Those with subscribers now, by pattern; this node in numbers."""
        peer = Peer(node)
        await peer.connect()
        for channel in (ROOM, "plain:b"):
            await peer.subscribe(channel)
        await peer.ask(unsubscribe={"channel": "plain:b"})
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        assert (await api("channels"))["result"] == {"channels": {ROOM: {"num_clients": 1}}}
        assert (await api("channels", pattern="pl*"))["result"] == {"channels": {}}
        (found,) = (await api("info"))["result"]["nodes"]
        assert found["name"] == "unit-0"
        assert found["uid"] == node.presence.incarnation


class TestCommands:
    async def test_users_are_disconnected(self, api: Api, node: Node) -> None:
        """All but those on the whitelist, with the code and reason asked for; unknown users are no error."""
        peers = [Peer(node) for _ in range(3)]
        for peer in peers:
            await peer.connect(token=make_connection_token("7"))
        await until(lambda: node.heartbeat.alive)
        assert await api("disconnect", user="nobody") == {"result": {"hit": 0, "answered": 1, "instances": 1}}
        wish = {"code": 4500, "reason": "moved"}
        await api("disconnect", user="7", client=peers[0].client.id, disconnect=wish)
        assert await peers[0].end() == (4500, "moved")
        await api("disconnect", user="7", whitelist=[peers[1].client.id])
        assert await peers[2].end() == (3503, "force disconnect")
        assert peers[1].socket.closed is None

    @pytest.mark.parametrize("wish", [{"code": 2999}, {"code": 5000}, {"code": 0}, {"code": 4000, "reason": "x" * 124}])
    async def test_an_impossible_close_is_an_error(self, api: Api, wish: dict[str, Any]) -> None:
        """107."""
        assert (await api("disconnect", user="7", disconnect=wish))["error"]["code"] == 107

    async def test_users_are_unsubscribed(self, api: Api, node: Node) -> None:
        """With push 2000; an unknown namespace is an error."""
        peer = Peer(node)
        await peer.connect(token=make_connection_token("7"))
        await peer.subscribe(ROOM)
        await until(lambda: node.heartbeat.alive)
        assert (await api("unsubscribe", user="7", channel=ROOM))["result"]["hit"] == 1
        await until(lambda: peer.pushes("unsubscribe", ROOM))
        assert (await api("unsubscribe", user="7", channel="nowhere:a"))["error"]["code"] == 102


class TestBatch:
    async def test_each_command_has_its_outcome(self, api: Api) -> None:
        """In order, without a `result` around it; what fails is an error member."""
        commands = [
            {"publish": {"channel": ROOM, "data": 1}},
            {"publish": {"channel": "nowhere:a", "data": 1}},
            {"nothing": {}},
            {"publish": {"channel": 5}},
            {},
            {"publish": {"channel": ROOM, "data": 2}},
            {"history": {"channel": ROOM, "limit": -1}},
            {"broadcast": {"channels": [ROOM, "nowhere:a"], "data": 3}},
        ]
        replies = (await api("batch", commands=commands))["replies"]
        assert [list(reply) for reply in replies] == [
            ["publish"],
            ["error"],
            ["error"],
            ["error"],
            ["error"],
            ["publish"],
            ["history"],
            ["broadcast"],
        ]
        assert [reply["error"]["code"] for reply in replies[1:5]] == [102, 104, 107, 104]
        assert replies[5]["publish"]["offset"] == 2
        assert [one["data"] for one in replies[6]["history"]["publications"]] == [1, 2]
        assert [list(one) for one in replies[7]["broadcast"]["responses"]] == [["result"], ["error"]]

    async def test_it_is_bounded(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        """106, and nothing is done."""
        monkeypatch.setattr(views, "MAX_COMMANDS", 2)
        assert (await api("batch", commands=[{"info": {}}] * 2))["replies"]
        command = {"publish": {"channel": ROOM, "data": 1}}
        assert (await api("batch", commands=[command] * 3))["error"]["code"] == 106
        assert await api.data() == []
        assert await api("batch") == {"replies": []}


class TestDocument:
    async def test_it_names_every_method(self, api: Api) -> None:
        """For anybody; nothing of this installation is in it."""
        response = await api.raw("openapi.json", verb="get", X_API_Key="")
        assert response.status_code == 200
        document = json.loads(response.content)
        assert set(document["paths"]) == {f"/api/{method}" for method in (*METHODS, "batch")}
        publish = document["paths"]["/api/publish"]["post"]
        assert publish["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PublishRequest")
        assert document["components"]["schemas"]["PublishRequest"]["properties"]["data"] == {}
        assert KEY not in response.content.decode()

    async def test_it_is_only_read(self, api: Api) -> None:
        """405."""
        assert (await api.raw("openapi.json")).status_code == 405


class TestKeys:
    async def test_a_holder_is_known_by_its_valid_key_alone(self, configured: Any) -> None:
        """However it was sent; what is no key counts by address, and no key is kept as it is."""
        factory = AsyncRequestFactory()

        def known_as(**headers: str) -> str | None:
            request = factory.post("/api/info", headers={k.replace("_", "-"): v for k, v in headers.items()})
            return holder(Subject(ip="192.0.2.7", request=request))

        mine = known_as(X_API_Key=KEY)
        assert mine == known_as(Authorization=f"apikey {KEY}")
        assert mine != known_as(X_API_Key="l" * 32)
        assert known_as(X_API_Key="wrong") == known_as() == "ip:192.0.2.7"
        assert KEY not in str(mine)
