"""Somebody with a browser's cookies, or a program with a token, who talks HTTP with the bazaar."""

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

PATIENCE = 60.0  # seconds
_FIELD = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Answer:
    """A response, read to its end; `path` is where redirections led."""

    status: int
    path: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Visitor:
    """Keeps cookies, sends the CSRF token with each form or JSON."""

    def __init__(self, http: str, **headers: str) -> None:
        self.http = http
        self._headers = headers
        self._jar = http_cookies()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._jar)
        )

    def get(self, path: str) -> Answer:
        """GET a page."""
        return self._open(urllib.request.Request(self.http + path, headers=self._headers))

    def post(self, path: str, data: Any = None) -> Answer:
        """POST JSON."""
        headers = {"Content-Type": "application/json", **self._csrf(), **self._headers}
        body = json.dumps(data if data is not None else {}).encode()
        return self._open(urllib.request.Request(self.http + path, body, headers))

    def fill(self, path: str, **fields: str) -> Answer:
        """Load a page, and send its form with these fields."""
        (token, *_) = _FIELD.findall(self.get(path).text)
        body = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token}).encode()
        return self._open(urllib.request.Request(self.http + path, body, {"Referer": self.http + path}))

    @property
    def cookies(self) -> str:
        """The header of a handshake."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    @property
    def handshake(self) -> dict[str, str]:
        """What a browser on the bazaar's pages sends when it opens a WebSocket."""
        return {"Cookie": self.cookies, "Origin": self.http}

    def _csrf(self) -> dict[str, str]:
        tokens = [cookie.value for cookie in self._jar if cookie.name == "csrftoken" and cookie.value]
        return {"X-CSRFToken": tokens[0], "Referer": self.http} if tokens else {}

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            with self._opener.open(request, timeout=PATIENCE) as response:
                path = urllib.parse.urlsplit(response.url).path
                return Answer(response.status, path, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, urllib.parse.urlsplit(error.url).path, error.read())


def http_cookies() -> http.cookiejar.CookieJar:
    """An empty jar that takes cookies of addresses without a name."""
    return http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(rfc2965=False, netscape=True))
