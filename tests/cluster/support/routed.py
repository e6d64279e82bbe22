"""The project's application behind one that sees every connection, as a middleware of a project's own would: nothing of
it is served without ASGI. `make test-routed` runs the tests of connections on it.
"""

from typing import Any

from project.asgi import application as project_application


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same, passed through."""
    await project_application(scope, receive, send)
