"""Every example of every command about the cluster, run on two instances: it ends with a status that its help has, and
prints the documents that its help describes. Without Redis each of them says so, and ends with a status of its own.

Commands are found, not listed.
"""

import asyncio
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import load_command_class

from flotilla import apublish
from flotilla.command_line import OurCommand, Status
from flotilla.ratelimit.service import reset_limits
from flotilla.realtime.command_names import our_commands
from flotilla.realtime.management.commands._shell import ClusterCommand
from flotilla.realtime.node.node import Node
from flotilla.store.shards import reset_store
from tests.realtime.client.nodes import ALLOWED, HISTORY, REALTIME
from tests.realtime.management.shell import people
from tests.store import cluster_process

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

LIMITS = {"messages": {"guards": "ws.publish", "key": "user", "rate": "100/m"}}
ENDLESS = {("relay", ""), ("tail", "chat:lobby")}
STOOD_FOR = {"web-1-0": "unit-1", "redis:0": "redis:0", "--seconds 10": "--seconds 0.2"}


def examples() -> Iterator[tuple[str, str]]:
    """Those of commands that ask the cluster or its Redis."""
    for name, app in sorted(our_commands().items()):
        command = load_command_class(app, name)
        if isinstance(command, ClusterCommand) or name == "ratelimit":
            assert isinstance(command, OurCommand)
            shown = (words for words, _ in command.examples if (name, words) not in ENDLESS)
            yield from ((name, words) for words in shown if "redis://" not in words)  # nobody has those


EXAMPLES = list(examples())
EVERY = pytest.mark.parametrize(("name", "words"), EXAMPLES, ids=[f"{name} {words}" for name, words in EXAMPLES])


def made(name: str) -> OurCommand:
    command = load_command_class(our_commands()[name], name)
    assert isinstance(command, OurCommand)
    return command


async def ended(name: str, *words: str) -> int:
    """The exit status that a shell sees."""

    def run() -> int:
        try:
            made(name).run_from_argv(["manage.py", name, *words])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return await asyncio.to_thread(run)


@pytest.fixture
def configured(configured: Any) -> Iterator[Any]:
    """With the namespace and the policy of the examples."""
    chat = {**ALLOWED, **HISTORY, "force_recovery": True, "presence": True}
    configured.REALTIME = REALTIME | {
        "namespaces": REALTIME["namespaces"] | {"chat": chat},
        "without_namespace": {**ALLOWED},
    }
    configured.RATE_LIMITS = LIMITS
    configured.RATE_LIMIT_REDIS_URL = configured.REDIS_URLS[0]
    configured.RATE_LIMIT_BACKGROUND_SYNC = False
    reset_limits()
    yield configured
    reset_limits()


def quick(words: str) -> list[str]:
    """An example as it is run here: on an instance that is there, and not for long."""
    for written, here in STOOD_FOR.items():
        words = words.replace(written, here)
    return shlex.split(words)


@EVERY
async def test_its_examples_do_what_its_help_says(
    node: Node, other: Node, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if cluster_process.CHOSEN and name == "reshard":
        pytest.skip("a Redis Cluster moves its own slots, and is no list that could be changed")
    ann = await sync_to_async(User.objects.create_user)("ann")
    await people(node, str(ann.pk), room="chat:lobby")
    await people(other, str(ann.pk), "x", room="chat:lobby")
    for number in range(10):  # as many as `tail` is asked for
        await apublish("chat:lobby", {"number": number})
    command, asked = made(name), [*quick(words), *([] if "--json" in words else ["--json"])]
    capsys.readouterr()
    status = await ended(name, *asked)
    told = capsys.readouterr()
    assert status in command.meanings(), told.err
    assert bool(told.err) is (status != Status.DONE), told.err
    assert told.err.count("\n") <= 1
    if status in (Status.USAGE, Status.AWAY):
        raise AssertionError(told.err)
    for document in told.out.splitlines() if command.lines else [told.out]:
        assert document or status == Status.NOT_DONE
        if document:
            keeps_its_shape(command, json.loads(document))
    assert await ended(name, *quick(words.replace("--json", ""))) in command.meanings()
    in_words = capsys.readouterr()
    assert in_words.out or in_words.err


def keeps_its_shape(command: OurCommand, document: dict[str, Any]) -> None:
    """Every key is there, in the order in which they are said; rows have no others."""
    assert list(document) == list(command.shape)
    for key, row_keys in command.shape.items():
        rows = document[key] if isinstance(document[key], list) else [document[key]] if row_keys else []
        for row in rows if row_keys else []:
            assert row is None or row.keys() <= set(row_keys), key


@EVERY
async def test_without_redis_it_says_so_with_a_status_of_its_own(
    configured: Any, tmp_path: Any, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    if name == "ratelimit" and words.split()[0] in ("policies", "test"):
        return  # these ask nobody
    await sync_to_async(User.objects.create_user)("ann")
    configured.REDIS_URLS = [f"unix://{tmp_path}/nobody.sock"]
    configured.RATE_LIMIT_REDIS_URL = configured.REDIS_URLS[0]
    reset_store()
    reset_limits()
    assert await ended(name, *quick(words)) == Status.AWAY
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "Redis" in told.err


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("unblock --user ann", Status.NOT_DONE),  # there is no such block
        ("disconnect --user nobody", Status.NOT_DONE),
        ("disconnect", Status.USAGE),  # whom?
        ("disconnect --user ann --code 9", Status.USAGE),
        ("publish chat:lobby {", Status.USAGE),
        ("publish nowhere:a 1", Status.NOT_DONE),
        ("history chat:lobby --after x", Status.USAGE),
        ("history plain:a", Status.NOT_DONE),
        ("explain_access ann closed:a", Status.NOT_DONE),
        ("explain_access ann chat:lobby", Status.DONE),
        ("top --by deliveries --per user", Status.USAGE),
        ("top --seconds 0.1", Status.DONE),
        ("what_if restart nowhere", Status.NOT_DONE),
        ("affected --redis 255", Status.NOT_DONE),
        ("affected --instance nowhere", Status.NOT_DONE),
        ("changes --since yesterday", Status.USAGE),
        ("received ann", Status.NOT_DONE),  # she is not connected
        ("ratelimit show nowhere user:ann", Status.NOT_DONE),
        ("ratelimit show messages ip:192.0.2.1", Status.NOT_DONE),
        ("ratelimit test often", Status.USAGE),
        ("flotilla nosuch", Status.USAGE),
    ],
)
async def test_statuses(node: Node, line: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What is refused is told from a line that makes no sense."""
    await sync_to_async(User.objects.create_user)("ann")
    await people(node, "x", room="chat:lobby")
    assert await ended(*shlex.split(line)) == status, capsys.readouterr().err
