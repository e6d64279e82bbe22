"""The JavaScript SDK in a real Chromium: a `driven.Driver` whose clients live in a page.

The page is one of the site's own, so that its WebSocket, EventSource and fetch are those of any page there; the SDK is
the script that its package has for browsers.
"""

import asyncio
import json
import shutil
from typing import Any, Self

import pytest
from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests.cluster.support.driven import NODE_PROJECT, Driver

SDK = NODE_PROJECT / "node_modules" / "centrifuge" / "dist"
EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
HOSTED = """
window.run = driver(
  { Centrifuge: window.CentrifugeOfText, CentrifugeOfBytes: window.Centrifuge },
  (message) => window.told(JSON.stringify(message)),
);
"""


class Tab(Driver):
    """A page of `http`, a site's address. Use as `async with Tab(http) as tab`."""

    def __init__(self, http: str) -> None:
        super().__init__("tab")
        self._http = http
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        if EXECUTABLE is None or not SDK.is_dir():
            pytest.skip("no Chromium on the PATH, or no `npm ci` in tests/cluster")
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        page = self._page = await self._browser.new_page()
        await page.expose_function("told", lambda line: self._heard(json.loads(line)))
        await page.goto(f"{self._http}/health/live")
        await page.add_script_tag(path=SDK / "centrifuge.js")
        await page.evaluate("() => { window.CentrifugeOfText = window.Centrifuge; }")
        await page.add_script_tag(path=SDK / "centrifuge.protobuf.js")
        await page.add_script_tag(type="module", content=(NODE_PROJECT / "driver.mjs").read_text() + HOSTED)
        await page.wait_for_function("() => Boolean(window.run)")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._browser is not None and self._playwright is not None
        await self._browser.close()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._playwright.stop()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._page is not None
        call = asyncio.create_task(self._page.evaluate("(message) => { window.run(message); }", message))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
