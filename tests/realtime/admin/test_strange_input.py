"""Every page and every action of the admin, given what no page of ours sends: it is answered, and hits nobody."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from flotilla.realtime.admin.base import LiveAdmin
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, people, staff

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

NUMBERS = ["-1", "1e999", "nan", "9" * 19, "9" * 20, "9" * 5000, str(2**63), str(2**64), "٣", "²"]
TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud7ff\uffff",
    "é" * 400,
    "x" * 9000,
    "[",
    "%00",
    "'\"<script>",
    "u:",
    "a:",
    "10.0.0.300",
]
MORE = [
    "0",
    "1.5",
    "0x10",
    "1_000",
    "１２３",
    "*",
    "\\",
    "%",
    "{}",
    "[1,2",
    ":",
    "../..",
    "\r\n",
    "null",
    "open:a ",
    "💥" * 50,
]
STRANGE = NUMBERS + TEXTS + MORE
FEW = ["9" * 20, "9" * 5000, "٣", "", "\0", "é" * 400]
PARAMETERS = ("q", "user", "channel", "after", "rows", "p", "o", "all", "policy__exact", "exempt__exact", "e")
SENSIBLE = {"kind": "user", "whom": "nobody", "channel": "plain:x", "seconds": "1", "data": "1", "note": "n"}
INPUTS = {"seconds": ("duration", "seconds"), "whom": ("kind", "whom")}  # of an action's fields


@pytest.fixture
def root(transactional_db: None) -> Client:
    call_command("migrate", verbosity=0)
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def pages() -> Iterator[tuple[str, type]]:
    """The addresses of our apps' pages, and what serves them."""
    for model, served in admin.site._registry.items():
        if model.__module__.startswith("flotilla."):
            yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/", type(served)
    yield "/admin/flotilla_realtime/channel/open_3Aa/change/", admin.site.get_model_admin(_channel()).__class__
    yield "/admin/flotilla_ratelimit/personallimit/add/", object
    yield "/admin/flotilla_ratelimit/personallimit/hottest/", object
    yield "/admin/flotilla_ratelimit/personallimit/1/change/", object


def _channel() -> Any:
    return next(model for model in admin.site._registry if model._meta.label == "flotilla_realtime.Channel")


async def test_no_query_is_a_fault_of_ours(node: Node, root: Client) -> None:
    """Each parameter by itself, and all at once."""
    await people(node, "1", "9" * 30)
    for page, _ in pages():
        own = [{name: [value, "1"]} for name in PARAMETERS[:4] for value in FEW[:3]]
        for query in (*own, *(dict.fromkeys(PARAMETERS, value) for value in NUMBERS + TEXTS)):
            answer = await sync_to_async(root.get)(f"{page}?{urlencode(query, doseq=True)}")
            assert answer.status_code < 500, (page, str(query)[:60])


async def test_no_name_in_a_path_is_a_fault_of_ours(node: Node, root: Client) -> None:
    for value in STRANGE:
        for page in ("realtime/channel", "ratelimit/personallimit", "realtime/connection"):
            answer = await sync_to_async(root.get)(f"/admin/{page}/{quote(value, safe='')}/change/")
            assert answer.status_code < 500, (page, value[:30])


async def test_no_form_is_a_fault_of_ours_and_none_hits_who_was_not_selected(node: Node, root: Client) -> None:
    (peer,) = await people(node, "1")
    for page, served in pages():
        for name, act in served.acts.items() if issubclass(served, LiveAdmin) else ():
            wanted = ["selected", *(one for field in act.fields for one in INPUTS.get(field, (field,)))]
            form = {**SENSIBLE, "action": name, "selected": "nobody"}
            for field, value in ((field, value) for field in wanted for value in FEW):
                for meant in ({}, {"confirmed": "yes"}):
                    answer = await sync_to_async(root.post)(page, form | {field: [value, value]} | meant)
                    assert answer.status_code < 500, (page, name, field, value[:30])
    assert peer.client.id not in {entry.object_id for entry in await sync_to_async(list)(LogEntry.objects.all())}
    assert not node.draining


async def test_no_personal_limit_is_a_fault_of_ours(root: Client) -> None:
    page = "/admin/flotilla_ratelimit/personallimit/add/"
    for field in ("policy", "user", "group", "api_key", "exempt", "rate", "note"):
        for value in NUMBERS if field in ("user", "rate") else FEW:
            answer = await sync_to_async(root.post)(page, {"policy": "x", "rate": "1/s", field: [value, value]})
            assert answer.status_code < 500, (field, value[:30])


async def test_an_action_on_a_row_without_a_name_is_an_action_on_nobody(node: Node) -> None:
    """For the API a subscription of no user and no client is everybody's; a page means what was selected."""
    one, two = await people(node, "1", "2")
    boss = await staff("connection", "view_connection", "control_connection", "control_connecteduser")
    for selected in ({}, {"selected": ""}, {"selected": ["", ""]}, {"selected": ["\0"]}):
        for action in ("unsubscribe", "disconnect", "message"):
            page = await boss.post(action=action, channel=ROOM, data="1", **selected)
            assert b"Select at least one row." in page.content, (action, selected)
    mixed = ["", one.client.id, one.client.id]
    assert b"1 subscription ended." in (await boss.post(action="unsubscribe", channel=ROOM, selected=mixed)).content
    assert ROOM in two.client.subscriptions
    assert not [line for line in two.socket.lines if "message" in line.get("push", {})]


@pytest.mark.parametrize("after", ["9" * 19, "9" * 30, str(2**63), str(2**64), "9" * 5000, "٣", "-1", "\0", "x", ""])
async def test_a_cursor_that_is_none_begins_anew(node: Node, root: Client, after: str) -> None:
    await people(node, "1")
    query = urlencode({"after": after})
    page = await sync_to_async(root.get)(f"/admin/flotilla_realtime/channel/open_3Aa/change/?{query}")
    assert [one["user"] for one in page.context["people"]] == ["1"] or len(after) == 19
    assert (await sync_to_async(root.get)(f"/admin/flotilla_realtime/block/?{query}")).status_code == 200


async def test_a_user_beyond_every_column_is_shown_by_id(node: Node, root: Client) -> None:
    """A token may say so; no database could be asked for it."""
    huge = "9" * 30
    await people(node, "1", huge)
    for page in ("connection", "connecteduser"):
        assert huge.encode() in (await sync_to_async(root.get)(f"/admin/flotilla_realtime/{page}/")).content


async def test_only_what_a_client_can_come_from_is_blocked(node: Node) -> None:
    """The rest is refused with what to write instead: it would match nobody."""
    boss = await staff("block", "control_block")
    wanted = {"action": "block", "kind": "address", "duration": "600"}
    for typed in ("10.9.9.9/8", "10.0.0.300", "2001:db8::/32", "10.0.0.1:80"):
        page = await boss.post(**wanted, whom=typed)
        assert b"write" in page.content, typed
        assert b"1 blocked" not in page.content, typed
    assert not (await boss.get()).context["page"].rows
    assert b"1 blocked" in (await boss.post(**wanted, whom=" ::ffff:192.0.2.1 ")).content
    assert b"1 blocked" in (await boss.post(**wanted, whom="2001:db8::9/64")).content
    rows = (await boss.get()).context["page"].rows
    assert sorted(row["name"] for row in rows) == ["192.0.2.1", "2001:db8::/64"]
    assert b"2 unblocked." in (await boss.post(action="unblock", selected=[row["who"] for row in rows])).content
