"""Registers RPC methods and message handlers, as a project's app would."""

from typing import Any

from django.apps import AppConfig


class ClusterAppConfig(AppConfig):
    """The app."""

    name = "clusterapp"

    def ready(self) -> None:
        from django.contrib.auth.models import User

        from realtime import apublish, rpc
        from realtime.protocol.codes import CommandError

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
