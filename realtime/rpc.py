"""RPC methods and message handlers of Django apps, callable by clients over their connection.

    @rpc.method("orders.total")
    def total(user, data):
        return {"total": Order.objects.filter(owner=user).count()}

A method gets the Django user (or the user id where there is no such user, None for anonymous clients) and the decoded
data, and returns what JSON can hold. It may be a coroutine, or synchronous and use the ORM. CommandError(code, message)
becomes the client's error; any other exception is logged and answered with error 100.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Handler = Callable[[Any, Any], Any]
Function = TypeVar("Function", bound=Handler)

methods: dict[str, Handler] = {}
message_handlers: list[Handler] = []


def method(name: str) -> Callable[[Function], Function]:
    """Register the decorated function as the RPC method `name`."""

    def register(function: Function) -> Function:
        if name in methods:
            raise ValueError(f"an RPC method {name!r} is registered already")
        methods[name] = function
        return function

    return register


def on_message(function: Function) -> Function:
    """Register the decorated function for what clients `send`: (user, data), no answer."""
    message_handlers.append(function)
    return function
