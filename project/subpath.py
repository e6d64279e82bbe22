"""A site that lies under a path (`ROOT_PATH`, `--root-path`): what is outside of it is not served.

Proxies pass the whole path on, the root path with it. The health of an instance is asked without it too.
"""

from typing import Any

from flotilla.error_pages import PLAIN, answer

HEALTH = "/health/"


def below_root(application: Any) -> "BelowRoot":
    """An ASGI application that serves only what lies below the scope's root path."""
    return BelowRoot(application)


class BelowRoot:
    """The application that `below_root` makes."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def without_asgi(self, scope: dict[str, Any]) -> Any:
        """What takes a WebSocket without ASGI, if anything does (`flotilla.realtime.server.direct`)."""
        return self._application.without_asgi(scope) if _is_below(scope) else None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        root, path = scope.get("root_path") or "", scope.get("path", "")
        if _is_below(scope):
            await self._application(scope, receive, send)
        elif path == root:
            await self._application({**scope, "path": f"{root}/"}, receive, send)
        elif path.startswith(HEALTH):
            await self._application({**scope, "root_path": ""}, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            accept = b", ".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
            said, body = answer(accept, 404, otherwise=PLAIN)
            headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def _is_below(scope: dict[str, Any]) -> bool:
    root = scope.get("root_path") or ""
    return not root or scope.get("path", "").startswith(f"{root}/")
