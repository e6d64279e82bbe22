"""A real Chromium: a plain EventSource that comes back by itself and misses nothing, and pages of other origins."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.cluster.support.api_client import Api
from tests.cluster.support.balancer import Balancer
from tests.cluster.support.chromium import ARGUMENTS, EXECUTABLE
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

Fresh = Callable[[str], str]
FROM_ELSEWHERE = "--disable-features=LocalNetworkAccessChecks"  # such a page may ask this machine, where tests serve
LISTEN = """(query) => {
  window.seen = [];
  window.source = new EventSource(`/connection/uni_sse?${query}`);
  window.source.onmessage = ({ data }) => window.seen.push(JSON.parse(data));
}"""
SEEN = "() => window.seen.filter((push) => push.pub).map((push) => push.pub.data)"
ASK = """async ([path, body]) => {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const { value } = answer.body ? await answer.body.getReader().read() : {};
  return [answer.status, value ? new TextDecoder().decode(value) : ""];
}"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = CONFIG | {"allowed_origins": ["http://app.localhost"]}
    with running(Cluster(tmp_path_factory.mktemp("pair"), config, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Page]:
    if EXECUTABLE is None:
        pytest.skip("no Chromium on the PATH")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=[*ARGUMENTS, FROM_ELSEWHERE])
        yield await browser.new_page()
        await browser.close()


async def test_a_page_of_another_origin_may_speak_if_it_is_listed(pair: Cluster, page: Page) -> None:
    """The browser asks first (a preflight), for the body is JSON; it passes nothing on to a page that is not."""
    await page.route("http://*.localhost/**", lambda route: route.fulfill(body="<p>a page"))
    body = f'{{"id":1,"connect":{{"token":"{token("5")}"}}}}'
    await page.goto("http://app.localhost/")
    status, said = await page.evaluate(ASK, [f"{pair[0].http}/connection/http_stream", body])
    assert status == 200
    assert '"session"' in said
    assert await page.evaluate(ASK, [f"{pair[0].http}/emulation", '{"session":"a","node":"b","data":"{}"}']) == [
        404,
        "there is no such session\n",
    ]
    await page.goto("http://evil.localhost/")
    with pytest.raises(Exception, match="Failed to fetch"):
        await page.evaluate(ASK, [f"{pair[0].http}/connection/http_stream", body])


async def test_who_may_not_listen_does_not_come_back(pair: Cluster, page: Page, fresh: Fresh) -> None:
    await page.goto(f"{pair[0].http}/health/live")
    await page.evaluate(LISTEN, f"channel={fresh('closed')}&token={token('5')}")
    await page.wait_for_function("() => window.source.readyState === EventSource.CLOSED")


async def test_a_plain_event_source_comes_back_by_itself_and_misses_nothing(
    pair: Cluster, page: Page, fresh: Fresh, tmp_path: Path
) -> None:
    channel = fresh("open")
    balancer = Balancer(tmp_path, [instance.port for instance in pair.instances])
    balancer.start()
    try:
        await page.goto(f"{balancer.http}/health/live")
        await page.evaluate(LISTEN, f"channel={channel}&token={token('5')}")

        async def numbers() -> list[int]:
            found: list[int] = await page.evaluate(SEEN)
            return found

        async def saw(upto: int) -> None:
            async def all_of_them() -> bool:
                return await numbers() == list(range(upto))

            await eventually(all_of_them, f"{upto} publications", 30)

        await page.wait_for_function("() => window.seen.length > 0")
        name = await page.evaluate("() => window.seen[0].connect.data.instance")
        holder, other = sorted(pair.instances, key=lambda instance: instance.name != name)
        async with Api(other.http) as api:
            await api.say(channel, 0)
            await saw(1)
            holder.kill()
            for number in (1, 2, 3):
                await api.say(channel, number)
            await saw(4)
    finally:
        balancer.stop()
        pair.made_well()
