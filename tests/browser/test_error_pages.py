"""What a visitor of a production sees when something goes wrong, in a real browser.

Pages of our own, whoever makes them (Django, the limits, or the server before either): right in light and dark, and
without a word of what is inside.
"""

import sqlite3
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.browser.axe import violations
from tests.browser.conftest import PATIENCE, Cluster, served
from tests.browser.people import log_in_as, make_user, manage

pytestmark = pytest.mark.timeout(300)

SECRET_KEY = "a secret key of this test, which is long enough to be one"
SUBMIT = """([address, size]) => {
    const form = Object.assign(document.createElement("form"), { method: "post", action: address });
    const field = Object.assign(document.createElement("textarea"), { name: "text", value: "x".repeat(size) });
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """As the demo, but as safe as a production: without DEBUG."""
    settings = {"DJANGO_DEBUG": "0", "DJANGO_SECRET_KEY": SECRET_KEY, "HTTP_MAX_BODY": "3000000"}
    with served(tmp_path_factory.mktemp("production"), **settings, DJANGO_ALLOWED_HOSTS="127.0.0.1") as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


def get(page: Page, url: str) -> int:
    """Go there; the status of the answer."""
    answer = page.goto(url)
    assert answer is not None
    return answer.status


def submit(page: Page, cluster: Cluster, size: int) -> int:
    """Send a form without its token to the login; the status of the answer."""
    address = f"{cluster.url}/admin/login/"
    page.goto(address)
    with page.expect_response(lambda answer: answer.request.method == "POST") as sent:
        page.evaluate(SUBMIT, [address, size])
    answer: Response = sent.value
    page.wait_for_load_state()
    return answer.status


def nothing_there(page: Page, cluster: Cluster) -> int:
    return get(page, f"{cluster.url}/nothing/")


def may_not(page: Page, cluster: Cluster) -> int:
    make_user(cluster, "otto")
    log_in_as(page, cluster, "otto")
    return get(page, f"{cluster.url}/admin/flotilla_realtime/instance/")


def forged(page: Page, cluster: Cluster) -> int:
    return submit(page, cluster, 1)


def other_host(page: Page, cluster: Cluster) -> int:
    return get(page, cluster.url.replace("127.0.0.1", "else.localhost"))


def large_form(page: Page, cluster: Cluster) -> int:
    return submit(page, cluster, 2_800_000)


def larger_body(page: Page, cluster: Cluster) -> int:
    return submit(page, cluster, 3_100_000)


def long_head(page: Page, cluster: Cluster) -> int:
    """Cookies, as it happens: they come last, behind what says that a page is accepted."""
    page.context.add_cookies([{"name": f"c{n}", "value": "x" * 3_900, "url": cluster.url} for n in range(9)])
    return get(page, cluster.url)


def too_often(page: Page, cluster: Cluster) -> int:
    page.goto(f"{cluster.url}/admin/login/")
    page.evaluate("async () => { for (let n = 0; n < 70; n += 1) await fetch('/admin/login/', { method: 'POST' }); }")
    try:
        return submit(page, cluster, 1)
    finally:
        manage(cluster, "ratelimit", "reset", "logins", "ip:127.0.0.1")


def broken(page: Page, cluster: Cluster) -> int:
    with sqlite3.connect(cluster.log.parent / "db.sqlite3", timeout=30) as database:
        database.execute("ALTER TABLE django_session RENAME TO gone")
    page.context.add_cookies([{"name": "sessionid", "value": "a" * 32, "url": cluster.url}])
    try:
        return get(page, f"{cluster.url}/admin/")
    finally:
        with sqlite3.connect(cluster.log.parent / "db.sqlite3", timeout=30) as database:
            database.execute("ALTER TABLE gone RENAME TO django_session")


Fault = Callable[[Page, Cluster], int]
FAULTS: dict[str, tuple[Fault, int, str]] = {
    "no-page": (nothing_there, 404, "There is no such page"),
    "may-not": (may_not, 403, "You may not do this"),
    "forged": (forged, 403, "You may not do this"),
    "other-host": (other_host, 400, "This request cannot be answered"),
    "large-form": (large_form, 413, "This is too large"),
    "larger-body": (larger_body, 413, "This is too large"),
    "long-head": (long_head, 431, "Your browser sent too much with its request"),
    "broken": (broken, 500, "Something went wrong"),
    "too-often": (too_often, 429, "Too many requests"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_a_page_of_ours(
    production: Cluster, context: BrowserContext, screenshot: Callable[[Page, str], None], name: str
) -> None:
    cause, status, title = FAULTS[name]
    page = context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None)
    assert cause(page, production) == status
    expect(page.locator("h1")).to_have_text(title)
    expect(page).to_have_title(title)
    expect(page.locator("small")).to_contain_text(str(status))
    assert page.locator("script, link, img, form").count() == 0
    shown = page.content()
    for secret in (SECRET_KEY, "Traceback", "django", "sqlite", str(production.log.parent), "else.localhost"):
        assert secret not in shown
    grounds = set()
    for width, height in ((390, 844), (1440, 900)):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            screenshot(page, f"{name}-{width}-{scheme}")
            assert not (found := violations(page)), f"{width} px, {scheme}:\n" + "\n\n".join(found)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            grounds.add(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert len(grounds) == 2
    assert blocked == []
