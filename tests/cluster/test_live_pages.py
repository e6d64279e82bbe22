"""Pages that show a live model with `live.js` and the official client, in Node and in Chromium.

Rows are written all the time while connections are cut, an instance ends and Redis restarts, empty once. No row goes
back, and in the end all is as it is in the database.
"""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from tests.cluster.support import driven
from tests.cluster.support.chromium import ARGUMENTS, EXECUTABLE, SDK
from tests.cluster.support.door import Door
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import READY_WITHIN, ROOT, eventually
from tests.cluster.support.raw_client import token

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

SCRIPT = ROOT / "realtime" / "static" / "realtime" / "live.js"
NAMESPACE = {"history_size": 200, "history_ttl": "5m", "force_recovery": True, "allow_subscribe_for_client": True}
SETTINGS = "tests.cluster.support.liveapp.settings"
CHANGES = 20  # that a page is told of between two faults

Told = dict[str, Any]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = CONFIG | {"namespaces": {"live": NAMESPACE}}
    home = tmp_path_factory.mktemp("live")
    with running(Cluster(home, config, "flotilla", "flotilla", DJANGO_SETTINGS_MODULE=SETTINGS)) as cluster:
        yield cluster


class Lines:
    """A process that answers lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self) -> Any:
        """Send a line, and read the JSON of one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 30))


@asynccontextmanager
async def lines(*words: str, **options: Any) -> AsyncIterator[Lines]:
    """A process for the time of a block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=2**22, **options)
    try:
        yield Lines(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def writer(cluster: Cluster, seed: int) -> Any:
    """Who writes tickets; says what there is when asked, which is the end."""
    words = (sys.executable, "-m", "tests.cluster.support.liveapp.write", str(seed))
    return lines(*words, env=cluster.env, cwd=ROOT)


def shown_in_node(door: Door, board: int) -> Any:
    """A page on Node that shows a board."""
    if driven.node is None:
        pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
    given = {
        "address": door.url,
        "url": f"http://127.0.0.1:{door.port}/flotilla/state/live:{board}?limit=3",
        "token": token("7"),
        "channel": f"live:{board}",
    }
    return lines(driven.node, "live_client.mjs", str(SCRIPT), json.dumps(given), cwd=driven.NODE_PROJECT)


async def more(page: Any, changes: int = CHANGES) -> Told:
    """Wait until a page was told of more changes, and is live."""
    begun = (await page.ask())["changes"]

    async def told() -> Told | None:
        said: Told = await page.ask()
        return said if said["changes"] >= begun + changes and said["state"] == "live" else None

    return await _until(told, "more changes are shown")


async def stale(page: Any) -> Told:
    """Wait until a page knows that it is not up to date."""

    async def told() -> Told | None:
        said: Told = await page.ask()
        return said if said["state"] == "stale" else None

    return await _until(told, "it is stale")


async def equals(page: Any, rows: dict[str, int]) -> Told:
    """Wait until a page shows these rows."""

    async def told() -> Told | None:
        said: Told = await page.ask()
        return said if said["rows"] == rows and said["state"] == "live" else None

    return await _until(told, f"{rows} are shown")


async def _until(ask: Any, what: str) -> Told:
    found: Told = await eventually(ask, what, 60)
    return found


async def test_pages_are_right_through_cuts_and_outages(pair: Cluster) -> None:
    async with (
        Door(pair[0].port, pair[1].port) as door,
        writer(pair, 1) as tickets,
        shown_in_node(door, 1) as one,
        shown_in_node(door, 2) as other,
    ):
        await more(one)
        door.cut()
        await more(one)
        pair.redis.kill()
        await eventually(lambda: not any(instance.ready() for instance in pair.instances), "Redis is missed")
        await asyncio.to_thread(pair.redis.start)
        await more(one)
        door.cut()
        await asyncio.to_thread(pair.redis.restore, None)  # empty: every stream begins anew
        await more(one)
        pair[0].send(signal.SIGKILL)
        door.cut()
        await more(one)
        await more(other, 1)
        pair.made_well()
        boards = await tickets.ask()
        for page, board in ((one, "1"), (other, "2")):
            said = await equals(page, boards[board])
            assert said["back"] == []
            assert said["disconnects"] > 1


async def test_who_may_not_subscribe_is_refused_once(pair: Cluster) -> None:
    async with Door(pair[0].port) as door:
        given = {
            "address": door.url,
            "url": f"http://127.0.0.1:{door.port}/flotilla/state/live:1",
            "token": token(""),
            "channel": "live:1",
        }
        node = driven.node or pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
        words = (node, "live_client.mjs", str(SCRIPT), json.dumps(given))
        async with lines(*words, cwd=driven.NODE_PROJECT) as page:

            async def refused() -> Told | None:
                said: Told = await page.ask()
                return said if said["state"] == "refused" else None

            said = await _until(refused, "it is refused")
            assert said["states"] == ["refused: live:1: the state was answered with 403"]
            assert said["rows"] == {}


class Tab:
    """A tab of a real browser that shows a board over one transport."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def show(self, http: str, board: int, transport: str) -> "Tab":
        """Open a page of the site, load the scripts as it would, and show."""
        await self._page.goto(f"{http}/health/live")
        await self._page.add_script_tag(path=SDK / "centrifuge.js")
        source = (driven.NODE_PROJECT / "live_page.mjs").read_text()
        await self._page.add_script_tag(type="module", content=f"{source}\nwindow.watch = watch;")
        await self._page.wait_for_function("() => Boolean(window.watch)")
        given = {"channel": f"live:{board}", "token": token("7"), "transport": transport}
        await self._page.evaluate(
            """async ({ transport, ...given }) => {
              const { live } = await import("/static/realtime/live.js");
              const socket = location.origin.replace("http", "ws") + "/connection/websocket";
              const address = transport === "websocket" ? socket
                : [{ transport, endpoint: `${location.origin}/connection/${transport}` }];
              const options = { emulationEndpoint: `${location.origin}/emulation` };
              window.shown = window.watch({ ...given, address, options, live, Centrifuge: window.Centrifuge });
            }""",
            given,
        )
        return self

    async def ask(self) -> Told:
        """What it shows."""
        said: Told = await self._page.evaluate("() => window.shown.told()")
        return said


async def test_in_three_tabs_of_a_browser(pair: Cluster) -> None:
    if EXECUTABLE is None or not SDK.is_dir() or shutil.which("node") is None:
        pytest.skip("no Chromium on the PATH, or no `npm ci` in tests/cluster")
    async with Door(pair[0].port, pair[1].port) as door, writer(pair, 2) as tickets, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        context = await browser.new_context()
        http = f"http://127.0.0.1:{door.port}"
        tabs = [
            await Tab(await context.new_page()).show(http, 1, transport)
            for transport in ("websocket", "sse", "http_stream")
        ]
        for tab in tabs:
            await more(tab)
        await context.set_offline(True)
        door.cut()
        for tab in tabs:
            await stale(tab)
        await context.set_offline(False)
        for tab in tabs:
            await more(tab)
        pair.redis.kill()
        await asyncio.to_thread(pair.redis.start)
        await eventually(lambda: all(one.ready() for one in pair.instances), "Redis is back", READY_WITHIN)
        for tab in tabs:
            await more(tab)
        boards = await tickets.ask()
        for tab in tabs:
            said = await equals(tab, boards["1"])
            assert said["back"] == []
            assert not [state for state in said["states"] if state.startswith("refused")]
        await browser.close()
