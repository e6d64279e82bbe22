"""An ASGI application that says what it is told of its life. LIFESPAN in its environment says what it is like: `plain`,
`none` (has no lifespan), `fails` (cannot start), `clients` (has some that stay connected). `/slow` takes half a second.
"""

import asyncio
import os
from typing import Any

KIND = os.environ["LIFESPAN"]


def say(what: str) -> None:
    print(what, flush=True)


class Clients:
    """Of this application; the third look finds it ready."""

    looks = 0

    def ready(self) -> str:
        self.looks += 1
        return "life-of-mine" if self.looks > 2 else ""

    async def send_away(self, within: float) -> None:
        try:
            await asyncio.open_connection("127.0.0.1", int(os.environ["OWN_PORT"]))
        except OSError:
            say(f"send_away within {within:.0f}, nobody new connects")


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    say((await receive())["type"])
    if KIND == "fails":
        await send({"type": "lifespan.startup.failed", "message": "no disk"})
        return
    if KIND == "clients":
        scope["extensions"]["flotilla.drain"](Clients())
    await asyncio.sleep(0.2)
    say("started")
    await send({"type": "lifespan.startup.complete"})
    say((await receive())["type"])
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        if KIND == "none":
            raise ValueError("no lifespan here")
        await lifespan(scope, receive, send)
        return
    say(f"request {scope['path']}")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
    say("response")
