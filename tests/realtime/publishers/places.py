"""Where projects publish from, each in a process of its own: `python -m tests.realtime.publishers.places PLACE`.

A process ends by itself when it has published three times into `room`, as a project's would: nothing is closed for it.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django

if __name__ == "__main__":
    django.setup()

from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from flotilla import apublish, publish

ROOM = "room"


def view(request: HttpRequest) -> HttpResponse:
    """In a transaction."""
    with transaction.atomic():
        publish(ROOM, "view")
    return HttpResponse("done")


async def async_view(request: HttpRequest) -> HttpResponse:
    """At once, and in a transaction in a thread."""
    await apublish(ROOM, "async view", on_error="log")
    await sync_to_async(committed)("async view")
    return HttpResponse("done")


urlpatterns = [path("view/", view), path("async/", async_view)]


def committed(data: str, using: str | None = None) -> None:
    """One publication, after a commit."""
    with transaction.atomic(using):
        publish(ROOM, data, using=using)


def from_views() -> None:
    """Three requests of a WSGI server."""
    for _ in range(3):
        assert Client().get("/view/").status_code == 200


def from_async_views() -> None:
    """Two requests of an ASGI server, with three publications in all."""

    async def asked() -> None:
        assert (await AsyncClient().get("/async/")).status_code == 200
        await apublish(ROOM, "coroutine", on_error="log")

    asyncio.run(asked())


def from_a_command() -> None:
    """As manage.py calls it."""
    for number in range(3):
        call_command("publish", ROOM, str(number))


def from_threads() -> None:
    """A pool, whose threads outlive their work."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(committed, ["thread"] * 3))


def from_a_thread_that_goes_on() -> None:
    """A daemon, as schedulers have it: it is still there when the process ends."""
    published = threading.Event()

    def work() -> None:
        for _ in range(3):
            committed("daemon")
        published.set()
        threading.Event().wait()

    threading.Thread(target=work, daemon=True).start()
    assert published.wait(30)


def from_several_loops() -> None:
    """A new event loop each time: asyncio.run, async_to_sync, and one in another thread."""
    asyncio.run(sent("run"))
    async_to_sync(sent)("async_to_sync")
    thread = threading.Thread(target=lambda: asyncio.run(sent("thread")))
    thread.start()
    thread.join()


async def sent(data: str) -> None:
    """One publication."""
    await apublish(ROOM, data, on_error="log")


def from_forked_processes() -> None:
    """As servers fork their workers: the first process has published already, from a thread and from a loop."""
    committed("before")
    asyncio.run(sent("before"))
    children = [forked(lambda: (committed("child"), asyncio.run(sent("child")))) for _ in range(2)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    committed("after")


def forked(work: Callable[[], object]) -> int:
    """Another process that does this; its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def from_another_database() -> None:
    """A transaction of the database that is named is waited for, and of no other."""
    with transaction.atomic("other"):
        publish(ROOM, "third", using="other")
        assert publish(ROOM, "first") is not None
        with transaction.atomic():
            publish(ROOM, "second")
    try:
        with transaction.atomic("other"):
            publish(ROOM, "never", using="other")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


PLACES = {
    "views": from_views,
    "async views": from_async_views,
    "a command": from_a_command,
    "threads": from_threads,
    "a thread that goes on": from_a_thread_that_goes_on,
    "several loops": from_several_loops,
    "forked processes": from_forked_processes,
    "another database": from_another_database,
}

if __name__ == "__main__":
    PLACES[sys.argv[1]]()
