"""A site that lies under a path (`ROOT_PATH`, `--root-path`): what is outside of it is not served.

Proxies pass the whole path on, the root path with it. The health of an instance is asked without it too.
"""

from typing import Any

from flotilla.error_pages import PLAIN, answer

HEALTH = "/health/"


def below_root(application: Any) -> Any:
    """An ASGI application that serves only what lies below the scope's root path."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        root, path = scope.get("root_path") or "", scope.get("path", "")
        if not root or path.startswith(f"{root}/"):
            await application(scope, receive, send)
        elif path == root:
            await application({**scope, "path": f"{root}/"}, receive, send)
        elif path.startswith(HEALTH):
            await application({**scope, "root_path": ""}, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            accept = b", ".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
            said, body = answer(accept, 404, otherwise=PLAIN)
            headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return guarded
