"""What lies outside of the root path is not served, whichever way it is asked for."""

from typing import Any

import pytest

from project.subpath import below_root


async def asked(
    path: str, root: str, kind: str = "http", accept: bytes = b"*/*"
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The scope that the application was given, if it was, and what was sent by others."""
    found: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "root_path": root, "headers": [(b"accept", accept)]}
    await below_root(application)(scope, receive, send)
    return (found[0] if found else None), sent


@pytest.mark.parametrize(
    ("path", "root", "inside"),
    [
        ("/a", "", "/a"),
        ("/r/a", "/r", "/r/a"),
        ("/r/", "/r", "/r/"),
        ("/r", "/r", "/r/"),
        ("/health/ready", "/r", "/health/ready"),
    ],
)
async def test_what_is_inside_is_served(path: str, root: str, inside: str) -> None:
    scope, sent = await asked(path, root)
    assert scope is not None
    assert (scope["path"], sent) == (inside, [])


@pytest.mark.parametrize("path", ["/", "/a", "/ra", "/rr/a", "/a/r/b", "//r/a"])
async def test_what_is_outside_is_not(path: str) -> None:
    scope, sent = await asked(path, "/r")
    assert scope is None
    assert sent[0]["status"] == 404
    scope, sent = await asked(path, "/r", "websocket")
    assert scope is None
    assert sent == [{"type": "websocket.close", "code": 1000}]


@pytest.mark.parametrize(("accept", "body"), [(b"*/*", b"Not Found\n"), (b"text/html", b"There is no such page")])
async def test_it_is_told_in_the_form_that_is_accepted(accept: bytes, body: bytes) -> None:
    _, sent = await asked("/a", "/r", accept=accept)
    assert body in sent[1]["body"]
