"""JSON that is valid and yet unusual, and what is too large, over the HTTP API and from Python."""

import base64
import json
from typing import Any

import msgspec
import pytest

from flotilla import abroadcast, ahistory, apresence, apublish, make_connection_token
from flotilla.realtime.api.methods import METHODS
from flotilla.realtime.api.publishing import encode_data
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import placement_of
from tests.realtime.api.test_views import ROOM, Api, api
from tests.realtime.client.nodes import REALTIME
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio

HALF = "x\\ud83d"  # as it is written in JSON
TEXT = "x\ud83d"  # as Python has it


class TestHalfAnEmoji:
    async def test_a_payload_is_kept_byte_for_byte(self, api: Api, node: Node) -> None:
        """By publish, broadcast and batch, as JSON and in base64; subscribers and history have it."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe(ROOM)
        data = f'{{"t":"{HALF}"}}'
        encoded = base64.b64encode(data.encode()).decode()
        command = f'{{"publish":{{"channel":"{ROOM}","data":{data}}}}}'
        for method, body in (
            ("publish", f'{{"channel":"{ROOM}","data":{data}}}'),
            ("publish", f'{{"channel":"{ROOM}","b64data":"{encoded}"}}'),
            ("broadcast", f'{{"channels":["{ROOM}","plain:a"],"data": {{ "t" : "{HALF}" }} }}'),
            ("batch", f'{{"commands":[{command}]}}'),
        ):
            assert b"error" not in (await api.raw(method, body)).content
        await until(lambda: len(peer.data(ROOM)) == 4)
        assert peer.data(ROOM) == [{"t": TEXT}] * 4
        raw = (await api.raw("history", f'{{"channel":"{ROOM}","limit":-1}}')).content
        assert raw.count(data.encode()) == 4

    async def test_others_of_a_batch_or_broadcast_are_not_touched(self, api: Api) -> None:
        """Whose name it is, has its error."""
        commands = [
            f'{{"publish":{{"channel":"{ROOM}","data":1}}}}',
            f'{{"publish":{{"channel":"open:{HALF}","data":1}}}}',
            f'{{"{HALF}":{{}}}}',
            f'{{"publish":{{"channel":"{ROOM}","data":"{HALF}"}}}}',
        ]
        replies = json.loads((await api.raw("batch", f'{{"commands":[{",".join(commands)}]}}')).content)["replies"]
        assert ["publish" in reply for reply in replies] == [True, False, False, True]
        assert [reply["error"]["code"] for reply in replies[1:3]] == [107, 104]
        body = f'{{"channels":["{ROOM}","open:{HALF}","plain:a"],"data":3}}'
        responses = json.loads((await api.raw("broadcast", body)).content)["result"]["responses"]
        assert ["result" in response for response in responses] == [True, False, True]
        assert responses[1]["error"]["code"] == 107
        assert await api.data() == [1, TEXT, 3]

    @pytest.mark.parametrize(
        ("method", "member"),
        [
            ("publish", "idempotency_key"),
            ("publish", "version_epoch"),
            ("presence", "channel"),
            ("disconnect", "user"),
            ("subscribe", "client"),
            ("unsubscribe", "session"),
            ("rpc", "method"),
            ("channels", "pattern"),
        ],
    )
    async def test_a_name_is_a_bad_request(self, api: Api, method: str, member: str) -> None:
        """107, saying which."""
        response = await api.raw(method, f'{{"{member}":"{HALF}"}}')
        answer = json.loads(response.content)
        assert (response.status_code, answer["error"]["code"]) == (200, 107)
        assert member in answer["error"]["message"]

    async def test_tags_and_info_travel(self, api: Api, node: Node) -> None:
        """They are shown to clients as payloads are."""
        peer = Peer(node)
        await peer.connect(token=make_connection_token("7"))
        await until(lambda: node.heartbeat.alive)
        await api.raw("subscribe", f'{{"user":"7","channel":"{ROOM}","info":"{HALF}","data":"{HALF}"}}')
        assert peer.pushes("subscribe", ROOM)[0]["data"] == TEXT
        await api.raw("publish", f'{{"channel":"{ROOM}","data":1,"tags":{{"a{HALF}":"{HALF}"}}}}')
        (publication,) = await until(lambda: peer.pushes("pub", ROOM))
        assert publication["tags"] == {f"a{TEXT}": TEXT}
        assert (await apresence(ROOM))[peer.client.id]["chan_info"] == TEXT

    async def test_from_python_too(self, node: Node) -> None:
        """What Python's own json makes of it is written as an escape, and read back as it was."""
        data = {TEXT: [TEXT, 1, None, {"n": TEXT}]}
        await apublish(ROOM, data, tags={"t": TEXT})
        await abroadcast([ROOM], (TEXT,))
        found = (await ahistory(ROOM)).publications
        assert found == [{"offset": 1, "data": data, "tags": {"t": TEXT}}, {"offset": 2, "data": [TEXT]}]
        assert encode_data({"a": TEXT, 1: float("nan")}) == b'{"a":"x\\ud83d","1":null}'
        with pytest.raises(TypeError):
            encode_data([TEXT, object()])


@pytest.mark.parametrize("levels", [257, 5000])
async def test_nesting_is_each_command_s_own_fault(api: Api, levels: int) -> None:
    """107; others of the batch are not touched."""
    deep = "[" * levels + "]" * levels
    commands = [f'{{"publish":{{"channel":"{ROOM}","data":{data}}}}}' for data in ("1", deep, f'"{HALF}"')]
    replies = json.loads((await api.raw("batch", f'{{"commands":[{",".join(commands)}]}}')).content)["replies"]
    assert [next(iter(reply)) for reply in replies] == ["publish", "error", "publish"]
    assert replies[1]["error"]["code"] == 107
    response = await api.raw("publish", f'{{"channel":"{ROOM}","data":{deep}}}')
    assert (response.status_code, json.loads(response.content)["error"]["code"]) == (200, 107)
    assert await api.data() == [1, TEXT]


async def test_history_reads_every_number_that_was_published(node: Node, api: Api) -> None:
    """Also one beyond a float's range."""
    for number in ("1e400", "-" + "1" * 40):
        await api.raw("publish", f'{{"channel":"{ROOM}","data":{number}}}')
    found = [one["data"] for one in (await ahistory(ROOM)).publications]
    assert found == [float("inf"), -int("1" * 40)]


def _members() -> list[tuple[str, str]]:
    return [(method, field.name) for method, (kind, _) in METHODS.items() for field in msgspec.structs.fields(kind)]


class TestNulls:
    @pytest.mark.parametrize(("method", "member"), _members())
    async def test_a_null_is_an_absent_member(self, api: Api, node: Node, method: str, member: str) -> None:
        """Of every method: the answer is as without it, but for payloads."""
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        given: dict[str, Any] = {"channel": ROOM, "channels": [ROOM], "data": 1, "user": "nobody", "method": "none"}
        kind = METHODS[method][0]
        asked = {name: value for name, value in given.items() if name in kind.__struct_fields__ and name != member}

        async def told(body: dict[str, Any]) -> Any:
            return json.loads((await api.raw(method, json.dumps(body))).content)

        absent, null = await told(asked), await told(asked | {member: None})
        if member == "data" and method in ("publish", "broadcast"):
            assert "error" in absent
            assert "result" in null
            assert await api.data() == [None]
            return
        for answer in (absent, null):
            for part in (answer.get("result", {}), *answer.get("result", {}).get("responses", ())):
                part.pop("offset", None)
                part.get("result", {}).pop("offset", None)
                part.pop("nodes", None)
        assert null == absent

    async def test_further_down_too(self, api: Api) -> None:
        """In positions and overrides, among tags, commands and parameters."""
        body = {"channel": ROOM, "limit": None, "since": {"offset": None, "epoch": None}, "reverse": None}
        assert "result" in await api("history", **body)
        assert "result" in await api("publish", channel=ROOM, data=1, tags={"a": None, "b": "c"})
        assert (await api("history", channel=ROOM, limit=-1))["result"]["publications"][0]["tags"] == {"b": "c"}
        override = {"presence": None, "join_leave": {"value": True}}
        assert "result" in await api("subscribe", user="7", channel=ROOM, override=override, recover_since=None)
        assert "result" in await api("disconnect", user="7", disconnect={"code": None, "reason": None}, whitelist=None)
        replies = (await api("batch", commands=[{"info": None}, None, {"publish": None}]))["replies"]
        assert [next(iter(reply)) for reply in replies] == ["info", "error", "error"]
        assert [reply["error"]["code"] for reply in replies[1:]] == [104, 107]
        responses = (await api("broadcast", channels=[None, ROOM], data=1))["result"]["responses"]
        assert [next(iter(response)) for response in responses] == ["error", "result"]

    async def test_info_that_is_null_is_none(self, api: Api, node: Node) -> None:
        peer = Peer(node)
        await peer.connect(token=make_connection_token("7", info={"n": 1}))
        await until(lambda: node.heartbeat.alive)
        await api("subscribe", user="7", channel=ROOM, info=None)
        await api("refresh", user="7", info=None)
        (member,) = (await apresence(ROOM)).values()
        assert member == {"user": "7", "client": peer.client.id, "conn_info": {"n": 1}}

    async def test_a_body_that_is_null_is_an_empty_one(self, api: Api) -> None:
        assert (await api.raw("info", b" null\n")).status_code == 200


class TestNumbers:
    async def test_a_whole_number_is_one_however_it_is_written(self, api: Api) -> None:
        for number in range(3):
            await api("publish", channel=ROOM, data=number)
        raw = await api.raw("history", f'{{"channel":"{ROOM}","limit":2.0,"since":{{"offset":1e0}}}}')
        assert [one["data"] for one in json.loads(raw.content)["result"]["publications"]] == [1, 2]

    @pytest.mark.parametrize("body", ['"limit":1.5', '"limit":2147483648', '"since":{"offset":18446744073709551616}'])
    async def test_what_is_no_number_of_the_api_is_400(self, api: Api, body: str) -> None:
        assert (await api.raw("history", f'{{"channel":"{ROOM}",{body}}}')).status_code == 400

    async def test_a_byte_order_mark_is_no_json(self, api: Api) -> None:
        assert (await api.raw("info", b"\xef\xbb\xbf{}")).status_code == 400


class TestTooLarge:
    async def test_a_body_is_413_in_json(self, api: Api, configured: Any) -> None:
        """Whatever the method, with a length that was said or not."""
        configured.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        for method in ("publish", "batch"):
            response = await api.raw(method, json.dumps({"channel": ROOM, "data": "x" * 1000}))
            assert (response.status_code, response["Content-Type"]) == (413, "application/json")
            assert json.loads(response.content)["error"]["code"] == 413
        assert (await api.raw("publish", json.dumps({"channel": ROOM, "data": "x" * 900}))).status_code == 200
        assert (await api.raw("publish", "x" * 1001, X_API_Key="wrong")).status_code == 401

    async def test_what_no_client_could_be_sent_is_refused(self, api: Api, configured: Any, node: Node) -> None:
        """107 with words, each for itself, where it would be kept; Python gets the exception at once."""
        configured.REALTIME = REALTIME | {"max_outgoing_bytes": 5000}
        get_config.reset()
        assert get_config().max_outgoing_bytes == 5000
        large = "x" * 5000
        error = (await api("publish", channel=ROOM, data=large))["error"]
        assert error["code"] == 107
        assert "too large" in error["message"]
        responses = (await api("broadcast", channels=[ROOM, "plain:a"], data=large))["result"]["responses"]
        assert [next(iter(response)) for response in responses] == ["error", "result"]
        commands = [{"publish": {"channel": ROOM, "data": data}} for data in (1, large, 2)]
        replies = (await api("batch", commands=commands))["replies"]
        assert [next(iter(reply)) for reply in replies] == ["publish", "error", "publish"]
        with pytest.raises(CommandError, match="too large"):
            await apublish(ROOM, large)
        await apublish("plain:a", large)
        assert await api.data() == [1, 2]


class TestVersions:
    async def test_what_is_not_newer_is_dropped(self, api: Api, node: Node) -> None:
        """And answered with the position, by every way of publishing."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe(ROOM)
        first = (await api("publish", channel=ROOM, data=2, version=2))["result"]
        assert first["offset"] == 1
        for old in (1, 2):
            assert (await api("publish", channel=ROOM, data="old", version=old))["result"] == first
        assert tuple(await apublish(ROOM, "old", version=2)) == (1, first["epoch"])
        body = await api("broadcast", channels=[ROOM, "plain:a"], data="old", version=1)
        assert body["result"]["responses"] == [{"result": first}, {"result": {}}]
        replies = (await api("batch", commands=[{"publish": {"channel": ROOM, "data": "old", "version": 2}}]))[
            "replies"
        ]
        assert replies == [{"publish": first}]
        assert (await apublish(ROOM, 3, version=3)).offset == 2
        assert (await api("publish", channel=ROOM, data="none"))["result"]["offset"] == 3
        assert (await apublish(ROOM, "old", version=3)).offset == 3
        await until(lambda: len(peer.data(ROOM)) == 3)
        assert peer.data(ROOM) == await api.data() == [2, 3, "none"]

    async def test_another_version_epoch_counts_from_anew(self, api: Api) -> None:
        """One that is not said goes on with the one that is known."""
        for version, epoch, offset in (
            (9, "a", 1),
            (9, "a", 1),
            (1, "b", 2),
            (1, "b", 2),
            (9, "a", 3),
            (9, "", 3),
            (10, "", 4),
            (10, "a", 4),
            (0, "x", 5),
            (10, "a", 5),
            (10, "c", 6),
            (10, "", 6),
        ):
            place = await apublish(ROOM, version, version=version, version_epoch=epoch)
            assert place.offset == offset, (version, epoch)

    async def test_versions_are_compared_exactly(self, api: Api) -> None:
        """To their last digit, up to 64 bits; beyond is an error."""
        for version, offset in (
            (2**53, 1),
            (2**53 + 1, 2),
            (2**53, 2),
            (2**53 + 1, 2),
            (2**63 + 1, 3),
            (2**63, 3),
            (2**64 - 1, 4),
            (2**64 - 2, 4),
            (9, 4),
        ):
            place = (await api("publish", channel=ROOM, data=0, version=version))["result"]
            assert place["offset"] == offset, version
        assert (await api("publish", channel=ROOM, data=0, version=2**64))["error"]["code"] == 107
        assert (await api.raw("publish", f'{{"channel":"{ROOM}","data":0,"version":-1}}')).status_code == 400
        for impossible in (-1, 2**64):
            with pytest.raises(CommandError):
                await apublish(ROOM, 0, version=impossible)

    async def test_without_history_there_is_nothing_to_compare_with(self, api: Api, node: Node) -> None:
        """Each is sent; so is one that skips history."""
        peer = Peer(node)
        await peer.connect()
        for channel in ("plain:a", ROOM):
            await peer.subscribe(channel)
        await apublish(ROOM, 1, version=5)
        for _ in range(2):
            await apublish("plain:a", 1, version=5)
            await apublish(ROOM, 2, version=1, skip_history=True)
        await until(lambda: (len(peer.data("plain:a")), len(peer.data(ROOM))) == (2, 3))

    async def test_a_repeat_by_its_key_has_the_first_one_s_place(self, api: Api) -> None:
        """Also of one that was dropped."""
        await apublish(ROOM, 1, version=5)
        dropped = await apublish(ROOM, 2, version=4, idempotency_key="k")
        await apublish(ROOM, 3)
        assert await apublish(ROOM, 2, version=4, idempotency_key="k") == dropped
        assert dropped.offset == 1

    async def test_a_new_stream_knows_no_version(self, api: Api, node: Node) -> None:
        await apublish(ROOM, 1, version=5)
        await node.store.shard_for(placement_of(ROOM)).execute(
            "DEL", placement_of(ROOM).key("meta"), placement_of(ROOM).key("stream")
        )
        await apublish(ROOM, 2, version=1)
        assert await api.data() == [2]
