"""Tabs that show boards: the official JavaScript SDK and `live.js`, on Node or in a real browser's page.

Each tab comes to the instances over a link of its own, which leads each new connection to any of them. What it shows,
and when it is connected, goes to a `Screen` as it comes.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from typing import Any, Self

from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests.chaos.links import Link
from tests.chaos.live.verdict import Shown
from tests.chaos.wire import token
from tests.chaos.world import Way
from tests.cluster.support.chromium import ARGUMENTS, EXECUTABLE, SDK
from tests.cluster.support.driven import NODE_PROJECT, Driver, Program, node
from tests.cluster.support.harness import SECRET
from tests.cluster.support.processes import ROOT

HOSTED = "window.run = tabs({ Centrifuge, live }, (message) => window.told(JSON.stringify(message)));"
LIVE_JS = ROOT / "realtime" / "static" / "realtime" / "live.js"


class TabLink(Link):
    """A link that leads each connection where its tab goes next."""

    def __init__(self, way: Way) -> None:
        self._way = way
        super().__init__(0)

    @property
    def target(self) -> int:
        """A port, chosen at each call."""
        return self._way.port()

    @target.setter
    def target(self, port: int) -> None:
        """It has none of its own."""


class Screen:
    """What all tabs have shown, in order, and how often they came and loaded."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.counts: Counter[str] = Counter()
        self.refused: list[str] = []
        self.beats: dict[tuple[str, int], int] = {}  # by tab and board: the counter of the beat's card that it shows
        self.ready: set[tuple[str, int]] = set()

    def take(self, event: dict[str, Any]) -> None:
        """An event of a tab."""
        tab, kind = event["of"], event["event"]
        self.counts[kind] += 1
        if kind == "shown":
            board = board_of(event["channel"])
            for key, state in event["changes"]:
                self.shown.append((tab, board, int(key), tuple(state) if state else None))
                if int(key) == board and state:
                    self.beats[tab, board] = state[1]
        elif kind == "ready":
            self.ready.add((tab, board_of(event["channel"])))
        elif kind in ("failed", "disconnected") and event.get("code") != 0:
            self.refused.append(f"{tab}: {event}")


class Tabs(Driver):
    """Where tabs run: what they show goes to a screen."""

    screen: Screen

    def _heard(self, message: dict[str, Any]) -> None:
        if "id" in message:
            super()._heard(message)
        else:
            self.screen.take(message)


class NodeTabs(Tabs, Program):
    """Node, with any number of tabs."""

    def __init__(self, screen: Screen) -> None:
        assert node is not None, "no Node on the PATH, or no `npm ci` in tests/cluster"
        super().__init__(node, str(NODE_PROJECT / "tabs_client.mjs"), str(LIVE_JS), name="tabs")
        self.screen = screen


class PageTabs(Tabs):
    """A Chromium, with a page for each tab. Use as `async with PageTabs(screen) as tabs`."""

    def __init__(self, screen: Screen) -> None:
        super().__init__("pages")
        self.screen = screen
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._pages: dict[str, Page] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._browser is not None and self._playwright is not None
        await self._browser.close()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._playwright.stop()

    def _tell(self, message: dict[str, Any]) -> None:
        call = asyncio.create_task(self._call(message))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, message: dict[str, Any]) -> None:
        name = message["client"]
        async with self._turns[name]:
            if name not in self._pages:
                self._pages[name] = await self._page(message["site"])
            await self._pages[name].evaluate("(message) => { window.run(message); }", message)

    async def _page(self, site: str) -> Page:
        assert self._browser is not None
        page = await self._browser.new_page()
        await page.expose_function("told", lambda line: self._heard(json.loads(line)))
        await page.goto(f"{site}/health/live")
        await page.add_script_tag(path=SDK / "centrifuge.js")
        scripts = (LIVE_JS.read_text(), (NODE_PROJECT / "tabs.mjs").read_text(), HOSTED)
        await page.add_script_tag(type="module", content="\n".join(scripts))
        await page.wait_for_function("() => Boolean(window.run)")
        return page


class Tab:
    """One tab. `boards`: those it has open."""

    def __init__(self, name: str, driver: Driver, link: TabLink, transport: str) -> None:
        self.name = name
        self.boards: set[int] = set()
        self._driver, self._link, self._transport = driver, link, transport

    async def come(self, boards: list[int]) -> None:
        """Connect, and open boards."""
        await self._link.start()
        site = f"http://127.0.0.1:{self._link.port}"
        proof = token(SECRET, f"user of {self.name}")
        await self._driver.post(self.name, "make", site=site, token=proof, transport=self._transport)
        await self.do("connect")
        for board in boards:
            await self.open(board)

    async def do(self, what: str, **params: Any) -> Any:
        """Have it do something."""
        return await self._driver.post(self.name, what, **params)

    async def open(self, board: int) -> None:
        """Show a board."""
        self.boards.add(board)
        await self.do("open", channel=channel_of(board))

    async def close(self, board: int) -> None:
        """Show it no longer."""
        self.boards.discard(board)
        await self.do("close", channel=channel_of(board))

    async def rows(self, board: int) -> dict[str, Any]:
        """What it shows of a board."""
        return dict(await self.do("rows", channel=channel_of(board)))

    def drop(self) -> None:
        """Lose every connection without a word, and come back."""
        self._link.cut()
        self._link.mend()

    async def fidget(self, chance: random.Random) -> None:
        """Leave a board and come back to it, or the site."""
        board = chance.choice(sorted(self.boards))
        if chance.random() < 0.6:
            await self.close(board)
            await asyncio.sleep(chance.random() * 0.3)
            await self.open(board)
        else:
            await self.do("disconnect")
            await asyncio.sleep(chance.random() * 0.5)
            await self.do("connect")

    async def leave(self) -> None:
        """Go for good."""
        await self.do("disconnect")
        await self._link.stop()


def channel_of(board: int) -> str:
    return f"cards:{board}"


def board_of(channel: str) -> int:
    return int(channel.partition(":")[2])
