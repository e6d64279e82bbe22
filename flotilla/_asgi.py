"""`flotilla.asgi`: one line in a project's `asgi.py` that puts the platform beside the project's own applications.

    http       /health/… (whatever the Host header says, and without a database thread) → /connection/websocket (a
               handshake that lost its upgrade) → /connection/http_stream, /connection/sse, /connection/uni_sse and
               /emulation (clients without WebSockets) → the API's keys, before a body is read → the project's own
    websocket  /connection/websocket → the platform, without ASGI where our server serves and no application is around
               this one (`flotilla.realtime.server.direct`); everything else → the project's own
    lifespan   starts and drains the node; the project's own is around it
    any other  the project's own

Imports nothing that needs Django's apps until it is called, for it is named before they are ready.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("flotilla.asgi")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

MEND = (
    "Pass the project's own WebSocket application on in asgi.py: "
    "flotilla.asgi(get_asgi_application(), websocket=URLRouter(…))"
)


def asgi(
    application: Application | None = None, websocket: Application | None = None, *, health: str | None = "/health/"
) -> "Stack":
    """The project's ASGI application with the platform in it.

        application = flotilla.asgi(get_asgi_application(), websocket=AuthMiddlewareStack(URLRouter(patterns)))

    `application` answers HTTP and whatever else is not ours: Django's (which is made where none is given), one around
    it, or a Channels ProtocolTypeRouter, whose WebSocket part is used. Its lifespan is served, if it has one.
    `websocket` gets every WebSocket but those for `/connection/websocket`, with their scopes as they came; it may
    refuse with an exception "No route found", as URLRouter does. `health` is the path below which `live` and `ready`
    are answered; None leaves both to the project. All paths are below the server's root path where they begin with it.

    Call it after Django was set up (`get_asgi_application()` does that) and its settings are chosen
    (DJANGO_SETTINGS_MODULE); `import flotilla` may come before.
    """
    from channels.routing import ProtocolTypeRouter
    from django.core.asgi import get_asgi_application
    from django.core.handlers.asgi import ASGIHandler

    if application is None:
        application = get_asgi_application()
    http = application
    own_lifespan: Application | None = application
    if isinstance(application, ProtocolTypeRouter):
        kinds = application.application_mapping
        http = application if "http" in kinds else get_asgi_application()
        websocket = websocket or (application if "websocket" in kinds else None)
        own_lifespan = application if "lifespan" in kinds else None
    elif isinstance(application, ASGIHandler):
        own_lifespan = None  # Django has none
    return Stack(application, http, websocket, own_lifespan, health)


class Stack:
    """The ASGI application that `asgi` makes."""

    def __init__(
        self,
        other: Application,
        http: Application,
        websocket: Application | None,
        own_lifespan: Application | None,
        health: str | None,
    ) -> None:
        from flotilla.monitoring.endpoints import live, ready
        from flotilla.realtime.api.bodies import unread_without_key
        from flotilla.realtime.lifespan import lifespan, lifespan_around, start_with_daphne
        from flotilla.realtime.node.entrance import take
        from flotilla.realtime.routing import ENDPOINT, RESPONSES, endpoint, without_upgrade
        from flotilla.store.once import Once

        self._other = other
        self._pages: dict[str, Application] = {ENDPOINT: without_upgrade, **RESPONSES}
        if health is not None:
            self._pages |= {f"{health}live": live, f"{health}ready": ready}
        self._http = unread_without_key(http)
        self._endpoint, self._serve_endpoint, self._take = ENDPOINT, endpoint, take
        self._websocket = websocket
        self._lifespan = lifespan if own_lifespan is None else lifespan_around(own_lifespan)
        self._once = Once()
        start_with_daphne()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._pages.get(path_below_root(scope), self._http)(scope, receive, send)
        elif kind == "websocket":
            await self._route_websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._other(scope, receive, send)

    def without_asgi(self, scope: Scope) -> Callable[[Any], Any] | None:
        """What takes a WebSocket without ASGI, if anything does (`flotilla.realtime.server.direct`)."""
        return self._take if path_below_root(scope) == self._endpoint else None

    async def _route_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if path_below_root(scope) == self._endpoint:
            await self._serve_endpoint(scope, receive, send)
        elif self._websocket is None:
            await self._refuse(scope, receive, send, f"there is no application for it. {MEND}")
        else:
            try:
                await self._websocket(scope, receive, send)
            except ValueError as error:  # as Channels' URLRouter says it, before anything else has happened
                if not str(error).startswith("No route found"):
                    raise
                await self._refuse(scope, receive, send, "the project's URLRouter has no route for it")

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, why: str) -> None:
        """404 where the server can answer a handshake with that, else its own way to refuse one (403)."""
        if self._once.news(why):
            logger.warning("a WebSocket for %s was refused: %s", scope["path"], why)
        await receive()  # websocket.connect
        if "websocket.http.response" in (scope.get("extensions") or {}):
            body = b"There is no WebSocket at this address.\n"
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
            await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1000})


def path_below_root(scope: Scope) -> str:
    """The path of a request below the path that the site lies under; as it is where a proxy has taken that off."""
    path: str = scope.get("path", "")
    root: str = (scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
