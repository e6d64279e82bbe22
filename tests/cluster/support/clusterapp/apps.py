"""Registers RPC methods, message handlers and receivers of signals, as a project's app would."""

import json
import os
import time
from typing import Any

from django.apps import AppConfig


class ClusterAppConfig(AppConfig):
    """The app."""

    name = "tests.cluster.support.clusterapp"

    def ready(self) -> None:
        from django.contrib.auth.models import User

        from flotilla import apublish
        from flotilla.realtime import rpc
        from flotilla.realtime.protocol.codes import CommandError

        @rpc.method("count_users")
        def count_users(user: Any, data: Any) -> dict[str, Any]:
            return {"count": User.objects.filter(username__startswith=data["prefix"]).count(), "asked_by": str(user)}

        @rpc.method("echo")
        async def echo(user: Any, data: Any) -> Any:
            return data

        @rpc.method("refuse")
        async def refuse(user: Any, data: Any) -> Any:
            raise CommandError(data["code"], data["message"])

        @rpc.method("break")
        async def break_down(user: Any, data: Any) -> Any:
            raise RuntimeError("a method of the tests that always fails")

        @rpc.method("unspeakable")
        async def unspeakable(user: Any, data: Any) -> Any:
            return object()

        @rpc.on_message
        async def publish_message(user: Any, data: Any) -> None:
            if data == "break":
                raise RuntimeError("a message handler of the tests that fails")
            if data == "refuse":
                raise CommandError(1042)
            await apublish("open:sent", {"from": str(user), "data": data})

        if path := os.environ.get("CLUSTERAPP_LIFECYCLE"):
            _note_lifecycle(path)


def _note_lifecycle(path: str) -> None:
    """Write down who comes and goes, a line each; as slowly as a receiver that asks a database."""
    from flotilla.realtime.signals import on_connect, on_disconnect

    def note(what: str, facts: dict[str, Any]) -> None:
        line = {"what": what} | {key: facts.get(key) for key in ("client", "instance", "reason")}
        with open(path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def connected(**facts: Any) -> None:
        note("connect", facts)

    def disconnected(**facts: Any) -> None:
        time.sleep(0.06)
        note("disconnect", facts)

    on_connect.connect(connected, weak=False)
    on_disconnect.connect(disconnected, weak=False)
